"""Which examples go through the model together: micro-batches up to a budget of tokens, as equally filled as can be."""

import heapq
from collections.abc import Sequence


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
    bins = max(-(-tokens // budget), -(-len(fitting) // most), min(at_least - len(alone), len(fitting)))
    while True:
        packed = _spread(fitting, lengths, bins, most)
        if max(sum(lengths[i] for i in members) for members in packed) <= budget:
            return alone + packed
        bins += 1


def _spread(longest_first: Sequence[int], lengths: Sequence[int], bins: int, most: int) -> list[list[int]]:
    heap = [(0, k) for k in range(bins)]
    filled: list[list[int]] = [[] for _ in range(bins)]
    for i in longest_first:
        total, k = heapq.heappop(heap)
        filled[k].append(i)
        if len(filled[k]) < most:
            heapq.heappush(heap, (total + lengths[i], k))
    return [sorted(members) for members in filled if members]
