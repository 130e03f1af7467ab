"""The exponential that stays finite."""

from math import exp, expm1

import pytest
import torch

from haloes.losses._math import expm1_then_tangent


@pytest.mark.parametrize("x", [-1000.0, -1.0, -1e-9, 0.0, 1e-9, 1.0, 29.9])
def test_it_is_the_exponential_less_one_up_to_its_ceiling(x: float) -> None:
    assert expm1_then_tangent(torch.tensor(x, dtype=torch.float64)).item() == pytest.approx(expm1(x), rel=1e-14)


@pytest.mark.parametrize("x", [30.0, 31.0, 1000.0])
def test_it_is_the_tangent_from_there(x: float) -> None:
    leaf = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    value = expm1_then_tangent(leaf)
    [slope] = torch.autograd.grad(value, [leaf])

    assert value.item() == pytest.approx(exp(30) * (1 + x - 30), rel=1e-12)
    assert slope.item() == pytest.approx(exp(30), rel=1e-14)
