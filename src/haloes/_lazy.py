"""Public names that are imported when they are first used, so that importing their package takes no time."""

import importlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any


def homes_by_name(homes: Mapping[str, Iterable[str]]) -> dict[str, str]:
    """Turn the names of each module into the module of each name."""
    return {name: module for module, names in homes.items() for name in names}


def importer(package: str, home_of: Mapping[str, str]) -> Callable[[str], Any]:
    """
    Return the `__getattr__` of a package: it imports a public name from the module that holds it.

    Args:
        package: the package's full name, for the message of AttributeError.
        home_of: the module that holds each public name.
    """

    def get(name: str) -> Any:
        if name not in home_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(home_of[name]), name)

    return get
