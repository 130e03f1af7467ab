"""The public names as type checkers and editors read them: `__init__.pyi` of `haloes` and of `haloes.losses`."""

import importlib
from pathlib import Path
from types import ModuleType

PACKAGES = ("haloes", "haloes.losses")


def stub_path(package: ModuleType) -> Path:
    return Path(str(package.__file__)).with_suffix(".pyi")


def stub(package: ModuleType) -> str:
    """The stub of a package, from the table by which it finds its names."""
    home_of = dict(package.HOME_OF)
    # What is there without a home is a module of its own, or the table, which is imported with the package.
    home_of |= {
        name: package.__name__ if isinstance(thing, ModuleType) else type(thing).__module__
        for name in set(package.__all__) - set(home_of)
        for thing in [getattr(package, name)]
    }
    lines = sorted(f"from {home} import {name} as {name}" for name, home in home_of.items())
    return "\n".join(["# Written by `make docs` from what __init__.py says.", "", *lines, ""])


if __name__ == "__main__":
    for each in map(importlib.import_module, PACKAGES):
        stub_path(each).write_text(stub(each), encoding="utf-8")
