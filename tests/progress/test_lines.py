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
        ({"auc": 0.6, **RATE}, "  AUC 0.600  win rate 62% (40%-81%)"),
        ({"auc": 0.6, **dict.fromkeys(RATE)}, "  AUC 0.600"),
    ],
    ids=["nothing", "auc", "judged", "the judge failed"],
)
def test_the_last_validation_is_told_in_a_few_words(numbers: dict[str, float], text: str):
    assert describe_validation(numbers) == text


def test_a_loss_by_answer_has_the_likelihood_by_token_beside_it():
    numbers = {"loss": 105.266, "nll_per_token": 1.9834, "tokens_per_second": 410.0}

    assert describe(numbers) == "loss 105.266 an answer  NLL 1.983 a token  410 tok/s"


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
