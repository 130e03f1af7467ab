"""Drawing tokens, against distributions worked out by hand."""

import numpy as np
import pytest
import torch

from haloes.sampling.token_choice import FEW, draws, greedy, sample_top_p

LOGITS = torch.log(torch.tensor([[0.15, 0.5, 0.05, 0.3]]))


def token(draw: float, *, temperature: float = 1.0, top_p: float = 1.0, logits: torch.Tensor = LOGITS) -> int:
    return int(sample_top_p(logits, torch.tensor([draw], dtype=torch.float64), temperature=temperature, top_p=top_p))


def test_a_draw_picks_by_probability_likeliest_first():
    # In order: token 1 up to 0.5, token 3 up to 0.8, token 0 up to 0.95, token 2 up to 1.
    assert [token(u) for u in (0.0, 0.49, 0.51, 0.79, 0.81, 0.94, 0.96, 0.9999999)] == [1, 1, 3, 3, 0, 0, 2, 2]


def test_the_nucleus_is_the_fewest_tokens_that_reach_top_p():
    # 0.5 has not reached 0.75, 0.5 + 0.3 has: two tokens are kept, and token 1 has 0.5 / 0.8 of the draws.
    assert [token(u, top_p=0.75) for u in (0.0, 0.62, 0.63, 0.9999999)] == [1, 1, 3, 3]


def test_a_tiny_nucleus_is_the_likeliest_token():
    assert [token(u, top_p=1e-9) for u in (0.0, 0.5, 0.9999999)] == [1, 1, 1]


def test_temperature_divides_the_logits():
    # Probabilities 4 : 1 become 2 : 1 at temperature 2.
    logits = torch.log(torch.tensor([[4.0, 1.0]]))
    assert [token(u, temperature=2.0, logits=logits) for u in (0.66, 0.67)] == [0, 1]


def test_a_flat_distribution_over_many_tokens_keeps_them_all():
    # Uniform over ten thousand tokens and top_p 0.9: nine thousand are kept, many more than are sorted at first.
    logits = torch.zeros((1, 10_000))
    tokens = {token((k + 0.5) / 9000, top_p=0.89995, logits=logits) for k in range(0, 9000, 9)}

    assert FEW < 1000
    assert len(tokens) == 1000


def test_rows_are_drawn_apart():
    logits = LOGITS.expand(3, -1)
    found = sample_top_p(logits, torch.tensor([0.1, 0.6, 0.9], dtype=torch.float64), temperature=1.0, top_p=1.0)

    assert found.tolist() == [1, 3, 0]


def test_the_likeliest_token_has_the_largest_logit():
    assert greedy(LOGITS).tolist() == [1]


def test_draws_belong_to_seed_and_prompt_and_to_nothing_else():
    first = draws("a", seed=1, count=5)

    assert np.array_equal(first, draws("a", seed=1, count=9)[:5])
    assert not np.array_equal(first, draws("b", seed=1, count=5))
    assert not np.array_equal(first, draws("a", seed=2, count=5))


def test_draws_are_uniform():
    numbers = np.concatenate([draws(str(k), seed=0, count=10) for k in range(1000)])

    assert numbers.min() >= 0
    assert numbers.max() < 1
    assert np.histogram(numbers, bins=4, range=(0, 1))[0] / 10_000 == pytest.approx(0.25, abs=0.02)
