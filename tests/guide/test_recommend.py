"""Which loss is recommended for which feedback, and why."""

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from haloes.cli.main import run
from haloes.errors import DataError
from haloes.guide.recommend import Recommendation, recommend_losses
from haloes.runs.config import FeedbackSettings
from tiny_runs import pairs, write_rows

Of = Callable[..., Recommendation]


def rated(*labels: bool, **more: Any) -> list[dict[str, Any]]:
    return [{"prompt": f"p{i}", "completion": f"a{i}", "label": label, **more} for i, label in enumerate(labels)]


def scored(*scores: float) -> list[dict[str, Any]]:
    return [{"prompt": f"p{i}", "completion": f"a{i}", "score": score} for i, score in enumerate(scores)]


@pytest.fixture
def of(tmp_path: Path) -> Of:
    def recommended(rows: list[dict[str, Any]], **settings: Any) -> Recommendation:
        path = write_rows(tmp_path / "f.jsonl", rows)
        return recommend_losses(FeedbackSettings(source=str(path), **settings))

    return recommended


def topics(found: Recommendation) -> dict[str, str]:
    return {one.topic: one.what for one in found.advice if one.topic != "steps"}


def why(found: Recommendation, topic: str) -> str:
    return next(one.why for one in found.advice if one.topic == topic)


def applying(found: Recommendation) -> dict[str, tuple[str, ...]]:
    return dict(found.applies)


def test_thumbs_are_for_kto_with_weights_by_the_rule(of: Of):
    # n_D / n_U = 10 / 40: lambda_D = 4 brings the ratio to 1.
    found = of(rated(*[True] * 10, *[False] * 40))

    assert topics(found) == {"loss": "kto", "weights": "4 and 1", "beta": "0.1"}
    assert "imbalance, here 0.25 good answers to a bad one" in why(found, "loss")
    assert found.command.endswith("f.jsonl --loss kto")
    assert "10 desirable and 40 undesirable answers" in found.holds
    assert set(applying(found)) == {"on single answers"}
    assert {"kto", "bco", "dro", "una-score", "sft"} <= set(applying(found)["on single answers"])
    assert "dpo" not in applying(found)["on single answers"]


def test_balanced_thumbs_need_no_weights(of: Of):
    found = of(rated(*[True] * 5, *[False] * 4))

    assert topics(found)["weights"] == "1 and 1"
    assert "1.25, within [1, 1.5] already" in why(found, "weights")
    assert "imbalance" not in why(found, "loss")


def test_votes_that_contradict_each_other_speak_for_kto(of: Of):
    same = [{"prompt": "q", "completion": "x", "label": label} for label in (True, False, False)]
    found = of([*rated(True, False), *same])

    assert "3 votes are on answers rated both ways" in why(found, "loss")
    assert "Theorem 4.3" in found.advice[0].source
    assert "1 answers were rated both ways, with 3 votes" in found.holds


def test_clean_pairs_are_for_dpo(of: Of):
    asked_again = [{"prompt": "Is 0 it?", "chosen": "yes yes 0", "rejected": "no no 0"}]
    found = of([*pairs(4), *asked_again])

    assert topics(found) == {"loss": "dpo", "beta": "0.1"}
    assert "0 of 2 pairs that others bear on are in contradiction" in why(found, "loss")
    assert "kto" in applying(found)["on single answers"]
    assert "dpo" in applying(found)["on the pairs"]


def test_pairs_that_nothing_bears_on_are_for_dpo_unless_the_user_knows_better(of: Of):
    found = of(pairs(4))

    assert topics(found) == {"loss": "dpo", "or": "kto", "beta": "0.1"}
    assert "the file could not show it" in why(found, "loss")


def test_contradictory_pairs_are_for_kto(of: Of):
    turned = [{"prompt": "Is 0 it?", "chosen": "no no 0", "rejected": "yes yes 0"}]
    found = of([*pairs(4), *turned])

    assert topics(found) == {"loss": "kto", "weights": "1 and 1", "beta": "0.1"}
    assert "2 of 2 pairs" in why(found, "loss")
    assert "Theorem 4.3" in found.advice[0].source


@pytest.mark.parametrize(("num_contradicted", "loss"), [(4, "dpo"), (6, "kto")])
def test_five_in_a_hundred_pairs_in_contradiction_are_noise(of: Of, num_contradicted: int, loss: str):
    twice = [one for one in pairs(50) for _ in range(2)]
    for i in range(num_contradicted // 2):
        one = twice[2 * i]
        twice[2 * i] = {**one, "chosen": one["rejected"], "rejected": one["chosen"]}

    assert topics(of(twice))["loss"] == loss


def test_scores_are_made_labels_at_their_middle(of: Of):
    found = of(scored(1, 2, 3, 4, 5, 5))

    assert list(topics(found)) == ["labels", "loss", "or", "weights", "beta"]
    assert [topics(found)[topic] for topic in ("labels", "loss", "or")] == ["threshold 3", "kto", "dro"]
    assert "makes 4 answers desirable and 2 undesirable" in why(found, "labels")
    assert topics(found)["weights"] == "1 and 1.333"  # 4 / (1.5 * 2)
    assert found.command.endswith("--loss kto --set 'feedback.labels_from={rule: threshold, tau: 3}'")
    assert applying(found)["on scores"] == ("dro", "dro-value")


def test_scores_between_0_and_1_are_for_losses_on_those_too(of: Of):
    found = of(scored(0.1, 0.4, 0.9, 1.0))

    assert topics(found)["or"] == "dro or una-score"
    assert topics(found)["labels"] == "threshold 0.55"
    assert "una-score" in applying(found)["on scores"]


def test_a_rule_and_columns_that_are_given_are_kept_in_the_command(of: Of):
    rows = [{"prompt": f"p{i}", "completion": "c", "stars": i % 5} for i in range(10)]
    rule = {"rule": "mean", "per_prompt": False}
    found = of(rows, columns={"score": "stars"}, labels_from=rule)

    assert "labels" not in topics(found)
    assert "--columns score=stars" in found.command
    assert "'feedback.labels_from={rule: mean, per_prompt: false}'" in found.command


def test_one_prompt_alone_is_for_a_loss_without_mismatched_answers(of: Of):
    found = of([{"prompt": "p", "completion": f"a{i}", "label": i % 2 == 0} for i in range(6)])

    assert topics(found)["loss"] == "kto-no-reference-point"
    assert "kto" not in applying(found)["on single answers"]
    assert "dpo" in applying(found)["on pairs of answers to one prompt (1 prompts)"]


def test_good_answers_alone_are_for_sft(of: Of):
    found = of(rated(True, True))

    assert topics(found) == {"loss": "sft"}
    assert "aot-unpaired" not in applying(found)["on desirable answers alone"]


def test_bad_answers_alone_are_for_npo(of: Of):
    found = of(rated(False, False))

    assert topics(found) == {"loss": "npo", "beta": "0.1"}
    assert "sft" not in applying(found)["on undesirable answers alone"]


def test_nothing_usable_is_an_error(of: Of):
    with pytest.raises(DataError, match="no row can be used"):
        of([{"prompt": "p", "completion": "", "label": True}])


def test_rows_that_cannot_be_used_are_counted(of: Of):
    found = of([*rated(True, False), {"prompt": "p", "completion": "c", "label": "maybe"}])

    assert "1 rows cannot be used (`haloes doctor` says why)" in found.holds


@pytest.mark.parametrize(
    "rows", [rated(*[True, False] * 8), scored(*[1, 5] * 8), pairs(8)], ids=["labels", "scores", "pairs"]
)
def test_the_command_is_one_that_starts(of: Of, rows: list[dict[str, Any]], model: Path, tmp_path: Path):
    words = shlex.split(of(rows).command)
    more = [
        "--model",
        str(model),
        "--out",
        str(tmp_path / "run"),
        "--set",
        "samples.prompts=0",
        "--set",
        "model.dtype=float32",
    ]

    assert words[:2] == ["haloes", "train"]
    assert run([*words[1:], *more]) == 0


def test_the_steps_that_a_file_gives_are_told_with_what_they_are_made_of(of: Of):
    found = of(rated(*[True, False] * 100))
    steps = next(one for one in found.advice if one.topic == "steps")

    assert steps.what == "about 54"
    assert why(found, "steps").startswith("54 steps of up to 10 examples: 3 passes over 176 examples, by train")


def test_a_file_that_gives_too_few_steps_is_told_so(of: Of):
    assert "only 5 steps, in which a model may hardly change: 7 examples give no more" in why(
        of(rated(*[True, False] * 5)), "steps"
    )
