"""Rows of `benchmarks.coverage` for means: skewed and tied numbers, soft preferences, shares, and their differences."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeAlias

import numpy as np
from benchmarks.coverage import Row
from numpy.typing import NDArray

from haloes.results import Score
from haloes.stats.both_sides import BothSides
from haloes.stats.bounded_mean import bounded_mean_with_interval
from haloes.stats.means import difference_with_interval, mean_with_interval
from haloes.stats.rates import share_difference_with_interval, share_with_interval

Rng: TypeAlias = np.random.Generator
Floats: TypeAlias = NDArray[np.float64]
Shape: TypeAlias = Callable[[Floats], Floats]
"""Makes numbers of a shape of standard normal ones, so that those of a prompt can correlate."""

_ALONE = {f"{n} prompts": (1,) * n for n in (10, 20, 50, 200)}
_SEVERAL = {
    "10 prompts of 4": (4,) * 10,
    "24 prompts of 4": (4,) * 24,
    "12 prompts of 1 to 30": (1, 1, 1, 2, 2, 3, 3, 5, 6, 8, 16, 30),
    "10 prompts, one with half of the rows": (27, *(3,) * 9),
    "20 prompts, one with half of the rows": (38, *(2,) * 19),
    "40 prompts, one with half of the rows": (78, *(2,) * 39),
}
_UNLIKE = {
    "20 prompts of 1 before and 4 after": ((1,) * 20, (4,) * 20),
    "12 prompts of 1 to 30 before and 1 after": (_SEVERAL["12 prompts of 1 to 30"], (1,) * 12),
    "20 prompts, one with half of the rows before": ((38, *(2,) * 19), (2,) * 20),
}
"""Prompts with different numbers of rows before and after."""
_SHAPES: dict[str, Shape] = {
    "normal": lambda z: z,
    "lognormal": np.exp,
    "lognormal, less skewed": lambda z: np.exp(z / 2),
    "lognormal, heavy ties": lambda z: np.round(np.exp(z)),
    "lognormal less 1, half of them 0": lambda z: np.maximum(np.exp(z) - 1, 0.0),
    "left-skewed": lambda z: -np.exp(z),
}


def means() -> Iterator[Row]:
    """List the rows of means of any numbers, such as lengths and divergences."""
    for shape_name, shape in _SHAPES.items():
        truth = _mean_of(shape)
        for sizes_name, sizes in _ALONE.items():
            draw = partial(_values, sizes, 0.0, shape)
            yield Row(name=f"{shape_name}, {sizes_name}", truth=truth, draw=draw, interval=_mean)
        for sizes_name, sizes in _SEVERAL.items():
            for alike in (0.0, 0.4, 0.9):
                draw = partial(_values, sizes, alike, shape)
                yield Row(name=f"{shape_name}, {sizes_name}, {alike} alike", truth=truth, draw=draw, interval=_mean)


def mean_differences() -> Iterator[Row]:
    """List the rows of differences of such means on the same prompts."""
    for shape_name, shape in _SHAPES.items():
        for sizes_name, sizes in (_ALONE | _SEVERAL).items():
            draw = partial(_two_sides, sizes, shape)
            # After is before times what a change of the same shape makes of it, less what that is on average.
            yield Row(name=f"{shape_name}, {sizes_name}", truth=_mean_of(shape), draw=draw, interval=_mean_difference)
        for sizes_name, (before, after) in _UNLIKE.items():
            draw = partial(_unlike_sides, before, after, shape)
            yield Row(name=f"{shape_name}, {sizes_name}", truth=_mean_of(shape), draw=draw, interval=_mean_difference)


def preferences() -> Iterator[Row]:
    """List the rows of preferences in [0, 1]: soft ones, verdicts, and ties."""
    for num in (10, 20, 50, 200):
        for mean in (0.05, 0.2, 0.5, 0.95):
            for total in (2, 5):
                draw = partial(_soft, num, mean, total)
                yield Row(name=f"{num} prompts, Beta({mean}, sum {total})", truth=mean, draw=draw, interval=_preference)
        for chances in ((0.3, 0.2, 0.5), (0.1, 0.8, 0.1), (0.9, 0.1, 0.0), (0.9, 0.0, 0.1)):
            truth = chances[1] / 2 + chances[2]
            draw = partial(_verdicts, num, chances)
            yield Row(name=f"{num} prompts, lost, tied, won {chances}", truth=truth, draw=draw, interval=_preference)


def shares() -> Iterator[Row]:
    """List the rows of shares (true or false) and of differences of two shares on the same prompts."""
    for share in (0.05, 0.5, 0.9):
        shape = partial(_chance, share)
        for sizes_name, sizes in (_ALONE | _SEVERAL).items():
            draw = partial(_values, sizes, 0.4 if max(sizes) > 1 else 0.0, shape)
            yield Row(name=f"{share}, {sizes_name}", truth=share, draw=draw, interval=_share)
            draw = partial(_two_shares, sizes, share)
            # What was false before is true after in three of ten cases.
            truth = 0.3 * (1 - share)
            yield Row(name=f"{share}, difference, {sizes_name}", truth=truth, draw=draw, interval=_share_difference)


def _mean_of(shape: Shape) -> float:
    """Return the mean of a shape, from a million quantiles of the normal distribution: exact to a thousandth."""
    from scipy.special import ndtri

    return float(shape(ndtri((np.arange(1_000_000) + 0.5) / 1_000_000)).mean())


def _noise(sizes: tuple[int, ...], alike: float, rng: Rng) -> tuple[Floats, NDArray[np.intp]]:
    """Draw standard normal numbers that correlate by `alike` within a prompt; return them and their prompts."""
    prompt = np.repeat(np.arange(len(sizes)), sizes)
    common, own = rng.normal(size=len(sizes)), rng.normal(size=len(prompt))
    return alike**0.5 * common[prompt] + (1 - alike) ** 0.5 * own, prompt


def _values(sizes: tuple[int, ...], alike: float, shape: Shape, rng: Rng) -> tuple[Floats, list[int]]:
    noise, prompt = _noise(sizes, alike, rng)
    return shape(noise), prompt.tolist()


def _two_sides(sizes: tuple[int, ...], shape: Shape, rng: Rng) -> BothSides:
    before, prompt = _noise(sizes, 0.6, rng)
    change, _ = _noise(sizes, 0.3, rng)
    return BothSides(3 * before, prompt.tolist(), 3 * before + shape(change), prompt.tolist())


def _unlike_sides(before: tuple[int, ...], after: tuple[int, ...], shape: Shape, rng: Rng) -> BothSides:
    """Draw answers that share what is easy about a prompt, as many a prompt as the sides have."""
    easy = 3 * 0.6**0.5 * rng.normal(size=len(before))
    was, prompt_before = _noise(before, 0.0, rng)
    now, prompt_after = _noise(after, 0.0, rng)
    change, _ = _noise(after, 0.3, rng)
    return BothSides(
        easy[prompt_before] + 1.9 * was,
        prompt_before.tolist(),
        easy[prompt_after] + 1.9 * now + shape(change),
        prompt_after.tolist(),
    )


def _soft(num: int, mean: float, total: float, rng: Rng) -> tuple[Floats, list[int]]:
    return rng.beta(mean * total, (1 - mean) * total, num), list(range(num))


def _verdicts(num: int, chances: tuple[float, ...], rng: Rng) -> tuple[Floats, list[int]]:
    return rng.choice([0.0, 0.5, 1.0], p=chances, size=num), list(range(num))


def _chance(share: float, noise: Floats) -> Floats:
    from scipy.special import ndtri

    return (noise < ndtri(share)).astype(np.float64)


def _two_shares(sizes: tuple[int, ...], share: float, rng: Rng) -> tuple[Floats, Floats, list[int]]:
    before, prompt = _noise(sizes, 0.4 if max(sizes) > 1 else 0.0, rng)
    gained, _ = _noise(sizes, 0.4 if max(sizes) > 1 else 0.0, rng)
    was = _chance(share, before)
    return was, np.maximum(was, _chance(0.3, gained)), prompt.tolist()


def _mean(study: tuple[Floats, list[int]]) -> Score | None:
    return mean_with_interval(*study, name="mean", variant="after")


def _mean_difference(sides: BothSides) -> Score | None:
    return difference_with_interval(sides, name="mean")


def _preference(study: tuple[Floats, list[int]]) -> Score | None:
    return bounded_mean_with_interval(*study, name="preference", variant="after", draws=500)


def _share(study: tuple[Floats, list[int]]) -> Score | None:
    return share_with_interval(*study, name="share", variant="after")


def _share_difference(study: tuple[Floats, Floats, list[int]]) -> Score | None:
    before, after, prompts = study
    return share_difference_with_interval(BothSides(before, prompts, after, prompts), name="share")
