"""How far raters can be relied on: against an independent oracle, by simulation, and where it cannot be known."""

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from scipy.optimize import minimize

from haloes.feedback.raters.reliability import (
    FEWEST_SHARED,
    LEAST_WEIGHT,
    PRIOR_RIGHT,
    PRIOR_WRONG,
    Raters,
    estimate_raters,
    rater_weights,
    weigh,
)
from haloes.feedback.raters.votes import Votes
from haloes.records import Feedback, Refusal, Where

Coins = Mapping[str, tuple[float, float]]


def votes_of(rows: Sequence[tuple[str | None, int, bool]]) -> Votes:
    votes = Votes()
    for user, answer, up in rows:
        votes.add(Feedback(prompt=f"question {answer}", completion="answer", label=up, user=user))
    return votes


def simulated(coins: Coins, *, num: int, per_answer: int, good: float, seed: int) -> list[tuple[str | None, int, bool]]:
    draws = np.random.default_rng(seed)
    rows: list[tuple[str | None, int, bool]] = []
    for answer in range(num):
        is_good = draws.random() < good
        for user in draws.choice(list(coins), size=min(per_answer, len(coins)), replace=False).tolist():
            on_good, on_bad = coins[user]
            rows.append((user, answer, bool(draws.random() < (on_good if is_good else 1 - on_bad))))
    return rows


def by_name(found: Raters) -> dict[str, float]:
    return {rater.name: rater.reliability for rater in found.raters}


def test_it_is_the_most_probable_value_that_a_general_optimiser_finds() -> None:
    coins = {"ann": (0.9, 0.8), "ben": (0.7, 0.9), "cem": (0.8, 0.6), "dia": (0.6, 0.6)}
    rows = simulated(coins, num=60, per_answer=3, good=0.6, seed=1)
    names = sorted(coins)

    def minus_log_posterior(x: np.ndarray) -> float:
        p = 1 / (1 + np.exp(-x))
        on_good, on_bad, share = p[:4], p[4:8], p[8]
        prior = sum((PRIOR_RIGHT - 1) * np.log(c) + (PRIOR_WRONG - 1) * np.log(1 - c) for c in [*on_good, *on_bad])
        total = prior + np.log(share) + np.log(1 - share)
        for answer in range(60):
            own = [(names.index(user), up) for user, of, up in rows if of == answer and user is not None]
            good = share * np.prod([on_good[r] if up else 1 - on_good[r] for r, up in own])
            bad = (1 - share) * np.prod([1 - on_bad[r] if up else on_bad[r] for r, up in own])
            total += np.log(good + bad)
        return -float(total)

    best = minimize(minus_log_posterior, np.ones(9), method="BFGS", options={"gtol": 1e-7}).x
    expected = 1 / (1 + np.exp(-best))
    found = {rater.name: rater for rater in estimate_raters(votes_of(rows)).raters}

    assert [found[name].on_good for name in names] == pytest.approx(expected[:4], abs=1e-4)
    assert [found[name].on_bad for name in names] == pytest.approx(expected[4:8], abs=1e-4)
    assert estimate_raters(votes_of(rows)).share_good == pytest.approx(expected[8], abs=1e-4)


def test_simulated_reliabilities_are_recovered() -> None:
    coins = {f"p{i}": (0.55 + 0.04 * i, 0.95 - 0.03 * i) for i in range(10)}
    errors = []
    for seed in range(5):
        found = by_name(estimate_raters(votes_of(simulated(coins, num=600, per_answer=4, good=0.7, seed=seed))))
        errors += [found[name] - (a + b - 1) for name, (a, b) in coins.items()]

    assert abs(np.mean(errors)) < 0.04
    assert np.sqrt(np.mean(np.square(errors))) < 0.1


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    coins = {f"p{i}": (0.6 + 0.035 * i, 0.9 - 0.02 * i) for i in range(10)}
    held = []
    for seed in range(20):
        rows = simulated(coins, num=300, per_answer=5, good=0.6, seed=100 + seed)
        for rater in estimate_raters(votes_of(rows)).raters:
            truth = sum(coins[rater.name]) - 1
            held.append(rater.low <= truth <= rater.high)

    assert 0.85 < np.mean(held) <= 1


def test_who_always_votes_up_says_nothing_and_who_votes_against_all_is_below_it() -> None:
    coins = {"ann": (0.9, 0.9), "ben": (0.85, 0.85), "cem": (0.8, 0.9), "yes": (1.0, 0.0), "contrary": (0.15, 0.15)}
    found = by_name(estimate_raters(votes_of(simulated(coins, num=300, per_answer=5, good=0.75, seed=3))))

    assert abs(found["yes"]) < 0.1
    assert found["contrary"] < -0.5
    assert min(found[name] for name in ("ann", "ben", "cem")) > 0.5


def test_with_mostly_good_answers_the_good_ones_are_still_called_good() -> None:
    coins = {f"p{i}": (0.9, 0.7) for i in range(5)}
    found = estimate_raters(votes_of(simulated(coins, num=200, per_answer=3, good=0.9, seed=4)))

    assert found.share_good == pytest.approx(0.9, abs=0.07)
    assert min(by_name(found).values()) > 0.2


def test_nothing_depends_on_the_order_of_the_rows() -> None:
    rows = simulated({f"p{i}": (0.8, 0.7) for i in range(5)}, num=80, per_answer=3, good=0.6, seed=5)

    first, again = by_name(estimate_raters(votes_of(rows))), by_name(estimate_raters(votes_of(rows[::-1])))

    assert again == pytest.approx(first, abs=1e-6)


def test_of_a_persons_votes_on_one_answer_the_last_counts() -> None:
    rows = simulated({f"p{i}": (0.8, 0.7) for i in range(5)}, num=80, per_answer=3, good=0.6, seed=5)
    turned = [(user, answer, not up) for user, answer, up in rows]

    assert by_name(estimate_raters(votes_of([*turned, *rows]))) == by_name(estimate_raters(votes_of(rows)))


def test_few_shared_answers_are_too_little() -> None:
    rows = simulated({f"p{i}": (0.9, 0.9) for i in range(5)}, num=FEWEST_SHARED - 1, per_answer=3, good=0.5, seed=6)
    rows += [("p0", 1000 + n, True) for n in range(50)]

    found = estimate_raters(votes_of(rows))

    assert found.raters == ()
    assert f"on {FEWEST_SHARED - 1} answers" in found.too_little


def test_two_people_or_a_chain_of_them_are_too_little() -> None:
    two = [(user, n, n % 3 > 0) for n in range(60) for user in ("ann", "ben")]
    chain: list[tuple[str | None, int, bool]] = [
        (user, n, n % 3 > 0) for n in range(60) for user in (("ann", "ben") if n % 2 else ("ben", "cem"))
    ]

    for rows in (two, chain):
        assert "who is right" in estimate_raters(votes_of(rows)).too_little
    assert estimate_raters(Votes()).raters == ()


def test_rows_weigh_as_their_raters_can_be_relied_on_with_a_mean_of_one() -> None:
    coins = {"ann": (0.95, 0.95), "ben": (0.8, 0.8), "cem": (0.9, 0.9), "yes": (1.0, 0.0)}
    rows = simulated(coins, num=200, per_answer=4, good=0.5, seed=7)
    votes = votes_of([*rows, ("alone", 999, True)])
    found = estimate_raters(votes)

    weights = rater_weights(found, votes)

    assert weights["ann"] > weights["ben"] > weights["yes"] > 0
    assert (
        weights["yes"] / weights["ann"] == pytest.approx(LEAST_WEIGHT / by_name(found)["ann"], rel=1e-6)
        or by_name(found)["yes"] > LEAST_WEIGHT
    )
    assert np.mean([weights.get(user, weights[None]) for user, _, _ in rows]) == pytest.approx(1)
    assert "alone" not in weights


def test_weights_multiply_those_of_the_rows() -> None:
    rows = [
        Feedback(prompt="p", completion="c", label=True, user="ann", weight=2.0),
        Feedback(prompt="p", completion="c", label=True),
        Refusal(Where("f", 1), "label", "what?"),
    ]

    weighed = list(weigh(rows, {"ann": 1.5, None: 1.0}))

    assert [row.weight for row in weighed if isinstance(row, Feedback)] == [3.0, 1.0]
    assert weighed[2] is rows[2]
