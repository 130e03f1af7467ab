"""Packing of examples into micro-batches up to a budget of tokens, as equally filled as can be."""

import heapq
from collections.abc import Hashable, Sequence


def pack(lengths: Sequence[int], *, budget: int, most: int | None = None, at_least: int = 1) -> list[list[int]]:
    """
    Distribute examples over few micro-batches, each within the budget.

    An example longer than the budget gets a micro-batch of its own. Of the others the longest goes first, always to the
    emptiest micro-batch that may still take one; when that overflows, one micro-batch more is tried.

    Args:
        lengths: tokens of each example.
        budget: tokens of a micro-batch.
        most: examples of a micro-batch, at most; None for no limit.
        at_least: micro-batches to make where there are as many examples, for ranks that would have none otherwise.

    Returns:
        The indices of each micro-batch's examples, ascending; a pure function of the arguments.
    """
    alone = [[i] for i, length in enumerate(lengths) if length > budget]
    fitting = sorted((i for i, length in enumerate(lengths) if length <= budget), key=lambda i: (-lengths[i], i))
    if not fitting:
        return alone
    most = most or len(fitting)
    tokens = sum(lengths[i] for i in fitting)
    # No fewer can hold the tokens, or the examples, or give every rank one.
    bins = max(-(-tokens // budget), -(-len(fitting) // most), min(at_least - len(alone), len(fitting)))
    while True:
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
    at_least: int = 1,
) -> list[list[int]]:
    """
    Distribute examples as `pack` does, those that answer one prompt together: what they share of it counts once.

    Examples go one by one where their number in a micro-batch is limited, or where there are too few prompts for all
    ranks.

    Args:
        prompts: of each example; equal ones are one prompt.
        shared: tokens of each example that those with the same prompt share with it.
        own: its other tokens.
        budget: tokens of a micro-batch, those that are shared counted once.
        most: examples of a micro-batch, at most; None for no limit.
        at_least: micro-batches to make where there are as many examples.
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
    if most is not None or len(units) < at_least:
        return pack(lengths, budget=budget, most=most, at_least=at_least)
    packed = pack(tokens, budget=budget, at_least=at_least)
    return [sorted(i for k in members for i in units[k]) for members in packed]


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
