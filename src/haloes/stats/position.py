"""
Position effects of a judge: its bias to the first position, and verdicts that flip with the order.

Both need each pair of answers judged in both orders. `shown_first` holds the preference in [0, 1] for a model's answer
when it stood first, `shown_second` that for the same answer when it stood second; None is unscored.
"""

from collections.abc import Hashable, Sequence

from haloes.errors import DataError
from haloes.results import Score
from haloes.stats.bootstrap import DRAWS
from haloes.stats.bounded_mean import bounded_mean_with_interval, unit_interval
from haloes.stats.win_rate import Preferences

_TIE = 0.5


def position_bias(
    shown_first: Preferences,
    shown_second: Preferences,
    prompts: Sequence[Hashable],
    *,
    variant: str = "judge",
    label: str = "",
    draws: int = DRAWS,
    seed: int = 0,
) -> Score | None:
    """
    Compute the share of verdicts for the first position among pairs judged in both orders, ties counting half.

    0.5 is a fair judge, 1 one that always says "first", 0 one that always says "second". As each pair is judged in both
    orders, which answer is better does not matter. Pairs with an unscored verdict are left out.

    Args:
        shown_first: preference for the model's answer standing first.
        shown_second: preference for the model's answer standing second.
        prompts: the prompt of each pair.
        variant: which judge it is about, for the record.
        label: how a report calls the number.
        draws: number of bootstrap draws.
        seed: seed of the draws.

    Returns:
        The score; None with fewer than two prompts scored in both orders.

    Raises:
        DataError: the lengths differ, or a preference is not in [0, 1].
    """
    pairs, keys = _scored_twice(shown_first, shown_second, prompts, "position_bias")
    # A preference for the model's answer in second place is one against the first place.
    first = [(in_first + 1 - in_second) / 2 for in_first, in_second in pairs]
    return bounded_mean_with_interval(
        first, keys, name="position_bias", variant=variant, label=label, draws=draws, seed=seed
    )


def flip_rate(
    shown_first: Preferences,
    shown_second: Preferences,
    prompts: Sequence[Hashable],
    *,
    variant: str = "judge",
    label: str = "",
    draws: int = DRAWS,
    seed: int = 0,
) -> Score | None:
    """
    Compute the share of pairs whose winner changes when the answers change places.

    A tie in one order and a winner in the other is no flip. Arguments, result and errors as in `position_bias`.
    """
    pairs, keys = _scored_twice(shown_first, shown_second, prompts, "flip_rate")
    flipped = [float((in_first - _TIE) * (in_second - _TIE) < 0) for in_first, in_second in pairs]
    return bounded_mean_with_interval(
        flipped, keys, name="flip_rate", variant=variant, label=label, draws=draws, seed=seed
    )


def _scored_twice(
    shown_first: Preferences, shown_second: Preferences, prompts: Sequence[Hashable], name: str
) -> tuple[list[tuple[float, float]], list[Hashable]]:
    if not len(shown_first) == len(shown_second) == len(prompts):
        raise DataError(
            f"{name}: {len(shown_first)} preferences in one order and {len(shown_second)} in the other for "
            f"{len(prompts)} prompts; give one of each a pair"
        )
    rows = zip(shown_first, shown_second, prompts, strict=True)
    kept = [(a, b, prompt) for a, b, prompt in rows if a is not None and b is not None]
    unit_interval([a for a, _, _ in kept], name)
    unit_interval([b for _, b, _ in kept], name)
    return [(a, b) for a, b, _ in kept], [prompt for _, _, prompt in kept]
