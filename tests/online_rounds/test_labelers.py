"""Verdicts to feedback: thumbs, win counts by hand, pairs; nothing unscored becomes a label."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from haloes.errors import ConfigError, DataError, RunError
from haloes.judging._contract import OrderedPair
from haloes.judging.scripted import ScriptedJudge
from haloes.online_rounds.labelers import JudgeLabeler, RaterLabeler, counts_of, learnable, require_enough
from haloes.records import Completion, Feedback, Pair
from haloes.records_json import row_to_json
from tiny_runs import rows_of


def answer(text: str, *, seed: int = 0, prompt: str = "p", finished: bool = True, model: str = "round-1") -> Completion:
    return Completion(
        prompt_id=prompt,
        prompt=f"Say {prompt}",
        completion=text,
        model=model,
        num_tokens=1,
        finished=finished,
        seed=seed,
    )


def judge(better: Callable[[OrderedPair], str | None]) -> JudgeLabeler:
    return JudgeLabeler(ScriptedJudge(script=better, template="mt-bench"), seed=0)


def longer(comparison: OrderedPair) -> str:
    first, second = len(comparison.first), len(comparison.second)
    return "[[C]]" if first == second else "[[A]]" if first > second else "[[B]]"


def feedback(critic: Any, answers: list[Completion], place: Path, *, pairs: bool = False) -> list[Any]:
    return critic.feedback(answers, place, pairs=pairs, advance=lambda _: None)


@pytest.fixture
def rater(tmp_path: Path) -> str:
    path = tmp_path / "rater.py"
    path.write_text(
        "def rate(prompt, completion, finished):\n    return 'good' in completion and finished, completion\n"
    )
    return f"{path}:rate"


def test_a_thumb_is_a_row_of_feedback_that_knows_where_it_is_from(rater: str, tmp_path: Path):
    rows = feedback(
        RaterLabeler(rater), [answer("good"), answer("good", seed=1, finished=False), answer("bad", seed=2)], tmp_path
    )

    common = {"prompt": "Say p", "source": "round-1"}
    assert rows == [
        Feedback(completion="good", label=True, finished=True, id="p/0", **common),
        Feedback(completion="good", label=False, finished=False, id="p/1", **common),
        Feedback(completion="bad", label=False, finished=True, id="p/2", **common),
    ]
    assert [(row["seed"], row["liked"], row["reason"]) for row in rows_of(tmp_path / "ratings.jsonl")] == [
        (0, True, "good"),
        (1, False, "good"),
        (2, False, "bad"),
    ]


def test_thumbs_rate_a_model_by_the_share_that_is_liked(rater: str, tmp_path: Path):
    answers = [answer("good" if i < 3 else "bad", prompt=f"p{i}", model="round-2") for i in range(4)]
    score = RaterLabeler(rater).rating(answers, [], tmp_path, advance=lambda _: None)

    assert score is not None
    assert (score.name, score.variant, score.value, score.num_clusters) == ("liked", "round-2", 0.75, 4)


def test_a_raters_identity_changes_with_its_source(rater: str):
    before = RaterLabeler(rater).identity
    path = Path(rater.rpartition(":")[0])
    path.write_text(path.read_text() + "# changed\n")

    assert before["rater"] == RaterLabeler(rater).identity["rater"]
    assert before["source"] != RaterLabeler(rater).identity["source"]
    with pytest.raises(ConfigError, match="cannot be loaded"):
        _ = RaterLabeler("nowhere.py:rate").identity


def test_win_counts_become_labels_and_scores(tmp_path: Path):
    # Lengths 3, 2, 2, 1: the first wins 3 of 3, the last 0; the middle two win 1 and a half of 3, exactly half.
    texts = ["aaa", "bb", "cc", "d"]
    rows = feedback(judge(longer), [answer(text, seed=i) for i, text in enumerate(texts)], tmp_path)

    assert [(row.completion, row.label, row.score) for row in rows] == [("aaa", True, 1.0), ("d", False, 0.0)]
    # Six comparisons, each in both orders.
    assert len(rows_of(tmp_path / "judgements.jsonl")) == 12


def test_answers_are_compared_within_a_prompt_only(tmp_path: Path):
    answers = [answer("aa"), answer("b", seed=1), answer("c", prompt="q"), answer("dddd", prompt="q", seed=1)]
    rows = feedback(judge(longer), answers, tmp_path)

    assert [(row.completion, row.label) for row in rows] == [("aa", True), ("b", False), ("c", False), ("dddd", True)]


def test_winner_and_loser_are_a_pair_that_knows_which_was_cut_off(tmp_path: Path):
    answers = [answer("a", finished=False), answer("bbb", seed=1), answer("c", seed=2)]
    rows = feedback(judge(longer), answers, tmp_path, pairs=True)

    common = {"prompt": "Say p", "source": "round-1", "chosen": "bbb", "chosen_finished": True}
    assert rows == [
        Pair(rejected="a", rejected_finished=False, id="p/1+0", **common),
        Pair(rejected="c", rejected_finished=True, id="p/1+2", **common),
    ]


@pytest.mark.parametrize("pairs", [True, False])
def test_a_judge_that_always_takes_the_first_says_nothing(pairs: bool, tmp_path: Path):
    assert feedback(judge(lambda _: "[[A]]"), [answer("a"), answer("b", seed=1)], tmp_path, pairs=pairs) == []


def test_a_comparison_without_a_verdict_is_neither_won_nor_lost(tmp_path: Path):
    def reply(comparison: OrderedPair) -> str:
        return "who knows" if "odd" in comparison.first + comparison.second else longer(comparison)

    rows = feedback(judge(reply), [answer("odd"), answer("bb", seed=1), answer("c", seed=2)], tmp_path)

    assert [(row.completion, row.label, row.score) for row in rows] == [("bb", True, 1.0), ("c", False, 0.0)]


def test_a_judge_that_does_not_answer_stops_the_round_and_is_asked_for_the_rest(tmp_path: Path):
    answers = [answer("aa"), answer("b", seed=1)]
    with pytest.raises(RunError, match=r"1 comparisons got no answer.*asks for them again"):
        feedback(judge(lambda c: longer(c) if c.first == "aa" else None), answers, tmp_path)
    assert len(rows_of(tmp_path / "judgements.jsonl")) == 1

    asked: list[str] = []

    def reply(comparison: OrderedPair) -> str:
        asked.append(comparison.first)
        return longer(comparison)

    assert len(feedback(judge(reply), answers, tmp_path)) == 2
    assert asked == ["b"]


def test_a_judge_rates_a_model_by_its_wins_against_the_first(tmp_path: Path):
    answers = [answer("long" if i < 3 else "x", prompt=f"p{i}", model="round-2") for i in range(4)]
    first = [answer("mid", prompt=f"p{i}", model="round-0") for i in range(4)]

    score = judge(longer).rating(answers, first, tmp_path, advance=lambda _: None)
    assert score is not None
    assert (score.value, score.variant, score.label) == (0.75, "round-2", "Win rate against the first model")
    same = judge(longer).rating(first, first, tmp_path / "same", advance=lambda _: None)
    assert same is not None
    assert same.value == 0.5


GOOD, BAD = Feedback(prompt="p", completion="a", label=True), Feedback(prompt="p", completion="b", label=False)
OTHER = Feedback(prompt="q", completion="b", label=False)
PAIR = Pair(prompt="p", chosen="a", rejected="b")


def test_empty_answers_and_pairs_of_one_text_are_left_out():
    empty = Feedback(prompt="p", completion=" \n", label=True)
    half, same = Pair(prompt="p", chosen="a", rejected=""), Pair(prompt="p", chosen="a", rejected="a ")

    assert learnable([GOOD, empty, PAIR, half, same, BAD]) == [GOOD, PAIR, BAD]


def test_rows_are_counted_as_they_stand_in_a_file():
    assert counts_of([row_to_json(row) for row in (GOOD, BAD, OTHER, PAIR)]) == {
        "desirable": 1,
        "undesirable": 2,
        "pairs": 1,
    }


@pytest.mark.parametrize(
    ("rows", "needs", "message"),
    [
        ([], {"pairs": False, "undesirable": True}, "round 3: no verdict says anything"),
        ([GOOD, OTHER], {"pairs": True, "undesirable": True}, "no prompt has a liked and a disliked answer"),
        ([BAD, OTHER], {"pairs": False, "undesirable": False}, "no answer is liked"),
    ],
)
def test_a_round_with_nothing_to_learn_is_refused_with_what_to_do(rows: list[Any], needs: Any, message: str):
    with pytest.raises(DataError, match=message) as caught:
        require_enough(rows, 3, **needs)
    assert "raise --per-prompt" in str(caught.value)


@pytest.mark.parametrize(
    ("rows", "needs"),
    [
        ([BAD], {"pairs": False, "undesirable": True}),
        ([GOOD, BAD], {"pairs": True, "undesirable": True}),
        ([PAIR], {"pairs": True, "undesirable": True}),
        ([PAIR], {"pairs": False, "undesirable": False}),
        ([GOOD], {"pairs": False, "undesirable": False}),
    ],
)
def test_enough_is_enough(rows: list[Any], needs: Any):
    require_enough(rows, 1, **needs)
