"""What a run made of a reward model, on held-out pairs: accuracy, calibration, and what it owes to length."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np

from haloes.records import Score
from haloes.run_files import CALIBRATION
from haloes.stats.reward_pairs import RewardPairs, length_bias, pair_accuracy, pair_calibration
from haloes.store import write_json
from haloes.training.validation import Validation

_DRAWS_WHILE_TRAINING = 500


def reward_pairs(validation: Validation) -> RewardPairs | None:
    """The held-out pairs with their rewards; None where nothing rewards them, or they are no pairs."""
    chosen, rejected = validation.pairs()
    if validation.reward is None or not len(chosen):
        return None
    return RewardPairs(
        chosen=validation.reward[chosen],
        rejected=validation.reward[rejected],
        chosen_length=validation.tokens[chosen].astype(np.float64),
        rejected_length=validation.tokens[rejected].astype(np.float64),
        prompts=validation.group[chosen].tolist(),
    )


def accuracy_numbers(pairs: RewardPairs) -> Mapping[str, float]:
    """The accuracy with its interval, for the metrics while training."""
    found = pair_accuracy(pairs, draws=_DRAWS_WHILE_TRAINING)
    return {} if found is None else {"accuracy": found.value, "accuracy/low": found.low, "accuracy/high": found.high}


def pair_scores(pairs: RewardPairs) -> list[Score]:
    """All that is said of the trained model, after what is known of it before training."""
    accuracy, calibrated = pair_accuracy(pairs), pair_calibration(pairs)
    if accuracy is None or calibrated is None:
        return []
    before = Score(
        name=accuracy.name,
        value=0.5,
        low=0.5,
        high=0.5,
        variant="before",
        num_rows=accuracy.num_rows,
        num_clusters=accuracy.num_clusters,
        method="by definition: before training the reward head is zero, and every pair a tie that a coin decides",
    )
    return [before, accuracy, *length_bias(pairs), calibrated.slope, calibrated.brier]


def write_calibration(run_dir: Path, pairs: RewardPairs) -> None:
    """Write how sure the model was and how often it was right, for the report."""
    found = pair_calibration(pairs)
    if found is not None:
        write_json(run_dir / CALIBRATION, asdict(found.reliability))
