"""What a run's own numbers say that its user should know."""

import dataclasses
from typing import Any

import pytest

from haloes.losses.dpo import DPO
from haloes.losses.kto import KTO
from haloes.losses.sft import SFT
from haloes.models.forward import Scorer
from haloes.models.kernels import Kernel, reference_attention
from haloes.records import Completion
from haloes.results import Score
from haloes.runs.warnings import answer_warnings, data_warnings, speed_warnings, training_warnings
from haloes.training.settings import TrainSettings


def facts(**train: Any) -> dict[str, Any]:
    counts = {"desirable": 50, "undesirable": 50, "truncated": 0, "prompts cut": 0, "template differs": 0} | train
    # Every row weighs 1 unless told.
    counts.setdefault("weight", {label: counts[label] for label in ("desirable", "undesirable")})
    return {"rows": {"refused": {}}, "warnings": [], "train": counts}


def steps(num: int = 20, **numbers: float) -> list[dict[str, Any]]:
    return [{"split": "train", "step": i + 1, "loss": 0.5, **numbers} for i in range(num)]


def auc(low: float, value: float, high: float) -> Score:
    return Score(
        name="auc", value=value, low=low, high=high, variant="after", num_rows=9, num_clusters=9, method="bootstrap"
    )


def test_clean_data_and_a_good_run_give_no_caution():
    good = steps(**{"reward/desirable": 2.0, "reward/undesirable": -2.0, "reference_point/clamped": 0.1})

    assert data_warnings(facts(), KTO()) == []
    assert training_warnings(good, [auc(0.6, 0.7, 0.8)]) == []


def test_attention_that_could_be_faster_is_told_with_the_reason():
    kernel = Kernel("varlen", reference_attention)
    none, fast = Scorer(None, packs=True, no_kernel_because="old GPU"), Scorer(None, packs=True, kernel=kernel)
    dropping = TrainSettings(dropout=0.1)

    assert speed_warnings(Scorer(None, packs=True), TrainSettings()) == []
    assert speed_warnings(fast, TrainSettings()) == []
    assert [text.endswith("all at once: old GPU") for text in speed_warnings(none, TrainSettings())] == [True]
    assert ["varlen knows no dropout" in text for text in speed_warnings(fast, dropping)] == [True]


def test_answers_that_were_cut_off_inside_their_reasoning_are_told():
    cut = Completion(
        prompt_id="a", prompt="Hi", completion="", reasoning="hm", model="after", num_tokens=9, finished=False
    )
    whole = dataclasses.replace(cut, completion="Hello.", finished=True)

    assert answer_warnings([whole, whole]) == []
    [told] = answer_warnings([cut, whole])
    assert told.startswith("1 of 2 answers to held-out prompts were cut off inside their reasoning")


def test_warnings_of_the_preparation_come_first():
    assert data_warnings({**facts(), "warnings": ["2 rows leak"]}, KTO())[0] == "2 rows leak"


def test_rows_left_out_were_told_as_they_were_read_and_are_no_warning():
    known = {**facts(), "rows": {"refused": {"no label": 7, "label": 2}}, "validation rows": {"refused": {"NaN": 1}}}

    assert data_warnings(known, KTO()) == data_warnings(facts(), KTO())


@pytest.mark.parametrize(
    ("counted", "words"),
    [
        ({"truncated": 5}, "5 completions (5.0%) did not fit the window"),
        ({"prompts cut": 3}, "3 prompts lost their oldest turns"),
        ({"template differs": 2}, "2 completions are rendered in other words"),
        ({"reasoning": {"given": 4, "left out": 0}}, "4 answers came with reasoning, which is not trained"),
        ({"reasoning": {"trained": 4, "left out": 0}}, "4 answers came with reasoning, which is trained too"),
        ({"reasoning": {"trained": 0, "left out": 3}}, "3 answers came with reasoning that was left out"),
    ],
)
def test_what_the_window_or_the_template_changed_is_told_with_what_to_do(counted: dict[str, int], words: str):
    (found,) = data_warnings(facts(**counted), KTO())

    assert words in found
    assert "tokens.max_length" in found or "haloes doctor" in found


@pytest.mark.parametrize(("label", "words"), [("desirable", "pulled towards"), ("undesirable", "pushed away from")])
def test_one_label_only_is_told(label: str, words: str):
    other = "undesirable" if label == "desirable" else "desirable"
    (found,) = data_warnings(facts(**{other: 0}), KTO())

    assert f"all answers to train on are {label}: the model is only {words} them" in found
    assert data_warnings(facts(undesirable=0), SFT()) == []


def test_weights_outside_the_papers_range_are_told_with_those_that_help():
    # 30 desirable to 60 undesirable: 1 * 30 / (1 * 60) = 0.5, and a desirable weight of 2 brings it to 1.
    (found,) = data_warnings(facts(desirable=30, undesirable=60), KTO())

    assert "is 0.50, outside the [1, 1.5]" in found
    assert "loss.desirable_weight=2 and loss.undesirable_weight=1" in found
    assert data_warnings(facts(desirable=30, undesirable=60), KTO(desirable_weight=2.5)) == []
    assert data_warnings(facts(desirable=30, undesirable=60), DPO()) == []
    assert data_warnings(facts(desirable=30, undesirable=60), KTO(undesirable_weight=0)) == []


def test_the_ratio_counts_rows_by_their_weights():
    # 10 desirable rows of weight 9 to 10 of weight 1: a ratio of 9, which an undesirable weight of 6 brings to 1.5.
    heavy = facts(desirable=10, undesirable=10, weight={"desirable": 90.0, "undesirable": 10.0})
    (found,) = data_warnings(heavy, KTO())

    assert "is 9.00 (rows counted by their weights), outside the [1, 1.5]" in found
    assert "loss.desirable_weight=1 and loss.undesirable_weight=6" in found
    assert data_warnings(heavy, KTO(undesirable_weight=6.0)) == []


def test_a_reference_point_that_is_clamped_nearly_always_is_told():
    assert "clamped at 0 in 95% of the steps" in training_warnings(steps(**{"reference_point/clamped": 0.95}), [])[0]
    assert training_warnings(steps(**{"reference_point/clamped": 0.9}), []) == []


@pytest.mark.parametrize(
    ("interval", "told"), [((0.4, 0.6, 0.8), True), ((0.51, 0.6, 0.8), False), ((0.1, 0.3, 0.5), True)]
)
def test_an_auc_that_may_be_chance_is_told(interval: tuple[float, float, float], told: bool):
    found = training_warnings(steps(), [auc(*interval)])

    assert bool(found) == told


def of_length(name: str, value: float, low: float, high: float) -> Score:
    return dataclasses.replace(auc(low, value, high), name=name)


def test_length_alone_that_does_as_well_is_told():
    found = training_warnings(steps(), [auc(0.6, 0.7, 0.8), of_length("auc_length", 0.71, 0.6, 0.8)])
    assert "length alone tells held-out answers apart as well" in found[0]
    assert training_warnings(steps(), [auc(0.6, 0.7, 0.8), of_length("auc_length", 0.6, 0.5, 0.7)]) == []


def test_answers_that_go_in_circles_more_often_than_before_are_told():
    after, more = of_length("repeats", 0.25, 0.15, 0.4), of_length("repeats", 0.23, 0.1, 0.4)
    found = training_warnings(steps(), [after, dataclasses.replace(more, variant="difference")])
    assert "25% of the answers repeat themselves, +23 points [+10, +40] beside the model before" in found[0]
    less_sure = dataclasses.replace(more, variant="difference", low=0.0)
    assert training_warnings(steps(), [after, less_sure]) == []


def test_an_auc_below_chance_that_is_owed_to_length_is_no_swapped_label():
    below = auc(0.1, 0.2, 0.3)
    at_equal_length = of_length("auc_length_controlled", 0.6, 0.5, 0.7)
    assert training_warnings(steps(), [below, at_equal_length]) == []
    assert "swapped" in training_warnings(steps(), [below, dataclasses.replace(at_equal_length, value=0.3)])[0]


def test_an_auc_below_chance_is_told():
    found = training_warnings(steps(), [auc(0.1, 0.2, 0.3)])

    assert "below chance" in found[0]


def pair(name: str, low: float, value: float, high: float) -> Score:
    return Score(name=name, value=value, low=low, high=high, variant="after", num_rows=9, num_clusters=9, method="b")


def test_a_reward_model_that_is_a_coin_or_worse_is_told():
    [coin] = training_warnings(steps(), [pair("pair_accuracy", 0.45, 0.55, 0.65)])
    [worse] = training_warnings(steps(), [pair("pair_accuracy", 0.2, 0.3, 0.4)])

    assert coin.startswith("the held-out pair accuracy of 0.550 [0.450, 0.650] cannot be told from chance (0.5)")
    assert worse.startswith("the held-out pair accuracy of 0.300 [0.200, 0.400] lies below chance (0.5)")


def test_a_reward_model_that_goes_by_length_is_told_and_one_that_may_not_is_not():
    good, long = pair("pair_accuracy", 0.6, 0.7, 0.8), pair("pair_accuracy_longer", 0.8, 0.9, 0.95)
    [text] = training_warnings(steps(), [good, long, pair("pair_accuracy_shorter", 0.2, 0.3, 0.4)])

    assert "right in 0.900 [0.800, 0.950] of the pairs whose chosen answer is the longer one" in text
    assert "will write longer answers" in text
    assert training_warnings(steps(), [good, long, pair("pair_accuracy_shorter", 0.6, 0.7, 0.85)]) == []


def test_answers_that_moved_surely_further_than_the_budget_are_told():
    kl = dataclasses.replace(auc(6.0, 7.0, 8.0), name="kl")
    [text] = training_warnings(steps(), [kl], kl_budget=5.0)

    assert text.startswith("the answers moved by 7 nats of KL to the reference each [6, 8], above train.kl_budget=5")
    assert training_warnings(steps(), [kl], kl_budget=6.5) == []
