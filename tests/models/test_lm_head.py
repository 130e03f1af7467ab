"""The chunked head, against log_softmax and autograd of torch on the full logits."""

import dataclasses

import pytest
import torch
from torch import Tensor

from haloes.models import lm_head as head_module
from haloes.models.lm_head import Head, target_logps

ROWS, HIDDEN, VOCABULARY = 13, 8, 31

variants = pytest.mark.parametrize(
    ("bias", "scale", "softcap"),
    [(False, 1.0, None), (True, 1.0, None), (False, 0.25, None), (False, 1.0, 3.0), (True, 2.0, 3.0)],
    ids=["plain", "bias", "scale", "softcap", "all"],
)
chunks = pytest.mark.parametrize("rows_per_chunk", [1, 4, 100], indirect=True)


@pytest.fixture
def rows_per_chunk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    rows: int = getattr(request, "param", 4)
    monkeypatch.setattr(head_module, "CHUNK_BYTES", rows * 4 * VOCABULARY)
    return rows


def random(*shape: int, seed: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def make(*, bias: bool, scale: float, softcap: float | None, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Head]:
    head = Head(
        random(VOCABULARY, HIDDEN, seed=1, dtype=dtype),
        random(VOCABULARY, seed=2, dtype=dtype) if bias else None,
        scale,
        softcap,
    )
    return random(ROWS, HIDDEN, seed=0, dtype=dtype), head


def targets() -> Tensor:
    return torch.randint(0, VOCABULARY, (ROWS,), generator=torch.Generator().manual_seed(3))


def expected(hidden: Tensor, head: Head) -> Tensor:
    """The full logits, (N, V): the matrix product in the dtype that is given, all else in float64."""
    logits = (hidden @ head.weight_VH.T).double()
    if head.bias_V is not None:
        logits = logits + head.bias_V.double()
    logits = logits * head.scale
    return logits if head.softcap is None else torch.tanh(logits / head.softcap) * head.softcap


def expected_logps(hidden: Tensor, head: Head) -> Tensor:
    return torch.log_softmax(expected(hidden, head), dim=-1).gather(1, targets()[:, None]).squeeze(1)


def gradients(logps: Tensor, *leaves: Tensor | None) -> list[Tensor]:
    """Gradients of an uneven sum of the log-probabilities, so that a row's own weight is seen."""
    weights = random(ROWS, seed=4).to(logps.dtype)
    found = torch.autograd.grad((logps * weights).sum(), [leaf for leaf in leaves if leaf is not None])
    return [grad.double() for grad in found]


def trainable(hidden: Tensor, head: Head) -> tuple[Tensor, Head]:
    bias = None if head.bias_V is None else head.bias_V.clone().requires_grad_()
    return hidden.clone().requires_grad_(), dataclasses.replace(
        head, weight_VH=head.weight_VH.clone().requires_grad_(), bias_V=bias
    )


def relative(found: Tensor, true: Tensor) -> float:
    return float((found - true).norm() / true.norm())


@variants
@chunks
def test_values_are_those_of_log_softmax(bias: bool, scale: float, softcap: float | None, rows_per_chunk: int):
    hidden, head = make(bias=bias, scale=scale, softcap=softcap)

    found = target_logps(hidden, head, targets())

    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), expected_logps(hidden, head), rtol=0, atol=2e-6)


@variants
@chunks
def test_gradients_of_a_trained_head_are_those_of_autograd(
    bias: bool, scale: float, softcap: float | None, rows_per_chunk: int
):
    hidden, head = trainable(*make(bias=bias, scale=scale, softcap=softcap))
    leaves = hidden, head.weight_VH, head.bias_V

    found = gradients(target_logps(hidden, head, targets()), *leaves)

    for got, true in zip(found, gradients(expected_logps(hidden, head), *leaves), strict=True):
        torch.testing.assert_close(got, true, rtol=1e-5, atol=1e-5)


@variants
@chunks
def test_gradients_behind_a_frozen_head_are_those_of_autograd(
    bias: bool, scale: float, softcap: float | None, rows_per_chunk: int
):
    hidden, head = make(bias=bias, scale=scale, softcap=softcap)
    hidden.requires_grad_()

    (found,) = gradients(target_logps(hidden, head, targets()), hidden)

    (true,) = gradients(expected_logps(hidden, head), hidden)
    torch.testing.assert_close(found, true, rtol=1e-5, atol=1e-5)


@variants
@pytest.mark.parametrize("frozen", [True, False])
def test_bfloat16_rounds_the_logits_and_nothing_after_them(
    bias: bool, scale: float, softcap: float | None, frozen: bool, rows_per_chunk: int
):
    hidden, head = make(bias=bias, scale=scale, softcap=softcap, dtype=torch.bfloat16)
    if not frozen:
        hidden, head = trainable(hidden, head)
    hidden.requires_grad_()
    leaves = (hidden,) if frozen else (hidden, head.weight_VH, head.bias_V)

    found = target_logps(hidden, head, targets())

    assert found.dtype == torch.float32
    true = expected_logps(hidden, head)
    torch.testing.assert_close(found.double(), true, rtol=0, atol=5e-6)
    for got, want in zip(gradients(found, *leaves), gradients(true, *leaves), strict=True):
        assert relative(got, want) < 2e-2


def test_a_frozen_head_computes_no_gradient_of_its_own_and_nothing_twice(monkeypatch: pytest.MonkeyPatch):
    hidden, head = make(bias=False, scale=1.0, softcap=None)
    hidden.requires_grad_()
    calls = []
    monkeypatch.setattr(
        head_module, "logits_of", lambda h, w, compute=head_module.logits_of: calls.append(1) or compute(h, w)
    )

    target_logps(hidden, head, targets()).sum().backward()

    assert len(calls) == 1
    assert head.weight_VH.grad is None


def test_no_more_than_a_chunk_of_logits_exists_at_a_time(monkeypatch: pytest.MonkeyPatch, rows_per_chunk: int):
    hidden, head = trainable(*make(bias=False, scale=1.0, softcap=None))
    rows = []
    monkeypatch.setattr(
        head_module, "logits_of", lambda h, w, compute=head_module.logits_of: rows.append(len(h)) or compute(h, w)
    )

    target_logps(hidden, head, targets()).sum().backward()

    assert rows == [3, 3, 3, 4] * 2


def test_a_trained_bias_over_a_frozen_weight_gets_its_gradient():
    hidden, head = make(bias=True, scale=1.0, softcap=None)
    assert head.bias_V is not None
    head.bias_V.requires_grad_()

    (found,) = gradients(target_logps(hidden, head, targets()), head.bias_V)

    (true,) = gradients(expected_logps(hidden, head), head.bias_V)
    torch.testing.assert_close(found, true, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("frozen", [True, False])
def test_no_targets_are_no_numbers_and_no_gradient(frozen: bool):
    hidden, head = make(bias=False, scale=1.0, softcap=None)
    if not frozen:
        hidden, head = trainable(hidden, head)
    hidden = hidden[:0].detach().requires_grad_()

    found = target_logps(hidden, head, targets()[:0])
    found.sum().backward()

    assert found.shape == (0,)
    assert hidden.grad is not None
    assert hidden.grad.shape == (0, HIDDEN)
    assert frozen or not head.weight_VH.grad.any()


def test_extreme_logits_stay_finite():
    head = Head(torch.eye(3) * 1e4)
    hidden = torch.eye(3).requires_grad_()

    found = target_logps(hidden, head, torch.tensor([0, 0, 2]))
    found.sum().backward()

    assert found.tolist() == [0.0, -1e4, 0.0]
    assert torch.isfinite(hidden.grad).all()


def test_without_gradients_nothing_is_kept():
    hidden, head = trainable(*make(bias=False, scale=1.0, softcap=None))

    with torch.no_grad():
        found = target_logps(hidden, head, targets())

    assert not found.requires_grad
