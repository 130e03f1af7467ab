"""Kinds of weights in a GGUF file: who writes them, and how far from the model's own words they may lead."""

from collections.abc import Mapping

CONVERTED: Mapping[str, float] = {"f32": 0.02, "f16": 0.02, "bf16": 0.1, "q8_0": 0.15}
"""Kinds that llama.cpp's converter writes; and the most nats by which the log-probability of a token may differ."""

QUANTIZED: Mapping[str, float] = {
    "q6_k": 0.4,
    **dict.fromkeys(("q5_k_m", "q5_k_s", "q5_1", "q5_0"), 1.0),
    **dict.fromkeys(("q4_k_m", "q4_k_s", "q4_1", "iq4_nl", "iq4_xs"), 1.5),
    **dict.fromkeys(("q3_k_l", "q3_k_m", "q3_k_s"), 2.0),
    **dict.fromkeys(("q4_0", "q2_k"), 3.0),
}
"""Kinds that llama.cpp's quantiser makes of a converted file; the bounds leave room above what a model of 135M lost."""

_BITS: Mapping[str, float] = {"f32": 32, "f16": 16, "bf16": 16}
_MOST_BITS = 8.5
"""Of a weight in a smaller kind: llama.cpp takes q8_0 and others for rows that are no multiple of 256 wide."""


def bound(kind: str) -> float:
    """Return the most nats by which a token's log-probability may differ on average."""
    return {**CONVERTED, **QUANTIZED}[kind]


def bits(kind: str) -> float:
    """Return the bits that a weight takes at most."""
    return _BITS.get(kind, _MOST_BITS)
