"""Before and after on the same prompts: each side's number and their difference, all with intervals."""

from collections.abc import Iterable, Sequence
from math import inf

from haloes.records import Completion
from haloes.results import Score
from haloes.stats.both_sides import BothSides
from haloes.stats.means import difference_with_interval, mean_with_interval
from haloes.stats.rates import share_difference_with_interval, share_with_interval
from haloes.stats.text_stats import repeats_itself, repetition_rate, words

ANSWER_BOUNDS = {"words": (0.0, inf), "tokens": (0.0, inf), "repetition": (0.0, 1.0)}
"""What the numbers of an answer that need no judge can be at all."""


def compare_shares(
    sides: BothSides,
    *,
    name: str,
    label: str = "",
) -> tuple[Score, ...]:
    """
    Return the share before, after, and the difference; what has no interval (fewer than two prompts) is left out.

    Args:
        sides: true or false for each row.
        name: what was measured.
        label: how a report calls it.

    Raises:
        DataError: the sides are about different prompts, or an outcome is neither true nor false.
    """
    scores = (
        share_with_interval(sides.before, sides.before_keys, name=name, variant="before", label=label),
        share_with_interval(sides.after, sides.after_keys, name=name, variant="after", label=label),
        share_difference_with_interval(sides, name=name, label=label),
    )
    return tuple(score for score in scores if score is not None)


def compare_means(
    sides: BothSides,
    *,
    name: str,
    label: str = "",
    bounds: tuple[float, float] = (-inf, inf),
) -> tuple[Score, ...]:
    """
    Return the mean before, after, and the difference; arguments and errors as in `compare_shares`.

    `bounds`: what such a number can be at all.
    """
    lowest, highest = bounds
    widest = (lowest - highest, highest - lowest)
    scores = (
        mean_with_interval(sides.before, sides.before_keys, name=name, variant="before", label=label, bounds=bounds),
        mean_with_interval(sides.after, sides.after_keys, name=name, variant="after", label=label, bounds=bounds),
        difference_with_interval(sides, name=name, label=label, bounds=widest),
    )
    return tuple(score for score in scores if score is not None)


def compare_completions(before: Sequence[Completion], after: Sequence[Completion]) -> tuple[Score, ...]:
    """
    Compare completions without a judge: words, tokens, repeated 4-grams, and the shares that end and go in circles.

    Args:
        before: answers of the model before training.
        after: answers of the model after, to the same prompts (joined on `prompt_id`).

    Raises:
        DataError: the two sides are about different prompts.
    """
    keys = [c.prompt_id for c in before], [c.prompt_id for c in after]
    measures: dict[str, Iterable[list[float]]] = {
        "words": ([len(words(c.completion)) for c in side] for side in (before, after)),
        "tokens": ([c.num_tokens for c in side] for side in (before, after)),
        "repetition": ([repetition_rate(c.completion) for c in side] for side in (before, after)),
    }
    scores: list[Score] = []
    for name, (old, new) in measures.items():
        scores.extend(compare_means(BothSides(old, keys[0], new, keys[1]), name=name, bounds=ANSWER_BOUNDS[name]))
    shares = {
        "repeats": [[repeats_itself(c.completion) for c in side] for side in (before, after)],
        "finished": [[c.finished for c in side] for side in (before, after)],
    }
    for name, (was, now) in shares.items():
        scores.extend(compare_shares(BothSides(was, keys[0], now, keys[1]), name=name))
    return tuple(scores)
