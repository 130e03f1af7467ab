"""Steps and passes where the settings leave them open."""

import pytest

from haloes.training.choose_steps import choose_steps, describe_steps, too_few_steps


@pytest.mark.parametrize(
    ("num_examples", "batch_size", "epochs", "num_steps"),
    [
        (1, 8, 5.0, 5),
        (27, 8, 5.0, 20),
        (80, 8, 5.0, 50),
        (180, 10, 3.0, 54),
        (320, 12, 2.0, 54),
        (400, 8, 1.0, 50),
        (900, 18, 1.0, 50),
        (1600, 32, 1.0, 50),
        (5000, 32, 1.0, 157),
        (60_000, 32, 1.0, 1875),
    ],
)
def test_few_rows_get_smaller_steps_first_and_then_more_passes(
    num_examples: int, batch_size: int, epochs: float, num_steps: int
):
    found = choose_steps(num_examples, batch_size="auto", epochs="auto")

    assert (found.batch_size, found.epochs, found.num_steps) == (batch_size, epochs, num_steps)


def test_from_80_rows_on_there_are_about_50_steps_and_never_more_than_5_passes():
    for num_examples in range(1, 3000):
        found = choose_steps(num_examples, batch_size="auto", epochs="auto")
        assert 1 <= found.epochs <= 5
        assert 8 <= found.batch_size <= 32
        if num_examples >= 80:
            assert found.num_steps >= 50
            assert found.num_steps < 70 or found.batch_size == 32


@pytest.mark.parametrize(
    ("batch_size", "epochs", "expected"),
    [(4, "auto", (4, 2.0, 50)), ("auto", 1.0, (8, 1.0, 13)), ("auto", 8.0, (16, 8.0, 56)), (100, 0.5, (100, 0.5, 1))],
)
def test_what_is_a_number_stays_and_the_other_goes_by_it(
    batch_size: int, epochs: float, expected: tuple[int, float, int]
):
    found = choose_steps(100, batch_size=batch_size, epochs=epochs)

    assert (found.batch_size, found.epochs, found.num_steps) == expected


def test_steps_are_described_with_what_they_are_made_of():
    steps = choose_steps(180, batch_size="auto", epochs="auto")
    one = choose_steps(1, batch_size=1, epochs=1.0)

    assert describe_steps(180, steps) == "54 steps of up to 10 examples: 3 passes over 180 examples"
    assert describe_steps(1, one) == "1 step of up to 1 example: 1 pass over 1 example"


def test_too_few_steps_are_told_with_what_gives_more():
    chosen = choose_steps(180, batch_size=32, epochs=1.0)
    fewest = choose_steps(8, batch_size="auto", epochs="auto")

    assert too_few_steps(180, chosen) == (
        "the run has only 6 steps, in which a model may hardly change: with train.batch_size=auto and "
        "train.epochs=auto there are 54"
    )
    assert "8 examples give no more in 5 passes; collect more feedback" in str(too_few_steps(8, fewest))
    assert too_few_steps(180, choose_steps(180, batch_size="auto", epochs="auto")) is None
