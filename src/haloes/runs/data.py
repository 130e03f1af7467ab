"""
From feedback to encoded rows on disk: index, split, encode; a few rows at a time in memory beside the index.

Many rows are encoded in several processes (`haloes.tokens.parallel`); what is written is the same to the byte.
"""

from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from haloes.errors import DataError
from haloes.feedback.doctor.endings import Ends, breaks_off
from haloes.feedback.keys import conversation_number, group_number, group_of, seeded_hash
from haloes.feedback.split import split
from haloes.losses._contract import Needs
from haloes.progress.contract import Progress
from haloes.records import Asked, Feedback, Pair, Refusal, Text, Where, memory_name, prompt_of
from haloes.runs.config import FeedbackSettings
from haloes.runs.feedback_rows import NOT_USED, Rows, fatal_reasons, open_rows, tell_reading, too_many_empty
from haloes.runs.held_out import held_out_share
from haloes.tokens.encode import Encoded, Encoder, Unencodable
from haloes.tokens.parallel import EncodeFn, EncodeResults, EncodeTask, num_processors, parallel_encoding
from haloes.tokens.store import TokenStore, TokenStoreWriter

Ints: TypeAlias = NDArray[np.int64]
Mask: TypeAlias = NDArray[np.bool_]
_Numbered: TypeAlias = tuple[int, Feedback | Pair]
"""A row after its group's number."""

_CHUNK = 512
_PARALLEL_FROM = 20_000
"""Rows. A worker starts in 1.4 s, most of which is transformers: with fewer rows two of them do not gain as much."""
_SHOWN = 10
_ONE_PROMPT = (
    "{path}: all rows answer the same prompt, so there is no mismatched completion for the loss's reference point; "
    "add feedback on other prompts, or use a loss without a reference point"
)
_ONE_LEFT = (
    "only one prompt is {side}, and the loss's reference point needs two; change feedback.validation_share or "
    "feedback.validation_rows, or hold nothing out: feedback.validation_share=0"
)


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
    rows = _select(index, settings, mismatched=needs.mismatched, selects=selects)
    processes = num_processors(threads) if rows.count >= parallel_from else 1
    encoders = _encoders(encoder, needs)
    progress.stage("encoding feedback", rows.count)
    with parallel_encoding(encoders, processes=processes) as encode:
        writer = _Writer(
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
            "warnings": rows.warnings,
        }
        if rows.is_held_out is None or rows.is_validated is None:
            return EncodedFeedback(TokenStore(folder / "train"), None, None, {}, facts)
        if index.held_out is not None:
            facts["validation rows"] = index.held_out.facts()
        facts["held-out prompts"] = len(np.unique(rows.held_index.group[rows.is_held_out]))
        # Of all that is held out, not only of what is validated on; a reward model answers nothing.
        most = 0 if needs.rewards else num_prompts
        wanted = set(_first_groups(rows.held_index.group[rows.is_held_out], most, seed=settings.split_seed).tolist())
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


@dataclass(frozen=True, slots=True)
class _RowIndex:
    """An index of a file's usable rows: two 64-bit numbers a row, from which the split follows."""

    name: str
    """The name of the file, for messages."""
    rows: Rows
    group: Ints
    """Number of each row's prompt, (n,)."""
    conversation: Ints
    """Number of each row's conversation, (n,); 0 where none is named."""
    refused: Counter[str]
    left_out: int
    """Undesirable rows that the loss does not use."""
    ends_sentences: bool
    """Whether most longer answers end as sentences do, so that one that does not may have been cut off."""

    @classmethod
    def of(cls, rows: Rows, path: str, *, skip_refused: bool, progress: Progress) -> "_RowIndex":
        """Read all rows once. Raises DataError for rows that cannot be used, unless they are to be skipped."""
        # Sixteen bytes a row: a list of Python's numbers would take four times as much, and there may be millions.
        group, conversation = array("q"), array("q")
        refused: Counter[str] = Counter()
        first: dict[str, list[Refusal]] = {}
        ends = Ends()
        for row in tell_reading(rows, progress, "reading feedback"):
            if isinstance(row, Refusal):
                refused[row.reason] += 1
                shown = first.setdefault(row.reason, [])
                if len(shown) < _SHOWN:
                    shown.append(row)
            else:
                group.append(group_number(row))
                conversation.append(conversation_number(row))
                for text, _ in _completions(row):
                    ends.count(text)
        reasons = fatal_reasons(refused, rows.num_read)
        if reasons and not skip_refused:
            faults = sorted((row for reason in reasons for row in first[reason]), key=lambda row: row.where.line)
            why = too_many_empty(refused, rows.num_read)
            raise _refused(faults[:_SHOWN], sum(refused[reason] for reason in reasons), why)
        # No fault of the rows: they are counted apart, and no warning speaks of them.
        left_out = refused.pop(NOT_USED, 0)
        if not group:
            which = f"{_counted(refused)}; first {next(iter(first.values()))[0]}" if first else "there are none"
            raise DataError(f"{memory_name(path) or path}: no row can be used: {which}")
        name = memory_name(path) or path
        groups, conversations = np.array(group, np.int64), np.array(conversation, np.int64)
        return cls(name, rows, groups, conversations, refused, left_out, ends.are_sentences)

    def facts(self) -> dict[str, Any]:
        refused = sum(self.refused.values())
        return {
            "read": len(self.group) + refused + self.left_out,
            "accepted": len(self.group),
            "refused": dict(self.refused),
            "undesirable left out": self.left_out,
        }


@dataclass(frozen=True, slots=True)
class FeedbackIndex:
    """The usable rows of a run's feedback before they are divided."""

    source: _RowIndex
    held_out: _RowIndex | None
    """Those of the file of held-out rows; None where there is none."""

    @property
    def num_prompts(self) -> int:
        """Return the number of prompts of the source."""
        return len(np.unique(self.source.group))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Selection:
    """The rows of the files that are used, and for what; masks have one entry a usable row, (n,)."""

    is_trained: Mask
    """Rows of the source."""
    held_index: _RowIndex
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


def index_feedback(settings: FeedbackSettings, needs: Needs, *, progress: Progress) -> FeedbackIndex:
    """
    Read the source and, where it is named, the file of held-out rows once, as the loss needs them.

    Raises DataError for rows that cannot be used, unless they are to be skipped.
    """
    # Only for the counts of the report: a loss on scores learns from the score itself, not from this label.
    middle = sum(_score_range(needs)) / 2 if needs.scores else None
    opened = partial(open_rows, settings=settings, pairs=needs.pairs, undesirable=needs.undesirable, middle=middle)
    index = partial(_RowIndex.of, skip_refused=settings.skip_refused, progress=progress)
    source = index(opened(settings.source), settings.source)
    if settings.validation is None:
        return FeedbackIndex(source, None)
    return FeedbackIndex(source, index(opened(settings.validation), settings.validation))


def _select(both: FeedbackIndex, settings: FeedbackSettings, *, mismatched: bool, selects: bool) -> _Selection:
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
    return _Selection(
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


def _half(index: _RowIndex, selected: Mask, *, seed: int) -> Mask:
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


def _first_groups(group: Ints, most: int, *, seed: int) -> Ints:
    """Draw at most `most` prompts, by a hash, so that they do not depend on the order of the rows."""
    names = np.unique(group)
    return names[np.argsort(seeded_hash(names, seed=seed, purpose="sample prompts"))][:most]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Writer:
    """Encodes selected rows into a store, and counts what it sees."""

    encode: EncodeFn
    needs: Needs
    skip_refused: bool
    guesses_cut_off: bool
    """Whether the end of an answer that looks cut off is not trained, where nobody said."""
    advance: Callable[[int], None]
    undesirable_encoder: int
    """Number of the encoder of undesirable answers."""
    trains_reasoning: bool = False
    desirable_encoder: int = 0
    prompts: dict[str, Asked] = field(default_factory=dict)

    def write(self, index: _RowIndex, selected: Mask, path: Path, wanted: set[int] | None = None) -> dict[str, Any]:
        """
        Encode rows into a store, a few at a time, and return its counts.

        Args:
            index: the rows.
            selected: which of them to encode, (n,).
            path: the store's folder.
            wanted: groups whose prompts are kept in `prompts`.
        """
        refused: Counter[str] = Counter()
        ends = _Endings(guesses=self.guesses_cut_off and index.ends_sentences)
        with TokenStoreWriter(path, paired=self.needs.pairs) as store:
            usable = self._noting_prompts(index, wanted or set())
            picked = (row for row, use in zip(usable, selected.tolist(), strict=True) if use)
            for chunk, results in self.encode(self._chunks(picked, ends)):
                self._append(chunk, results, store, refused)
                self.advance(len(chunk))
        written = TokenStore(path)
        if written.num_examples == 0:
            raise DataError(f"no row is left after encoding: {_counted(refused)}")
        facts = _store_facts(written, trains_reasoning=self.trains_reasoning) | (
            {"refused": dict(refused)} if refused else {}
        )
        facts |= {"look cut off": ends.guessed} if ends.guessed else {}
        written.close()
        return facts

    def _noting_prompts(self, index: _RowIndex, wanted: set[int]) -> Iterator[_Numbered]:
        """Number the usable rows, and keep the prompts of wanted groups, whether or not their rows are written."""
        # The file is read a second time here: rows are never all in memory, only their index is.
        usable = (row for row in index.rows if not isinstance(row, Refusal))
        # A log may have grown meanwhile: it is read up to where it ended then. Anything else is another file.
        for group in index.group.tolist():
            row = next(usable, None)
            if row is None or group_number(row) != group:
                raise DataError(
                    f"{index.name}: the file was changed while it was read; give a copy that stays as it is"
                )
            if group in wanted:
                self.prompts.setdefault(group_of(row), prompt_of(row))
            yield group, row

    def _chunks(
        self, rows: Iterator[_Numbered], ends: "_Endings"
    ) -> Iterator[tuple[list[_Numbered], list[EncodeTask]]]:
        while chunk := list(islice(rows, _CHUNK)):
            yield (
                chunk,
                [
                    (
                        self._encoder(desirable=desirable),
                        (row.prompt, text, row.tools, row.chat_template_kwargs or {}),
                        ends.is_finished(text, _finished(row, desirable=desirable)),
                    )
                    for _, row in chunk
                    for text, desirable in _completions(row)
                ],
            )

    def _encoder(self, *, desirable: bool) -> int:
        return self.desirable_encoder if desirable else self.undesirable_encoder

    def _append(
        self, chunk: Sequence[_Numbered], results: EncodeResults, store: TokenStoreWriter, refused: Counter[str]
    ) -> None:
        encoded = iter(results)
        for group, row in chunk:
            completions = [(next(encoded), desirable) for _, desirable in _completions(row)]
            where = row.where or Where("", 0)
            # A pair is left out as a whole: half of one is no pair.
            bad = next(
                (result for result, _ in completions if isinstance(result, Unencodable)), None
            ) or self._bad_score(row)
            if bad is not None:
                if not self.skip_refused:
                    raise _refused([Refusal(where, bad.reason, bad.message)], 1)
                refused[bad.reason] += 1
                continue
            for result, desirable in completions:
                if isinstance(result, Encoded):
                    store.append(
                        result,
                        desirable=desirable,
                        group=group,
                        weight=row.weight,
                        source=where.path,
                        line=where.line,
                        score=self._score(row, desirable=desirable),
                    )

    def _score(self, row: Feedback | Pair, *, desirable: bool) -> float:
        """
        Return the row's score for a loss that wants one; where the human gave none, the end of the range by its label.

        Of a pair it is the margin for the chosen answer and 0 for the other: their difference is what counts.
        """
        if isinstance(row, Pair):
            return row.margin or 0.0 if desirable and self.needs.margins else 0.0
        if not self.needs.scores:
            return 0.0
        low, high = _score_range(self.needs)
        return row.score if row.score is not None else high if desirable else low

    def _bad_score(self, row: Feedback | Pair) -> Unencodable | None:
        if self.needs.margins and isinstance(row, Pair) and row.margin is None:
            wanted = "give each pair a margin, or chosen_score and rejected_score, or leave loss.margin out"
            return Unencodable("no margin", f"the loss wants to know by how much the chosen answer is better; {wanted}")
        limits = self.needs.score_range
        if limits is None or isinstance(row, Pair) or row.score is None or limits[0] <= row.score <= limits[1]:
            return None
        between = f"between {limits[0]:g} and {limits[1]:g}"
        return Unencodable("score", f"the loss wants scores {between}, and this one is {row.score:g}; scale them")


def _score_range(needs: Needs) -> tuple[float, float]:
    """Return the scores of an undesirable and of a desirable answer that has none."""
    return needs.score_range or (-1.0, 1.0)


def _encoders(encoder: Encoder, needs: Needs) -> list[Encoder]:
    """Return the encoder of desirable answers and, where the loss has control texts, that of undesirable ones."""
    if needs.rewards:
        encoder = encoder.for_whole_conversations()
    return [encoder] if needs.control is None else [encoder.with_control(control) for control in needs.control]


def _completions(row: Feedback | Pair) -> list[tuple[Text, bool]]:
    """Return the completions of a row, each with whether it is desirable."""
    if isinstance(row, Pair):
        return [(row.chosen, True), (row.rejected, False)]
    return [(row.completion, bool(row.label))]


@dataclass(slots=True)
class _Endings:
    """Decides which answers are trained to their end, and counts the guesses."""

    guesses: bool
    guessed: int = 0
    """Answers whose end is not trained as they look cut off."""

    def is_finished(self, text: Text, said: bool | None) -> bool:
        if said is not None:
            return said
        looks_cut_off = self.guesses and breaks_off(text)
        self.guessed += looks_cut_off
        return not looks_cut_off


def _finished(row: Feedback | Pair, *, desirable: bool) -> bool | None:
    if isinstance(row, Pair):
        return row.chosen_finished if desirable else row.rejected_finished
    return row.finished


def _store_facts(store: TokenStore, *, trains_reasoning: bool) -> dict[str, Any]:
    held, shown = store.num_reasoning, store.num_reasoning_shown
    done = "trained" if trains_reasoning else "given"
    desirable = int(store.desirable.sum())
    return {
        "rows": store.num_examples,
        "pairs": store.num_examples if store.paired else 0,
        "desirable": desirable,
        "undesirable": len(store) - desirable,
        "weight": dict(zip(("desirable", "undesirable"), store.class_totals(), strict=True)),
        "prompts": len(np.unique(store.group)),
        "tokens": store.num_tokens,
        "prompts cut": store.num_prompt_cut,
        "truncated": store.num_completion_cut,
        "template differs": store.num_disagreeing,
    } | ({"reasoning": {done: shown, "left out": held - shown}} if held else {})


def _refused(faults: Sequence[Refusal], total: int, why: str = "") -> DataError:
    lines = "\n".join(f"  {fault}" for fault in faults)
    more = f"\n  and {total - len(faults)} more" if total > len(faults) else ""
    return DataError(
        f"{total} row(s) cannot be used:\n{lines}{more}\n{f'{why}. ' if why else ''}"
        "Mend them, or go on without them: --set feedback.skip_refused=true. `haloes doctor` lists them all by reason."
    )


def _counted(refused: Counter[str]) -> str:
    return ", ".join(f"{count} x {reason}" for reason, count in refused.most_common())
