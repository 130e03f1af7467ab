"""llama.cpp's quantiser, which makes a smaller GGUF file of a converted one: its program, or a package that has it."""

import shutil
from importlib.util import find_spec
from pathlib import Path

from haloes.errors import ConfigError, RunError
from haloes.exports import llama_quantize
from haloes.exports.child import python, run_program
from haloes.exports.quantization import CONVERTED, QUANTIZED
from haloes.progress.contract import Progress

PROGRAM = "llama-quantize"
"""llama.cpp's program for the kinds that its converter does not write."""
PACKAGE = "llama_cpp"
"""Module of the package llama-cpp-python, which has the same function."""


def check_quantization(kind: str) -> None:
    """
    Refuse a kind of weights that there is not, or that cannot be made on this machine.

    Raises:
        ConfigError: there is no such kind.
        RunError: it needs a quantiser, and none is installed.
    """
    if kind not in CONVERTED and kind not in QUANTIZED:
        raise ConfigError(f"--quantize is {kind!r}: give one of {', '.join((*CONVERTED, *QUANTIZED))}")
    if kind in QUANTIZED and _found() is None:
        raise RunError(
            f"--quantize {kind} needs llama.cpp's quantiser, which is not installed: pip install llama-cpp-python (it "
            f"compiles for minutes, and needs a C++ compiler), or have llama.cpp's program {PROGRAM} on the PATH (brew "
            f"install llama.cpp, or a release from its page); without it there are {', '.join(CONVERTED)}"
        )


def quantize(source: Path, out: Path, kind: str, *, progress: Progress | None = None) -> None:
    """Make a smaller file of a converted one. Raises RunError with the quantiser's words where it fails."""
    name, command = _found() or (PROGRAM, [PROGRAM])
    log = out.with_suffix(".log")
    what = f"llama.cpp's quantiser ({name}) cannot make {kind} of the model"
    run_program([*command, str(source), str(out), kind.upper()], log=log, what=what, made=out, progress=progress)
    log.unlink()


def _found() -> tuple[str, list[str]] | None:
    """Return the name of the quantiser that is there, and how it is started: two files and KIND are its arguments."""
    program = shutil.which(PROGRAM)
    if program is not None:
        return program, [program]
    if find_spec(PACKAGE) is not None:
        return "llama-cpp-python", python(str(llama_quantize.__file__))
    return None
