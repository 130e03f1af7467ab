"""Python files of the user: losses, raters and rules in them, imported as they are now, and known by their hash."""

import importlib.util
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any


class _Fresh(SourceFileLoader):
    """Compiles the source each time."""

    def path_stats(self, path: Any) -> Any:
        # Compiled code on disk is taken for that of a source of the same second and the same size: a flipped sign.
        raise OSError(f"nothing is kept of {path}")


def import_file(path: Path, name: str, *, keep: bool = False) -> ModuleType:
    """
    Import a Python file under a name.

    Args:
        path: the file.
        name: the module's name, of which nothing follows but how it is called.
        keep: let `sys.modules` know it, as dataclasses need.

    Raises:
        FileNotFoundError: there is no such file.
        ImportError: it is no Python file.
        Exception: whatever the file itself raises; SystemExit too.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    spec = importlib.util.spec_from_loader(name, _Fresh(name, str(path.absolute())))
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not Python")
    module = importlib.util.module_from_spec(spec)
    if keep:
        sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        if keep:
            del sys.modules[name]
        raise
    return module
