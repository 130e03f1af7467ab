"""Which examples go through the model together: micro-batches up to a budget of tokens, as equally filled as can be."""

import heapq
from collections.abc import Sequence


def pack(lengths: Sequence[int], *, budget: int, most: int | None = None, at_least: int = 1) -> list[list[int]]:
    """
    Distribute examples over as few micro-batches as keep each within the budget.

    The longest example goes first, always to the emptiest micro-batch that may still take one; when that overflows, one
    micro-batch more is tried. An example longer than the budget gets a micro-batch of its own.

    Args:
        lengths: tokens of each example.
        budget: tokens of a micro-batch.
        most: examples of a micro-batch, at most; None for no limit.
        at_least: micro-batches to make where there are as many examples, for ranks that would have none otherwise.

    Returns:
        The indices of each micro-batch's examples, ascending; a pure function of the arguments.
    """
    if not lengths:
        return []
    budget = max(budget, max(lengths))  # noqa: PLW3301 - two maxima read better than one over a splat
    bins = max(-(-sum(lengths) // budget), -(-len(lengths) // most) if most else 1, min(at_least, len(lengths)))
    while True:
        packed = _spread(lengths, bins, most or len(lengths))
        if max(sum(lengths[i] for i in bin_) for bin_ in packed) <= budget:
            return packed
        bins += 1


def _spread(lengths: Sequence[int], bins: int, most: int) -> list[list[int]]:
    longest_first = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    heap = [(0, k) for k in range(bins)]
    filled: list[list[int]] = [[] for _ in range(bins)]
    for i in longest_first:
        total, k = heapq.heappop(heap)
        filled[k].append(i)
        if len(filled[k]) < most:
            heapq.heappush(heap, (total + lengths[i], k))
    return [sorted(bin_) for bin_ in filled if bin_]
