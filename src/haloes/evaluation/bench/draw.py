"""Which questions are asked, where not all of them are."""

import random
from collections.abc import Mapping
from math import floor

from haloes.errors import ConfigError


def draw(sizes: Mapping[str, int], limit: int | None, *, seed: int) -> dict[str, list[int]]:
    """
    So many questions of a benchmark, spread over its subtasks in proportion to their size.

    The questions are put in one row, subtask by subtask and shuffled within each; from a random start every
    (size / limit)-th is taken. So each has the same chance, and the mean over the drawn ones estimates the mean over
    all (systematic sampling of a population that is ordered by stratum).

    Args:
        sizes: how many questions each subtask has.
        limit: how many to draw; None, or more than there are, for all.
        seed: of the draw.

    Returns:
        Of each subtask that has some, the drawn numbers, ascending.

    Raises:
        ConfigError: the limit is below 1.
    """
    if limit is not None and limit < 1:
        raise ConfigError(f"--bench-limit must be at least 1, got {limit}")
    everything = [(subtask, number) for subtask, size in sizes.items() for number in range(size)]
    if limit is None or limit >= len(everything):
        chosen = everything
    else:
        rng = random.Random(seed)
        row = []
        for subtask, size in sizes.items():
            numbers = list(range(size))
            rng.shuffle(numbers)
            row += [(subtask, number) for number in numbers]
        start, stride = rng.random(), len(row) / limit
        chosen = [row[floor((start + i) * stride)] for i in range(limit)]
    drawn: dict[str, list[int]] = {}
    for subtask, number in sorted(chosen, key=lambda one: (list(sizes).index(one[0]), one[1])):
        drawn.setdefault(subtask, []).append(number)
    return drawn
