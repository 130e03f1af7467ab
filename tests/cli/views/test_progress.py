"""What the progress display says of a validation."""

import pytest

from haloes.cli.views.progress import describe_validation

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
