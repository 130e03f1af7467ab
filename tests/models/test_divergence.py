"""Whole next-token distributions in chunks, against the full logits in float64 and autograd of torch."""

import dataclasses

import pytest
import torch
from torch import Tensor

from haloes.models import divergence as distribution
from haloes.models import lm_head as head
from haloes.models.divergence import log_collision, reference_kl, token_kl
from haloes.models.lm_head import Head

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
    monkeypatch.setattr(head, "CHUNK_BYTES", rows * 4 * VOCABULARY)
    return rows


def random(*shape: int, seed: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def make(
    *,
    bias: bool = True,
    scale: float = 1.0,
    softcap: float | None = None,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> tuple[Tensor, Head]:
    """Hidden states and an output layer."""
    weight = random(VOCABULARY, HIDDEN, seed=10 + seed, dtype=dtype)
    bias_V = random(VOCABULARY, seed=20 + seed, dtype=dtype) if bias else None
    return random(ROWS, HIDDEN, seed=30 + seed, dtype=dtype), Head(weight, bias_V, scale, softcap)


def log_distribution(hidden: Tensor, layer: Head) -> Tensor:
    """log p of every token of the vocabulary, (N, V) in float64."""
    logits = hidden.double() @ layer.weight_VH.double().T
    if layer.bias_V is not None:
        logits = logits + layer.bias_V.double()
    logits = logits * layer.scale
    if layer.softcap is not None:
        logits = torch.tanh(logits / layer.softcap) * layer.softcap
    return torch.log_softmax(logits, dim=-1)


def divergence(log_p: Tensor, log_q: Tensor) -> Tensor:
    """KL(p || q) of each row."""
    return (log_p.exp() * (log_p - log_q)).sum(-1)


def trainable(hidden: Tensor, layer: Head) -> tuple[Tensor, Head, list[Tensor]]:
    hidden, weight = hidden.clone().requires_grad_(), layer.weight_VH.clone().requires_grad_()
    bias = None if layer.bias_V is None else layer.bias_V.clone().requires_grad_()
    leaves = [leaf for leaf in (hidden, weight, bias) if leaf is not None]
    return hidden, dataclasses.replace(layer, weight_VH=weight, bias_V=bias), leaves


def gradients(values: Tensor, leaves: list[Tensor]) -> tuple[Tensor, ...]:
    """Gradients of an uneven sum of the values, so that a row's own weight is seen."""
    return torch.autograd.grad((values * random(ROWS, seed=4).to(values.dtype)).sum(), leaves)


# -- KL(policy || reference), to look at -----------------------------------------------------------------------------


@variants
@chunks
def test_token_kl_is_that_of_the_full_distributions(
    bias: bool, scale: float, softcap: float | None, rows_per_chunk: int
):
    policy, reference = make(bias=bias, scale=scale, softcap=softcap), make(seed=1)

    found = token_kl(*policy, *reference)

    true = divergence(log_distribution(*policy), log_distribution(*reference))
    assert float(true.min()) > 0.1
    torch.testing.assert_close(found.double(), true, rtol=1e-5, atol=1e-6)


def test_token_kl_of_equal_models_is_zero():
    hidden, layer = make(softcap=3.0)

    assert token_kl(hidden, layer, hidden.clone(), layer).tolist() == [0.0] * ROWS


def test_token_kl_has_no_gradient():
    hidden, layer, _ = trainable(*make())

    assert not token_kl(hidden, layer, *make(seed=1)).requires_grad


# -- KL(reference || policy), to train with --------------------------------------------------------------------------


@variants
@chunks
def test_reference_kl_is_that_of_the_full_distributions_the_other_way_round(
    bias: bool, scale: float, softcap: float | None, rows_per_chunk: int
):
    policy, reference = make(bias=bias, scale=scale, softcap=softcap), make(bias=bias, softcap=softcap, seed=1)

    found = reference_kl(*policy, *reference)

    true = divergence(log_distribution(*reference), log_distribution(*policy))
    assert found.dtype == torch.float32
    assert float((true - divergence(log_distribution(*policy), log_distribution(*reference))).abs().max()) > 0.1
    torch.testing.assert_close(found.double(), true, rtol=1e-5, atol=1e-6)


@variants
@chunks
def test_its_gradients_are_those_of_autograd(bias: bool, scale: float, softcap: float | None, rows_per_chunk: int):
    hidden, layer, leaves = trainable(*make(bias=bias, scale=scale, softcap=softcap))
    reference = make(bias=bias, scale=scale, softcap=softcap, seed=1)

    found = gradients(reference_kl(hidden, layer, *reference), leaves)

    true = gradients(divergence(log_distribution(*reference), log_distribution(hidden, layer)), leaves)
    assert len(found) == 2 + bias
    for got, want in zip(found, true, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)


def test_the_gradient_at_a_logit_is_the_policy_less_the_reference():
    # d KL(q || softmax(l)) / d l = softmax(l) - q, and with an identity for a head hidden states are logits.
    layer = Head(torch.eye(VOCABULARY))
    logits, other = random(ROWS, VOCABULARY, seed=1).requires_grad_(), random(ROWS, VOCABULARY, seed=2)

    reference_kl(logits, layer, other, layer).sum().backward()

    torch.testing.assert_close(logits.grad, logits.detach().softmax(-1) - other.softmax(-1), rtol=1e-4, atol=1e-6)


def test_the_reference_gets_no_gradient():
    hidden, layer, leaves = trainable(*make(seed=1))

    values = reference_kl(*make(), hidden, layer)

    assert not values.requires_grad
    assert all(leaf.grad is None for leaf in leaves)


def test_reference_kl_of_equal_models_is_zero_with_no_slope():
    hidden, layer, leaves = trainable(*make(softcap=3.0))

    values = reference_kl(hidden, layer, hidden.detach().clone(), layer)

    assert values.tolist() == [0.0] * ROWS
    for slope in gradients(values, leaves):
        torch.testing.assert_close(slope, torch.zeros_like(slope), rtol=0, atol=1e-5)


def test_no_more_than_a_chunk_of_logits_is_kept_and_each_is_computed_again(
    monkeypatch: pytest.MonkeyPatch, rows_per_chunk: int
):
    hidden, layer, leaves = trainable(*make())
    rows = []
    original = distribution.logits_of
    monkeypatch.setattr(distribution, "logits_of", lambda h, w: rows.append(len(h)) or original(h, w))

    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):
        values = reference_kl(hidden, layer, *make(seed=1))
    forward = list(rows)
    gradients(values, leaves)

    assert forward == [3, 3, 3, 3, 3, 3, 4, 4]  # of the reference and of the policy
    assert sorted(rows[len(forward) :]) == sorted(forward)
    assert max(kept, default=0) < 4 * VOCABULARY + VOCABULARY * HIDDEN


def test_bfloat16_rounds_the_logits_and_nothing_after_them():
    hidden, layer, leaves = trainable(*make(dtype=torch.bfloat16))
    reference = make(seed=1, dtype=torch.bfloat16)

    found = reference_kl(hidden, layer, *reference)

    true = divergence(log_distribution(*reference), log_distribution(hidden, layer))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), true, rtol=5e-2, atol=5e-2)
    for got, want in zip(gradients(found, leaves), gradients(true, leaves), strict=True):
        assert float((got.double() - want.double()).norm() / want.double().norm()) < 3e-2


# -- how peaked ------------------------------------------------------------------------------------------------------


@variants
@chunks
def test_log_collision_is_that_of_the_full_distribution(
    bias: bool, scale: float, softcap: float | None, rows_per_chunk: int
):
    policy = make(bias=bias, scale=scale, softcap=softcap)

    found = log_collision(*policy)

    true = log_distribution(*policy).exp().square().sum(-1).log()
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), true, rtol=1e-5, atol=2e-6)


def test_log_collision_of_a_uniform_distribution_is_minus_log_v_and_of_a_certain_one_zero():
    uniform = Head(torch.zeros(VOCABULARY, 1))
    certain = Head(torch.tensor([[1e4], *[[0.0]] * (VOCABULARY - 1)]))

    assert log_collision(torch.ones(2, 1), uniform).tolist() == pytest.approx([-3.433987] * 2)  # ln 31
    assert log_collision(torch.ones(2, 1), certain).tolist() == [0.0, 0.0]


def test_log_collision_has_no_gradient():
    hidden, layer, _ = trainable(*make())

    assert not log_collision(hidden, layer).requires_grad


# -- at the edges ----------------------------------------------------------------------------------------------------


def test_no_positions_are_no_numbers():
    hidden, layer, leaves = trainable(*make())
    other, other_layer = make(seed=1)

    assert token_kl(hidden[:0], layer, other[:0], other_layer).shape == (0,)
    assert log_collision(hidden[:0], layer).shape == (0,)
    found = reference_kl(hidden[:0], layer, other[:0], other_layer)
    found.sum().backward()
    assert found.shape == (0,)
    assert all(leaf.grad is None or not leaf.grad.any() for leaf in leaves)


def test_distributions_far_apart_stay_finite():
    layer = Head(torch.eye(3) * 1e4)
    hidden, other = torch.eye(3).requires_grad_(), torch.eye(3).roll(1, 0)

    found = reference_kl(hidden, layer, other, layer)
    found.sum().backward()

    assert found.tolist() == [1e4] * 3
    assert bool(torch.isfinite(hidden.grad).all())
    assert token_kl(hidden, layer, other, layer).tolist() == [1e4] * 3
    assert log_collision(hidden, layer).tolist() == [0.0] * 3
