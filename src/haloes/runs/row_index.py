"""The usable rows of a run's feedback before they are divided: read once, with two numbers a row in memory."""

from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from haloes.errors import DataError
from haloes.feedback.doctor.endings import Ends
from haloes.feedback.keys import conversation_number, group_number
from haloes.feedback.raters.taste import taste
from haloes.feedback.raters.votes import Votes
from haloes.losses._contract import Needs
from haloes.progress.contract import Progress
from haloes.records import Feedback, Pair, Refusal, Text, memory_name
from haloes.report.shown import weighed
from haloes.results_json import numbers_to_json
from haloes.runs.config import FeedbackSettings
from haloes.runs.feedback_rows import (
    NOT_USED,
    Rows,
    describe_reading,
    fatal_reasons,
    open_rows,
    tell_reading,
    too_many_empty,
)

Ints: TypeAlias = NDArray[np.int64]

_SHOWN = 10


@dataclass(frozen=True, slots=True)
class RowIndex:
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
    replaced: dict[str, int]
    """Personal data that gave way to placeholders, by kind."""

    @classmethod
    def of(cls, rows: Rows, path: str, *, skip_refused: bool, progress: Progress) -> "RowIndex":
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
                for text, _ in completions_of(row):
                    ends.count(text)
        reasons = fatal_reasons(refused, rows.num_read)
        if reasons and not skip_refused:
            faults = sorted((row for reason in reasons for row in first[reason]), key=lambda row: row.where.line)
            why = too_many_empty(refused, rows.num_read)
            raise refused_rows(faults[:_SHOWN], sum(refused[reason] for reason in reasons), why)
        # No fault of the rows: they are counted apart, and no warning speaks of them.
        left_out = refused.pop(NOT_USED, 0)
        name = memory_name(path) or path
        if not group:
            which = (
                f"{refusals_by_reason(refused)}; first {next(iter(first.values()))[0]}" if first else "there are none"
            )
            raise DataError(f"{name}: no row can be used: {which}")
        if (told := describe_reading(rows, name, num_used=len(group), refused=refused)) is not None:
            progress.note(told)
        groups, conversations = np.array(group, np.int64), np.array(conversation, np.int64)
        return cls(name, rows, groups, conversations, refused, left_out, ends.are_sentences, rows.scrubbed)

    def facts(self) -> dict[str, Any]:
        refused = sum(self.refused.values())
        return {
            **({} if self.rows.export is None else {"export": self.rows.export}),
            "read": len(self.group) + refused + self.left_out,
            "accepted": len(self.group),
            "refused": dict(self.refused),
            "undesirable left out": self.left_out,
        } | ({"replaced": self.replaced} if self.replaced else {})

    def notes(self) -> list[str]:
        """Say what rows weigh by, and between what, where they do not weigh alike."""
        said = []
        if factors := [factor for person, factor in self.rows.rater_weights.items() if person is not None]:
            said.append(
                f"rows weigh by how far their raters can be relied on (feedback.rater_weights=em): {min(factors):.2f} "
                f"to {max(factors):.2f} times, for {len(factors)} people whose votes overlap; the doctor shows them"
            )
        shown = self.rows.shown()
        if shown is not None and shown.is_applied:
            said.append(weighed(shown))
        return said


@dataclass(frozen=True, slots=True)
class FeedbackIndex:
    """The usable rows of a run's feedback before they are divided."""

    source: RowIndex
    held_out: RowIndex | None
    """Those of the file of held-out rows; None where there is none."""
    taste: dict[str, Any] | None
    """Whose verdicts the source holds, a `Taste`; None without any."""

    @property
    def num_prompts(self) -> int:
        """Return the number of prompts of the source."""
        return len(np.unique(self.source.group))


def index_feedback(settings: FeedbackSettings, needs: Needs, *, progress: Progress) -> FeedbackIndex:
    """
    Read the source and, where it is named, the file of held-out rows once, as the loss needs them.

    Raises DataError for rows that cannot be used, unless they are to be skipped.
    """
    # Only for the counts of the report: a loss on scores learns from the score itself, not from this label.
    middle = sum(score_range(needs)) / 2 if needs.scores else None
    opened = partial(open_rows, settings=settings, pairs=needs.pairs, undesirable=needs.undesirable, middle=middle)
    index = partial(RowIndex.of, skip_refused=settings.skip_refused, progress=progress)
    votes = Votes()
    source = index(opened(settings.source, votes=votes), settings.source)
    found = taste(votes)
    whose = None if found is None else numbers_to_json(replace(found, shown=source.rows.shown()))
    if settings.validation is None:
        return FeedbackIndex(source, None, whose)
    return FeedbackIndex(source, index(opened(settings.validation), settings.validation), whose)


def score_range(needs: Needs) -> tuple[float, float]:
    """Return the scores of an undesirable and of a desirable answer that has none."""
    return needs.score_range or (-1.0, 1.0)


def completions_of(row: Feedback | Pair) -> list[tuple[Text, bool]]:
    """Return the completions of a row, each with whether it is desirable."""
    if isinstance(row, Pair):
        return [(row.chosen, True), (row.rejected, False)]
    return [(row.completion, bool(row.label))]


def refused_rows(faults: Sequence[Refusal], total: int, why: str = "") -> DataError:
    """Return the error for rows that cannot be used: those of `total` that are shown, line by line, and what to do."""
    lines = "\n".join(f"  {fault}" for fault in faults)
    more = f"\n  and {total - len(faults)} more" if total > len(faults) else ""
    return DataError(
        f"{total} row(s) cannot be used:\n{lines}{more}\n{f'{why}. ' if why else ''}"
        "Mend them, or go on without them: --set feedback.skip_refused=true. `haloes doctor` lists them all by reason."
    )


def refusals_by_reason(refused: Counter[str]) -> str:
    """Say how many rows were refused for which reason, the most frequent first."""
    return ", ".join(f"{count} x {reason}" for reason, count in refused.most_common())
