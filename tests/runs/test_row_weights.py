"""Rows that weigh differently inside a class: what class weights, losses, z0 and logged rewards make of them."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from haloes.feedback.doctor.examine import examine
from haloes.runs.align import align
from haloes.runs.config import FeedbackSettings
from haloes.runs.feedback_rows import open_for_doctor
from tiny_runs import config, metrics, rows_of, thumbs, warnings_of, write_rows

LIKED = (4.0, 1.0, 0.5, 0.25)
DISLIKED = (3.0, 9.0)
"""The weights of the rows of each class, over and over: they vary inside it, and the classes differ in their sum."""
BETA = 0.3


def weighed(num_prompts: int) -> list[dict[str, Any]]:
    """A liked and a disliked answer to each prompt."""
    weights = (weight for i in range(num_prompts) for weight in (LIKED[i % 4], DISLIKED[i % 2]))
    return [{**row, "weight": weight} for row, weight in zip(thumbs(num_prompts), weights, strict=True)]


@pytest.fixture(scope="module")
def run_dir(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three steps of all rows, whose other rows are held out whole."""
    folder = tmp_path_factory.mktemp("weighed")
    other = [{**row, "prompt": f"And {row['prompt']}"} for row in weighed(4)]
    cfg = config(
        model,
        write_rows(folder / "train.jsonl", weighed(8)),
        feedback={"validation": str(write_rows(folder / "other.jsonl", other)), "validation_share": "auto"},
        loss={"name": "kto", "beta": BETA, "desirable_weight": "auto", "undesirable_weight": "auto"},
        train={"batch_size": 16, "epochs": 3.0},
        samples={"prompts": 0},
    )
    return align(cfg, folder / "run").run_dir


def test_class_weights_balance_the_sums_of_the_rows_weights(run_dir: Path):
    # Eight of each: 2 * (4 + 1 + 0.5 + 0.25) = 11.5 liked and 4 * (3 + 9) = 48 disliked; eq. 9 brings 11.5 / 48 to 1.
    assert json.loads((run_dir / "data.json").read_text())["weights"] == pytest.approx(
        {"desirable": 48 / 11.5, "undesirable": 1.0}
    )
    assert "weights" not in warnings_of(run_dir)


def test_the_doctor_says_the_same_weights(run_dir: Path):
    found = examine(open_for_doctor(FeedbackSettings(source=str(run_dir.parent / "train.jsonl"))))

    assert found.balance.ratio == pytest.approx(11.5 / 48)
    assert found.balance.weights.desirable == pytest.approx(48 / 11.5)
    assert found.balance.weighted_ratio == pytest.approx(1.0)


def test_the_first_loss_is_half_of_what_rows_and_classes_weigh_by_what_rows_weigh(run_dir: Path):
    # Every value is 1 / 2 where the policy is the reference: (48 / 11.5 * 11.5 + 48) / 2 over 11.5 + 48.
    assert metrics(run_dir)[0]["loss"] == pytest.approx((48 + 48) / 2 / 59.5, rel=1e-5)


def test_held_out_rewards_margin_and_loss_are_the_sums_by_hand(run_dir: Path):
    [line] = metrics(run_dir, "validation")
    held_out = rows_of(run_dir / "held_out.jsonl")
    places = [int(row["where"].rsplit(":", 1)[1]) - 1 for row in held_out]
    weight = np.array([weighed(4)[place]["weight"] for place in places])
    reward, liked = np.array([row["reward"] for row in held_out]), np.array([row["label"] for row in held_out])
    good, bad = (float(weight[side] @ reward[side] / weight[side].sum()) for side in (liked, ~liked))

    # Inside the liked ones some weigh sixteen times as much as others: a plain mean is another number.
    assert good != pytest.approx(float(reward[liked].mean()), rel=1e-3)
    assert line["reward/desirable"] == pytest.approx(good, rel=1e-5)
    assert line["reward/undesirable"] == pytest.approx(bad, rel=1e-5)
    assert line["reward_margin"] == pytest.approx(good - bad, rel=1e-5)

    z0, class_weight = line["reference_point"], np.where(liked, 48 / 11.5, 1.0)
    assert z0 == max(0.0, line["reference_point/raw"])
    value = [
        1 / (1 + math.exp(-BETA * (r - z0 if is_liked else z0 - r))) for r, is_liked in zip(reward, liked, strict=True)
    ]
    by_hand = float((weight * class_weight) @ (1 - np.array(value)) / weight.sum())
    assert line["loss"] == pytest.approx(by_hand, rel=1e-4)
