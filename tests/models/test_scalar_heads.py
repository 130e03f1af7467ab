"""The value head: what it gives before training, what its gradient reaches, and that it can learn."""

import pytest
import torch

from haloes.models.scalar_heads import ValueHead

WIDTH = 6


def hidden(rows: int = 5, *, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(rows, WIDTH, generator=torch.Generator().manual_seed(0)).to(dtype).requires_grad_()


def trained(seed: int = 0) -> ValueHead:
    """A head whose last layer is no longer zero."""
    head = ValueHead(WIDTH, seed=seed)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    return head


def test_it_has_three_layers_of_the_hidden_width_and_one_output():
    shapes = [tuple(parameter.shape) for parameter in ValueHead(WIDTH, seed=0).parameters()]

    assert shapes == [(WIDTH, WIDTH), (WIDTH,), (WIDTH, WIDTH), (WIDTH,), (1, WIDTH), (1,)]


def test_before_training_it_expects_nothing():
    assert ValueHead(WIDTH, seed=3)(hidden()).tolist() == [0.0] * 5


def test_it_is_a_perceptron_with_rectified_layers():
    head = trained()
    w1, b1, w2, b2, w3, b3 = (parameter.detach() for parameter in head.parameters())
    inner = ((hidden() @ w1.T + b1).clamp(min=0) @ w2.T + b2).clamp(min=0)

    torch.testing.assert_close(head(hidden()), (inner @ w3.T + b3)[:, 0], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_computes_in_float32_whatever_the_model_computes_in(dtype: torch.dtype):
    found = trained()(hidden(dtype=dtype))

    assert found.shape == (5,)
    assert found.dtype == torch.float32


def test_its_gradient_reaches_its_own_weights_and_not_the_hidden_states():
    head, states = trained(), hidden()

    head(states).sum().backward()

    assert states.grad is None
    assert all(parameter.grad is not None and bool(parameter.grad.any()) for parameter in head.parameters())


def test_before_training_the_last_layer_learns_though_it_is_zero():
    head = ValueHead(WIDTH, seed=0)

    ((head(hidden()) - 1) ** 2).sum().backward()

    assert head.layers[-1].weight.grad.any()
    assert head.layers[-1].bias.grad.item() == -10.0  # 2 * (0 - 1) at each of five positions


def test_it_learns_what_hidden_states_tell():
    head, states = ValueHead(WIDTH, seed=0), hidden(40).detach()
    wanted = states[:, 0].sign()
    optimizer = torch.optim.Adam(head.parameters(), lr=0.02)
    for _ in range(80):
        optimizer.zero_grad()
        loss = ((head(states) - wanted) ** 2).mean()
        loss.backward()
        optimizer.step()

    assert loss.item() < 0.2


def test_the_seed_alone_decides_its_start():
    def start(seed: int) -> list[torch.Tensor]:
        torch.manual_seed(seed + 50)
        return list(ValueHead(WIDTH, seed=seed).parameters())

    assert all(torch.equal(a, b) for a, b in zip(start(0), start(0), strict=True))
    assert not torch.equal(start(0)[0], start(1)[0])


def test_making_one_leaves_the_global_random_state_alone():
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)

    ValueHead(WIDTH, seed=0)

    assert torch.equal(torch.rand(1), expected)
