"""
Propose how to map the columns of a file that no format fits: only what was tried on its rows and reads them.

Two answers side by side are never proposed as one answer and a label: a rating of 1 to 5 that says which of the two is
better would turn half of the data round.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from haloes.errors import DataError
from haloes.feedback import column_guess as guess
from haloes.feedback.columns import columns_option
from haloes.feedback.containers import NumberedRow
from haloes.feedback.preferences import preference_scale
from haloes.feedback.refusals import EMPTY, NO_FAULT, RefusalError
from haloes.feedback.row_reader import Reading, make_reader
from haloes.records import Refusal, Where

_MOST_FAULTS = 0.05

TRIED_ROWS = 2000
"""Rows on which a proposal is tried."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """A mapping that was tried."""

    columns: Mapping[str, str]
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings of `feedback` beside the columns."""
    outcome: str = ""
    """How many rows it reads, in words."""

    @property
    def options(self) -> str:
        """Return the options to type."""
        words = [columns_option(self.columns)]
        words += [f"--set feedback.{name}='{as_typed(value)}'" for name, value in self.settings.items()]
        return " ".join(words)


def advice_lines(rows: Sequence[NumberedRow], *, path: str) -> list[str]:
    """
    Return what to do about a file that no format fits, as lines: mappings that were tried, or what is missing.

    Args:
        rows: The first rows of the file.
        path: Name of the file in messages.
    """
    values = guess.values_of(row for _, row in rows if not isinstance(row, RefusalError))
    sides = guess.two_answers(values)
    if sides is None:
        return _for_one_answer(rows, values, path=path)
    return _for_two_answers(rows, values, sides, path=path)


def try_mapping(
    rows: Sequence[NumberedRow], columns: Mapping[str, str], settings: Mapping[str, Any], *, path: str
) -> Proposal | None:
    """Read the rows under a mapping; None where it does not read them."""
    reading = Reading(columns=columns, scale=preference_scale(settings.get("preference_scale")))
    try:
        reader = make_reader(rows, reading, path=path)
    except DataError:
        return None
    if reader is None:
        return None
    read = [record for line, raw in rows for record in reader.records(raw, Where(path, line))]
    refused = Counter(record.reason for record in read if isinstance(record, Refusal))
    faults = sum(count for reason, count in refused.items() if reason not in NO_FAULT | EMPTY)
    if len(read) == refused.total() or faults > _MOST_FAULTS * len(read):
        return None
    left_out = "".join(f", {count} x {reason}" for reason, count in refused.most_common())
    outcome = f"tried on {len(rows)} rows: {len(read) - refused.total()} usable{left_out}"
    return Proposal(columns, settings, outcome)


def as_typed(value: object) -> str:
    """Return a setting's value as it is typed on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {as_typed(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(as_typed, value)) + "]"
    if isinstance(value, float):
        return f"{value:g}"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _for_one_answer(rows: Sequence[NumberedRow], values: Mapping[str, Sequence[object]], *, path: str) -> list[str]:
    for columns, settings in _single_answers(values):
        if (proposal := try_mapping(rows, columns, {}, path=path)) is None:
            continue
        threshold = Proposal(columns, settings)
        better = " (where a higher score is better; tau is where good begins)" if settings else ""
        return [
            "What to do: each row seems to have a prompt, an answer and a verdict; give",
            f"  {threshold.options}",
            f"  ({proposal.outcome}){better}",
        ]
    missing = _missing(values)
    return [
        "What to do: if each row has a prompt, an answer and a label, say in which columns:",
        f"  --columns {missing}",
        "  or of two answers, which of them is better: --columns prompt=COLUMN,a=COLUMN,b=COLUMN,preference=COLUMN",
    ]


def _single_answers(values: Mapping[str, Sequence[object]]) -> Iterator[tuple[dict[str, str], dict[str, Any]]]:
    """Yield mappings of one answer with its label or score, the likeliest first, with the settings that they need."""
    for answer in guess.answer_columns(values):
        prompt = guess.prompt_column(values, without=[answer])
        if prompt is None:
            continue
        for name, is_label in guess.label_columns(values, without=[answer, prompt]):
            columns = {"prompt": prompt, "completion": answer, "label" if is_label else "score": name}
            ends = guess.number_range(values[name])
            if is_label:
                yield columns, {}
            elif ends is not None:
                yield columns, {"labels_from": {"rule": "threshold", "tau": float(f"{sum(ends) / 2:.3g}")}}


def _missing(values: Mapping[str, Sequence[object]]) -> str:
    return ",".join(f"{name}=COLUMN" for name in ("prompt", "completion", "label") if name not in values) or (
        "prompt=COLUMN,completion=COLUMN,label=COLUMN"
    )


def _for_two_answers(
    rows: Sequence[NumberedRow], values: Mapping[str, Sequence[object]], sides: guess.Sides, *, path: str
) -> list[str]:
    whole = guess.is_conversation(values[sides.a])
    prompt = None if whole else guess.prompt_column(values, without=[sides.a, sides.b])
    asked = {} if whole else {"prompt": prompt or "COLUMN"}
    if sides.first_is_better:
        columns = asked | {"chosen": sides.a, "rejected": sides.b}
        if (pair := try_mapping(rows, columns, {}, path=path)) is not None:
            return [f"What to do: {sides.a} seems to be better than {sides.b}; if so, give", *_shown(pair)]
    if len(several := guess.several_answers(values, sides)) > 2:  # noqa: PLR2004 - A and B
        return [
            f"What to do: a row seems to hold {len(several)} answers ({', '.join(several)}), and comparisons hold two.",
            "Write a row for each two of them, with the one that is better:",
            "  --columns prompt=COLUMN,a=COLUMN,b=COLUMN,preference=COLUMN",
        ]
    start = f"each row seems to hold two answers, {sides.a} and {sides.b}"
    for name in guess.preference_columns(values, sides, prompt=prompt):
        columns = asked | {"a": sides.a, "b": sides.b, "preference": name}
        words = guess.words_of_sides(name, values[name], sides)
        if words is not None:
            settings = {"preference_scale": words} if words else {}
            if (named := try_mapping(rows, columns, settings, path=path)) is not None:
                return [f"What to do: {start}, and {name} to say which is better; give", *_shown(named)]
        ends = guess.number_range(values[name])
        if ends is not None and (lines := _either_direction(rows, columns, ends, path=path)):
            return [f"What to do: {start}, and {name} to say which is better, from {ends[0]:g} to {ends[1]:g}.", *lines]
    for name in guess.verdicts_in_words(values, sides, prompt=prompt):
        seen = ", ".join(dict.fromkeys(map(str, values[name])))
        columns = asked | {"a": sides.a, "b": sides.b, "preference": name}
        unnamed = Proposal(columns, {"preference_scale": {"a": ["WORD"], "b": ["WORD"], "tie": ["WORD"]}})
        return [
            f"What to do: {start}. If {name} says which is better, say which of its words means which:",
            f"  {unnamed.options}",
            f"  (its words: {seen})",
        ]
    return [
        f"What to do: {start}. Say which column tells the better one:",
        f"  {Proposal(asked | {'a': sides.a, 'b': sides.b, 'preference': 'COLUMN'}).options}",
        "  If each answer has a label of its own, map one and leave the other out, once for each:",
        f"  {Proposal(asked | {'completion': sides.a, 'label': 'COLUMN', sides.b: ''}).options}",
    ]


def _either_direction(
    rows: Sequence[NumberedRow], columns: Mapping[str, str], ends: tuple[float, float], *, path: str
) -> list[str]:
    """Return a proposal for each direction of a scale; nothing where the rows cannot be read so."""
    low, high = (_whole(end) for end in ends)
    lines: list[str] = []
    for name, a, b in ((columns["b"], low, high), (columns["a"], high, low)):
        proposal = try_mapping(rows, columns, {"preference_scale": {"a": a, "b": b}}, path=path)
        if proposal is None:
            return []
        lines += [f"If {high} means that {name} is better, give", *_shown(proposal)]
    return [
        *lines,
        f"  (write the ends of your scale, if these are not {low} and {high})",
        f"If {columns['preference']} is about one of the two alone, map that one and leave the other out (OTHER=).",
    ]


def _shown(proposal: Proposal) -> list[str]:
    return [f"  {proposal.options}", f"  ({proposal.outcome})"]


def _whole(number: float) -> float | int:
    return int(number) if number.is_integer() else number
