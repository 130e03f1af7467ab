"""Kinds of weights in a GGUF file: who writes them, and how far from the model's own words they may lead."""

import shutil
from collections.abc import Mapping

from haloes.errors import ConfigError, RunError

QUANTIZER = "llama-quantize"
"""llama.cpp's program for the kinds that its converter does not write."""

CONVERTED: Mapping[str, float] = {"f32": 0.02, "f16": 0.02, "bf16": 0.1, "q8_0": 0.15}
"""Kinds that llama.cpp's converter writes; and the most nats by which the log-probability of a token may differ."""

QUANTIZED: Mapping[str, float] = {
    "q6_k": 0.2,
    **dict.fromkeys(("q5_k_m", "q5_k_s", "q5_1", "q5_0"), 0.4),
    **dict.fromkeys(("q4_k_m", "q4_k_s", "q4_1", "q4_0", "iq4_nl", "iq4_xs"), 0.8),
    **dict.fromkeys(("q3_k_l", "q3_k_m", "q3_k_s"), 1.5),
    "q2_k": 3.0,
}
"""Kinds that `QUANTIZER` makes of a converted file."""

BITS: Mapping[str, float] = {"f32": 32, "f16": 16, "bf16": 16, "q8_0": 8.5, "q6_k": 6.6}
"""Bits of a weight, for the space on the disk."""


def check_quantization(kind: str) -> None:
    """
    Refuse a kind that there is not, or that cannot be made on this machine.

    Raises:
        ConfigError: there is no such kind.
        RunError: it needs a program that is not installed.
    """
    if kind not in CONVERTED and kind not in QUANTIZED:
        raise ConfigError(f"--quantize is {kind!r}: give one of {', '.join((*CONVERTED, *QUANTIZED))}")
    if kind in QUANTIZED and shutil.which(QUANTIZER) is None:
        raise RunError(
            f"--quantize {kind} needs llama.cpp's program {QUANTIZER}, which is not on the PATH (it comes with "
            f"llama.cpp: brew install llama.cpp, or a release from its page); without it there are "
            f"{', '.join(CONVERTED)}"
        )


def bound(kind: str) -> float:
    """Return the most nats by which a token's log-probability may differ on average."""
    return {**CONVERTED, **QUANTIZED}[kind]


def bits(kind: str) -> float:
    """Return the bits that a weight takes at most."""
    return BITS.get(kind, 6.6)
