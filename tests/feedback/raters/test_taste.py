"""Whose verdicts a set of feedback holds: people, models, lengths, times, repeated and contradicting votes."""

from collections.abc import Iterable

import pytest

from haloes.feedback.raters.kinds import MOST_MODELS
from haloes.feedback.raters.taste import taste
from haloes.feedback.raters.votes import Votes
from haloes.records import Feedback, FeedbackRow, Pair
from haloes.report.taste import people, share_up, thumbs
from haloes.results import Taste, VotesOf


def taste_of(rows: Iterable[FeedbackRow]) -> Taste:
    votes = Votes()
    for row in rows:
        votes.add(row)
    found = taste(votes)
    assert found is not None
    return found


def vote(number: int, *, up: bool = True, user: str | None = "ann", **rest: str) -> Feedback:
    return Feedback(
        prompt=f"question {number}", completion=rest.pop("completion", "an answer"), label=up, user=user, **rest
    )


def kinds(found: Taste, by: str) -> list[tuple[str, int, float]]:
    return [(kind.name, kind.num_votes, kind.share_up) for kind in found.kinds if kind.by == by]


def test_how_concentrated_the_votes_are_is_counted_by_person() -> None:
    rows = [vote(n, user=user) for n, user in enumerate(["ann"] * 6 + ["ben"] * 3 + ["cem"])]
    rows += [vote(20, user=None)]

    found = taste_of(rows)

    assert (found.num_votes, found.num_unnamed, found.num_people, found.num_for_half) == (11, 1, 3, 1)
    assert found.largest_share == pytest.approx(6 / 10)
    assert found.num_even == pytest.approx(1 / (0.6**2 + 0.3**2 + 0.1**2))
    assert " ".join(people(found)) == (
        "3 people gave 11 verdicts (1 of them name nobody): one of them gave half, the most active 60%; as "
        "concentrated as 2.2 people with equally many"
    )


def test_two_people_with_half_of_the_votes_each_are_one_for_half() -> None:
    found = taste_of([vote(n, user=user) for n, user in enumerate(["ann", "ben"] * 4)])

    assert found.num_for_half == 1
    assert found.num_even == pytest.approx(2)


def test_the_interval_of_the_share_of_up_votes_counts_people_and_not_votes() -> None:
    rows = [vote(n, up=n % 40 < 30, user=f"person {n // 40}") for n in range(160)]
    alone = [vote(n, up=n % 40 < 30, user=f"person {n}") for n in range(160)]
    torn = [vote(n, up=n < 120, user=f"person {n // 40}") for n in range(160)]

    widths = [found.up.high - found.up.low for found in map(taste_of, (alone, rows, torn)) if found.up is not None]

    assert widths[0] < widths[2]
    assert len(widths) == 3
    up = taste_of(torn).up
    assert up is not None
    assert "over 4 people" in up.method


def test_one_persons_votes_have_no_interval_and_it_is_said_that_others_are_unknown() -> None:
    found = taste_of([vote(n, up=n < 3, model="m") for n in range(4)])

    assert found.up is None
    assert "what others like cannot be known" in people(found)[0]
    assert share_up(found.kinds[0]) == "75% (one person's: no interval)"


def test_nobody_named_is_said() -> None:
    found = taste_of([vote(n, user=None) for n in range(3)])

    assert found.num_people == 0
    assert people(found) == ["nobody is named: how many people gave the 3 verdicts cannot be known"]
    assert found.up is not None  # each prompt stands for somebody


def test_up_votes_are_counted_by_answering_model_the_most_voted_first() -> None:
    rows = [vote(n, up=n < 3, user=f"p{n}", model="big" if n < 4 else "small") for n in range(6)]

    assert kinds(taste_of([*rows, vote(9)]), "model") == [("big", 4, 0.75), ("small", 2, 0.0)]


def test_rare_models_are_taken_together_at_the_end() -> None:
    rows = [vote(n, user=f"p{n}", model=f"m{n % (MOST_MODELS + 5):02}") for n in range(3 * (MOST_MODELS + 5))]

    found = kinds(taste_of(rows), "model")

    assert len(found) == MOST_MODELS + 1
    assert found[-1][:2] == ("all others", 15)


def test_up_votes_are_counted_by_quarters_of_length() -> None:
    rows = [vote(n, up=n >= 4, user=f"p{n}", completion="word " * (n + 1)) for n in range(8)]

    assert kinds(taste_of(rows), "length") == [
        ("1 to 2 words", 2, 0.0),
        ("3 to 4 words", 2, 0.0),
        ("5 to 6 words", 2, 1.0),
        ("7 to 8 words", 2, 1.0),
    ]


def test_that_length_alone_predicts_the_vote_is_told_with_an_interval_and_the_direction() -> None:
    rows = [vote(n, up=n < 20, user=f"p{n}", completion="x" * (n + 1)) for n in range(40)]

    assert "AUC 1.00 for the shorter one (95% interval 0." in thumbs(taste_of(rows))[1]


@pytest.mark.parametrize(
    ("times", "names"),
    [
        (("2026-03-02T05:59:59Z", "2026-03-09T06:00:00Z"), ["2026 week 10", "2026 week 11"]),
        (tuple(f"2026-{m:02}-{d:02}T00:00:00Z" for m in (1, 2) for d in range(1, 28)), ["2026-01", "2026-02"]),
        (tuple(f"2026-{m:02}-01T00:00:00Z" for m in range(1, 13)), [f"2026 quarter {q}" for q in (1, 2, 3, 4)]),
        (tuple(f"{y}-06-01T00:00:00Z" for y in range(2012, 2024)), [str(y) for y in range(2012, 2024)]),
    ],
)
def test_up_votes_are_counted_by_the_finest_time_that_is_not_too_many(times: tuple[str, ...], names: list[str]) -> None:
    rows = [vote(n, user=f"p{n}", rated_at=time) for n, time in enumerate(times)]

    assert [name for name, _, _ in kinds(taste_of(rows), "time")] == names


def test_up_votes_are_counted_by_the_hour_of_the_day() -> None:
    rows = [
        vote(0, rated_at="2026-03-02T05:59:59Z"),
        vote(1, rated_at="2026-03-09T06:00:00+00:00", up=False),
        vote(2, rated_at="2026-03-09T06:00:00+01:00"),
        vote(3),
    ]

    assert kinds(taste_of(rows), "hour") == [("00 to 06 h UTC", 2, 1.0), ("06 to 12 h UTC", 1, 0.0)]


def test_a_person_who_votes_again_is_told_from_people_who_disagree() -> None:
    rows = [
        *(vote(1, user="ann"), vote(1, user="ann", up=False), vote(1, user="ben")),
        *(vote(2, user="ann"), vote(2, user="ann"), vote(2, user="ben")),
        *(vote(3, user="ann"), vote(3, user="ben"), vote(3, user=None, up=False)),
        *(vote(4, user=None), vote(4, user=None, up=False)),
    ]

    found = taste_of(rows)

    assert (found.num_again, found.num_changed, found.num_shared) == (2, 1, 3)
    assert found.agreed is not None
    assert found.agreed.value == pytest.approx(2 / 3)
    assert "on 2 answers one person voted again, on 1 of them the other way" in thumbs(found)


def test_comparisons_and_scores_are_verdicts_of_people_and_no_thumbs() -> None:
    rows: list[FeedbackRow] = [
        Pair(prompt="p", chosen="a", rejected="b", user="ann"),
        Feedback(prompt="p", completion="a", score=3.0, user="ben"),
    ]

    found = taste_of(rows)

    assert (found.num_votes, found.num_people) == (2, 2)
    assert (found.up, found.kinds, found.length) == (None, (), None)
    assert thumbs(found) == []


def test_reasoning_is_no_part_of_an_answers_length() -> None:
    rows = [vote(n, user=f"p{n}", completion="<think>\nmany words here\n</think>\n\nYes.") for n in range(2)]
    rows += [vote(9, user="p9", completion="No, never.")]

    assert [name for name, _, _ in kinds(taste_of(rows), "length")] == ["1 word", "2 words"]


def test_without_a_verdict_there_is_nothing_to_tell() -> None:
    assert taste(Votes()) is None


def test_nothing_depends_on_the_order_of_the_rows() -> None:
    rows = [
        vote(n % 7, up=n % 3 > 0, user=f"p{n % 5}", model=f"m{n % 2}", rated_at=f"2026-03-{n % 9 + 1:02}T01:00:00Z")
        for n in range(60)
    ]
    first, again = taste_of(rows), taste_of(rows[::-1])

    assert [kind_values(kind) for kind in again.kinds] == [kind_values(kind) for kind in first.kinds]


def kind_values(kind: VotesOf) -> tuple[str, str, int, float]:
    return kind.by, kind.name, kind.num_votes, kind.share_up
