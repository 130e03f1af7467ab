"""
Split rows into training and validation without a prompt or conversation in common.

Training, and the choice of prompts to sample, call `split` with the numbers of their rows (`keys`), so that the rows
themselves need not be in memory; the doctor looks at `components`.

Rows that share either form a component, and whole components are moved: a row's validation would otherwise measure what
was trained on. With rows (prompt, conversation) = (A, 1), (B, 1), (B, 2), (C, 3) the first three are one component:
A and B share conversation 1, and B brings conversation 2.

Shapes: N rows, G prompts, L values of a link, V nodes (prompts and link values), E edges, C components, K sizes.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from haloes.errors import ConfigError, DataError
from haloes.feedback.keys import NO_NUMBER, Int64s, seeded_hash, seeded_uniform


def split(group_N: Int64s, *links: Int64s, validation: float, seed: int) -> NDArray[np.bool_]:
    """
    Select the rows that validate: True for validation, False for training, (N,).

    Rows that share a prompt or a link, directly or through other rows, form a component and stay together. The
    selection of components depends on the seed and the numbers, not on the order of the rows. The number of validation
    rows is the closest to `validation * N` that whole components allow (the lower of two equally close), and
    components of every size are drawn in about the same proportion.

    Args:
        group_N: The prompt of each row, from `keys.group_number`.
        links: Further numbers of each row, (N,) each, that keep rows together: `keys.conversation_number`,
            `keys.user_number`. Rows with `NO_NUMBER` are not linked.
        validation: The share of rows that validate, between 0 and 1.
        seed: Seed of the draw of components.

    Raises:
        ConfigError: The share is not between 0 and 1.
        DataError: All rows hang together, so that no split exists.
    """
    if not 0 < validation < 1:
        raise ConfigError(f"split: the validation share must lie between 0 and 1 (both excluded), got {validation}")
    component_N, key_C = components(group_N, *links)
    if len(key_C) == 0:
        raise DataError("split: there are no rows to split")
    if len(key_C) == 1:
        raise DataError(
            f"split: all rows ({len(group_N)}) hang together through their prompts or conversations, so none can "
            "validate without its prompt being trained on. Give a separate validation file, or do without validation."
        )
    size_C = np.bincount(component_N, minlength=len(key_C))
    selected_C = _select_components(size_C, key_C, validation=validation, seed=seed)
    return selected_C[component_N]


def components(group_N: Int64s, *links: Int64s) -> tuple[Int64s, Int64s]:
    """
    Find the connected components of rows that share a prompt or a link, directly or through other rows.

    Components are numbered from 0 in the order of their keys; the key of a component is the smallest group number
    inside, which does not depend on the order of rows.

    Returns:
        The component of each row, (N,), and the key of each component, (C,).
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    group_G, node_N = np.unique(group_N, return_inverse=True)
    # Prompts and link values are the nodes of a graph; every row is an edge from its prompt to each of its links.
    starts, ends = [], []
    num_nodes = len(group_G)
    for link_N in links:
        is_linked_N = link_N != NO_NUMBER
        link_L, end_M = np.unique(link_N[is_linked_N], return_inverse=True)
        starts.append(node_N[is_linked_N])
        ends.append(end_M + num_nodes)
        num_nodes += len(link_L)
    if not any(len(start) for start in starts):
        return node_N, group_G
    start_E, end_E = np.concatenate(starts), np.concatenate(ends)
    graph = coo_array((np.ones(len(start_E)), (start_E, end_E)), shape=(num_nodes, num_nodes))
    label_V = connected_components(graph, directed=False)[1]
    # Groups are sorted, so a component's first group is its smallest, and the order of firsts is that of the keys.
    _, first_C, component_G = np.unique(label_V[: len(group_G)], return_index=True, return_inverse=True)
    order_C = np.argsort(first_C)
    rank_C = np.empty_like(order_C)
    rank_C[order_C] = np.arange(len(order_C))
    return rank_C[component_G][node_N], group_G[first_C[order_C]]


def _select_components(size_C: Int64s, key_C: Int64s, *, validation: float, seed: int) -> NDArray[np.bool_]:
    """Select the components that validate, (C,): their rows come as close to the share as any selection can."""
    size_K, class_C, count_K = np.unique(size_C, return_inverse=True, return_counts=True)
    take_K = _take(size_K.tolist(), count_K.tolist(), validation=validation, seed=seed)
    # Components of one size can replace each other: within a size, those with the lowest draws are taken.
    order_C = np.lexsort((seeded_hash(key_C, seed=seed, purpose="split"), class_C))
    start_K = np.cumsum(count_K) - count_K
    rank_C = np.arange(len(size_C)) - start_K[class_C[order_C]]
    selected_C = np.empty(len(size_C), dtype=np.bool_)
    selected_C[order_C] = rank_C < np.asarray(take_K)[class_C[order_C]]
    return selected_C


def _take(sizes: Sequence[int], counts: Sequence[int], *, validation: float, seed: int) -> list[int]:
    """
    Return the number of components of each size that validate (sizes ascending).

    Subset sums, with a bit for every reachable total: there are at most about sqrt(2 N) different sizes, and adding a
    size to all totals is one shift of a long integer.
    """
    total = sum(size * count for size, count in zip(sizes, counts, strict=True))
    target = validation * total
    # Beyond twice the target nothing is closer than what lies below it, unless even the smallest is above the target.
    limit = min(total - 1, max(int(2 * target) + 1, sizes[0]))
    reachable = [1]
    for size, count in zip(sizes, counts, strict=True):
        reachable.append(_add_multiples(reachable[-1], size, count, limit))
    # Backwards from the total that was reached: each size takes about its share of what is left, and only as many as
    # leave a total that the smaller sizes can still make up.
    rest = _nearest(reachable[-1], target)
    draws = seeded_uniform(_numbers(sizes), seed=seed, purpose="split sizes")
    take = [0] * len(sizes)
    rest_total = total
    for k in reversed(range(len(sizes))):
        # Randomised rounding: each size gives its proportion on average, also where that is less than one component.
        wish = int(rest / rest_total * counts[k] + draws[k])
        take[k] = _closest_count(wish, rest=rest, size=sizes[k], count=counts[k], reachable=reachable[k])
        rest -= take[k] * sizes[k]
        rest_total -= counts[k] * sizes[k]
    return take


def _add_multiples(bits: int, size: int, count: int, limit: int) -> int:
    """Return the totals that can be reached with up to `count` more of one size, as bits up to `limit`."""
    mask = (1 << (limit + 1)) - 1
    count = min(count, limit // size)
    # By doubling, 1 + 2 + 4 ... and the rest, so that a size with many components costs a few shifts.
    step = 1
    while count > 0:
        step = min(step, count)
        bits |= (bits << (size * step)) & mask
        count -= step
        step *= 2
    return bits


def _nearest(bits: int, target: float) -> int:
    """Return the reachable total nearest to the target, other than 0; the lower of two equally near."""
    # The highest bit at or below the target, and the lowest bit above it (x & -x keeps the lowest).
    floor = int(target)
    below = (bits & ((1 << (floor + 1)) - 1)).bit_length() - 1
    higher = bits >> (floor + 1)
    if not higher:
        return below
    above = floor + 1 + (higher & -higher).bit_length() - 1
    return below if below > 0 and target - below <= above - target else above


def _closest_count(wish: int, *, rest: int, size: int, count: int, reachable: int) -> int:
    """Return the count nearest to the wish that leaves a total which the smaller sizes can reach."""
    highest = min(count, rest // size)
    wish = min(wish, highest)
    for distance in range(highest + 1):
        for m in (wish - distance, wish + distance):
            if 0 <= m <= highest and reachable >> (rest - m * size) & 1:
                return m
    raise AssertionError(f"no count of size {size} reaches {rest}")


def _numbers(values: Sequence[int]) -> Int64s:
    return np.array(values, dtype=np.int64)
