"""Inspect feedback as tokens of one model, in one reading that keeps lengths and no text."""

from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Literal, TypeAlias

import numpy as np

from haloes.feedback.convert import unpair
from haloes.feedback.doctor.counts import quantile
from haloes.feedback.doctor.findings import Tally
from haloes.feedback.keys import where_of
from haloes.records import Feedback, FeedbackRow, Message, Record, Refusal, Text
from haloes.tokens.doctor.preview import Preview, preview
from haloes.tokens.encode import Encoded, Encoder, Unencodable

_Label: TypeAlias = Literal["desirable", "undesirable", "unlabelled"]
_Column: TypeAlias = "array[int]"
_TextName: TypeAlias = Literal["prompt", "completion", "both"]

_LABELS: Mapping[bool | None, _Label] = {True: "desirable", False: "undesirable", None: "unlabelled"}
_CHUNK = 256
_NO_WINDOW = 2**31 - 1
_BEFORE, _AFTER = 40, 80
"""Characters to show before and after the first difference."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenLength:
    """Median, 95th percentile and maximum of the tokens of texts, before anything is cut."""

    text: Literal["prompt", "completion", "both"]
    label: Literal["desirable", "undesirable", "unlabelled"]
    median: int
    p95: int
    maximum: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderingDifference:
    """A place where the chat template writes a conversation otherwise than inference sees it, in both versions."""

    where: str
    inference: str
    joint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenFindings:
    """Everything that one reading shows. Counts are of rows: a pair is one, and is cut if one of its sides is."""

    num_rows: int
    num_encoded: int
    window: int
    """Maximum tokens of prompt and completion together."""
    has_chat_template: bool
    end_of_turn: str
    lengths: tuple[TokenLength, ...]
    longest: int
    """Tokens of the longest prompt and completion together."""
    num_over_window: int
    prompts_cut: Tally
    completions_cut: Tally
    refusals: Mapping[str, Tally]
    """Rows that cannot be encoded, by reason, the most frequent first."""
    disagreements: Tally
    """Rows that the template, rendering prompt and completion jointly, writes in other words than inference sees."""
    difference: RenderingDifference | None
    """The first difference of the first of these rows."""
    previews: tuple[Preview, ...]
    header: str = ""
    """What the model itself writes before its words, and learns to write; see `haloes.tokens.template_probe`."""
    begun: str = ""
    """What the generation prompt writes of the answer."""
    trains_reasoning: bool = False
    reasoning_shown: Tally = field(default_factory=Tally)
    """Rows with an answer that came with reasoning, which is trained, or given to the answer (`trains_reasoning`)."""
    reasoning_left_out: Tally = field(default_factory=Tally)
    """Rows with reasoning that has no place: the template has none, or thinking is switched off."""
    ends_spelled: Tally = field(default_factory=Tally)
    """Rows with an answer that spells the end of its turn or text at its end, which is trained once."""


def inspect_tokens(
    rows: Iterable[Record], encoder: Encoder, *, previews: int = 3, num_examples: int = 3
) -> TokenFindings:
    """
    Encode the rows and count what is refused, cut, or rendered otherwise than inference sees it, in one reading.

    Memory grows by 12 bytes an answer; no text is kept but that of the previews.

    Args:
        rows: Single answers and pairs; refusals are skipped.
        encoder: The encoder; its window decides what is cut.
        previews: Number of rows to show.
        num_examples: Number of places to name of everything that is counted.

    Raises:
        ModelError: There are messages, and the tokenizer has no chat template.
    """
    # Everything is encoded without a window first, since lengths are of interest before anything is cut.
    seen = _TokenExamination(encoder, replace(encoder, max_length=_NO_WINDOW), previews, num_examples)
    usable = ((position, row) for position, row in enumerate(rows, start=1) if not isinstance(row, Refusal))
    while chunk := list(islice(usable, _CHUNK)):
        seen.add([(str(where_of(row, position=position)), row) for position, row in chunk])
    return seen.findings()


@dataclass(slots=True)
class _TokenExamination:
    """Everything counted so far."""

    encoder: Encoder
    unlimited: Encoder
    num_previews: int
    num_examples: int
    num_rows: int = 0
    num_encoded: int = 0
    num_over_window: int = 0
    longest: int = 0
    lengths: dict[tuple[_TextName, _Label], _Column] = field(default_factory=dict)
    prompts_cut: Tally = field(default_factory=Tally)
    completions_cut: Tally = field(default_factory=Tally)
    disagreements: Tally = field(default_factory=Tally)
    refusals: dict[str, Tally] = field(default_factory=dict)
    reasoning_shown: Tally = field(default_factory=Tally)
    reasoning_left_out: Tally = field(default_factory=Tally)
    ends_spelled: Tally = field(default_factory=Tally)
    difference: RenderingDifference | None = None
    previews: list[Preview] = field(default_factory=list)

    def add(self, rows: list[tuple[str, FeedbackRow]]) -> None:
        answers = [(where, list(_answers(row))) for where, row in rows]
        whole = iter(_encoded(self.unlimited, [answer for _, sides in answers for answer in sides]))
        for where, sides in answers:
            self._add_row(where, [(side, next(whole)) for side in sides])

    def _add_row(self, where: str, sides: list[tuple[Feedback, Encoded | Unencodable]]) -> None:
        """Count a row by the encodings of its one or two sides."""
        self.num_rows += 1
        encoded: list[tuple[Feedback, Encoded]] = []
        for answer, result in sides:
            # A pair of which one side cannot be encoded cannot be trained on, so the other side is not counted.
            if isinstance(result, Unencodable):
                tally = self.refusals.get(result.reason, Tally())
                self.refusals[result.reason] = self._and(tally, f"{where}: {result.message}")
                return
            encoded.append((answer, result))
        self.num_encoded += 1
        for answer, row in encoded:
            self._measure(row, _LABELS[answer.label])
        if any(not row.agrees for _, row in encoded):
            self._note_difference(where, next(answer for answer, row in encoded if not row.agrees))
        if any(self._spells_end(answer.completion) for answer, _ in encoded):
            self.ends_spelled = self._and(self.ends_spelled, where)
        if any(row.shows_reasoning for _, row in encoded):
            self.reasoning_shown = self._and(self.reasoning_shown, where)
        elif any(row.reasons for _, row in encoded):
            self.reasoning_left_out = self._and(self.reasoning_left_out, where)
        self._count_cuts(where, encoded)

    def _spells_end(self, completion: Text) -> bool:
        turns = [Message("assistant", completion)] if isinstance(completion, str) else completion
        words = [turn.content for turn in turns if turn.role == "assistant"]
        return any(self.encoder.template.bare(text) != text for text in words)

    def _measure(self, row: Encoded, label: _Label) -> None:
        """Add the lengths of one encoded side."""
        num_prompt, num_completion = len(row.prompt), len(row.completion)
        numbers: tuple[tuple[_TextName, int], ...] = (
            ("prompt", num_prompt),
            ("completion", num_completion),
            ("both", num_prompt + num_completion),
        )
        for text, number in numbers:
            self.lengths.setdefault((text, label), array("i")).append(number)
        self.longest = max(self.longest, num_prompt + num_completion)

    def _count_cuts(self, where: str, whole: list[tuple[Feedback, Encoded]]) -> None:
        """Count what the window cuts of a row, and keep the first rows as previews."""
        rows = [row for _, row in whole]
        if any(len(row.prompt) + len(row.completion) > self.encoder.max_length for row in rows):
            self.num_over_window += 1
            # Encoded again with the window, as the first time showed how long the row is without one.
            rows = [row for row in _encoded(self.encoder, [answer for answer, _ in whole]) if isinstance(row, Encoded)]
            if any(row.prompt_cut for row in rows):
                self.prompts_cut = self._and(self.prompts_cut, where)
            if any(row.completion_cut for row in rows):
                self.completions_cut = self._and(self.completions_cut, where)
        if self.num_encoded <= self.num_previews:
            tokenizer = self.encoder.template.tokenizer
            for (answer, _), row in zip(whole, rows, strict=True):
                self.previews.append(preview(row, tokenizer, where=where, label=_LABELS[answer.label]))

    def _note_difference(self, where: str, answer: Feedback) -> None:
        """Count a row that the template renders otherwise, and keep the first difference."""
        self.disagreements = self._and(self.disagreements, where)
        if self.difference is None:
            template = self.encoder.template
            row = (answer.prompt, answer.completion, answer.tools, answer.chat_template_kwargs)
            seen, joint = template.render(*row).text, template.joint(*row)
            at = next(
                (i for i, (a, b) in enumerate(zip(seen, joint, strict=False)) if a != b), min(len(seen), len(joint))
            )
            self.difference = RenderingDifference(where=where, inference=_around(seen, at), joint=_around(joint, at))

    def _and(self, tally: Tally, example: str) -> Tally:
        more = (example,) if len(tally.examples) < self.num_examples else ()
        return Tally(tally.num + 1, tally.examples + more)

    def findings(self) -> TokenFindings:
        return TokenFindings(
            num_rows=self.num_rows,
            num_encoded=self.num_encoded,
            window=self.encoder.max_length,
            has_chat_template=self.encoder.template.chat,
            end_of_turn=self.encoder.template.end_of_turn,
            lengths=tuple(_lengths(self.lengths)),
            longest=self.longest,
            num_over_window=self.num_over_window,
            prompts_cut=self.prompts_cut,
            completions_cut=self.completions_cut,
            refusals=dict(sorted(self.refusals.items(), key=lambda item: -item[1].num)),
            disagreements=self.disagreements,
            difference=self.difference,
            previews=tuple(self.previews),
            header=self.encoder.template.marks.header,
            begun=self.encoder.template.marks.begun,
            trains_reasoning=self.encoder.template.trains_reasoning,
            reasoning_shown=self.reasoning_shown,
            reasoning_left_out=self.reasoning_left_out,
            ends_spelled=self.ends_spelled,
        )


def _encoded(encoder: Encoder, answers: list[Feedback]) -> list[Encoded | Unencodable]:
    return encoder.encode(
        [(a.prompt, a.completion, a.tools, a.chat_template_kwargs or {}) for a in answers],
        finished=[a.finished is not False for a in answers],
    )


def _answers(row: FeedbackRow) -> Iterator[Feedback]:
    return (half for half in unpair([row]) if isinstance(half, Feedback))


def _lengths(numbers: Mapping[tuple[_TextName, _Label], _Column]) -> Iterator[TokenLength]:
    texts: tuple[_TextName, ...] = ("prompt", "completion", "both")
    for text in texts:
        for label in _LABELS.values():
            if (text, label) in numbers:
                number_N = np.array(numbers[text, label], np.int64)
                yield TokenLength(
                    text=text,
                    label=label,
                    median=quantile(number_N, 0.5),
                    p95=quantile(number_N, 0.95),
                    maximum=int(number_N.max()),
                )


def _around(text: str, at: int) -> str:
    start, end = max(at - _BEFORE, 0), at + _AFTER
    return ("..." if start else "") + text[start:end] + ("..." if end < len(text) else "")
