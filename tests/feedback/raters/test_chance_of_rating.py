"""How likely an answer is rated: kinds, weights, and what votes would be of all, where the selection is known."""

from typing import Any

import numpy as np
import pytest

from haloes.feedback.importers.contract import Rated, Unrated
from haloes.feedback.raters.chance_of_rating import FEWEST, MOST_WEIGHT, ChanceOfRating, chance_of_rating
from haloes.feedback.raters.shown_answers import ShownAnswers
from haloes.records import Message, Where
from haloes.report.shown import rated, weighed

HERE = Where("f.json", 1)


def answer(text: str) -> tuple[Message, ...]:
    return (Message("assistant", text),)


def vote(place: int, *, up: bool | None = True, text: str = "Yes.", turns: int = 1, **rest: Any) -> Rated:
    rest = {"answer": str(place), **rest}
    return Rated(where=HERE, messages=(Message("user", "?"),) * turns, completion=answer(text), label=up, **rest)


def unrated(text: str = "Yes.", **rest: Any) -> Unrated:
    return Unrated(where=HERE, completion=answer(text), **rest)


def found(votes: list[Rated], others: list[Unrated]) -> ChanceOfRating:
    return chance_of_rating(
        ShownAnswers.of(((place, vote, vote.label) for place, vote in enumerate(votes)), iter(others))
    )


def simulated(seed: int, *, num: int = 6000) -> tuple[list[Rated], list[Unrated], float]:
    """Answers by two models: long ones, later ones, and those of model b are liked less and rated more often."""
    rng = np.random.default_rng(seed)
    votes: list[Rated] = []
    others: list[Unrated] = []
    likes = []
    for number in range(num):
        words, turn, model = int(rng.lognormal(4, 1)), int(rng.integers(1, 7)), "ab"[rng.integers(2)]
        taste = 1.5 - 0.8 * (np.log1p(words) - 4) - 0.2 * turn - 0.8 * (model == "b")
        likes.append(rng.random() < 1 / (1 + np.exp(-taste)))
        rates = -2.6 + 0.7 * (np.log1p(words) - 4) + 0.3 * np.log(turn) + 0.9 * (model == "b")
        given = {"text": "x" * words, "model": model, "user": f"u{number}", "time": 1.7e9 + 977 * number}
        if rng.random() < 1 / (1 + np.exp(-rates)):
            votes.append(vote(number, up=bool(likes[-1]), turns=turn, **given))
        else:
            others.append(unrated(number=turn, **given))
    return votes, others, float(np.mean(likes))


def test_weights_recover_what_all_would_have_voted_where_what_is_seen_decides_who_rates() -> None:
    held, plain_held, off, plain_off = 0, 0, [], []
    for seed in range(10):
        votes, others, truth = simulated(seed)
        shown = found(votes, others).shown
        assert shown.up is not None
        assert shown.up_of_all is not None
        held += shown.up_of_all.low <= truth <= shown.up_of_all.high
        plain_held += shown.up.low <= truth <= shown.up.high
        off.append(shown.up_of_all.value - truth)
        plain_off.append(shown.up.value - truth)

    assert held >= 8
    assert plain_held == 0
    assert abs(np.mean(off)) < 0.02
    assert np.mean(plain_off) < -0.1


def test_the_weights_of_the_rows_have_a_mean_of_one_and_a_bound() -> None:
    votes, others, _ = simulated(1)

    chance = found(votes, others)

    weights = np.array([chance.factors[place] for place in range(len(votes))])
    assert weights.mean() == pytest.approx(1)
    assert weights.max() == pytest.approx(chance.shown.most)
    assert chance.shown.most <= MOST_WEIGHT * 1.1
    assert chance.shown.num_rows == len(votes)
    # Kish's effective number of rows.
    assert chance.shown.num_effective == pytest.approx(weights.sum() ** 2 / (weights**2).sum())
    assert chance.shown.num_effective < len(votes)
    # Short answers of model a are seldom rated: each stands for more.
    lengths = np.array([len(vote.completion[0].content) for vote in votes])
    assert weights[lengths < 30].mean() > 2 * weights[lengths > 150].mean()


def test_each_kind_of_answers_says_how_many_of_it_are_rated() -> None:
    votes = [vote(n, model="a", user=f"u{n}", text="Yes.", turns=1 + n % 2) for n in range(30)]
    others = [unrated("```\nx = 1\n```", model="b", user=f"w{n}", number=9) for n in range(60)]

    kinds = {(kind.by, kind.name): (kind.num_shown, kind.num_rated) for kind in found(votes, others).shown.kinds}

    assert kinds == {
        ("model", "b"): (60, 0),
        ("model", "a"): (30, 30),
        ("length", "4 characters"): (30, 30),
        ("length", "13 characters"): (60, 0),
        ("number", "1st answer"): (15, 15),
        ("number", "2nd answer"): (15, 15),
        ("number", "9th and later"): (60, 0),
        ("code", "without code"): (30, 30),
        ("code", "with code"): (60, 0),
    }


def test_an_answer_that_several_rated_is_one_answer_and_as_many_rows() -> None:
    votes = [vote(n // 3, up=n % 3 > 0, user=f"u{n}") for n in range(90)]
    others = [unrated(user=f"w{n}") for n in range(30)]

    chance = found(votes, others)

    assert (chance.shown.num_shown, chance.shown.num_rated, chance.shown.num_rows) == (60, 30, 90)
    assert len(chance.factors) == 90
    assert chance.shown.up is not None
    assert chance.shown.up.value == pytest.approx(2 / 3)


def test_an_answer_that_is_rated_elsewhere_in_the_export_is_not_unrated() -> None:
    votes = [vote(n, user=f"u{n}", conversation="c") for n in range(30)]
    others = [unrated(user=f"u{n}", conversation="c", answer=str(n)) for n in range(20, 60)]

    shown = found(votes, others).shown

    assert (shown.num_shown, shown.num_rated) == (60, 30)


def test_time_is_that_of_the_answer_where_the_export_has_it() -> None:
    night, noon = "2026-01-01T02:00:00Z", "2026-01-01T12:00:00Z"
    votes = [vote(n, user=f"u{n}", time=noon, answered_at=night) for n in range(20)]

    kinds = found(votes, [unrated(user=f"w{n}", time=noon) for n in range(20)]).shown.kinds

    assert [(kind.name, kind.num_rated) for kind in kinds if kind.by == "hour"] == [
        ("00 to 06 h UTC", 20),
        ("12 to 18 h UTC", 0),
    ]


@pytest.mark.parametrize(("num_rated", "num_unrated"), [(FEWEST - 1, 50), (50, FEWEST - 1), (0, 50)])
def test_too_few_answers_give_no_weights_and_the_reason(num_rated: int, num_unrated: int) -> None:
    chance = found([vote(n, user=f"u{n}") for n in range(num_rated)], [unrated() for _ in range(num_unrated)])

    assert not chance.factors
    assert f"{num_rated} answers are rated and {num_unrated} are not" in chance.shown.too_little
    assert "cannot be estimated" in rated(chance.shown)[1]


def test_corrections_and_scores_count_as_rated_and_not_as_thumbs() -> None:
    votes = [vote(n, up=None, score=3.0, user=f"u{n}") for n in range(25)]

    shown = found(votes, [unrated(user=f"w{n}") for n in range(25)]).shown

    assert shown.num_rated == 25
    assert shown.up is None
    assert not shown.too_little


def test_the_sentences_say_shares_with_intervals_weights_and_what_cannot_be_known() -> None:
    votes, others, _ = simulated(0)

    shown = found(votes, others).shown
    said = rated(shown)

    assert said[0].startswith(f"{len(votes):,} of 6,000 answers that people were shown are rated: ")
    assert "of all that were shown it would be" in said[1]
    assert said[1].count("95% interval") == 2
    assert "feedback.reweight=rated" in weighed(shown)
    assert "of equal weight" in said[2]
    assert "cannot be known" in said[-1]


def test_without_unrated_answers_it_is_said_that_nothing_can_be_known() -> None:
    assert "cannot be known from votes alone" in " ".join(rated(None))
