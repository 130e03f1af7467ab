"""
Count what an index of votes holds: labels, prompts, lengths and users.

Shapes: N votes, G groups (prompts as the rows name them), P prompts by their words, U users or units of a split.
"""

from collections.abc import Iterator, Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from haloes.feedback.doctor.findings import LabelCounts, LengthSummary, PromptCounts, UserCounts, UserVotes
from haloes.feedback.doctor.vote_index import NO_LABEL, NO_USER, Column, LengthUnit, VoteIndex, as_array
from haloes.feedback.keys import NO_NUMBER, Int64s
from haloes.feedback.split import components
from haloes.feedback.weights import class_weights, ratio
from haloes.results import Score
from haloes.stats.auc_by_length import auc_of_length

CHANCE = 0.01
"""A user votes one-sidedly when fewer users than this would be expected to vote so by chance."""

_LABELS: tuple[tuple[int, Literal["desirable", "undesirable", "unlabelled"]], ...] = (
    (1, "desirable"),
    (0, "undesirable"),
    (NO_LABEL, "unlabelled"),
)


def count_labels(votes: VoteIndex) -> LabelCounts:
    """Count the votes of each label, and return the class weights that follow."""
    label_N = as_array(votes.label)
    desirable, undesirable = votes.weights[True], votes.weights[False]
    weights = class_weights(desirable, undesirable)
    return LabelCounts(
        num_desirable=int((label_N == 1).sum()),
        num_undesirable=int((label_N == 0).sum()),
        num_unlabelled=int((label_N == NO_LABEL).sum()),
        ratio=ratio(desirable, undesirable),
        weights=weights,
        weighted_ratio=ratio(desirable, undesirable, weights),
    )


def count_prompts(votes: VoteIndex) -> PromptCounts | None:
    """Count how answers spread over prompts, and prompts over conversations; None without rows."""
    group_N, prompt_N, conversation_N = map(as_array, (votes.group, votes.prompt, votes.conversation))
    if len(group_N) == 0:
        return None
    _, node_N, count_G = np.unique(group_N, return_inverse=True, return_counts=True)
    label_N = as_array(votes.label)
    has_good_G, has_bad_G = (np.bincount(node_N[label_N == label], minlength=len(count_G)) > 0 for label in (1, 0))
    # Among the different (group, prompt) combinations, a group that repeats holds several prompts, and vice versa.
    named_G, named_P = _unique_pairs(group_N, prompt_N)
    unit_N, key_U = components(group_N, conversation_N)
    return PromptCounts(
        num=len(count_G),
        num_with_several_answers=int((count_G > 1).sum()),
        num_with_both_labels=int((has_good_G & has_bad_G).sum()),
        median_answers=quantile(count_G, 0.5),
        p95_answers=quantile(count_G, 0.95),
        max_answers=int(count_G.max()),
        largest_share=float(count_G.max() / len(group_N)),
        num_wide_groups=_num_repeated(named_G),
        num_torn_prompts=_num_repeated(named_P),
        num_conversations=len(np.unique(conversation_N[conversation_N != NO_NUMBER])),
        num_units=len(key_U),
        largest_unit_share=float(np.bincount(unit_N).max() / len(group_N)),
    )


def summarize_lengths(votes: VoteIndex) -> tuple[LengthSummary, ...]:
    """Summarize the lengths of prompts and answers by label."""
    return (
        *_lengths("prompt", votes.prompt_length, votes.label),
        *_lengths("completion", votes.completion_length, votes.label),
    )


def length_auc(votes: VoteIndex) -> Score | None:
    """
    Measure the AUC with which an answer's number of characters predicts its label, for the direction above one half.

    None unless both labels occur, in several prompts.
    """
    label_N = as_array(votes.label)
    is_labelled_N = label_N != NO_LABEL
    length_N = as_array(votes.completion_length["characters"])
    group_N = as_array(votes.group)[is_labelled_N]
    return auc_of_length(length_N[is_labelled_N], label_N[is_labelled_N] == 1, group_N.tolist())


def count_users(votes: VoteIndex, *, num_examples: int) -> UserCounts:
    """Count the votes of each user, and find those who always vote the same although the others do not."""
    user_N, label_N = as_array(votes.user), as_array(votes.label)
    counts_N = (user_N != NO_USER) & (label_N != NO_LABEL)
    num_U = np.bincount(user_N[counts_N], minlength=len(votes.users))
    good_U = np.bincount(user_N[counts_N & (label_N == 1)], minlength=len(votes.users))
    if num_U.sum() == 0:
        return UserCounts(num=len(votes.users), largest=None, num_one_sided=0, one_sided=())
    share = good_U.sum() / num_U.sum()
    # A user of n votes gives them all the majority's way with probability share^n, if all users vote alike.
    by_chance_U = np.where(good_U == num_U, share**num_U, np.where(good_U == 0, (1 - share) ** num_U, 1.0))
    # Times the number of users: among a thousand, some are one-sided by chance.
    is_one_sided_U = (by_chance_U * len(num_U) < CHANCE) & (num_U > 0)
    # The most active first, as their votes weigh most.
    names = list(votes.users)
    order_U = np.argsort(-num_U, kind="stable")

    def user(u: int) -> UserVotes:
        return UserVotes(
            name=names[u],
            num_votes=int(num_U[u]),
            share=float(num_U[u] / num_U.sum()),
            share_desirable=float(good_U[u] / num_U[u]),
        )

    return UserCounts(
        num=len(names),
        largest=user(int(order_U[0])),
        num_one_sided=int(is_one_sided_U.sum()),
        one_sided=tuple(user(u) for u in order_U[is_one_sided_U[order_U]][:num_examples].tolist()),
    )


def quantile(value_N: NDArray[np.integer], share: float) -> int:
    """Return the smallest value in the data that at least this share of the values do not exceed."""
    return int(np.quantile(value_N, share, method="inverted_cdf"))


def _lengths(
    text: Literal["prompt", "completion"], columns: Mapping[LengthUnit, Column], label: Column
) -> Iterator[LengthSummary]:
    """Yield the summaries of one text's lengths, by unit and label, without empty ones."""
    label_N = as_array(label)
    for unit, column in columns.items():
        for code, name in _LABELS:
            length_N = as_array(column)[label_N == code]
            if len(length_N):
                yield LengthSummary(
                    text=text,
                    label=name,
                    unit=unit,
                    median=quantile(length_N, 0.5),
                    p95=quantile(length_N, 0.95),
                    maximum=int(length_N.max()),
                )


def _unique_pairs(a_N: Int64s, b_N: Int64s) -> tuple[Int64s, Int64s]:
    """Return the different combinations of two numbers, as two arrays."""
    order_N = np.lexsort((b_N, a_N))
    a_N, b_N = a_N[order_N], b_N[order_N]
    is_new_N = np.ones(len(a_N), dtype=np.bool_)
    is_new_N[1:] = (a_N[1:] != a_N[:-1]) | (b_N[1:] != b_N[:-1])
    return a_N[is_new_N], b_N[is_new_N]


def _num_repeated(value_N: Int64s) -> int:
    """Return how many values occur more than once."""
    return int((np.unique(value_N, return_counts=True)[1] > 1).sum())
