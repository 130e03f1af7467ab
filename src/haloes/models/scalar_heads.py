"""A value head: what is still to come, estimated at every token from the policy's hidden states."""

import torch
from torch import Tensor

_WIDTHS = 2
"""Hidden layers before the output; with it the three layers of the KTO paper's appendix B."""


class ValueHead(torch.nn.Module):
    """
    A perceptron of three layers on hidden states that pass no gradient on (KTO paper, v1, appendix B).

    Its output is zero before training, so that the first estimates favour nothing.
    """

    def __init__(self, width: int, *, seed: int) -> None:
        """`width`: of the hidden states; `seed`: of the first weights."""
        super().__init__()
        layers: list[torch.nn.Module] = []
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for _ in range(_WIDTHS):
                layers += [torch.nn.Linear(width, width), torch.nn.ReLU()]
            last = torch.nn.Linear(width, 1)
        torch.nn.init.zeros_(last.weight)
        torch.nn.init.zeros_(last.bias)
        self.layers = torch.nn.Sequential(*layers, last)

    def forward(self, hidden_NH: Tensor) -> Tensor:
        """The estimates, (N,) in float32."""
        found: Tensor = self.layers(hidden_NH.detach().float()).squeeze(-1)
        return found
