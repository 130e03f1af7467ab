"""Learning rates by hand, and settings that are refused."""

import math
from typing import Any

import pytest

from haloes.errors import ConfigError
from haloes.training.settings import TrainSettings, learning_rate, settled


def rates(num_steps: int, **fields: Any) -> list[float]:
    settings = TrainSettings(lr=1.0, **fields)
    return [learning_rate(settings, step, num_steps) for step in range(num_steps)]


def test_linear_rises_over_the_warm_up_and_falls_to_zero_one_step_after_the_last():
    # 2 of 10 steps rise to 1; the other 8 start at 1 and lose 1/8 a step.
    assert rates(10, warmup=0.2, schedule="linear") == pytest.approx(
        [1 / 2, 1, 1, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8]
    )


def test_constant_rises_and_stays():
    assert rates(5, warmup=0.4, schedule="constant") == pytest.approx([1 / 2, 1, 1, 1, 1])


def test_cosine_falls_along_half_a_wave():
    assert rates(4, warmup=0, schedule="cosine") == pytest.approx(
        [1, (1 + math.sqrt(0.5)) / 2, 1 / 2, (1 - math.sqrt(0.5)) / 2]
    )


def test_a_warm_up_shorter_than_a_step_is_none():
    assert rates(4, warmup=0.2, schedule="linear")[0] == 1.0


def test_a_warm_up_that_ends_between_steps_never_overshoots():
    # It is 2.5 steps long; the third step stands before its end, at the peak, the fourth half a step after it.
    assert rates(5, warmup=0.5, schedule="linear") == pytest.approx([1 / 2.5, 2 / 2.5, 1, 1 - 0.5 / 2.5, 1 - 1.5 / 2.5])


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine"])
@pytest.mark.parametrize("num_steps", [1, 2, 7, 1000])
@pytest.mark.parametrize("warmup", [0.0, 0.1, 0.9])
def test_every_rate_is_positive_and_at_most_the_peak(schedule: Any, num_steps: int, warmup: float):
    found = rates(num_steps, warmup=warmup, schedule=schedule)

    assert 0 < min(found) <= max(found) <= 1


def test_the_peak_scales_the_rates():
    assert learning_rate(TrainSettings(lr=5e-6, warmup=0, schedule="constant"), 3, 10) == 5e-6


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("optimizer", "adam", "adamw or adamw8bit or rmsprop"),
        ("schedule", "exponential", "constant or linear or cosine"),
        ("lr", 0, 'positive and finite, or "auto"'),
        ("lr", float("nan"), 'positive and finite, or "auto"'),
        ("epochs", -1, 'positive and finite, or "auto"'),
        ("max_grad_norm", 0, "positive and finite"),
        ("kl_budget", 0, 'positive and finite, "auto", or null'),
        ("batch_size", 0, 'at least 1, or "auto"'),
        ("checkpoint_every", 0, "at least 1"),
        ("keep_checkpoints", 0, "at least 1"),
        ("save_while_training", "later", 'true, false, or "auto"'),
        ("microbatch_tokens", 0, "at least 1, or left out"),
        ("microbatch_examples", 0, "at least 1, or left out"),
        ("validate_every", 0, "at least 1, or left out"),
        ("warmup", 1.0, "at least 0 and below 1"),
        ("dropout", 1.0, "at least 0 and below 1"),
        ("dropout", -0.1, "at least 0 and below 1"),
        ("lr", float("inf"), 'positive and finite, or "auto"'),
        ("weight_decay", -0.1, "at least 0 and finite"),
    ],
)
def test_settings_out_of_range_are_refused(name: str, value: Any, rule: str):
    with pytest.raises(ConfigError, match=rf"^train\.{name} must be {rule}, got {value!r}$"):
        TrainSettings(**{name: value})


def test_what_is_still_open_is_no_number_for_training():
    assert settled(0.5, "lr") == 0.5
    with pytest.raises(ConfigError, match=r'train\.epochs is "auto", which only a run can find out'):
        settled("auto", "epochs")
    with pytest.raises(ConfigError, match=r'train\.lr is "auto"'):
        learning_rate(TrainSettings(), 0, 10)
