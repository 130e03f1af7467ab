"""Examine a set of feedback in one reading that keeps an index of numbers and no text."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from haloes.feedback.convert import unpair
from haloes.feedback.doctor import counts
from haloes.feedback.doctor.duplicates_and_contradictions import find_repeats
from haloes.feedback.doctor.endings import LONG_ANSWER
from haloes.feedback.doctor.findings import Findings, Tally, TextFaults
from haloes.feedback.doctor.text_signs import ends_a_sentence, has_html, is_cut_off
from haloes.feedback.doctor.vote_index import VoteIndex, add_row
from haloes.feedback.keys import keys_of, where_of
from haloes.feedback.personal import PLACEHOLDERS, personal_kinds
from haloes.feedback.raters.reliability import estimate_raters
from haloes.feedback.raters.taste import taste
from haloes.feedback.raters.votes import Votes
from haloes.feedback.reasoning import split_reasoning
from haloes.records import Feedback, FeedbackRow, Message, Pair, Record, Refusal, Text, Where

MARKERS: Sequence[str] = (
    "<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|begin_of_text|>", "<|start_header_id|>", "<|eot_id|>",
    "<|system|>", "<|user|>", "<|assistant|>", "<|end|>", "<start_of_turn>", "<end_of_turn>",
    "[INST]", "[/INST]", "<<SYS>>", "\n\nHuman:", "\n\nAssistant:", "### Instruction:", "### Response:",
)  # fmt: skip
"""Parts of chat templates: inside a text they show that it was rendered before, or that several turns run together."""

SHORTEST_ECHO = 20
"""Characters a user turn must have for an answer that begins with it to count as an echo."""

_MARKER = re.compile("|".join(re.escape(marker) for marker in MARKERS))
_WORD = re.compile(r"[^\W_]")


def examine(rows: Iterable[Record], *, num_examples: int = 3) -> Findings:
    """
    Count what is in the rows and what is wrong with them, in one reading.

    Memory grows by about 200 bytes an answer, and with the number of different users; no text is kept.

    Args:
        rows: Single answers, pairs (each counts as a desirable and an undesirable answer), and refusals.
        num_examples: Number of places to name of everything that is counted.
    """
    seen = _Examination(num_examples)
    for position, row in enumerate(rows, start=1):
        if isinstance(row, Refusal):
            seen.refusals.setdefault(row.reason, _TallyBuilder()).add(str(row), num_examples)
        else:
            _count_row(seen, row, where_of(row, position=position))
    reasons = sorted(seen.refusals.items(), key=lambda item: -item[1].num)
    return Findings(
        num_accepted=len(seen.votes.content),
        num_refused=sum(count.num for _, count in reasons),
        num_pairs=seen.kinds["pair"],
        num_labelled=seen.kinds["labelled"],
        num_scored=seen.kinds["scored"],
        refusals={reason: count.tally() for reason, count in reasons},
        balance=counts.count_labels(seen.votes),
        prompts=counts.count_prompts(seen.votes),
        repeats=find_repeats(seen.votes, num_examples=num_examples),
        texts=TextFaults(
            empty=seen.empty.tally(),
            wordless=seen.wordless.tally(),
            padded=seen.padded.tally(),
            echoes=seen.echoes.tally(),
            cut_off=seen.cut_off.tally() if 2 * seen.num_ended >= seen.num_long else Tally(),
            html=seen.html.tally(),
            markers={marker: seen.markers[marker].tally() for marker in MARKERS if marker in seen.markers},
        ),
        lengths=counts.summarize_lengths(seen.votes),
        length_auc=counts.length_auc(seen.votes),
        users=counts.count_users(seen.votes, num_examples=num_examples),
        reasoning=seen.reasoning.tally(),
        personal={kind: seen.personal[kind].tally() for kind in PLACEHOLDERS if kind in seen.personal},
        raters=estimate_raters(seen.raters) if len(seen.raters) else None,
        taste=taste(seen.raters),
    )


@dataclass(slots=True)
class _TallyBuilder:
    """A `Tally` that still grows."""

    num: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, example: str, most: int) -> None:
        self.num += 1
        if len(self.examples) < most:
            self.examples.append(example)

    def tally(self) -> Tally:
        return Tally(self.num, tuple(self.examples))


@dataclass(slots=True)
class _Examination:
    """Everything counted so far."""

    num_examples: int
    votes: VoteIndex = field(default_factory=VoteIndex)
    raters: Votes = field(default_factory=Votes)
    kinds: Counter[str] = field(default_factory=Counter)
    refusals: dict[str, _TallyBuilder] = field(default_factory=dict)
    empty: _TallyBuilder = field(default_factory=_TallyBuilder)
    wordless: _TallyBuilder = field(default_factory=_TallyBuilder)
    padded: _TallyBuilder = field(default_factory=_TallyBuilder)
    echoes: _TallyBuilder = field(default_factory=_TallyBuilder)
    markers: dict[str, _TallyBuilder] = field(default_factory=dict)
    cut_off: _TallyBuilder = field(default_factory=_TallyBuilder)
    html: _TallyBuilder = field(default_factory=_TallyBuilder)
    reasoning: _TallyBuilder = field(default_factory=_TallyBuilder)
    personal: dict[str, _TallyBuilder] = field(default_factory=dict)
    html_prompts: set[str] = field(default_factory=set)
    """Prompts that hold HTML, by `prompt_key`."""
    num_long: int = 0
    """Answers of `LONG_ANSWER` words or more."""
    num_ended: int = 0
    """Those of them that end like sentences."""


def _count_row(seen: _Examination, row: FeedbackRow, where: Where) -> None:
    """Add a row, with its one or two answers, to everything counted."""
    if isinstance(row, Pair):
        seen.kinds["pair"] += 1
    else:
        seen.kinds["labelled"] += row.label is not None
        seen.kinds["scored"] += row.score is not None
    asked = _last_user_turn(row.prompt)
    # From here on a pair is two answers, a desirable and an undesirable one.
    halves = [half for half in unpair([row]) if isinstance(half, Feedback)]
    split = [split_reasoning(half.completion) for half in halves]
    if any(reasons for _, reasons in split):
        seen.reasoning.add(str(where), seen.num_examples)
    # What is said of answers (their lengths, and that two are the same) is of the words after any reasoning.
    answers = [
        half if words == half.completion else replace(half, completion=words)
        for half, (words, _) in zip(halves, split, strict=True)
    ]
    keys = keys_of(row, answers)
    add_row(seen.votes, row, answers, keys, where)
    seen.raters.add(row, answers, keys)
    for kind in personal_kinds(row):
        seen.personal.setdefault(kind, _TallyBuilder()).add(str(where), seen.num_examples)
    for answer in answers:
        _count_faults(seen, answer, where, asked=asked)
    # The last turn alone: those before it are the history of several rows.
    if has_html(asked) and keys.prompt not in seen.html_prompts:
        seen.html_prompts.add(keys.prompt)
        seen.html.add(str(where), seen.num_examples)
    texts = (row.prompt, *(answer.completion for answer in answers))
    for marker in {marker for text in texts for marker in _markers(text)}:
        seen.markers.setdefault(marker, _TallyBuilder()).add(str(where), seen.num_examples)


def _count_faults(seen: _Examination, answer: Feedback, where: Where, *, asked: str) -> None:
    """Count an answer that a model should perhaps not learn from; `asked` is the user's last turn in small letters."""
    pieces = list(_pieces(answer.completion))
    words = "\n".join(pieces).strip()
    if not words:
        # An answer may be a tool call and nothing else.
        if not _calls_tools(answer.completion):
            seen.empty.add(str(where), seen.num_examples)
        return
    if not _WORD.search(words):
        seen.wordless.add(f"{where} {words[:20]!r}", seen.num_examples)
    if any(piece != piece.strip() for piece in pieces):
        seen.padded.add(str(where), seen.num_examples)
    if any(map(has_html, pieces)):
        seen.html.add(str(where), seen.num_examples)
    if len(words.split()) >= LONG_ANSWER:
        seen.num_long += 1
        seen.num_ended += ends_a_sentence(words)
    if answer.finished is None and pieces and is_cut_off(pieces[-1]):
        seen.cut_off.add(f"{where} {'...' + words[-24:]!r}", seen.num_examples)
    # An answer may quote a short question; only a long one at its beginning is an export that repeats the prompt.
    if len(asked) >= SHORTEST_ECHO and words.casefold().startswith(asked):
        seen.echoes.add(str(where), seen.num_examples)


def _pieces(text: Text) -> Iterator[str]:
    if isinstance(text, str):
        yield text
    else:
        yield from (message.content for message in text)


def _calls_tools(text: Text) -> bool:
    return not isinstance(text, str) and any(message.tool_calls for message in text)


def _last_user_turn(prompt: Text) -> str:
    turns: tuple[Message, ...] = (Message("user", prompt),) if isinstance(prompt, str) else prompt
    return next((turn.content.strip().casefold() for turn in reversed(turns) if turn.role == "user"), "")


def _markers(text: Text) -> set[str]:
    return {marker for piece in _pieces(text) for marker in _MARKER.findall(piece)}
