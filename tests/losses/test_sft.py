"""Supervised finetuning, against sums done by hand."""

import numpy as np
import torch

from haloes.losses._contract import Logps, Scored, Unpaired
from haloes.losses.sft import SFT


def batch(tokens: torch.Tensor, lengths: list[int]) -> Unpaired:
    return Unpaired(Scored(Logps(tokens, torch.tensor(lengths))), torch.tensor([True] * len(lengths)))


def test_worked_example() -> None:
    tokens = torch.tensor([-1.0, -2.0, -4.0], dtype=torch.float64, requires_grad=True)

    output = SFT()(batch(tokens, [2, 1]))

    assert output.per_example.tolist() == [3.0, 4.0]
    assert output.metrics["nll_per_token"].tolist() == [1.5, 4.0]
    [gradient] = torch.autograd.grad(output.per_example.sum(), tokens)
    assert gradient.tolist() == [-1.0, -1.0, -1.0]


def test_it_is_the_negative_log_likelihood_of_independent_tokens() -> None:
    probability = np.random.default_rng(0).uniform(0.1, 1.0, 9)

    output = SFT()(batch(torch.tensor(np.log(probability)), [4, 5]))

    likelihood = [np.prod(probability[:4]), np.prod(probability[4:])]
    np.testing.assert_allclose(np.exp(-output.per_example.numpy()), likelihood, rtol=1e-12)
