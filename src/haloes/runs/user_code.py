"""
The user's own code that decides what a run gives: its loss, its rater, its judge's rule.

Their source is part of the run's identity, and a copy of it lies in the run's folder. Of a Python file it is the whole
file and what that imports from beside itself, of a class or function that was written elsewhere its own lines.
"""

import dataclasses
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from haloes.judging.functions import fingerprint, name_of
from haloes.losses._contract import Loss
from haloes.run_files import CODE
from haloes.runs import manifest
from haloes.runs.config import RunConfig, as_mapping
from haloes.runs.named_code import LOSS, RATER, NamedCode, named_code, sha256, sources
from haloes.runs.run_folder import SOURCE
from haloes.store import write_text


@dataclass(frozen=True, slots=True)
class UserCode:
    """The source of something of the user's that decides what a run gives."""

    role: str
    """What it is to the run, such as "loss" or "rater"."""
    name: str
    """The name of its file, of what it imports with the folder, or its own name."""
    source: bytes

    @property
    def key(self) -> str:
        """Return what it is called in the run's identity."""
        return f"{SOURCE}{self.role} ({self.name})"

    @property
    def digest(self) -> str:
        """Return the hash of its source."""
        return sha256(self.source)

    @property
    def copy_name(self) -> str:
        """Return the name of its copy, which tells one version from another."""
        stem = "".join(
            letter if letter.isalnum() or letter in "-_" else "-" for letter in self.name.removesuffix(".py")
        )
        return f"{stem}-{self.digest[:8]}.py"


def user_code(config: RunConfig, loss: Loss[Any], rater: Callable[..., Any] | None = None) -> tuple[UserCode, ...]:
    """
    Return the user's code in a run; nothing of it is called.

    Args:
        config: all settings, which name rater and rule.
        loss: the loss, in which losses and dials of the user's own may be.
        rater: a function in place of the one that the configuration names.
    """
    found = [code for kind in _kinds(loss) for code in _of_class(kind)]
    if rater is not None and name_of(rater).startswith("<"):
        hashed = f"# Its source cannot be read; a hash of what it does: {fingerprint(rater)}\n"
        found.append(UserCode(RATER, name_of(rater).strip("<>"), _own_lines(rater) or hashed.encode()))
    named = named_code(as_mapping(config))
    return tuple(dict.fromkeys([*found, *code_of(code for code in named if code.role != LOSS)]))


def code_of(named: Iterable[NamedCode]) -> Iterator[UserCode]:
    """Yield the source of code by its name, without importing it; none where there is no file of Python's."""
    for code in named:
        if code.file is not None:
            yield from _of_file(code.role, code.file)


def code_identity(codes: Sequence[UserCode]) -> dict[str, str]:
    """Return the hash of each source by what it is called; of several of one name a hash of all."""
    by_key: dict[str, list[str]] = {}
    for code in codes:
        by_key.setdefault(code.key, []).append(code.digest)
    return {key: digests[0] if len(digests) == 1 else "+".join(sorted(digests)) for key, digests in by_key.items()}


def keep_code(run_dir: Path, codes: Sequence[UserCode]) -> list[str]:
    """
    Copy the sources into the run's folder, beside those of earlier parts of the run where they were others.

    Returns the copies that are there and not what the run wrote; those of the present sources are written again.
    """
    damaged = [name for name in manifest.changed(run_dir, CODE) if manifest.is_recorded(run_dir, name)]
    for code in codes:
        path = run_dir / CODE / code.copy_name
        path.parent.mkdir(exist_ok=True)
        write_text(path, code.source.decode(errors="replace"))
    manifest.record(run_dir, [f"{CODE}/{code.copy_name}" for code in codes])
    return damaged


def _kinds(value: Any) -> Iterator[type[Any]]:
    """Yield the classes of a loss and of what is inside it."""
    if isinstance(value, tuple | list):
        for item in value:
            yield from _kinds(item)
    elif isinstance(value, Mapping):
        yield from _kinds(list(value.values()))
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        yield type(value)
        yield from _kinds([getattr(value, field.name) for field in dataclasses.fields(value)])


def _of_class(kind: type[Any]) -> Iterator[UserCode]:
    if kind.__module__.partition(".")[0] == "haloes":
        return
    file = getattr(sys.modules.get(kind.__module__), "__file__", None)
    # The script that runs may be changed to resume what it started; of it the class alone counts.
    if file is not None and kind.__module__ != "__main__":
        yield from _of_file(LOSS, Path(file))
    elif (lines := _own_lines(kind)) is not None:
        yield UserCode(LOSS, kind.__qualname__, lines)


def _of_file(role: str, path: Path) -> Iterator[UserCode]:
    if path.suffix == ".py":
        for file, content in sources(path).items():
            yield UserCode(role, file.relative_to(path.parent).as_posix(), content)


def _own_lines(thing: Any) -> bytes | None:
    try:
        return inspect.getsource(thing).encode()
    except (OSError, TypeError):  # typed at a prompt, or not Python's
        return None
