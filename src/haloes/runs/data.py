"""
From feedback to encoded rows on disk: index, split, encode; a few rows at a time in memory beside the index.

Many rows are encoded in several processes (`haloes.tokens.parallel`); what is written is the same to the byte.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from haloes.losses._contract import Needs
from haloes.progress.contract import Progress
from haloes.records import Asked
from haloes.runs.config import FeedbackSettings
from haloes.runs.row_index import FeedbackIndex, index_feedback
from haloes.runs.select_rows import first_groups, select_rows
from haloes.runs.write_rows import RowWriter, class_encoders
from haloes.tokens.encode import Encoder
from haloes.tokens.parallel import num_processors, parallel_encoding
from haloes.tokens.store import TokenStore

_PARALLEL_FROM = 20_000
"""Rows. A worker starts in 1.4 s, most of which is transformers: with fewer rows two of them do not gain as much."""


@dataclass(frozen=True, slots=True)
class EncodedFeedback:
    """The rows that a run trains and validates on."""

    train: TokenStore
    validation: TokenStore | None
    """What the result is measured on."""
    selection: TokenStore | None
    """What chooses the best step; None where the last one is kept."""
    prompts: dict[str, Asked]
    """Held-out prompts to answer before and after training, by id."""
    facts: dict[str, Any]
    """Counts and warnings, for the report."""


def encode_feedback(
    settings: FeedbackSettings,
    *,
    needs: Needs,
    encoder: Encoder,
    folder: Path,
    num_prompts: int,
    progress: Progress,
    selects: bool = False,
    index: "FeedbackIndex | None" = None,
    threads: int | None = None,
    parallel_from: int = _PARALLEL_FROM,
) -> EncodedFeedback:
    """
    Read, convert, split and encode the feedback into stores under `folder`.

    Args:
        settings: where the feedback is, and how it is read and split.
        needs: what the loss needs: pairs or single answers, undesirable ones or not.
        encoder: text to tokens.
        folder: takes the folders `train`, `validation` and `selection`.
        num_prompts: held-out prompts to pick for sampling.
        progress: told how far the reading and the encoding are.
        selects: whether a part of the held-out rows chooses the best step.
        index: the index of this feedback, where it was read before.
        threads: the most processors to use; None for all that the process may.
        parallel_from: number of rows from which on they are encoded in that many processes.

    Raises:
        DataError: rows that cannot be used (all are counted, the first are named by file and line), or too few.
    """
    index = index or index_feedback(settings, needs, progress=progress)
    rows = select_rows(index, settings, mismatched=needs.mismatched, selects=selects)
    processes = num_processors(threads) if rows.count >= parallel_from else 1
    encoders = class_encoders(encoder, needs)
    progress.stage("encoding feedback", rows.count)
    with parallel_encoding(encoders, processes=processes) as encode:
        writer = RowWriter(
            encode=encode,
            needs=needs,
            skip_refused=settings.skip_refused,
            guesses_cut_off=settings.cut_off == "guess",
            advance=progress.advance,
            # The last encoder is that of undesirable answers: the same one where there are no control texts.
            undesirable_encoder=len(encoders) - 1,
            trains_reasoning=encoder.template.trains_reasoning,
        )
        facts: dict[str, Any] = {
            "sources": [settings.source],
            "validation_source": settings.validation,
            "rows": index.source.facts(),
            "train": writer.write(index.source, rows.is_trained, folder / "train"),
            "warnings": [*rows.warnings, *index.source.notes()],
            "taste": index.taste,
        }
        if rows.is_held_out is None or rows.is_validated is None:
            return EncodedFeedback(TokenStore(folder / "train"), None, None, {}, facts)
        if index.held_out is not None:
            facts["validation rows"] = index.held_out.facts()
        facts["held-out prompts"] = len(np.unique(rows.held_index.group[rows.is_held_out]))
        # Of all that is held out, not only of what is validated on; a reward model answers nothing.
        most = 0 if needs.rewards else num_prompts
        wanted = set(first_groups(rows.held_index.group[rows.is_held_out], most, seed=settings.split_seed).tolist())
        # What is validated is the policy that will be used: under the control text of desirable answers, if any.
        writer = replace(writer, undesirable_encoder=writer.desirable_encoder)
        facts["validation"] = writer.write(rows.held_index, rows.is_validated, folder / "validation", wanted)
        if rows.is_selecting is not None:
            facts["selection"] = writer.write(rows.held_index, rows.is_selecting, folder / "selection")
    return EncodedFeedback(
        train=TokenStore(folder / "train"),
        validation=TokenStore(folder / "validation"),
        selection=None if rows.is_selecting is None else TokenStore(folder / "selection"),
        prompts=writer.prompts,
        facts=facts,
    )
