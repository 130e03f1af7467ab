"""What the progress display says of a step and of a validation."""

import pytest

from haloes.progress.display import Display
from haloes.progress.lines import describe, describe_validation
from haloes.words import WORDS

RATE = {"sampled/win_rate": 0.625, "sampled/win_rate/low": 0.4, "sampled/win_rate/high": 0.81}


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ({}, ""),
        ({"auc": 0.6123}, "  AUC 0.612"),
        ({"auc": 0.6123, "auc/low": 0.4871, "auc/high": 0.7249}, "  AUC 0.612 (0.49-0.72)"),
        ({"auc": 0.6, **RATE}, "  AUC 0.600  win rate 62% (40%-81%)"),
        ({"auc": 0.6, **dict.fromkeys(RATE)}, "  AUC 0.600"),
    ],
    ids=["nothing", "auc", "with its interval", "judged", "the judge failed"],
)
def test_the_last_validation_is_told_in_a_few_words(numbers: dict[str, float], text: str):
    assert describe_validation(numbers) == text


def test_a_loss_by_answer_has_the_likelihood_by_token_beside_it():
    numbers = {"loss": 105.266, "nll_per_token": 1.9834, "tokens_per_second": 410.0}

    assert describe(numbers) == "loss 105.266 an answer  NLL 1.983 a token  410 tok/s"


@pytest.mark.parametrize(
    ("margin", "z0", "text"),
    [
        (0.02, 0.01, "margin +0.02 (rounding)  z0 0.01 (rounding)"),
        (-0.24, 0.2, "margin -0.24 (rounding)  z0 0.20"),
        (0.5, 0.0, "margin +0.50  z0 0.00"),
        (0.0, 0.3, "margin +0.00  z0 0.30"),
    ],
    ids=["both", "one", "neither", "exactly zero"],
)
def test_what_is_no_more_than_rounding_is_marked(margin: float, z0: float, text: str):
    floors = {"reward_margin/rounding": 0.25, "reference_point/rounding": 0.12}
    numbers = {"loss": 0.5, "reward_margin": margin, "reference_point": z0, "tokens_per_second": 410.0}

    assert describe({**numbers, **floors}) == f"loss 0.500  {text}  410 tok/s"
    assert "rounding" not in describe(numbers)


def test_the_words_of_the_training_line_are_explained_once(capsys: pytest.CaptureFixture[str]):
    step = {"split": "train", "loss": 0.5, "reward_margin": 0.1, "tokens_per_second": 410.0}
    with Display() as progress:
        progress.on_start(step=0, num_steps=3)
        for number in (1, 2):
            progress.on_metrics({**step, "step": number})
        progress.on_metrics({**step, "step": 3, "reference_point": 0.2})

    shown = capsys.readouterr().err
    assert shown.count(f"  margin: {WORDS['margin']}\n") == 1
    assert shown.count(f"  z0: {WORDS['z0']}\n") == 1
    assert shown.index("margin: ") < shown.index("step 1/3") < shown.index("z0: ")
