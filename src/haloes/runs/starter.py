"""Files to begin with: a settings file, and a few rows of feedback of each kind that can be read."""

from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

from haloes.errors import ConfigError
from haloes.runs.settings_file import settings_text
from haloes.store import write_text

SETTINGS = "run.yaml"
EXAMPLES = "examples"


def write_starter(folder: Path) -> tuple[Path, ...]:
    """
    Write a settings file and the example rows into a folder, and return their paths, the settings file first.

    Raises:
        ConfigError: one of the files is there already; nothing is written then.
        DataError: the folder cannot be written to.
    """
    contents = {folder / name: text for name, text in _contents()}
    if present := [str(path) for path in contents if path.exists()]:
        others = f" (and {len(present) - 1} more of its files)" if len(present) > 1 else ""
        raise ConfigError(f"{present[0]}{others} is there already, and nothing is overwritten; give another folder")
    for path, text in contents.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, text)
    return tuple(contents)


def _contents() -> Iterator[tuple[str, str]]:
    yield SETTINGS, settings_text()
    for example in sorted(files("haloes").joinpath(EXAMPLES).iterdir(), key=lambda entry: entry.name):
        yield f"{EXAMPLES}/{example.name}", example.read_text(encoding="utf-8")
