"""A reward head: one number a completion, read from the hidden state of its last token."""

import torch
from torch import Tensor


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
        """The rewards, (B,) in float32, with gradient for the hidden states too."""
        return (hidden_BH.float() @ self.weight.T).squeeze(-1)
