"""Packed attention, against softmax by hand in float64; calls without a layout, against transformers' own attention."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from haloes.models.attention import packed_attention

HEADS, KEY_HEADS, SIZE = 4, 2, 8
DOCUMENTS = [5, 1, 9, 2]
PIECES, BEFORE = [4, 3, 1, 2, 5, 3], [[], [0], [0], [], [0, 2], [0, 2]]
"""Two levels of shared beginnings: the sequences are 0 1, 0 2 4, 0 2 5, and 3 alone."""

MODULE: Any = SimpleNamespace(num_key_value_groups=HEADS // KEY_HEADS, is_causal=True)

ways = pytest.mark.parametrize(
    ("window", "softcap"), [(None, None), (3, None), (None, 2.0), (3, 2.0), (100, None), (100, 2.0)]
)


def qkv(tokens: int, *, batch: int = 1, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    heads = (HEADS, KEY_HEADS, KEY_HEADS)
    q, k, v = (torch.randn(batch, n, tokens, SIZE, generator=generator).to(dtype) * 2 for n in heads)
    return q, k, v


def by_hand(q: Tensor, k: Tensor, v: Tensor, allowed: Tensor, *, softcap: float | None, scaling: float) -> Tensor:
    """softmax(q k / sqrt) v in float64 over the allowed (query, key), (1, T, heads, size)."""
    k, v = (x.double().repeat_interleave(HEADS // KEY_HEADS, dim=1) for x in (k, v))
    scores = q.double() @ k.transpose(2, 3) * scaling
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    weights = torch.softmax(scores.masked_fill(~allowed, float("-inf")), dim=-1)
    return (weights @ v).transpose(1, 2)


def allowed_in(documents: list[int], window: int | None) -> Tensor:
    owner = torch.repeat_interleave(torch.arange(len(documents)), torch.tensor(documents))
    place = torch.arange(len(owner))
    distance = place[:, None] - place[None, :]
    return (owner[:, None] == owner[None, :]) & (distance >= 0) & (distance < (window or len(owner)))


@ways
@pytest.mark.parametrize("scaling", [None, 0.7])
def test_each_document_attends_to_its_own_past(window: int | None, softcap: float | None, scaling: float | None):
    q, k, v = qkv(sum(DOCUMENTS))

    found, weights = packed_attention(
        MODULE, q, k, v, None, scaling=scaling, sliding_window=window, softcap=softcap, haloes_piece_lengths=DOCUMENTS
    )

    true = by_hand(q, k, v, allowed_in(DOCUMENTS, window), softcap=softcap, scaling=scaling or SIZE**-0.5)
    assert weights is None
    assert found.is_contiguous()
    torch.testing.assert_close(found.double(), true, rtol=1e-5, atol=1e-6)


def path_allowed(window: int | None) -> Tensor:
    """A query sees the pieces on its own path, up to itself and within the window, by its position in the sequence."""
    starts = [sum(PIECES[:i]) for i in range(len(PIECES))]
    allowed = torch.zeros(sum(PIECES), sum(PIECES), dtype=torch.bool)
    for i, path in enumerate(BEFORE):
        sequence = [starts[k] + n for k in [*path, i] for n in range(PIECES[k])]
        for place, token in enumerate(sequence):
            allowed[token, sequence[max(0, place + 1 - (window or len(sequence))) : place + 1]] = True
    return allowed


@ways
def test_pieces_attend_to_the_beginning_that_they_share(window: int | None, softcap: float | None):
    q, k, v = (x.requires_grad_() for x in qkv(sum(PIECES)))
    layout = {"haloes_piece_lengths": PIECES, "haloes_prefix_pieces": BEFORE}

    found, _ = packed_attention(MODULE, q, k, v, None, sliding_window=window, softcap=softcap, **layout)

    true = by_hand(q, k, v, path_allowed(window), softcap=softcap, scaling=SIZE**-0.5)
    torch.testing.assert_close(found.double(), true, rtol=1e-5, atol=1e-6)
    direction = torch.randn(found.shape, generator=torch.Generator().manual_seed(1))
    got = torch.autograd.grad(found, (q, k, v), direction)
    for mine, want in zip(got, torch.autograd.grad(true, (q, k, v), direction.double()), strict=True):
        torch.testing.assert_close(mine, want, rtol=1e-4, atol=1e-5)


@ways
def test_gradients_are_those_of_the_formula(window: int | None, softcap: float | None):
    q, k, v = (x.requires_grad_() for x in qkv(sum(DOCUMENTS)))
    found, _ = packed_attention(
        MODULE, q, k, v, None, sliding_window=window, softcap=softcap, haloes_piece_lengths=DOCUMENTS
    )
    true = by_hand(q, k, v, allowed_in(DOCUMENTS, window), softcap=softcap, scaling=SIZE**-0.5)
    direction = torch.randn(found.shape, generator=torch.Generator().manual_seed(1))

    got = torch.autograd.grad(found, (q, k, v), direction)

    for mine, want in zip(got, torch.autograd.grad(true, (q, k, v), direction.double()), strict=True):
        torch.testing.assert_close(mine, want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("softcap", [None, 2.0])
def test_another_document_changes_not_a_bit(softcap: float | None):
    q, k, v = qkv(sum(DOCUMENTS))
    other = [x.clone() for x in (q, k, v)]
    for x in other:
        x[:, :, :5] += 1

    before, _ = packed_attention(MODULE, q, k, v, None, softcap=softcap, haloes_piece_lengths=DOCUMENTS)
    after, _ = packed_attention(MODULE, *other, None, softcap=softcap, haloes_piece_lengths=DOCUMENTS)

    assert not torch.equal(before[:, :5], after[:, :5])
    assert torch.equal(before[:, 5:], after[:, 5:])


@pytest.mark.parametrize("softcap", [None, 2.0])
def test_dropout_drops_attention_weights_and_scales_the_rest(softcap: float | None):
    q, k, _ = qkv(400)
    v = torch.ones(1, KEY_HEADS, 400, SIZE)
    torch.manual_seed(0)

    found, _ = packed_attention(MODULE, q, k, v, None, dropout=0.5, softcap=softcap, haloes_piece_lengths=[400])

    # With values of one the output is the sum of the weights: 1 in the mean, and no longer 1 each.
    assert float(found.mean()) == pytest.approx(1.0, abs=0.02)
    assert float(found.std()) > 0.1


@pytest.mark.parametrize("masked", [False, True])
def test_a_call_without_layout_is_the_sdpa_attention(masked: bool):
    q, k, v = qkv(7, batch=2)
    mask = allowed_in([7], None).expand(2, 1, 7, 7) if masked else None

    found, _ = packed_attention(MODULE, q, k, v, mask, scaling=0.3)

    true, _ = sdpa_attention_forward(MODULE, q, k, v, mask, scaling=0.3)
    assert torch.equal(found, true)


@pytest.mark.parametrize(("queries", "keys"), [(7, 7), (1, 7)])
def test_a_softcap_without_layout_follows_the_mask_that_is_left_out(queries: int, keys: int):
    # Several queries without a mask are causal; one alone is the newest token and sees everything.
    q, k, v = qkv(keys)
    allowed = allowed_in([keys], None)[-queries:]

    found, _ = packed_attention(MODULE, q[:, :, -queries:], k, v, None, softcap=2.0)

    true = by_hand(q[:, :, -queries:], k, v, allowed, softcap=2.0, scaling=SIZE**-0.5)
    torch.testing.assert_close(found.double(), true, rtol=1e-5, atol=1e-6)


def test_a_softcap_without_layout_keeps_padding_from_spreading():
    # The first two positions are padding on the left: as queries they see nothing at all.
    q, k, v = qkv(7)
    allowed = allowed_in([7], None) & (torch.arange(7) >= 2)

    found, _ = packed_attention(MODULE, q, k, v, allowed[None, None], softcap=2.0)

    true = by_hand(q, k, v, allowed, softcap=2.0, scaling=SIZE**-0.5)
    assert torch.isfinite(found).all()
    torch.testing.assert_close(found[:, 2:].double(), true[:, 2:], rtol=1e-5, atol=1e-6)
