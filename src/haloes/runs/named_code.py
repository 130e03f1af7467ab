"""
The code that settings name: a loss `file.py:Class`, a rater, a judge's rule. Its files are found, and nothing is run.

Of a Python file of the user's own, what it imports from beside itself belongs to it. That is told from its text: names
that are put together while it runs are not followed, nor is what was installed.
"""

import ast
import hashlib
import sys
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LOSS, RATER, RULE = "loss", "rater", "judge's rule"
_BROUGHT = frozenset({"haloes.recipes.demo.rule:rate"})
"""Raters of haloes. Not all that it has in it: other functions write files, and a rater is called with texts."""
_INSTALLED = ("stdlib", "platstdlib", "purelib", "platlib")
_LARGEST = 1 << 22
"""Bytes of a file that is still looked through for imports."""


@dataclass(frozen=True, slots=True)
class NamedCode:
    """A class or function by its name in the settings."""

    role: str
    """What it is to the run."""
    setting: str
    """The setting that names it, such as "samples.rater"."""
    name: str
    """`path/to/file.py:Class`, or `package.module:function`."""

    @property
    def file(self) -> Path | None:
        """Return the file that it is written in; None where there is none, or it is not written in Python."""
        place = self.name.rpartition(":")[0]
        path = Path(place) if self.role == LOSS or place.endswith(".py") else _file_of_module(place)
        return path if path is not None and path.is_file() else None


def named_code(sections: Mapping[str, Any]) -> tuple[NamedCode, ...]:
    """Return the code that settings name, which may be a part of all settings; not what haloes brings for it."""
    found = [NamedCode(LOSS, setting, name) for setting, name in _losses("loss", sections.get("loss"))]
    samples, watch = sections.get("samples") or {}, sections.get("watch") or {}
    if rater := samples.get("rater"):
        found.append(NamedCode(RATER, "samples.rater", str(rater)))
    if rule := (watch.get("judge") or {}).get("rule"):
        found.append(NamedCode(RULE, "watch.judge.rule", str(rule)))
    # What was given from Python, and not by a name, cannot be loaded by one.
    return tuple(dict.fromkeys(code for code in found if not code.name.startswith("<") and code.name not in _BROUGHT))


def sources(path: Path) -> dict[Path, bytes]:
    """Return the content of a Python file, and of what it imports from beside itself; nothing where it is unread."""
    found: dict[Path, bytes] = {}
    waiting = [path]
    while waiting:
        file = waiting.pop()
        if file in found:
            continue
        try:
            found[file] = file.read_bytes()
        except OSError:
            continue
        if not _is_installed(file):
            waiting += _imported(file, found[file], path.parent)
    return found


def sha256(content: bytes) -> str:
    """Return the SHA-256 of a file's content, as `sha256sum` prints it."""
    return hashlib.sha256(content).hexdigest()


def _losses(setting: str, value: Any) -> Iterator[tuple[str, str]]:
    """Yield the setting and the name of each loss that is in a file, also of those inside others."""
    if isinstance(value, Mapping):
        if ":" in str(value.get("name", "")):
            yield f"{setting}.name", str(value["name"])
        for key, item in value.items():
            yield from _losses(f"{setting}.{key}", item)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for item in value:
            yield from _losses(setting, item)


def _file_of_module(name: str) -> Path | None:
    """Return the file of a module; `importlib.util.find_spec` would import the packages that it lies in."""
    parts, within, spec = name.split("."), None, None
    if not all(part.isidentifier() for part in parts):
        return None
    for i in range(len(parts)):
        whole = ".".join(parts[: i + 1])
        finders = (getattr(finder, "find_spec", None) for finder in sys.meta_path)
        spec = next((spec for find in finders if find and (spec := find(whole, within)) is not None), None)
        if spec is None:
            return None
        within = spec.submodule_search_locations
    return Path(spec.origin) if spec is not None and spec.has_location and spec.origin else None


def _imported(file: Path, content: bytes, folder: Path) -> Iterator[Path]:
    """Yield the files beside a Python file, or in folders beside it, that it names in its imports."""
    if len(content) > _LARGEST:
        return
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # who imports it tells of it
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield from _modules(folder, name.name.split("."))
        elif isinstance(node, ast.ImportFrom):
            # A dot is the folder of the file itself, two the one above it; what lies outside is another's.
            start = file.parents[node.level - 1] if 0 < node.level <= len(file.parents) else folder
            if not start.is_relative_to(folder):
                continue
            for name in node.names:
                yield from _modules(start, [*(node.module or "").split("."), name.name])


def _modules(folder: Path, parts: Sequence[str]) -> Iterator[Path]:
    """Yield the files that are run when a dotted name is imported from a folder."""
    for part in filter(None, parts):
        if (folder / f"{part}.py").is_file():
            yield folder / f"{part}.py"
        folder = folder / part
        if (folder / "__init__.py").is_file():
            yield folder / "__init__.py"


def _is_installed(file: Path) -> bool:
    return any(file.resolve().is_relative_to(Path(sysconfig.get_path(name)).resolve()) for name in _INSTALLED)
