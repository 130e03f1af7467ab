"""Texts made to keep a parser busy are read in one pass."""

import ast
import re
import re._constants as op  # what a pattern is made of
import re._parser as parser
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import haloes
from haloes.errors import UserError
from haloes.feedback import preferences
from haloes.feedback.column_guess import columns_for
from haloes.feedback.doctor import text_signs
from haloes.feedback.labels import check_label_column, parse_label, parse_score
from haloes.feedback.refusals import RefusalError
from haloes.judging.extract import RULES, extract
from haloes.judging.template import disarmed, whole_sentences
from haloes.recipes.demo.rule import rate
from haloes.report.card import escape
from haloes.runs.read_settings import parse_settings
from haloes.stats.refusal import is_refusal
from haloes.words import words_in

SOURCES = sorted(Path(haloes.__file__).parent.rglob("*.py"))
LONG = 200_000
HANG = 60
"""Seconds after which a parser hangs; one pass takes some milliseconds, and a pass for each character many minutes."""


# --- the patterns


def patterns() -> Iterator[tuple[str, str]]:
    """Yield each pattern that stands in the source as it is, with its place."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and isinstance(node.func.value, ast.Name)
                and node.func.value.id == "re"
                and node.args
                and isinstance(node.args[0], ast.Constant)
                and isinstance(node.args[0].value, str)
            ):
                yield f"{path.name}:{node.lineno}", node.args[0].value


SAMPLE = [chr(code) for code in (*range(9, 14), *range(32, 127), 0xE9, 0x2026, 0x201D, 0x663, 0x1F44D)]
CATEGORIES = {
    op.CATEGORY_DIGIT: r"\d",
    op.CATEGORY_NOT_DIGIT: r"\D",
    op.CATEGORY_SPACE: r"\s",
    op.CATEGORY_NOT_SPACE: r"\S",
    op.CATEGORY_WORD: r"\w",
    op.CATEGORY_NOT_WORD: r"\W",
}
SINGLE: dict[Any, Callable[[Any, str], object]] = {
    op.LITERAL: lambda value, char: ord(char) == value,
    op.NOT_LITERAL: lambda value, char: ord(char) != value,
    op.ANY: lambda _, __: True,
    op.RANGE: lambda value, char: value[0] <= ord(char) <= value[1],
    op.CATEGORY: lambda value, char: re.match(CATEGORIES[value], char),
}
REPEATS = (op.MAX_REPEAT, op.MIN_REPEAT)
Items = Sequence[tuple[Any, Any]]


def taken(kind: Any, value: Any) -> frozenset[str]:
    """Return the characters of the sample that one item of a pattern takes, at any of its places."""
    if kind in SINGLE:
        return frozenset(char for char in SAMPLE if SINGLE[kind](value, char))
    if kind is op.IN:
        chars = frozenset[str]().union(*(taken(*item) for item in value if item[0] is not op.NEGATE))
        return frozenset(SAMPLE) - chars if value[0][0] is op.NEGATE else chars
    return frozenset[str]().union(*(taken(*item) for branch in branches(kind, value) for item in branch))


def branches(kind: Any, value: Any) -> list[Items]:
    """Return the sequences of items inside an item, of which it takes one."""
    if kind in (*REPEATS, op.POSSESSIVE_REPEAT):
        return [value[2]]
    if kind is op.SUBPATTERN:
        return [value[3]]
    if kind is op.ATOMIC_GROUP:
        return [value]
    return list(value[1]) if kind is op.BRANCH else []


def may_be_empty(kind: Any, value: Any) -> bool:
    if kind in (*REPEATS, op.POSSESSIVE_REPEAT) and value[0] == 0:
        return True
    if kind in (op.AT, op.ASSERT, op.ASSERT_NOT):
        return True
    inside = branches(kind, value)
    return bool(inside) and any(all(may_be_empty(*item) for item in branch) for branch in inside)


def endless(kind: Any, value: Any) -> bool:
    return kind in REPEATS and value[1] is op.MAXREPEAT


def first_taken(items: Items) -> frozenset[str]:
    """Return the characters that a sequence may begin with."""
    chars = frozenset[str]()
    for kind, value in items:
        inside = branches(kind, value)
        chars |= frozenset[str]().union(*map(first_taken, inside)) if inside else taken(kind, value)
        if not may_be_empty(kind, value):
            break
    return chars


def at_the_edge(items: Items, *, end: bool) -> Iterator[frozenset[str]]:
    """Yield what each endless repetition at the end of a sequence takes, or what each at its start begins with."""
    for kind, value in reversed(items) if end else items:
        if endless(kind, value):
            yield taken(kind, value) if end else first_taken(value[2])
        for branch in branches(kind, value):
            yield from at_the_edge(branch, end=end)
        if not may_be_empty(kind, value):
            return


def side_by_side(items: Items, others: Items) -> Iterator[frozenset[str]]:
    """Yield the characters for which the repetitions where `items` ends and `others` begins compete."""
    for before in at_the_edge(items, end=True):
        yield from (before & after for after in at_the_edge(others, end=False))


def shared(items: Items) -> Iterator[frozenset[str]]:
    """Yield the characters for which two endless repetitions that can stand side by side compete."""
    for i in range(1, len(items)):
        yield from side_by_side(items[:i], items[i:])
    for kind, value in items:
        for branch in branches(kind, value):
            yield from shared(branch)
            if endless(kind, value):
                yield from side_by_side(branch, branch)


def competes(pattern: str) -> bool:
    return any(shared(list(parser.parse(pattern))))


@pytest.mark.parametrize("pattern", [r"\d+\.?\d*", r"(a+)+b", r"x(\s*|y)\s*z", r"(\w+ ?)*!", r"(?:a|b+)+", r".*?.*x"])
def test_a_pattern_in_which_repetitions_compete_is_told(pattern: str):
    assert competes(pattern)


@pytest.mark.parametrize("pattern", [r"\d+(\.\d*)?|\.\d+", r"(\w+ )*x", r"a*b+", r"x.*?-\n.*", r"(?:[^a]++|a)*+"])
def test_a_pattern_in_which_they_do_not_is_left_alone(pattern: str):
    assert not competes(pattern)


def test_in_no_pattern_of_the_source_do_repetitions_compete():
    found = dict(patterns())

    assert len(found) > 40
    assert [f"{where}: {pattern}" for where, pattern in found.items() if competes(pattern)] == []


# --- what is parsed with them


@pytest.fixture(autouse=True)
def no_hang() -> Iterator[None]:
    def told(_: int, __: FrameType | None) -> None:
        pytest.fail(f"hangs: not done after {HANG} s")

    before = signal.signal(signal.SIGALRM, told)
    signal.alarm(HANG)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


LABELS = {"first": "Response 1", "second": "Response 2"}
PARSERS: dict[str, Callable[[str], object]] = {
    "label": parse_label,
    "score": parse_score,
    "labels of a file": lambda text: check_label_column([("f:1", text)] * 3),
    "setting": lambda text: parse_settings([f"train.lr={text}"]),
    "verdict": lambda text: [extract(text, LABELS, rule) for rule in RULES],
    "sentences for a judge": lambda text: (whole_sentences(text), disarmed(text, ["<|im_end|>"])),
    "refusal": is_refusal,
    "demo's rule": lambda text: rate("p", text, True),
    "cut off": text_signs.is_cut_off,
    "HTML": text_signs.has_html,
    "leans on earlier": text_signs.leans_on_earlier,
    "column": lambda text: columns_for("user", [text]),
    "preference": preferences.named_side,
    "words": words_in,
    "card": escape,
}
TEXTS = {
    "digits": "9" * LONG + "x",
    "points": "." * LONG + "x",
    "blanks": "1" + " " * LONG + "x",
    "exponents": "1e" + "9" * LONG + "x",
    "open thoughts": "<think>" * (LONG // 7),
    "ends of thoughts": "</think>" * (LONG // 8),
    "channels": "<|channel|>" * (LONG // 11),
    "code fences": "```" * (LONG // 3) + "`",
    "code marks": "`" * LONG + "x",
    "open tags": "<br " * (LONG // 4),
    "tags that do not end": "</p" + " " * LONG + "x",
    "quotes after a stop": "." + '"' * LONG + "x",
    "marks": "<|" * (LONG // 2),
    "capitals": "A" * LONG + "a",
    "a question": "that's a " + "a " * (LONG // 2),
    "labels": "Response " * (LONG // 9),
    "four words": "a b c d e " * (LONG // 10),
    "lines": "\n" * LONG + "x",
    "KL": "KL." * (LONG // 3),
}


@pytest.mark.parametrize("name", PARSERS)
def test_a_long_text_is_read_in_one_pass(name: str):
    for text in TEXTS.values():
        with suppress(RefusalError, UserError):
            PARSERS[name](text)
