"""
A part of what training changed, taken back: weights on the line from those before training to those after it.

theta(share) = theta_before + share * (theta_after - theta_before), as WARP's last stage goes ("linear interpolation
towards initialization", Ramé et al. 2024, arXiv:2406.16768), and WiSE-FT before it (Wortsman et al. 2022). The line
begins at the model before training, so that whatever training broke is whole again somewhere on the way back.
"""

import torch
from torch import Tensor

from haloes.models.weight_shards import local
from haloes.training.optimizer import Masters

SHARES = tuple(eighths / 8 for eighths in range(7, 0, -1))
"""Shares of the change that are tried one after the other where the whole of it is too much."""


class Change:
    """What training does to the weights from now on."""

    def __init__(self, masters: Masters) -> None:
        """Remember the weights as they are now: a copy of all that are trained, in float32."""
        self._masters = masters
        self._before = _copied(masters)
        self._after: dict[str, Tensor] = {}

    def end(self) -> None:
        """Take the weights as they are now for those after training."""
        self._after = _copied(self._masters)

    def keep(self, share: float) -> None:
        """Leave this share of the change in the weights, 0 to 1, and take the rest back; `end` goes before it."""
        with torch.no_grad():
            for name, weight in self._masters.weights.items():
                # Whole, it is the very weights: a sum would round.
                after = self._after[name]
                local(weight).copy_(after if share == 1 else torch.lerp(self._before[name], after, share))
        self._masters.publish()


def _copied(masters: Masters) -> dict[str, Tensor]:
    return {name: local(weight).clone() for name, weight in masters.weights.items()}
