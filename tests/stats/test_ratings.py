"""Bradley-Terry ratings against closed forms and Zermelo's iteration."""

import math
from itertools import combinations

import numpy as np
import pytest

from haloes.errors import DataError
from haloes.stats.ratings import bradley_terry


def season(chances: dict[tuple[str, str], list[float]]) -> tuple[list[str], list[str], list[float], list[int]]:
    """The comparisons of a table of results, one prompt each."""
    rows = [(one, other, value) for (one, other), values in chances.items() for value in values]
    return [a for a, _, _ in rows], [b for _, b, _ in rows], [v for _, _, v in rows], list(range(len(rows)))


def test_two_models_differ_by_the_log_odds():
    found = bradley_terry(*season({("a", "b"): [1.0] * 30 + [0.0] * 10}), virtual_ties=0, draws=50)
    assert found.differences[0].score.value == pytest.approx(math.log(3), abs=1e-4)
    assert [score.variant for score in found.scores] == ["a", "b"]
    assert sum(score.value for score in found.scores) == pytest.approx(0, abs=1e-9)


def test_ties_count_half():
    tied = bradley_terry(*season({("a", "b"): [1.0, 1.0, 0.5, 0.5]}), draws=10)
    split = bradley_terry(*season({("a", "b"): [1.0, 1.0, 1.0, 0.0]}), draws=10)
    assert tied.scores[0].value == pytest.approx(split.scores[0].value)


def test_several_models_have_zermelos_ratings():
    rng = np.random.default_rng(0)
    names = list("abcd")
    results = {pair: rng.choice([0.0, 0.5, 1.0], size=25).tolist() for pair in combinations(names, 2)}
    found = bradley_terry(*season(results), virtual_ties=0, draws=10)
    strength = dict.fromkeys(names, 1.0)
    for _ in range(5000):
        won = {m: sum(sum(v) if m == a else 25 - sum(v) for (a, b), v in results.items() if m in (a, b)) for m in names}
        strength = {m: won[m] / sum(25 / (strength[m] + strength[o]) for o in names if o != m) for m in names}
        scale = math.exp(np.mean([math.log(s) for s in strength.values()]))
        strength = {m: s / scale for m, s in strength.items()}
    ratings = {score.variant: score.value for score in found.scores}
    assert ratings == pytest.approx({m: math.log(s) for m, s in strength.items()}, abs=1e-4)
    values = [score.value for score in found.scores]
    assert values == sorted(values, reverse=True)


def test_a_model_that_wins_everything_is_held_by_its_virtual_ties():
    # r and -r maximise 20 log s(2r) + 2 * (log s(r) + log s(-r)) / 2: 20 s(-2r) = tanh(r / 2) by the first derivative.
    found = bradley_terry(*season({("a", "b"): [1.0] * 20}), draws=50)
    rating = found.scores[0].value
    assert 40 / (1 + math.exp(2 * rating)) == pytest.approx(math.tanh(rating / 2), rel=1e-5)
    assert "rests on its virtual ties" in found.scores[0].method
    assert "rests on its virtual ties" in found.differences[0].score.method


def test_virtual_ties_are_hardly_felt_by_models_that_win_and_lose():
    games = season({("a", "b"): [1.0] * 150 + [0.0] * 50})
    with_ties = bradley_terry(*games, draws=50)
    without = bradley_terry(*games, virtual_ties=0, draws=50)
    assert with_ties.scores[0].value == pytest.approx(without.scores[0].value, rel=0.02)
    assert "virtual ties" not in with_ties.scores[0].method


def test_naming_the_other_model_first_changes_nothing():
    one, other, value, prompts = season(
        {("a", "b"): [1.0, 0.0, 1.0], ("b", "c"): [1.0, 0.5, 0.0], ("c", "a"): [0.0, 0.5]}
    )
    here = bradley_terry(one, other, value, prompts, draws=30)
    there = bradley_terry(other, one, [1 - v for v in value], prompts, draws=30)
    for a, b in zip(sorted(here.scores, key=str), sorted(there.scores, key=str), strict=True):
        assert (a.variant, a.value, a.low, a.high) == pytest.approx((b.variant, b.value, b.low, b.high), abs=1e-6)


def test_a_clear_difference_is_found_after_correction_and_an_even_one_is_not():
    games = {("a", "b"): [1.0] * 70 + [0.0] * 30, ("b", "c"): [1.0, 0.0] * 50, ("a", "c"): [1.0] * 72 + [0.0] * 28}
    found = {frozenset([d.model, d.other]): d for d in bradley_terry(*season(games), draws=500).differences}
    assert found[frozenset("ab")].p_holm < 0.02
    assert found[frozenset("ab")].score.low > 0
    assert found[frozenset("bc")].p_holm > 0.5
    assert all(d.p_holm >= d.p_value for d in found.values())


def test_unscored_comparisons_are_left_out_and_counted():
    found = bradley_terry(["a"] * 4, ["b"] * 4, [1.0, 0.0, None, 1.0], list("pqrs"), draws=10)
    assert found.unscored == 1
    assert (found.scores[0].num_rows, found.scores[0].num_clusters) == (3, 3)


def test_models_that_nothing_connects_are_refused():
    with pytest.raises(DataError, match="no scored comparison connects 'c' with 'a'"):
        bradley_terry(["a", "c", "a"], ["b", "d", "c"], [1.0, 1.0, None], list("pqr"))


def test_other_faults_are_named():
    with pytest.raises(DataError, match="'a' is compared with itself"):
        bradley_terry(["a", "a"], ["b", "a"], [1.0, 1.0], list("pq"))
    with pytest.raises(DataError, match="at least two scored prompts, got 1"):
        bradley_terry(["a"], ["b"], [1.0], ["p"])
    with pytest.raises(DataError, match="1 and 2 models for 2 preferences"):
        bradley_terry(["a"], ["b", "b"], [1.0, 0.0], list("pq"))


@pytest.mark.peer
def test_evalica_gives_the_same_ratings():
    evalica = pytest.importorskip("evalica", reason="evalica is not installed (make test-peers runs it)")
    rng = np.random.default_rng(1)
    results = {pair: rng.choice([0.0, 0.5, 1.0], size=30).tolist() for pair in combinations("abcd", 2)}
    first, second, preferences, prompts = season(results)

    winner = {1.0: evalica.Winner.X, 0.0: evalica.Winner.Y, 0.5: evalica.Winner.Draw}
    peer = evalica.bradley_terry(first, second, [winner[value] for value in preferences], tolerance=1e-12, limit=10_000)
    found = bradley_terry(first, second, preferences, prompts, virtual_ties=0, draws=10)
    log_strength = np.log(peer.scores)

    for score in found.scores:
        expected = log_strength[score.variant] - log_strength.mean()
        assert score.value == pytest.approx(expected, abs=1e-4)
