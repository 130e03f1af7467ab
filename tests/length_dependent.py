"""Settings of rotary positions under which a sequence's positions depend on the longest one beside it."""

from typing import Any

LONGROPE: dict[str, Any] = {
    "rope_type": "longrope",
    "rope_theta": 10_000.0,
    "short_factor": [1.0] * 4,
    "long_factor": [1.0, 2.0, 4.0, 8.0],
    "original_max_position_embeddings": 64,
}
"""Phi-3 and Phi-4: other positions from 64 tokens on."""
DYNAMIC: dict[str, Any] = {"rope_type": "dynamic", "rope_theta": 10_000.0, "factor": 4.0}
"""NTK: other positions for each length past `max_position_embeddings`."""
