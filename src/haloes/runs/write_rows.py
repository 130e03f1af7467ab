"""Selected rows encoded into a store on disk, a few at a time, with the counts of what was written."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from haloes.errors import DataError
from haloes.feedback.doctor.endings import breaks_off
from haloes.feedback.keys import group_number, group_of
from haloes.losses._contract import Needs
from haloes.records import Asked, Feedback, Pair, Refusal, Text, Where, prompt_of
from haloes.runs.row_index import RowIndex, completions_of, refusals_by_reason, refused_rows, score_range
from haloes.runs.select_rows import Mask
from haloes.tokens.encode import Encoded, Encoder, Unencodable
from haloes.tokens.parallel import EncodeFn, EncodeResults, EncodeTask
from haloes.tokens.store import TokenStore, TokenStoreWriter

_Numbered: TypeAlias = tuple[int, Feedback | Pair]
"""A row after its group's number."""

_CHUNK = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class RowWriter:
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

    def write(self, index: RowIndex, selected: Mask, path: Path, wanted: set[int] | None = None) -> dict[str, Any]:
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
            raise DataError(f"no row is left after encoding: {refusals_by_reason(refused)}")
        facts = _store_facts(written, trains_reasoning=self.trains_reasoning) | (
            {"refused": dict(refused)} if refused else {}
        )
        facts |= {"look cut off": ends.guessed} if ends.guessed else {}
        written.close()
        return facts

    def _noting_prompts(self, index: RowIndex, wanted: set[int]) -> Iterator[_Numbered]:
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
                    for text, desirable in completions_of(row)
                ],
            )

    def _encoder(self, *, desirable: bool) -> int:
        return self.desirable_encoder if desirable else self.undesirable_encoder

    def _append(
        self, chunk: Sequence[_Numbered], results: EncodeResults, store: TokenStoreWriter, refused: Counter[str]
    ) -> None:
        encoded = iter(results)
        for group, row in chunk:
            completions = [(next(encoded), desirable) for _, desirable in completions_of(row)]
            where = row.where or Where("", 0)
            # A pair is left out as a whole: half of one is no pair.
            bad = next(
                (result for result, _ in completions if isinstance(result, Unencodable)), None
            ) or self._bad_score(row)
            if bad is not None:
                if not self.skip_refused:
                    raise refused_rows([Refusal(where, bad.reason, bad.message)], 1)
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
                        model=_answered_by(row, desirable=desirable),
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
        low, high = score_range(self.needs)
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


def class_encoders(encoder: Encoder, needs: Needs) -> list[Encoder]:
    """Return the encoder of desirable answers and, where the loss has control texts, that of undesirable ones."""
    if needs.rewards:
        encoder = encoder.for_whole_conversations()
    return [encoder] if needs.control is None else [encoder.with_control(control) for control in needs.control]


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


def _answered_by(row: Feedback | Pair, *, desirable: bool) -> str | None:
    if isinstance(row, Pair):
        return row.chosen_model if desirable else row.rejected_model
    return row.model


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
