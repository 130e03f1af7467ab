"""Pairs to single examples and back, and one answer per prompt."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haloes.errors import ConfigError
from haloes.feedback.convert import Pairing, one_per_prompt, pair, unpair
from haloes.feedback.keys import group_of, prompt_key
from haloes.records import Feedback, Message, Pair, Refusal, Where

REFUSAL = Refusal(Where("f.jsonl", 3), "label", "what is 'maybe'?")

words = st.text("abc ", min_size=1, max_size=5).filter(str.strip)
names = st.none() | st.sampled_from(["x", "y"])
whole_pairs = st.builds(
    Pair,
    prompt=words | st.builds(lambda text: (Message("user", text), Message("assistant", "?")), words),
    chosen=words.map(lambda text: "good " + text.strip()),
    rejected=words.map(lambda text: "bad " + text.strip()),
    chosen_finished=st.booleans(),
    rejected_finished=st.booleans(),
    weight=st.floats(0.1, 10),
    id=names,
    group=names,
    conversation=names,
    user=names,
    source=names,
    tools=st.sampled_from([(), ({"name": "f"},)]),
)
answers = st.builds(
    Feedback,
    prompt=st.sampled_from(["p", "q", " q", "r"]),
    completion=st.sampled_from("abcdefgh"),
    label=st.booleans(),
    user=st.sampled_from(["ann", "bob"]),
)


def rated(prompt: str, **completions: bool) -> list[Feedback]:
    return [Feedback(prompt=prompt, completion=words, label=label) for words, label in completions.items()]


def texts(pairing: Pairing) -> set[tuple[object, object, object]]:
    return {(made.prompt, made.chosen, made.rejected) for made in pairing.pairs}


def test_a_pair_becomes_a_good_and_a_bad_answer_next_to_each_other() -> None:
    where = Where("f.jsonl", 1)
    whole = Pair(
        prompt="p", chosen="c", rejected="r", id="7", group="g", conversation="k", user="u", source="s", weight=2.0,
        tools=({"name": "f"},), where=where,
    )  # fmt: skip
    rest = {"prompt": "p", "group": "g", "conversation": "k", "user": "u", "source": "s", "weight": 2.0,
            "tools": ({"name": "f"},)}  # fmt: skip

    halves = list(unpair([whole, REFUSAL]))

    assert halves == [
        Feedback(completion="c", label=True, id="7-chosen", **rest),
        Feedback(completion="r", label=False, id="7-rejected", **rest),
        REFUSAL,
    ]
    assert [half.where for half in halves] == [where, where, REFUSAL.where]


def test_single_answers_pass_unpairing_unchanged_and_one_at_a_time() -> None:
    def endless() -> Iterator[Feedback]:
        while True:
            yield Feedback(prompt="p", completion="c", label=True)

    assert next(unpair(endless())) == Feedback(prompt="p", completion="c", label=True)


@given(st.lists(whole_pairs, max_size=8, unique_by=lambda row: (row.group, prompt_key(row.prompt))))
def test_pairs_of_different_prompts_survive_the_way_to_single_answers_and_back(pairs: list[Pair]) -> None:
    assert pair(unpair(pairs), seed=0).pairs == pairs


def test_each_side_of_a_pair_keeps_whether_it_was_cut_off() -> None:
    rows = [
        Feedback(prompt="p", completion="good", label=True),
        Feedback(prompt="p", completion="bad", label=False, finished=False),
    ]

    (made,) = pair(rows, seed=0).pairs

    assert (made.chosen_finished, made.rejected_finished) == (None, False)
    assert list(unpair([made])) == rows


def test_answers_are_matched_one_to_one_within_a_prompt() -> None:
    rows = rated("p", a=True, b=True, c=True, x=False, y=False) + rated("q", a=True) + rated("r", x=False, y=False)

    done = pair([*rows, REFUSAL], seed=0)

    assert len(done.pairs) == 2
    assert {made.prompt for made in done.pairs} == {"p"}
    assert {made.rejected for made in done.pairs} == {"x", "y"}
    assert len({made.chosen for made in done.pairs}) == 2
    assert (done.num_prompts, done.num_prompts_one_label) == (1, 2)
    # Of p: one of a, b, c. Of q: a. Of r: x and y.
    assert (done.num_desirable_left, done.num_undesirable_left) == (2, 2)
    assert done.refused == [REFUSAL]


def test_every_good_answer_can_meet_every_bad_one() -> None:
    rows = rated("p", a=True, b=True, c=True, x=False, y=False)

    done = pair(rows, seed=0, each_answer_once=False)

    assert texts(done) == {("p", good, bad) for good in "abc" for bad in "xy"}
    assert len(done.pairs) == 6
    assert (done.num_desirable_left, done.num_undesirable_left) == (0, 0)


def test_a_limit_on_pairs_per_prompt_holds_and_uses_different_answers_first() -> None:
    rows = rated("p", a=True, b=True, c=True, x=False, y=False, z=False)

    done = pair(rows, seed=0, max_per_prompt=3, each_answer_once=False)
    less = pair(rows, seed=0, max_per_prompt=1)

    assert sorted(str(made.chosen) for made in done.pairs) == ["a", "b", "c"]
    assert sorted(str(made.rejected) for made in done.pairs) == ["x", "y", "z"]
    assert len(less.pairs) == 1
    assert (less.num_desirable_left, less.num_undesirable_left) == (2, 2)


def test_no_pairs_per_prompt_is_refused() -> None:
    with pytest.raises(ConfigError, match="max_per_prompt must be at least 1, got 0"):
        pair([], seed=0, max_per_prompt=0)


def test_an_answer_rated_both_ways_is_not_preferred_to_itself_or_anything() -> None:
    done = pair([*rated("p", a=True, x=False), *rated("p", a=False)], seed=0)

    assert done.pairs == []
    assert (done.num_contradictory, done.num_undesirable_left, done.num_desirable_left) == (2, 1, 0)
    assert done.num_prompts_one_label == 0


def test_a_group_wider_than_a_prompt_makes_no_pairs_across_prompts() -> None:
    rows = [replace(row, group="topic") for row in rated("p", a=True) + rated("q", x=False)]

    assert pair(rows, seed=0).pairs == []


def test_rows_without_label_are_counted_and_whole_pairs_pass() -> None:
    whole = Pair(prompt="p", chosen="c", rejected="r")

    done = pair([Feedback(prompt="p", completion="c", score=1.0), whole], seed=0)

    assert done == Pairing(pairs=[whole], refused=[], num_unlabelled=1)


def test_what_two_answers_do_not_share_is_left_open_and_weights_are_averaged() -> None:
    good = Feedback(prompt="p", completion="c", label=True, id="1", user="ann", source="s", weight=1.0)
    bad = Feedback(prompt="p", completion="r", label=False, id="2", user="bob", source="s", weight=3.0)

    [made] = pair([good, bad], seed=0).pairs

    assert made == Pair(prompt="p", chosen="c", rejected="r", id="1+2", source="s", weight=2.0)


@given(st.lists(answers, max_size=30), st.randoms(use_true_random=False), st.booleans())
def test_pairs_do_not_depend_on_the_order_of_rows(rows: list[Feedback], random: object, once: bool) -> None:
    shuffled = list(rows)
    random.shuffle(shuffled)  # type: ignore[attr-defined]

    def made(some: list[Feedback]) -> Counter[tuple[str, object, object]]:
        pairs = pair(some, seed=3, each_answer_once=once).pairs
        return Counter((group_of(one), one.chosen, one.rejected) for one in pairs)

    assert made(rows) == made(shuffled)


@given(st.lists(answers, max_size=30))
def test_every_row_is_paired_left_or_contradictory(rows: list[Feedback]) -> None:
    done = pair(rows, seed=0)

    counted = 2 * len(done.pairs) + done.num_desirable_left + done.num_undesirable_left + done.num_contradictory
    assert counted == len(rows)
    assert all(made.chosen != made.rejected for made in done.pairs)


def test_another_seed_matches_other_answers() -> None:
    rows = rated("p", a=True, b=True, c=True, x=False, y=False, z=False)

    assert len({frozenset(texts(pair(rows, seed=seed))) for seed in range(20)}) > 1


def kept(rows: list[Feedback], seed: int = 0) -> list[Feedback]:
    done = list(one_per_prompt(rows, seed=seed))
    assert all(isinstance(row, Feedback) for row in done)
    return done  # type: ignore[return-value]


@given(st.lists(answers, max_size=40), st.integers(0, 3))
def test_every_prompt_keeps_one_answer_and_labels_alternate(rows: list[Feedback], seed: int) -> None:
    labels: dict[str, set[object]] = {}
    for row in rows:
        labels.setdefault(group_of(row), set()).add(row.label)

    done = kept(rows, seed)

    assert Counter(group_of(row) for row in done) == dict.fromkeys(labels, 1)
    of_both = [row.label for row in done if len(labels[group_of(row)]) == 2]
    assert sum(of_both) - (len(of_both) - sum(of_both)) in (0, 1)


@given(st.lists(answers, max_size=40), st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_decide_which_is_kept(rows: list[Feedback], random: object) -> None:
    shuffled = list(rows)
    random.shuffle(shuffled)  # type: ignore[attr-defined]

    def what(some: list[Feedback]) -> Counter[tuple[object, ...]]:
        return Counter((group_of(row), row.completion, row.label, row.user) for row in kept(some))

    # Rows that differ in their label only have one draw, so the first of them is kept; all else is the content's.
    unique = {(group_of(row), row.completion, row.user): row for row in rows}
    if len(unique) == len(rows):
        assert what(rows) == what(shuffled)


def test_kept_rows_come_in_the_order_they_were_read() -> None:
    rows = [row for i in range(20) for row in rated(str(i), a=True, x=False)]

    done = kept(rows)

    assert done == [row for row in rows if row in done]
    assert sum(bool(row.label) for row in done) == 10


def test_pairs_are_taken_apart_before_one_answer_is_kept() -> None:
    pairs = [Pair(prompt=str(i), chosen="c", rejected="r") for i in range(10)]

    done = kept(pairs)  # type: ignore[arg-type]

    assert [row.prompt for row in done] == [str(i) for i in range(10)]
    assert Counter(row.completion for row in done) == {"c": 5, "r": 5}


def test_every_answer_of_a_prompt_is_kept_under_some_seed() -> None:
    rows = rated("p", a=True, b=True, c=True)

    assert {kept(rows, seed)[0].completion for seed in range(50)} == {"a", "b", "c"}


def test_a_generator_is_as_good_as_a_list_and_refusals_pass() -> None:
    rows = [*rated("p", a=True, b=True), REFUSAL, *rated("q", x=False)]

    assert list(one_per_prompt(iter(rows), seed=0)) == list(one_per_prompt(rows, seed=0))
    assert REFUSAL in one_per_prompt(iter(rows), seed=0)


def test_a_row_without_label_cannot_be_kept() -> None:
    rows = [Feedback(prompt="p", completion="c", score=1.0), *rated("p", a=True)]

    refusal, row = one_per_prompt(rows, seed=0)

    assert isinstance(refusal, Refusal)
    assert (str(refusal.where), refusal.reason) == ("row:1", "no label")
    assert row == rows[1]
