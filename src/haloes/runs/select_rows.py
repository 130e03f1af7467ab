"""Which rows of the feedback are trained on, held out, measured on, and choose the best step."""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from haloes.errors import DataError
from haloes.feedback.keys import seeded_hash
from haloes.feedback.split import split
from haloes.records import memory_name
from haloes.runs.config import FeedbackSettings
from haloes.runs.held_out import held_out_share
from haloes.runs.row_index import FeedbackIndex, Ints, RowIndex

Mask: TypeAlias = NDArray[np.bool_]

_ONE_PROMPT = (
    "{path}: all rows answer the same prompt, so there is no mismatched completion for the loss's reference point; "
    "add feedback on other prompts, or use a loss without a reference point"
)

_ONE_LEFT = (
    "only one prompt is {side}, and the loss's reference point needs two; change feedback.validation_share or "
    "feedback.validation_rows, or hold nothing out: feedback.validation_share=0"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The rows of the files that are used, and for what; masks have one entry a usable row, (n,)."""

    is_trained: Mask
    """Rows of the source."""
    held_index: RowIndex
    """The index that the next two masks are of: the file of held-out rows, or the source where there is none."""
    is_held_out: Mask | None
    """Rows that training does not see; None where all are trained on."""
    is_validated: Mask | None
    """Held-out rows that the result is measured on: all, or as many as `feedback.validation_rows`, less the next."""
    is_selecting: Mask | None
    """Held-out rows that choose the best step; None where the last one is kept."""
    warnings: list[str]

    @property
    def count(self) -> int:
        """Return the number of rows to encode."""
        return sum(int(m.sum()) for m in (self.is_trained, self.is_validated, self.is_selecting) if m is not None)


def select_rows(both: FeedbackIndex, settings: FeedbackSettings, *, mismatched: bool, selects: bool) -> Selection:
    """
    Choose the rows to train on, to hold out, to measure on and, if such are wanted, to choose the best step by.

    Raises DataError where training sees all that is to be held out, or where the loss needs mismatched completions and
    there is only one prompt.
    """
    source = both.source
    # A file of one prompt is told apart from a split that leaves one: what to do about them differs.
    if mismatched:
        _require_two_prompts(source.group, _ONE_PROMPT.format(path=memory_name(settings.source) or settings.source))
    is_trained, is_held_out, warnings = _divide(both, settings)
    # Without a file of their own the held-out rows are rows of the source, under another mask.
    index, is_validated, is_selecting = both.held_out or source, None, None
    if is_held_out is not None:
        is_validated = _limited(index.group, is_held_out, settings.validation_rows, seed=settings.split_seed)
        if selects:
            is_selecting = _half(index, is_validated, seed=settings.split_seed)
            is_validated = is_validated & ~is_selecting
    if mismatched:
        _require_two_prompts(source.group[is_trained], _ONE_LEFT.format(side="left to train on"))
        for held, side in ((is_validated, "held out"), (is_selecting, "left to choose the best step by")):
            if held is not None:
                _require_two_prompts(index.group[held], _ONE_LEFT.format(side=side))
    return Selection(
        is_trained=is_trained,
        held_index=index,
        is_held_out=is_held_out,
        is_validated=is_validated,
        is_selecting=is_selecting,
        warnings=warnings,
    )


def _divide(both: FeedbackIndex, settings: FeedbackSettings) -> tuple[Mask, Mask | None, list[str]]:
    """Return masks of the rows to train on and to hold out (of the source, or of the held-out file), and warnings."""
    source, held_out = both.source, both.held_out
    if held_out is None:
        share = held_out_share(settings, both.num_prompts)
        if share == 0:
            return np.ones(len(source.group), np.bool_), None, []
        validation = split(source.group, source.conversation, validation=share, seed=settings.split_seed)
        return ~validation, validation, []
    # The file of held-out rows is the user's, who may have drawn it by row: what training sees too measures nothing.
    leaked = np.isin(held_out.group, source.group)
    leaked |= np.isin(held_out.conversation, source.conversation[source.conversation != 0])
    if leaked.all():
        raise DataError(
            f"{settings.validation}: all its prompts or conversations are in {settings.source} too; nothing is held out"
        )
    warnings = []
    if leaked.any():
        warnings.append(
            f"{int(leaked.sum())} validation rows share a prompt or conversation with the training rows; "
            "they were left out of the validation"
        )
    return np.ones(len(source.group), np.bool_), ~leaked, warnings


def _require_two_prompts(group: Ints, otherwise: str) -> None:
    """Refuse rows of a single prompt, which make no reference point: better now than after the model is loaded."""
    if len(np.unique(group)) == 1:
        raise DataError(otherwise)


def _limited(group: Ints, selected: Mask, most: int | None, *, seed: int) -> Mask:
    """Keep at most `most` of the selected rows, by whole prompts (the first prompt in any case)."""
    if most is None or int(selected.sum()) <= most:
        return selected
    names, counts = np.unique(group[selected], return_counts=True)
    # By a hash of the prompt, so that which ones are kept does not change when rows are added or moved.
    order = np.argsort(seeded_hash(names, seed=seed, purpose="validation"))
    fits = np.cumsum(counts[order]) <= most
    fits[0] = True
    return selected & np.isin(group, names[order][fits])


def _half(index: RowIndex, selected: Mask, *, seed: int) -> Mask:
    """
    Draw half of the selected rows, by whole prompts and conversations.

    Raises DataError where they all hang together.
    """
    try:
        drawn = split(index.group[selected], index.conversation[selected], validation=0.5, seed=seed)
    except DataError as error:
        raise DataError(
            "train.keep_best chooses the best step on half of the held-out prompts and is measured on the other half, "
            "and all held-out rows hang together through their prompt or conversation; hold out more "
            "(feedback.validation_share), or leave train.keep_best out"
        ) from error
    half = np.zeros_like(selected)
    half[selected] = drawn
    return half


def first_groups(group: Ints, most: int, *, seed: int) -> Ints:
    """Draw at most `most` prompts, by a hash, so that they do not depend on the order of the rows."""
    names = np.unique(group)
    return names[np.argsort(seeded_hash(names, seed=seed, purpose="sample prompts"))][:most]
