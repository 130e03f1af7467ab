"""Packing of examples into micro-batches up to a budget of tokens, as equally filled as can be."""

import heapq
from collections.abc import Hashable, Sequence


def pack(lengths: Sequence[int], *, budget: int, most: int | None = None, ranks: int = 1) -> list[list[int]]:
    """
    Distribute examples over few micro-batches, each within the budget.

    An example longer than the budget gets a micro-batch of its own. Of the others the longest goes first, always to the
    emptiest micro-batch that may still take one; when that overflows, one micro-batch more is tried.

    Args:
        lengths: tokens of each example.
        budget: tokens of a micro-batch.
        most: examples of a micro-batch, at most; None for no limit.
        ranks: processes that share the micro-batches: their number is a multiple of this one where there are enough
            examples, or some would wait for the others.

    Returns:
        The indices of each micro-batch's examples, ascending; a pure function of the arguments.
    """
    alone = [[i] for i, length in enumerate(lengths) if length > budget]
    fitting = sorted((i for i, length in enumerate(lengths) if length <= budget), key=lambda i: (-lengths[i], i))
    if not fitting:
        return alone
    most = most or len(fitting)
    tokens = sum(lengths[i] for i in fitting)
    # No fewer can hold the tokens, or the examples.
    bins = max(-(-tokens // budget), -(-len(fitting) // most))
    while True:
        bins = min(-(-(bins + len(alone)) // ranks) * ranks - len(alone), len(fitting))
        packed = _spread(fitting, lengths, bins, most)
        if max(sum(lengths[i] for i in members) for members in packed) <= budget:
            return alone + packed
        # Equal filling may overflow where another distribution would just fit: one more is cheaper than to look for it.
        bins += 1


def pack_by_prompt(
    prompts: Sequence[Hashable],
    shared: Sequence[int],
    own: Sequence[int],
    *,
    budget: int,
    most: int | None = None,
    ranks: int = 1,
) -> list[list[int]]:
    """
    Distribute examples as `pack` does, those that answer one prompt together: what they share of it counts once.

    Examples go one by one where their number in a micro-batch is limited, or where whole prompts keep ranks waiting.

    Args:
        prompts: of each example; equal ones are one prompt.
        shared: tokens of each example that those with the same prompt share with it.
        own: its other tokens.
        budget: tokens of a micro-batch, those that are shared counted once.
        most: examples of a micro-batch, at most; None for no limit.
        ranks: processes that share the micro-batches, as of `pack`.
    """
    lengths = [common + rest for common, rest in zip(shared, own, strict=True)]
    units: list[list[int]] = []
    tokens: list[int] = []
    unfilled: dict[Hashable, int] = {}
    for i, prompt in enumerate(prompts):
        # A prompt's examples fill one unit after the other; each unit goes into a micro-batch as a whole.
        k = unfilled.get(prompt)
        if k is None or tokens[k] + own[i] > budget:
            k = unfilled[prompt] = len(units)
            units.append([i])
            tokens.append(lengths[i])
        else:
            units[k].append(i)
            tokens[k] += own[i]
    # `pack` takes a unit for one example: a limit on examples would not hold, and too few units leave ranks without.
    apart = pack(lengths, budget=budget, most=most, ranks=ranks)
    if most is not None or len(units) < ranks:
        return apart
    packed = pack(tokens, budget=budget, ranks=ranks)
    # Few prompts share out badly, and prompts apart are computed again for each answer: what ends sooner is taken.
    if len(packed) % ranks and busiest(apart, lengths, ranks) < busiest(packed, tokens, ranks):
        return apart
    return [sorted(i for k in members for i in units[k]) for members in packed]


def busiest(packed: Sequence[Sequence[int]], lengths: Sequence[int], ranks: int) -> int:
    """Return the tokens of the rank that has most of them, where ranks take the micro-batches in turn."""
    return max(sum(lengths[i] for members in packed[rank::ranks] for i in members) for rank in range(ranks))


def _spread(longest_first: Sequence[int], lengths: Sequence[int], bins: int, most: int) -> list[list[int]]:
    """Put each example into the emptiest bin that may still take one; return each bin's examples, ascending."""
    # Ties go to the bin with the lower number: the result is a function of the lengths alone.
    heap = [(0, k) for k in range(bins)]
    filled: list[list[int]] = [[] for _ in range(bins)]
    for i in longest_first:
        total, k = heapq.heappop(heap)
        filled[k].append(i)
        if len(filled[k]) < most:
            heapq.heappush(heap, (total + lengths[i], k))
    return [sorted(members) for members in filled if members]
