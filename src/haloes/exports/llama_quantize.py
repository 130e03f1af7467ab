"""
llama.cpp's quantiser out of the package llama-cpp-python, with the arguments of its program `llama-quantize`.

Run as a script: llama.cpp writes what it does to standard error, and may end the process where something is wrong.
"""

import ctypes
import os
import sys


def main() -> None:
    """Quantise a file (SOURCE OUT KIND); the exit code says whether it is done, llama.cpp's own words why it is not."""
    import llama_cpp

    source, out, kind = sys.argv[1:]
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = getattr(llama_cpp, f"LLAMA_FTYPE_MOSTLY_{kind}")
    llama_cpp.llama_backend_init()
    # At once, as what was said last is llama.cpp's reason.
    os._exit(llama_cpp.llama_model_quantize(os.fsencode(source), os.fsencode(out), ctypes.byref(params)))


if __name__ == "__main__":
    main()
