"""The learning rate where the settings leave it open."""

from typing import Any

import pytest

from haloes.losses._contract import Needs
from haloes.losses.table import LOSSES
from haloes.training.choose_rate import ChosenRate, choose_rate

KTO = LOSSES["kto"]().needs


def rate(needs: Needs = KTO, **settings: Any) -> ChosenRate:
    return choose_rate(
        needs,
        **{"width": 4096, "lora_alpha": None, "optimizer": "adamw", "num_steps": 1000, "batch_size": 32, **settings},
    )


def test_all_weights_of_an_8b_model_take_the_papers_rate():
    assert rate().value == 5e-6
    assert rate().why == "5e-06 for all weights of an 8B model (KTO paper, Table 1)"


@pytest.mark.parametrize(("alpha", "value"), [(32.0, 5e-5), (16.0, 1e-4), (64.0, 2.5e-5)])
def test_adapters_take_ten_times_as_much_and_less_with_a_larger_alpha(alpha: float, value: float):
    assert rate(lora_alpha=alpha).value == pytest.approx(value)


def test_narrower_models_take_more_and_wider_ones_less():
    found = [rate(lora_alpha=32.0, width=width).value for width in (8192, 4096, 2048, 576)]

    assert found == pytest.approx([4.5e-5, 5e-5, 5.5e-5, 6.7e-5])


@pytest.mark.parametrize(("num_steps", "value"), [(1, 7.5e-6), (50, 7.1e-6), (100, 5e-6), (10_000, 5e-6)])
def test_a_short_run_takes_more_but_never_more_than_half_as_much_again(num_steps: int, value: float):
    assert rate(num_steps=num_steps).value == pytest.approx(value)


@pytest.mark.parametrize(
    ("loss", "value"),
    [("kto", 5e-6), ("dpo", 1e-6), ("simpo", 1e-6), ("sft", 2e-5), ("csft", 2e-5), ("bradley-terry", 1e-5)],
)
def test_what_the_loss_learns_from_decides_the_rate_that_is_begun_with(loss: str, value: float):
    assert rate(LOSSES[loss]().needs).value == value


def test_rmsprop_takes_a_tenth_and_adamw_in_8_bits_as_much():
    assert rate(optimizer="rmsprop").value == 5e-7
    assert rate(optimizer="adamw8bit").value == 5e-6


def test_the_reason_names_every_factor():
    found = rate(lora_alpha=32.0, width=576, num_steps=54, batch_size=8, optimizer="rmsprop")

    assert found.value == 4.6e-6
    assert ", x 10 for adapters, x 1.34 for a width of 576, x 1.36 for 54 steps, " in found.why
    assert found.why.endswith(", x 0.5 for 8 examples a step, x 0.1 for RMSprop")


@pytest.mark.parametrize(("batch_size", "value"), [(8, 2.5e-6), (32, 5e-6), (128, 5e-6)])
def test_steps_of_fewer_examples_than_the_papers_take_less_by_the_square_root(batch_size: int, value: float):
    assert rate(batch_size=batch_size).value == value
