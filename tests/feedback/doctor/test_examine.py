"""What the doctor counts, against files small enough to count by hand."""

import gzip
import json
import os
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from haloes.feedback.doctor.examine import examine
from haloes.feedback.doctor.findings import Findings, LengthSummary, Tally, UserVotes, as_json
from haloes.feedback.weights import ClassWeights
from haloes.records import Feedback, Message, Pair, Refusal, Text, Where

DATA_DIR = Path(os.environ.get("HALOES_DATA_DIR", Path(__file__).parents[4] / "shared" / "data"))


def vote(line: int, prompt: Text, completion: Text, label: bool | None = True, **rest: object) -> Feedback:
    return Feedback(prompt=prompt, completion=completion, label=label, where=Where("f", line), **rest)  # type: ignore[arg-type]


def pair(line: int, prompt: str, chosen: str, rejected: str) -> Pair:
    return Pair(prompt=prompt, chosen=chosen, rejected=rejected, where=Where("f", line))


def length_of(findings: Findings, text: str, label: str, unit: str) -> LengthSummary:
    [found] = [one for one in findings.lengths if (one.text, one.label, one.unit) == (text, label, unit)]
    return found


def test_refusals_are_counted_by_reason_with_their_first_places() -> None:
    refusals = [Refusal(Where("f", line), "label", f"what is {line}?") for line in range(1, 6)]
    other = Refusal(Where("g", 9), "empty completion", "there is no answer")

    found = examine([other, *refusals, vote(6, "p", "a")], num_examples=2)

    assert (found.num_read, found.num_accepted, found.num_refused) == (7, 1, 6)
    assert list(found.refusals.items()) == [
        ("label", Tally(5, ("f:1: what is 1?", "f:2: what is 2?"))),
        ("empty completion", Tally(1, ("g:9: there is no answer",))),
    ]


def test_kinds_and_labels_are_counted_and_a_pair_is_two_answers() -> None:
    rows = [
        vote(1, "p", "a", True),
        vote(2, "q", "b", False, score=1.0),
        vote(3, "r", "c", None, score=2.0),
        pair(4, "s", "d", "e"),
    ]

    found = examine(rows)

    assert (found.num_labelled, found.num_scored, found.num_pairs, found.num_answers) == (2, 2, 1, 5)
    balance = found.balance
    assert (balance.num_desirable, balance.num_undesirable, balance.num_unlabelled) == (2, 2, 1)


def test_class_weights_follow_from_the_balance_with_the_weights_of_rows() -> None:
    rows = [vote(1, "p", "a", True, weight=2.0), vote(2, "q", "b", True), vote(3, "r", "c", False, weight=12.0)]

    balance = examine(rows).balance

    # (2 + 1) / 12 = 1/4, and 4 makes it 1.
    assert balance.ratio == 0.25
    assert balance.weights == ClassWeights(desirable=4.0, undesirable=1.0)
    assert balance.weighted_ratio == 1.0


def test_duplicates_name_the_row_and_the_one_it_repeats() -> None:
    rows = [
        vote(1, "p", "a", True),
        vote(2, "p", "a", False),
        vote(3, (Message("user", "p "),), " a", True),
        vote(4, "p", "a", True),
        vote(5, "q", "a", True),
        vote(6, "p", "s", None, score=1.0),
        vote(7, "p", "s", None, score=2.0),
    ]

    assert examine(rows).repeats.duplicates == Tally(2, ("f:3 repeats f:1", "f:4 repeats f:1"))


def test_a_pair_is_repeated_only_by_the_same_two_answers() -> None:
    rows = [pair(1, "p", "a", "b"), pair(2, "p", "a", "c"), pair(3, "p", "a", "b"), vote(4, "p", "a", True)]

    assert examine(rows).repeats.duplicates == Tally(1, ("f:3 repeats f:1",))


def test_an_answer_rated_both_ways_is_a_conflict_with_both_places() -> None:
    rows = [
        vote(1, "p", "a", False),
        vote(2, "q", "a", True),
        vote(3, "p", "b", True),
        vote(4, "p", "a", True),
        vote(5, "p", "a", True),
        pair(6, "q", "c", "a"),
    ]

    repeats = examine(rows).repeats

    assert repeats.conflicts == Tally(2, ("f:4 desirable, f:1 undesirable", "f:2 desirable, f:6 undesirable"))
    assert repeats.num_conflicting_votes == 5


def test_answers_are_counted_per_prompt() -> None:
    rows = [
        *(vote(line, "p", str(line), label=line < 3) for line in range(1, 5)),
        vote(5, "q", "a"),
        vote(6, "q", "b"),
        vote(7, "r", "a", conversation="1"),
        vote(8, "s", "a", conversation="1"),
    ]

    prompts = examine(rows).prompts

    assert prompts is not None
    assert (prompts.num, prompts.num_with_several_answers, prompts.num_with_both_labels) == (4, 2, 1)
    # Answers per prompt, sorted: 1, 1, 2, 4.
    assert (prompts.median_answers, prompts.p95_answers, prompts.max_answers) == (1, 4, 4)
    assert prompts.largest_share == 0.5
    assert (prompts.num_conversations, prompts.num_units, prompts.largest_unit_share) == (1, 3, 0.5)


def test_groups_that_contradict_the_words_of_prompts_are_counted() -> None:
    rows = [
        vote(1, "p", "a", group="1"),
        vote(2, "p", "b", group="2"),
        vote(3, "q", "a", group="3"),
        vote(4, "r", "a", group="3"),
        vote(5, "s", "a"),
    ]

    prompts = examine(rows).prompts

    assert prompts is not None
    assert (prompts.num_torn_prompts, prompts.num_wide_groups, prompts.num) == (1, 1, 4)


def test_lengths_are_counted_by_label_in_characters_and_words() -> None:
    rows = [vote(1, "one two", "aa bb cc"), vote(2, "one", "a"), vote(3, "three", "dddd", False)]

    found = examine(rows)

    assert length_of(found, "completion", "desirable", "characters") == LengthSummary(
        text="completion", label="desirable", unit="characters", median=1, p95=8, maximum=8
    )
    assert length_of(found, "completion", "desirable", "words").maximum == 3
    assert length_of(found, "prompt", "desirable", "words").maximum == 2
    assert length_of(found, "prompt", "undesirable", "characters").median == 5
    # Of two comparisons, 8 > 4 is won and 1 > 4 is lost.
    assert found.length_auc.value == 0.5


def test_answers_that_are_no_answers_are_counted() -> None:
    asked = "What is the capital of France?"
    call = Message("assistant", "", ({"name": "search"},))
    rows = [
        vote(1, asked, " \n"),
        vote(2, asked, "..."),
        vote(3, asked, " Paris."),
        vote(4, (Message("system", "s"), Message("user", asked)), "what is the capital of france? Paris."),
        vote(5, asked, (call,)),
        vote(6, asked, "是"),
        vote(7, "Hi", "Hi"),
    ]

    texts = examine(rows).texts

    assert texts.empty == Tally(1, ("f:1",))
    assert texts.wordless == Tally(1, ("f:2 '...'",))
    assert texts.padded == Tally(1, ("f:3",))
    assert texts.echoes == Tally(1, ("f:4",))


def test_template_markers_are_counted_once_a_row() -> None:
    rows = [
        vote(1, "<|im_start|>user\np<|im_end|><|im_start|>", "a<|im_end|>"),
        vote(2, (Message("user", "p\n\nHuman: q"),), "a"),
        pair(3, "[INST] p", "a", "b</s>[INST]"),
        vote(4, "a < b | c", "[x]"),
    ]

    assert examine(rows).texts.markers == {
        "<|im_start|>": Tally(1, ("f:1",)),
        "<|im_end|>": Tally(1, ("f:1",)),
        "[INST]": Tally(1, ("f:3",)),
        "\n\nHuman:": Tally(1, ("f:2",)),
    }


def test_the_largest_user_is_named_and_one_sided_ones_are_found() -> None:
    rows = [vote(i, str(i), "a", i % 2 == 0, user="mixed") for i in range(30)]
    rows += [vote(i, str(i), "b", False, user="grump") for i in range(20)]
    rows += [vote(i, str(i), "c", False, user="new") for i in range(3)]
    rows += [vote(i, str(i), "d", True) for i in range(40)]

    users = examine(rows).users

    assert users.num == 3
    assert users.largest == UserVotes(name="mixed", num_votes=30, share=30 / 53, share_desirable=0.5)
    # Of 53 votes with a user 15 are good. Twenty bad ones in a row: 3 (38/53)^20 = 0.004; three: 3 (38/53)^3 = 1.1.
    assert users.num_one_sided == 1
    assert users.one_sided == (UserVotes(name="grump", num_votes=20, share=20 / 53, share_desirable=0.0),)


def test_among_many_users_some_vote_the_same_by_chance() -> None:
    # Half of the votes are good: seven of one kind in a row have probability 1/128, which 200 users make likely.
    rows = [vote(i, str(i), "a", i % 2 == 0, user=f"user {i % 199}") for i in range(1990)]
    rows += [vote(i, str(i), "b", False, user="unlucky") for i in range(7)]

    assert examine(rows).users.num_one_sided == 0


def test_answers_without_label_do_not_count_in_the_auc_of_the_length() -> None:
    rows = [vote(1, "p", "longer"), vote(2, "q", "short", False), vote(3, "r", "the longest", None, score=1.0)]

    assert examine(rows).length_auc.value == 1.0


def test_no_rows_at_all_are_no_error() -> None:
    found = examine([])

    assert found.num_read == 0
    assert found.prompts is None
    assert found.length_auc is None
    assert found.users.largest is None


def test_findings_are_ready_for_json() -> None:
    rows = [vote(1, "p", "a", user="ann"), vote(2, "p", "a", False), Refusal(Where("f", 3), "label", "no")]

    value = as_json(examine(rows))

    assert json.loads(json.dumps(value)) == value
    assert value["refusals"] == {"label": {"num": 1, "examples": ["f:3: no"]}}  # type: ignore[index]
    assert value["balance"]["weights"] == {"desirable": 1.0, "undesirable": 1.0}  # type: ignore[index]


def test_rows_are_read_once_and_their_text_is_not_kept() -> None:
    def rows() -> Iterator[Feedback]:
        for i in range(150):
            yield vote(i, f"{i} " + "long " * 2000, "text " * 2000, i % 2 == 0)

    tracemalloc.start()
    examine(rows())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    # All texts together are 3 MB; one row and its canonical forms are well below 1 MB.
    assert peak < 1_000_000


@pytest.mark.skipif(not DATA_DIR.is_dir(), reason="the folder of real feedback (HALOES_DATA_DIR) is not here")
def test_real_feedback_is_counted_as_published() -> None:
    path = DATA_DIR / "truthfulqa" / "truthful_train.jsonl.gz"
    lines = gzip.open(path, "rt", encoding="utf-8").read().splitlines()  # noqa: SIM115
    raw = [json.loads(line) for line in lines]

    found = examine(vote(line, row["prompt"], row["completion"], row["label"]) for line, row in enumerate(raw, 1))

    assert found.balance.num_desirable == sum(row["label"] is True for row in raw)
    assert found.balance.num_undesirable == sum(row["label"] is False for row in raw)
    assert found.prompts is not None
    assert found.prompts.num == len({row["prompt"].strip() for row in raw})
    assert found.repeats.duplicates.num == len(raw) - len(
        {(row["prompt"].strip(), row["completion"].strip(), row["label"]) for row in raw}
    )
    assert found.texts.empty.num == sum(not row["completion"].strip() for row in raw)
