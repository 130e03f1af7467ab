"""
What is looked at in an adapter's folder before peft reads it: it may come from anybody.

peft takes texts of `adapter_config.json` as regular expressions, and looks for them in the names of all layers: one
with repetitions inside repetitions takes years. Whether they come to an end is tried out in a process of its own, which
the kernel ends.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from haloes.errors import ModelError
from haloes.models.untrusted_folder import MOST_LAYERS, read_object

_MERGED = frozenset(
    {"ADALORA", "BOFT", "BONE", "C3A", "FOURIERFT", "HRA", "IA3", "LN_TUNING", "LOHA", "LOKR", "LORA", "MISS", "OFT"}
    | {"RANDLORA", "ROAD", "SHIRA", "VBLORA", "VERA"}
)
"""Kinds that change weights. The others add prompts, or read tokenizers and adapters that they name."""
_PLAIN = re.compile(r"[\w.-]*")
_SECONDS, _BYTES = 2, 1 << 30
"""Of a processor, and of memory, in which all patterns are found in all names; most take milliseconds."""
_TRY = f"""
import json, re, resource, sys
resource.setrlimit(resource.RLIMIT_AS, ({_BYTES}, {_BYTES}))
resource.setrlimit(resource.RLIMIT_CPU, ({_SECONDS}, {_SECONDS}))
patterns, names = json.load(sys.stdin)
for pattern in patterns:
    try:
        found = re.compile(pattern)
    except (re.error, OverflowError, RecursionError):
        continue
    for name in names:
        found.match(name), found.fullmatch(name)
"""


def check_adapter(path: Path, weights: Mapping[str, list[int]]) -> None:
    """
    Refuse an adapter that would have something loaded, imported or multiplied that is not in its folder.

    Args:
        path: its `adapter_config.json`.
        weights: the shape of each of its tensors.

    Raises ModelError, which names the setting.
    """
    config = read_object(path)
    kind = str(config.get("peft_type"))
    if kind not in _MERGED:
        raise ModelError(f"{path}: peft_type is {kind[:40]!r}, which cannot be merged into weights; LORA can")
    if config.get("megatron_config"):
        raise ModelError(f"{path}: megatron_config is set, for which a module of its own would be imported")
    copies = config.get("layer_replication") or []
    try:
        num_layers = sum(end - start for start, end in copies)
    except (TypeError, ValueError) as error:
        raise ModelError(f"{path}: layer_replication holds no pairs of numbers") from error
    if num_layers > MOST_LAYERS:
        raise ModelError(f"{path}: layer_replication makes {num_layers:,} layers, which no model has")
    ranks = [config.get("r"), *_values(config.get("rank_pattern"))]
    most = max((size for shape in weights.values() for size in shape), default=0)
    if too_large := [rank for rank in ranks if isinstance(rank, int) and rank > most]:
        raise ModelError(f"{path}: its rank is {too_large[0]:,}, and no side of its weights is longer than {most:,}")


def check_patterns(path: Path, names: Iterable[str]) -> None:
    """
    Raise ModelError where a regular expression of an adapter does not come to an end in the names of its base's layers.

    Args:
        path: its `adapter_config.json`.
        names: the names of the base's layers.
    """
    patterns = list(_patterns(read_object(path)))
    odd = next((pattern for _, pattern in patterns if not _PLAIN.fullmatch(pattern)), None)
    if odd is not None and not comes_to_an_end([form.format(pattern) for form, pattern in patterns], names):
        raise ModelError(
            f"{path}: its regular expressions, such as {odd[:80]!r}, were not found in the names of the layers within "
            f"{_SECONDS} seconds; name the layers instead"
        )


def comes_to_an_end(patterns: Sequence[str], names: Iterable[str]) -> bool:
    """Return whether regular expressions are found in names, or not found, within seconds; invalid ones are."""
    if all(_PLAIN.fullmatch(pattern) for pattern in patterns):
        return True
    tried = subprocess.run(  # noqa: S603 - Python itself, with a text of ours
        [sys.executable, "-I", "-S", "-c", _TRY],
        input=json.dumps([patterns, list(names)]),
        capture_output=True,
        text=True,
        check=False,
    )
    return tried.returncode == 0


def _patterns(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the texts that peft takes as regular expressions, after the form in which it does."""
    for name, form in (
        ("target_modules", "{}"),
        ("exclude_modules", "{}"),
        ("modules_to_save", r"(^|.*\.){}($|\..*)"),
        ("layers_pattern", r"(?:^|.*?\.){}\.(?P<idx>\d+)\."),
        ("rank_pattern", r"(.*\.)?({})$"),
        ("alpha_pattern", r"(.*\.)?({})$"),
    ):
        value = config.get(name) or []
        for text in [value] if isinstance(value, str) else value:
            yield form, str(text)


def _values(value: Any) -> list[Any]:
    return list(value.values()) if isinstance(value, Mapping) else []
