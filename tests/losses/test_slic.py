"""SLiC, against sums done by hand and against the formula written out in NumPy."""

import pytest

from haloes.errors import ConfigError
from haloes.losses.slic import SLiC
from loss_batches import side_of
from pair_checks import Tokens, accuracies, assert_agrees, losses, pair, ragged_pairs, slopes

CLOSE = pair(side_of([-1.0, -2.0], [0.0, 0.0]), side_of([-3.5], [0.0]))
"""log-probabilities -3 and -3.5."""
APART = pair(side_of([-1.0, -2.0], [0.0, 0.0]), side_of([-5.0, -1.0], [0.0, 0.0]))
"""-3 and -6."""


def test_worked_example() -> None:
    # max(0, 1 - (-3) + (-3.5)) = 0.5 and max(0, 1 + 3 - 6) = 0, each with 0.1 * 3.
    assert losses(SLiC(delta=1.0, regularization=0.1), [CLOSE, APART]) == pytest.approx([0.8, 0.3])


def test_worked_gradient() -> None:
    # The calibration pulls -1 and +1 where it is not satisfied, the cross entropy -0.1 at the chosen tokens always.
    found = slopes(SLiC(delta=1.0, regularization=0.1), [CLOSE, APART])

    assert found == [
        (pytest.approx([-1.1, -1.1]), pytest.approx([1.0])),
        (pytest.approx([-0.1, -0.1]), pytest.approx([0.0, 0.0])),
    ]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("delta", "weight"), [(1.0, 0.1), (5.0, 2.0)])
def test_values_and_gradients_are_those_of_the_papers_formula(delta: float, weight: float, seed: int) -> None:
    def oracle(chosen: Tokens, rejected: Tokens) -> float:
        calibration = max(0.0, delta - chosen["policy"].sum() + rejected["policy"].sum())
        return float(calibration + weight * -chosen["policy"].sum())

    assert_agrees(SLiC(delta=delta, regularization=weight), oracle, seed=seed)


def test_without_its_regulariser_it_is_the_calibration_loss_which_is_never_negative() -> None:
    found = losses(SLiC(delta=1.0, regularization=0), [CLOSE, APART, *ragged_pairs(1)])

    assert found[:2] == pytest.approx([0.5, 0])
    assert min(found) >= 0


def test_accuracy_is_the_share_of_pairs_whose_chosen_completion_is_the_likelier() -> None:
    turned = [pair(example.rejected, example.completion) for example in (CLOSE, APART)]

    assert accuracies(SLiC(), [CLOSE, APART, *turned]) == [1, 1, 0, 0]


@pytest.mark.parametrize("delta", [0, -1, float("nan"), float("inf")])
def test_delta_must_be_positive(delta: float) -> None:
    with pytest.raises(ConfigError, match=f"slic: delta must be positive and finite, got {delta}"):
        SLiC(delta=delta)


@pytest.mark.parametrize("weight", [-0.1, float("nan"), float("inf")])
def test_the_regularization_must_not_be_negative(weight: float) -> None:
    with pytest.raises(ConfigError, match=f"slic: regularization must be at least 0 and finite, got {weight}"):
        SLiC(regularization=weight)
