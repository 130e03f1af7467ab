"""The logged numbers of a step, by hand."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from haloes.batches.schedule import Step
from haloes.tokens.store import TokenStore
from haloes.training.metrics import reference_point_numbers, step_metrics
from haloes.training.step import Table
from training_jobs import Row, write_store

ROWS = [Row("p", "a", True), Row("q", "bcd", False), Row("r", "ef", False), Row("s", "g", True)]
"""Completions of 2, 4, 3 and 2 tokens: their letters and the end of turn."""


@pytest.fixture
def store(tmp_path: Path) -> TokenStore:
    return write_store(tmp_path / "store", ROWS)


def table(examples: list[int], **fields: Any) -> Table:
    n = len(examples)
    defaults: dict[str, Any] = {
        "sequences": np.array(examples),
        "weight": np.full(n, 1 / n),
        "loss": np.arange(n, dtype=float),
        "metrics": {},
        "logp": -np.arange(1.0, n + 1),
        "log_ratio": None,
        "mismatched": None,
    }
    return Table(step=Step(0, 0, np.array(examples), np.empty(0, np.int64)), **defaults | fields)


def test_means_are_over_the_whole_step_and_by_class(store: TokenStore):
    found = step_metrics(
        table(
            [3, 1, 2],
            logp=np.array([-4.0, -8.0, -6.0]),
            log_ratio=np.array([2.0, -1.0, -4.0]),
            mismatched=np.array([1.0, 2.0, 6.0]),
            loss=np.array([0.1, 0.2, 0.6]),
        ),
        store,
    )

    assert found == pytest.approx(
        {
            "loss": 0.3,
            "logp_per_token/desirable": -2.0,
            "logp_per_token/undesirable": -2.0,
            "completion_tokens/desirable": 2.0,
            "completion_tokens/undesirable": 3.5,
            "reward/desirable": 2.0,
            "reward/undesirable": -2.5,
            "reward_margin": 4.5,
            "reference_point": 3.0,
            "reference_point/raw": 3.0,
            "reference_point/clamped": 0.0,
            # The variance of 1, 2, 6 is 7 with n - 1; the mean of three has a third of it.
            "reference_point/standard_error": math.sqrt(7 / 3),
        }
    )


def test_the_loss_and_its_own_metrics_are_weighted(store: TokenStore):
    weight = np.array([0.5, 0.25, 0.25])

    found = step_metrics(table([0, 1, 2], weight=weight, metrics={"accuracy": np.array([1.0, 0.0, 1.0])}), store)

    assert found["loss"] == pytest.approx(0.25 * 1 + 0.25 * 2)
    assert found["accuracy"] == pytest.approx(0.75)


def test_rewards_and_their_margin_count_rows_as_the_loss_does(store: TokenStore):
    weight = np.array([0.6, 0.1, 0.2, 0.1])
    found = step_metrics(table([0, 1, 2, 3], weight=weight, log_ratio=np.array([7.0, 1.0, -2.0, 0.0])), store)

    # Desirable: (0.6 * 7 + 0.1 * 0) / 0.7; undesirable: (0.1 * 1 - 0.2 * 2) / 0.3.
    assert found["reward/desirable"] == pytest.approx(6.0)
    assert found["reward/undesirable"] == pytest.approx(-1.0)
    assert found["reward_margin"] == pytest.approx(7.0)


def test_the_reference_point_counts_examples_alike_whatever_their_rows_weigh(store: TokenStore):
    weight = np.array([0.7, 0.1, 0.1, 0.1])
    found = step_metrics(table([0, 1, 2, 3], weight=weight, mismatched=np.array([4.0, 1.0, 2.0, 1.0])), store)

    assert found["reference_point"] == 2.0


def test_both_answers_of_a_pair_count_as_the_pair_does(tmp_path: Path):
    rows = [Row("p", "a", True), Row("p", "b", False), Row("q", "d", True), Row("q", "e", False)]
    store = write_store(tmp_path / "pairs", rows, paired=True)
    ratio = np.array([1.0, 5.0, -1.0, 3.0])
    pairs = table([0, 1], sequences=np.array([0, 2, 1, 3]), weight=np.array([0.25, 0.75]), logp=None, log_ratio=ratio)

    found = step_metrics(pairs, store)

    assert (found["reward/desirable"], found["reward/undesirable"]) == (4.0, 2.0)


@pytest.mark.parametrize(("examples", "missing"), [([0, 3], "undesirable"), ([1, 2], "desirable")])
def test_numbers_of_a_class_that_is_not_there_are_left_out(store: TokenStore, examples: list[int], missing: str):
    found = step_metrics(table(examples, log_ratio=np.array([1.0, 3.0])), store)

    other = {"desirable": "undesirable", "undesirable": "desirable"}[missing]
    assert found[f"reward/{other}"] == 2.0
    assert not [name for name in found if name.endswith(f"/{missing}")]
    assert "reward_margin" not in found
    assert all(math.isfinite(value) for value in found.values())


def test_a_loss_without_reference_logs_no_reward(store: TokenStore):
    found = step_metrics(table([0, 1]), store)

    assert set(found) == {
        "loss",
        "logp_per_token/desirable",
        "logp_per_token/undesirable",
        "completion_tokens/desirable",
        "completion_tokens/undesirable",
    }


def test_of_pairs_chosen_are_desirable_and_rejected_undesirable(tmp_path: Path):
    rows = [Row("p", "a", True), Row("p", "bc", False), Row("q", "d", True), Row("q", "e", False)]
    store = write_store(tmp_path / "pairs", rows, paired=True)
    pairs = table([1, 0], sequences=np.array([2, 0, 3, 1]), logp=np.zeros(4), log_ratio=np.array([1.0, 2.0, 3.0, 5.0]))

    found = step_metrics(pairs, store)

    assert (found["reward/desirable"], found["reward/undesirable"], found["reward_margin"]) == (1.5, 4.0, -2.5)
    assert found["completion_tokens/undesirable"] == 2.5


def test_a_reference_point_below_zero_is_used_as_zero_and_logged_as_it_was():
    found = reference_point_numbers(np.array([-3.0, 1.0]))

    assert found == {
        "reference_point": 0.0,
        "reference_point/raw": -1.0,
        "reference_point/clamped": 1.0,
        "reference_point/standard_error": 2.0,
    }


def test_one_mismatched_completion_has_no_standard_error():
    assert reference_point_numbers(np.array([2.0])) == {
        "reference_point": 2.0,
        "reference_point/raw": 2.0,
        "reference_point/clamped": 0.0,
    }


def test_rounding_stands_beside_the_means_that_it_moves_the_less_the_more_answers_they_have(store: TokenStore):
    step = table(
        [3, 1, 2],
        weight=np.array([0.5, 0.375, 0.125]),
        log_ratio=np.array([2.0, -1.0, -4.0]),
        mismatched=np.array([1.0, 2.0, 6.0, 3.0]),
    )

    found = step_metrics(step, store, rounding=0.8)

    # One desirable answer, and two undesirable ones of weights 3/4 and 1/4.
    assert found["reward_margin/rounding"] == pytest.approx(0.8 * math.sqrt(1 + 9 / 16 + 1 / 16))
    assert found["reference_point/rounding"] == pytest.approx(0.8 / 2)
    assert {name for name in found if name.endswith("/rounding")} == {
        "reward_margin/rounding",
        "reference_point/rounding",
    }
    assert step_metrics(step, store).keys() == found.keys() - {"reward_margin/rounding", "reference_point/rounding"}
