"""CSFT, against sums done by hand and the same in NumPy."""

from collections.abc import Sequence

import numpy as np
import pytest

from haloes.errors import ConfigError
from haloes.losses._contract import Needs
from haloes.losses.csft import CSFT
from loss_batches import Example, Numbers, evaluate, side_of
from loss_oracles import Row, assert_agrees


def nll(rows: Sequence[Row], _: Sequence[Row]) -> Numbers:
    return np.array([-row.policy.sum() for row in rows])


def test_worked_example() -> None:
    # 0.5 + 1.5, whatever the label; 1 per token.
    side = side_of([-0.5, -1.5], [-9.0, -9.0])

    output = evaluate(CSFT(), [Example(side, True, 0.0, side), Example(side, False, 0.0, side)])

    assert output.per_example.tolist() == [2.0, 2.0]
    assert output.metrics["nll_per_token"].tolist() == [1.0, 1.0]


@pytest.mark.parametrize("seed", range(3))
def test_values_and_gradients_are_those_of_the_likelihood_of_every_completion(seed: int) -> None:
    assert_agrees(CSFT(), nll, seed=seed)


def test_the_label_reaches_the_model_through_the_control_tokens_alone() -> None:
    assert CSFT().needs == Needs(control=("<|good|>", "<|bad|>"))
    assert CSFT(desirable_token="Rating: high. ", undesirable_token="Rating: low. ").needs.control == (
        "Rating: high. ",
        "Rating: low. ",
    )


@pytest.mark.parametrize("name", ["desirable_token", "undesirable_token"])
@pytest.mark.parametrize("token", ["", " \n"])
def test_a_control_token_must_be_visible(name: str, token: str) -> None:
    with pytest.raises(ConfigError, match=f"csft: {name} must be a text to tell the labels apart by, got"):
        CSFT(**{name: token})


def test_the_control_tokens_must_differ() -> None:
    with pytest.raises(ConfigError, match=r"must differ, got '<\|bad\|>' twice"):
        CSFT(desirable_token="<|bad|>")
