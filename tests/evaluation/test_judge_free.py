"""Numbers without a judge, by hand."""

import math
from pathlib import Path

import pytest

from haloes.evaluation.judge_free import answer_numbers, judge_free
from haloes.evaluation.sources import Source
from haloes.records import Completion
from haloes.results import HeldOutRow


def answer(prompt: str, text: str, model: str, *, finished: bool = True) -> Completion:
    return Completion(
        prompt_id=prompt, prompt=prompt, completion=text, model=model, num_tokens=len(text), finished=finished
    )


def held_out(rewards: list[float], labels: list[bool]) -> list[HeldOutRow]:
    return [
        HeldOutRow(where=f"f:{i}", label=label, group=f"g{i}", answer=f"a{i}", reward=reward, logp=-1.0, tokens=3)
        for i, (reward, label) in enumerate(zip(rewards, labels, strict=True))
    ]


def test_one_model_by_hand():
    answers = [answer("a", "one two one two", "m"), answer("b", "I'm sorry, I can't help you", "m", finished=False)]
    found = {score.name: score for score in answer_numbers(answers)}

    assert {score.variant for score in found.values()} == {"m"}
    assert found["words"].value == 5
    assert found["finished"].value == 0.5
    assert found["refusal"].value == 0.5
    # Three pairs of words of which two differ, and five that differ.
    assert found["distinct_2"].value == 7 / 8


def test_before_and_after_are_compared():
    before = [answer(p, "a b c", "before") for p in "xyz"]
    after = [answer(p, "I cannot help", "after") for p in "xyz"]
    found = {(score.name, score.variant): score.value for score in answer_numbers([*before, *after])}

    assert found["refusal", "difference"] == 1
    assert found["words", "difference"] == 0
    assert found["distinct_2", "before"] == found["distinct_2", "after"] == 2 / 6


def test_other_prompts_before_and_after_are_told_one_by_one():
    found = answer_numbers([answer(p, "a b", "before") for p in "xy"] + [answer(p, "a", "after") for p in "vw"])

    assert "difference" not in {score.variant for score in found}
    assert {score.variant for score in found} == {"before", "after"}


def test_held_out_rows_are_scored_and_calibrated():
    rewards, labels = [2.0, 1.0, -1.0, -2.0, 0.5, -0.5], [True, True, False, False, False, True]
    found = judge_free(Source(name="run", path=Path(), held_out=held_out(rewards, labels)))

    auc, *beside = found.scores
    assert [score.name for score in beside] == [
        "auc_length_controlled",
        "auc_per_token",
        "auc_length",
    ], "no prompt of these has answers of both labels"
    # Of nine pairs, 0.5 > -0.5 is the one that is the wrong way round.
    assert auc.value == pytest.approx(8 / 9)
    fit = found.calibration
    by_hand = [(1 / (1 + math.exp(-fit.scale * r)) - y) ** 2 for r, y in zip(rewards, labels, strict=True)]
    assert fit.brier.value == pytest.approx(sum(by_hand) / 6)
    assert fit.scale > 0


def test_nothing_is_nothing():
    found = judge_free(Source(name="run", path=Path()))

    assert (found.scores, found.calibration) == ((), None)
