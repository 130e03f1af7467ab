"""
Convert pairs to single examples and back, and keep one completion per prompt.

Shapes: N rows, G prompts, B prompts with both labels, M rows that have their prompt's wanted label.
"""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from haloes.errors import ConfigError
from haloes.feedback.keys import (
    Int64s,
    completion_key,
    group_number,
    group_of,
    prompt_key,
    row_number,
    seeded_hash,
    where_of,
)
from haloes.records import Feedback, Pair, Record, Refusal

CHOSEN_SUFFIX = "-chosen"
REJECTED_SUFFIX = "-rejected"

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairing:
    """The pairs made of single completions, and the numbers of those that found no partner."""

    pairs: list[Pair]
    refused: list[Refusal]
    """Refusals that were among the rows."""
    num_prompts: int = 0
    """Prompts with at least one pair."""
    num_prompts_one_label: int = 0
    """Prompts whose completions were all rated the same: they make no pair."""
    num_desirable_left: int = 0
    """Desirable completions that are in no pair."""
    num_undesirable_left: int = 0
    """Undesirable completions that are in no pair."""
    num_contradictory: int = 0
    """Rows left out because the same completion of the same prompt was rated both ways."""
    num_unlabelled: int = 0
    """Rows left out because they have no label (yet)."""


def unpair(rows: Iterable[Record]) -> Iterator[Feedback | Refusal]:
    """
    Split every pair into two single examples: the chosen completion, desirable, and after it the rejected, undesirable.

    Both keep the pair's prompt, group and weight; an id gets "-chosen" or "-rejected" at its end. Other rows pass
    unchanged. That a rejected completion is undesirable is what the KTO paper assumes (section 4.1), and calls naive.
    """
    for row in rows:
        if isinstance(row, Pair):
            yield _half(row, desirable=True)
            yield _half(row, desirable=False)
        else:
            yield row


def pair(
    rows: Iterable[Record], *, seed: int, max_per_prompt: int | None = None, each_answer_once: bool = True
) -> Pairing:
    """
    Make pairs of the desirable and the undesirable completions of the same prompt.

    The matching depends on the seed and the rows, not on their order. Rows that are pairs already come first,
    unchanged; new pairs follow in the order in which their prompts were first read. A completion that was
    rated both ways joins no pair. A pair keeps the conversation, user, source and tools that both sides share (so
    split into training and validation rows first), and its weight is their mean.

    Args:
        rows: The rows; all are held in memory.
        seed: Seed of the matching.
        max_per_prompt: Maximum pairs per prompt; None: no limit.
        each_answer_once: Match one to one. False: match every desirable completion with every undesirable one.

    Raises:
        ConfigError: `max_per_prompt` is below 1.
    """
    if max_per_prompt is not None and max_per_prompt < 1:
        raise ConfigError(f"pair: max_per_prompt must be at least 1, got {max_per_prompt}")
    whole: list[Pair] = []
    refused: list[Refusal] = []
    prompts: dict[tuple[str, str], list[Feedback]] = {}
    num_unlabelled = 0
    for row in rows:
        if isinstance(row, Refusal):
            refused.append(row)
        elif isinstance(row, Pair):
            whole.append(row)
        elif row.label is None:
            num_unlabelled += 1
        else:
            # A group may be wider than a prompt: two completions make a pair only if they answer the same words.
            prompts.setdefault((group_of(row), prompt_key(row.prompt)), []).append(row)
    paired = [
        _pair_prompt(answers, seed=seed, most=max_per_prompt, once=each_answer_once) for answers in prompts.values()
    ]
    return Pairing(
        pairs=whole + [joined for prompt in paired for joined in prompt.pairs],
        refused=refused,
        num_prompts=sum(prompt.num_prompts for prompt in paired),
        num_prompts_one_label=sum(prompt.num_prompts_one_label for prompt in paired),
        num_desirable_left=sum(prompt.num_desirable_left for prompt in paired),
        num_undesirable_left=sum(prompt.num_undesirable_left for prompt in paired),
        num_contradictory=sum(prompt.num_contradictory for prompt in paired),
        num_unlabelled=num_unlabelled,
    )


def one_per_prompt(rows: Iterable[Record], *, seed: int) -> Iterator[Feedback | Refusal]:
    """
    Keep one completion per prompt: the paper's one-y-per-x (KTO, section 4.1). Pairs are taken apart first.

    As in the authors' loader, desirable and undesirable completions alternate over the prompts that have both, so that
    neither label gains; the order in which prompts alternate and the completion that each keeps are drawn from the
    seed. A prompt whose completions all have one label keeps one of these. Rows come in the order they were read; the
    selection does not depend on that order. Rows without a label are refused.

    The rows are read twice, and only an index is held in memory, unless they come from a generator.
    """
    source = rereadable(rows)
    groups, numbers, labels = array("q"), array("q"), array("b")
    for row in unpair(source):
        if isinstance(row, Feedback) and row.label is not None:
            groups.append(group_number(row))
            numbers.append(row_number(row))
            labels.append(row.label)
    is_kept = keep_one_per_prompt(
        np.array(groups, dtype=np.int64), np.array(numbers, dtype=np.int64), np.array(labels, dtype=np.bool_), seed=seed
    )
    # The second reading meets the same labelled rows in the same order as the index has them.
    kept = iter(is_kept)
    for position, row in enumerate(unpair(source), start=1):
        if isinstance(row, Refusal):
            yield row
        elif row.label is None:
            yield Refusal(where_of(row, position=position), "no label", "the row has no label; label its score first")
        elif next(kept):
            yield row


def keep_one_per_prompt(
    group_N: Int64s, row_N: Int64s, desirable_N: NDArray[np.bool_], *, seed: int
) -> NDArray[np.bool_]:
    """
    Select the rows that stay when one completion per prompt is kept; see `one_per_prompt`.

    Args:
        group_N: The prompt of each row.
        row_N: The identity of each row, from which its draw follows.
        desirable_N: The label of each row.
        seed: Seed of the draws.

    Returns:
        True for each row that stays, (N,); exactly one per prompt.
    """
    group_G, node_N = np.unique(group_N, return_inverse=True)
    desirable_G = np.bincount(node_N, weights=desirable_N, minlength=len(group_G))
    has_both_G = (desirable_G > 0) & (desirable_G < np.bincount(node_N, minlength=len(group_G)))
    # The label that each prompt keeps: its only one; of the prompts that have both, every other keeps a desirable.
    wanted_G = desirable_G > 0
    both_B = np.flatnonzero(has_both_G)
    order_B = np.argsort(seeded_hash(group_G[both_B], seed=seed, purpose="one per prompt"))
    wanted_G[both_B[order_B]] = np.arange(len(both_B)) % 2 == 0
    # Of each prompt's answers with the wanted label, the one with the lowest draw stays.
    candidate_M = np.flatnonzero(desirable_N == wanted_G[node_N])
    draw_M = seeded_hash(row_N[candidate_M], seed=seed, purpose="one per prompt")
    candidate_M = candidate_M[np.lexsort((draw_M, node_N[candidate_M]))]
    is_first_M = np.diff(node_N[candidate_M], prepend=-1) != 0
    kept_N = np.zeros(len(group_N), dtype=np.bool_)
    kept_N[candidate_M[is_first_M]] = True
    return kept_N


def rereadable(rows: Iterable[Record]) -> Iterable[Record]:
    """
    Return rows that can be read twice with the same result.

    A file source or a list starts anew at every reading and is returned as it is, so that nothing but an index need be
    held in memory; a generator can be read once only, and its rows are kept in a list.
    """
    # An iterator is its own iterator; everything else makes a new one for each reading.
    return list(rows) if iter(rows) is rows else rows


def _half(row: Pair, *, desirable: bool) -> Feedback:
    """Return the chosen (desirable) or the rejected (undesirable) half of a pair as a single example."""
    suffix = CHOSEN_SUFFIX if desirable else REJECTED_SUFFIX
    return Feedback(
        prompt=row.prompt,
        completion=row.chosen if desirable else row.rejected,
        label=desirable,
        finished=row.chosen_finished if desirable else row.rejected_finished,
        weight=row.weight,
        id=None if row.id is None else row.id + suffix,
        group=row.group,
        conversation=row.conversation,
        user=row.user,
        source=row.source,
        model=row.chosen_model if desirable else row.rejected_model,
        rated_at=row.rated_at,
        comment=row.comment,
        hindsight=row.hindsight,
        tools=row.tools,
        chat_template_kwargs=row.chat_template_kwargs,
        where=row.where,
    )


def _sides(answers: Sequence[Feedback]) -> dict[bool, list[Feedback]]:
    """Divide the completions of one prompt by label, without those that were rated both ways."""
    keys: dict[bool, set[str]] = {True: set(), False: set()}
    for row in answers:
        keys[bool(row.label)].add(completion_key(row))
    # Votes disagree on these: as a pair they would have to beat themselves.
    contradictory = keys[True] & keys[False]
    sides: dict[bool, list[Feedback]] = {True: [], False: []}
    for row in answers:
        if not contradictory or completion_key(row) not in contradictory:
            sides[bool(row.label)].append(row)
    return sides


def _pair_prompt(answers: Sequence[Feedback], *, seed: int, most: int | None, once: bool) -> Pairing:
    """Make the pairs of one prompt."""
    sides = _sides(answers)
    # Each side in an order of its own: which desirable meets which undesirable must not follow from the file.
    chosen = _shuffled(sides[True], seed=seed, purpose="pair chosen")
    rejected = _shuffled(sides[False], seed=seed, purpose="pair rejected")
    one_to_one = zip(range(len(chosen)), range(len(rejected)), strict=False)
    matched = list(islice(one_to_one if once else _diagonals(len(chosen), len(rejected)), most))
    return Pairing(
        pairs=[_join(chosen[i], rejected[j]) for i, j in matched],
        refused=[],
        num_prompts=bool(matched),
        num_prompts_one_label=len({row.label for row in answers}) == 1,
        num_desirable_left=len(chosen) - len({i for i, _ in matched}),
        num_undesirable_left=len(rejected) - len({j for _, j in matched}),
        num_contradictory=len(answers) - len(chosen) - len(rejected),
    )


def _diagonals(num_chosen: int, num_rejected: int) -> Iterator[tuple[int, int]]:
    """Yield all combinations, diagonal by diagonal, so that a limit is first filled by a one-to-one matching."""
    size = max(num_chosen, num_rejected)
    for shift in range(size):
        for i in range(num_chosen):
            j = (i + shift) % size
            if j < num_rejected:
                yield i, j


def _shuffled(rows: list[Feedback], *, seed: int, purpose: str) -> list[Feedback]:
    if len(rows) < 2:  # noqa: PLR2004  (nothing to shuffle)
        return rows
    draw_N = seeded_hash(np.array([row_number(row) for row in rows], dtype=np.int64), seed=seed, purpose=purpose)
    return [rows[i] for i in np.argsort(draw_N, kind="stable")]


def _join(chosen: Feedback, rejected: Feedback) -> Pair:
    """Make a pair of two rated completions of one prompt."""
    return Pair(
        prompt=chosen.prompt,
        chosen=chosen.completion,
        rejected=rejected.completion,
        chosen_finished=chosen.finished,
        rejected_finished=rejected.finished,
        margin=None if chosen.score is None or rejected.score is None else chosen.score - rejected.score,
        weight=(chosen.weight + rejected.weight) / 2,
        id=_joined_id(chosen.id, rejected.id),
        group=_shared(chosen.group, rejected.group),
        conversation=_shared(chosen.conversation, rejected.conversation),
        user=_shared(chosen.user, rejected.user),
        source=_shared(chosen.source, rejected.source),
        chosen_model=chosen.model,
        rejected_model=rejected.model,
        rated_at=_shared(chosen.rated_at, rejected.rated_at),
        comment=_shared(chosen.comment, rejected.comment),
        hindsight=_shared(chosen.hindsight, rejected.hindsight),
        tools=_shared(chosen.tools, rejected.tools) or (),
        chat_template_kwargs=_shared(chosen.chat_template_kwargs, rejected.chat_template_kwargs),
        where=chosen.where,
    )


def _joined_id(chosen: str | None, rejected: str | None) -> str | None:
    if chosen is None or rejected is None:
        return None
    # The two halves of a pair that was taken apart get its id back.
    stem = chosen.removesuffix(CHOSEN_SUFFIX)
    return stem if stem == rejected.removesuffix(REJECTED_SUFFIX) else f"{chosen}+{rejected}"


def _shared(a: _T, b: _T) -> _T | None:
    return a if a == b else None
