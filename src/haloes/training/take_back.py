"""
A part of what training changed, taken back: weights on the line from those before training to those after it.

theta(share) = theta_before + share * (theta_after - theta_before), as WARP's last stage goes ("linear interpolation
towards initialization", Ramé et al. 2024, arXiv:2406.16768), and WiSE-FT before it (Wortsman et al. 2022). The line
begins at the model before training, so that whatever training broke is whole again somewhere on the way back.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from haloes.errors import RunError
from haloes.models.weight_shards import local
from haloes.models.weights_file import WeightsFile
from haloes.training.optimizer import Masters

SHARES = tuple(eighths / 8 for eighths in range(7, 0, -1))
"""Shares of the change that are tried one after the other where the whole of it is too much."""


class Change:
    """
    What training does to the weights from now on.

    Both ends of the line lie in files without a name beside the run's checkpoints, each of a process's own part of the
    weights: they take no memory, also where all weights of a model are trained.
    """

    def __init__(self, masters: Masters, folder: Path) -> None:
        """
        Write down the weights as they are now, before the first step.

        Args:
            masters: all weights that are trained.
            folder: where the files are.

        Raises:
            RunError: there is no room for them.
        """
        self._masters, self._folder = masters, folder
        # Those of the model, of which the float32 weights are still exact copies: half as much to write in bfloat16.
        self._before = self._written(masters.parameters)
        self._after: WeightsFile | None = None

    def keep(self, share: float) -> None:
        """Leave this share of the change in the weights, 0 to 1, and take the rest back; training is over by then."""
        if self._after is None:
            self._after = self._written(self._masters.weights)
        before, after = self._before.read(), self._after.read()
        with torch.no_grad():
            for name, weight in self._masters.weights.items():
                own = local(weight)
                own.copy_(after[name])
                # Whole, it is the very weights: a sum would round.
                if share < 1:
                    own.copy_(torch.lerp(before[name].to(own), own, share))
        self._masters.publish()

    def _written(self, weights: Mapping[str, Tensor]) -> WeightsFile:
        own = {name: local(weight) for name, weight in weights.items()}
        try:
            return WeightsFile(own, self._folder)
        except OSError as error:
            size = sum(weight.nbytes for weight in own.values()) / 2**30
            raise RunError(
                f"a copy of the weights ({size:.2g} GiB) cannot be written to {self._folder}: "
                f"{error.strerror or error}; free some space, or do without with train.repeats_budget=null, which "
                "leaves answers that go in circles as they are"
            ) from error
