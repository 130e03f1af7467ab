"""
Rows that repeat each other, answers that were rated both ways, and preferences that run in a circle.

Shapes: R rows, N votes, M labelled votes, A answers; for pairs V answers (nodes) and E pairs (edges), C components.
"""

from array import array
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from haloes.feedback.convert import unpair
from haloes.feedback.doctor.findings import Repeats, Tally
from haloes.feedback.doctor.vote_index import NO_LABEL, VoteIndex, as_array
from haloes.feedback.keys import completion_key, number_of
from haloes.records import Feedback, Pair, Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Contradictions:
    """Counts of pairs that others confirm or contradict."""

    num_pairs: int
    num_checkable: int
    """Pairs that others confirm or contradict: their answers are compared again, directly or through others."""
    num_contradicted: int
    """Pairs in a circle: A preferred to B and B to A, or A to B, B to C and C to A."""


def find_repeats(votes: VoteIndex, *, num_examples: int) -> Repeats:
    """Find the rows that repeat an earlier one, and the answers that were rated both ways."""
    # np.unique gives the first row of each content: a row that is not that one repeats it.
    content_R = as_array(votes.content)
    _, first_C, class_R = np.unique(content_R, return_index=True, return_inverse=True)
    first_R = first_C[class_R]
    again_D = np.flatnonzero(first_R != np.arange(len(content_R)))
    duplicates = tuple(
        f"{votes.where(row)} repeats {votes.where(int(first_R[row]))}" for row in again_D[:num_examples].tolist()
    )
    conflicts, num_votes = _conflicts(votes, num_examples=num_examples)
    return Repeats(duplicates=Tally(len(again_D), duplicates), conflicts=conflicts, num_conflicting_votes=num_votes)


def count_contradictions(rows: Iterable[Record]) -> Contradictions:
    """
    Count the pairs that contradict each other, in one reading of the rows.

    Answers are the nodes of a graph and every pair an edge from the preferred to the other. Edges within a strongly
    connected component lie on a circle. A connected component with as many edges as nodes has edges to spare: whether
    these agree can be checked. Memory grows by 16 bytes a pair.
    """
    chosen, rejected = array("q"), array("q")
    for row in rows:
        if isinstance(row, Pair):
            first, second = (number_of(completion_key(half)) for half in unpair([row]) if isinstance(half, Feedback))
            chosen.append(first)
            rejected.append(second)
    if not chosen:
        return Contradictions(num_pairs=0, num_checkable=0, num_contradicted=0)
    return _count(np.array(chosen, dtype=np.int64), np.array(rejected, dtype=np.int64))


def _count(chosen_E: np.ndarray, rejected_E: np.ndarray) -> Contradictions:
    """Count contradictions in pairs given as numbers of the chosen and of the rejected answer, (E,) each."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    answer_V, node_2E = np.unique(np.concatenate([chosen_E, rejected_E]), return_inverse=True)
    from_E, to_E = np.split(node_2E, 2)
    graph = coo_array((np.ones(len(from_E)), (from_E, to_E)), shape=(len(answer_V), len(answer_V)))
    strong_V = connected_components(graph, directed=True, connection="strong")[1]
    weak_V = connected_components(graph, directed=False)[1]
    # A tree of V nodes has V - 1 edges: one more closes a loop, whose edges confirm or contradict each other.
    is_spare_C = np.bincount(weak_V[from_E]) >= np.bincount(weak_V)
    return Contradictions(
        num_pairs=len(from_E),
        num_checkable=int(is_spare_C[weak_V[from_E]].sum()),
        num_contradicted=int((strong_V[from_E] == strong_V[to_E]).sum()),
    )


def _conflicts(votes: VoteIndex, *, num_examples: int) -> tuple[Tally, int]:
    """Return the answers rated both ways, named by their first vote of each label, and the number of their votes."""
    label_N = as_array(votes.label)
    labelled_M = np.flatnonzero(label_N != NO_LABEL)
    _, node_M = np.unique(as_array(votes.answer)[labelled_M], return_inverse=True)
    is_good_M = label_N[labelled_M] == 1
    num_nodes = int(node_M.max()) + 1 if len(node_M) else 0
    is_both_A = (np.bincount(node_M[is_good_M], minlength=num_nodes) > 0) & (
        np.bincount(node_M[~is_good_M], minlength=num_nodes) > 0
    )
    is_conflict_M = is_both_A[node_M]
    # Node -> label -> row: the first few nodes in the order of reading, and of each the first row with either label.
    first: dict[int, dict[bool, int]] = {}
    for m in np.flatnonzero(is_conflict_M).tolist():
        if int(node_M[m]) in first or len(first) < num_examples:
            first.setdefault(int(node_M[m]), {}).setdefault(bool(is_good_M[m]), votes.row[int(labelled_M[m])])
    examples = tuple(
        f"{votes.where(rows[True])} desirable, {votes.where(rows[False])} undesirable" for rows in first.values()
    )
    return Tally(int(is_both_A.sum()), examples), int(is_conflict_M.sum())
