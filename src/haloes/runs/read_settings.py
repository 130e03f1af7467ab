"""Settings as people write them: a YAML file of sections, and `section.key=value` on the command line."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from haloes.errors import ConfigError


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file's sections, empty ones left out. Raises ConfigError naming the file, the line and the fault."""
    import yaml

    if path.is_dir():
        raise ConfigError(f"{path} is a folder; give the YAML file with settings")
    try:
        sections = yaml.load(path.read_text(encoding="utf-8"), Loader=_loader())  # noqa: S506 - a SafeLoader
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark is not None else ""
        raise ConfigError(f"{path}{line}: not YAML: {error.problem}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not YAML: {error}") from error
    if sections is None:
        return {}
    if not isinstance(sections, dict):
        raise ConfigError(f"{path}: expected sections such as `train:`, found {type(sections).__name__}")
    return {key: section for key, section in sections.items() if section is not None}


def parse_setting(text: str) -> dict[str, Any]:
    """Parse `train.lr=5e-6` into a nested mapping. Raises ConfigError where it is not of that form."""
    import yaml

    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"--set {text}: expected section.key=value, such as train.lr=5e-6")
    try:
        parsed: Any = yaml.load(value, Loader=_loader())  # noqa: S506 - a SafeLoader
    except yaml.MarkedYAMLError as error:
        raise ConfigError(f"--set {text}: the value is not YAML: {error.problem}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {text}: the value is not YAML: {error}") from error
    for part in reversed(key.strip().split(".")):
        parsed = {part: parsed}
    return dict(parsed)


def parse_settings(texts: Iterable[str]) -> dict[str, Any]:
    """Parse several settings into one nested mapping, later ones over earlier ones."""
    merged: dict[str, Any] = {}
    for text in texts:
        merged = merge_settings(merged, parse_setting(text))
    return merged


def merge_settings(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Lay one nested mapping over another, key by key."""
    merged = dict(under)
    for key, value in over.items():
        old = merged.get(key)
        nested = isinstance(old, Mapping) and isinstance(value, Mapping)
        merged[key] = merge_settings(dict(old or {}), value) if nested else value
    return merged


def _loader() -> Any:
    """Return a loader of YAML as people write it: 5e-6 is a number, which YAML 1.1 reads as text."""
    import re

    from haloes.bounded_yaml import BoundedLoader

    class Loader(BoundedLoader):
        pass

    Loader.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
    )
    return Loader
