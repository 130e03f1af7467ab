"""Class weights that are left to the data."""

import pytest

from haloes.errors import ConfigError
from haloes.losses._weights import check_weight, number, with_weights
from haloes.losses.dpo import DPO
from haloes.losses.kto import KTO
from haloes.losses.sft import SFT


def test_weights_left_open_are_filled_in() -> None:
    loss = KTO(beta=0.3, desirable_weight="auto", undesirable_weight="auto")

    found = with_weights(loss, desirable=1.5, undesirable=2.0)

    assert found == KTO(beta=0.3, desirable_weight=1.5, undesirable_weight=2.0)
    assert loss == KTO(beta=0.3, desirable_weight="auto", undesirable_weight="auto")


def test_a_weight_that_was_given_stays() -> None:
    loss = KTO(desirable_weight=4.0, undesirable_weight="auto")

    assert with_weights(loss, desirable=1.5, undesirable=2.0) == KTO(desirable_weight=4.0, undesirable_weight=2.0)


@pytest.mark.parametrize("loss", [KTO(), DPO(), SFT()])
def test_a_loss_without_open_weights_comes_back_unchanged(loss: object) -> None:
    assert with_weights(loss, desirable=1.5, undesirable=2.0) is loss


def test_a_weight_that_cannot_be_used_is_refused_when_it_is_filled_in() -> None:
    with pytest.raises(ConfigError, match="desirable_weight must be a number of at least 0"):
        with_weights(KTO(desirable_weight="auto"), desirable=float("nan"), undesirable=1.0)


def test_an_open_weight_is_no_number() -> None:
    assert number(0.5) == 0.5
    with pytest.raises(ConfigError, match='still "auto"'):
        number("auto")


@pytest.mark.parametrize("weight", [0, 0.0, 1, 13.33, "auto"])
def test_zero_whole_numbers_and_auto_are_weights(weight: object) -> None:
    check_weight("w", weight)  # type: ignore[arg-type]


@pytest.mark.parametrize("weight", [-0.1, float("inf"), float("-inf"), float("nan"), "1.0", None])
def test_anything_else_is_refused_by_its_name(weight: object) -> None:
    with pytest.raises(ConfigError, match=r"^w must be a number"):
        check_weight("w", weight)  # type: ignore[arg-type]
