"""
Heads that read one number from a hidden state of the policy, beside its logits.

    ValueHead     what is still to come, at every trained token
    RewardHead    what a completion is worth, at its last token

Shape suffixes: N trained tokens, B sequences, H hidden size.
"""

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
        # A run with a value head draws the same dropout as one without.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for _ in range(_WIDTHS):
                layers += [torch.nn.Linear(width, width), torch.nn.ReLU()]
            last = torch.nn.Linear(width, 1)
        torch.nn.init.zeros_(last.weight)
        torch.nn.init.zeros_(last.bias)
        self.layers = torch.nn.Sequential(*layers, last)

    def forward(self, hidden_NH: Tensor) -> Tensor:
        """Return the estimates, (N,) in float32, with gradient for the head alone."""
        # A poor estimate must not bend the policy's states: they are what the loss itself trains.
        found: Tensor = self.layers(hidden_NH.detach().float()).squeeze(-1)
        return found


class RewardHead(torch.nn.Module):
    """
    A linear map without a bias, as the sequence classifiers of transformers have it.

    It is zero before training: every pair is a tie then, and nothing random has to be unlearnt. (Stiennon et al., 2020,
    and transformers begin with small random weights.) The first step moves it alone; from then on gradients reach the
    model.
    """

    def __init__(self, width: int) -> None:
        """`width`: of the hidden states."""
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1, width))

    def forward(self, hidden_BH: Tensor) -> Tensor:
        """Return the rewards, (B,) in float32, with gradient for the hidden states too."""
        return (hidden_BH.float() @ self.weight.T).squeeze(-1)
