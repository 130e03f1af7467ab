"""The pairs of ms-swift, LLaMA-Factory and OpenAI."""

from collections.abc import Callable
from typing import Any

import pytest

from haloes.feedback.formats.llamafactory_dpo import LLAMAFACTORY_DPO
from haloes.feedback.formats.ms_swift_pairs import MS_SWIFT_PAIRS
from haloes.feedback.formats.openai import OPENAI
from haloes.records import Message, Pair

USER = {"role": "user", "content": "q"}
GOOD = {"role": "assistant", "content": "a"}
BAD = {"role": "assistant", "content": "b"}
EXPECTED = Pair(
    prompt=(Message("user", "q"),), chosen=(Message("assistant", "a"),), rejected=(Message("assistant", "b"),)
)


@pytest.mark.parametrize(
    "other",
    [{"rejected_response": "b"}, {"rejected_response": [BAD]}, {"rejected_messages": [USER, BAD]},
     {"rejected_response": None, "rejected_messages": [USER, BAD]}],
)  # fmt: skip
def test_ms_swift_names_the_other_answer_or_the_other_conversation(read_row: Any, other: dict[str, Any]) -> None:
    row = {"messages": [USER, GOOD], **other}
    assert MS_SWIFT_PAIRS.matches(row)
    assert read_row(MS_SWIFT_PAIRS, row) == [EXPECTED]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"messages": [USER, GOOD], "rejected_response": "a"}, "chosen equals rejected"),
        ({"messages": [USER, GOOD], "rejected_response": ""}, "empty completion"),
        ({"messages": [USER, GOOD], "rejected_response": None}, "no completion"),
        ({"messages": [USER, GOOD]}, "missing column"),
        ({"messages": [USER], "rejected_response": "b"}, "empty prompt"),
        ({"messages": [GOOD, USER], "rejected_response": "b"}, "no user turn"),
        ({"rejected_response": "b"}, "missing column"),
    ],
)
def test_broken_ms_swift_rows(reason: Callable[..., str], row: dict[str, Any], expected: str) -> None:
    assert reason(MS_SWIFT_PAIRS, row) == expected


def test_llamafactory_gives_one_turn_each(read_row: Any) -> None:
    row = {
        "conversations": [{"from": "human", "value": "q"}],
        "chosen": {"from": "gpt", "value": "a"},
        "rejected": {"from": "gpt", "value": "b"},
    }
    assert LLAMAFACTORY_DPO.matches(row)
    assert read_row(LLAMAFACTORY_DPO, row) == [EXPECTED]
    assert read_row(LLAMAFACTORY_DPO, row | {"system": "s"})[0].prompt == (Message("system", "s"), Message("user", "q"))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"chosen": BAD}, "chosen equals rejected"),
        ({"chosen": USER}, "last turn not assistant"),
        ({"rejected": {"from": "gpt", "value": ""}}, "empty completion"),
        ({"conversations": [USER, GOOD]}, "prompt ends with assistant turn"),
        ({"conversations": None}, "empty prompt"),
    ],
)
def test_broken_llamafactory_rows(reason: Callable[..., str], change: dict[str, Any], expected: str) -> None:
    row = {"conversations": [USER], "chosen": GOOD, "rejected": BAD}
    assert reason(LLAMAFACTORY_DPO, row | change) == expected


@pytest.mark.parametrize("ending", ["output", "completion"])
def test_openai_in_both_spellings(read_row: Any, ending: str) -> None:
    row = {
        "input": {"messages": [USER], "tools": [], "parallel_tool_calls": True},
        f"preferred_{ending}": [GOOD],
        f"non_preferred_{ending}": [BAD],
    }
    assert OPENAI.matches(row)
    assert read_row(OPENAI, row) == [EXPECTED]


def test_openai_tools_are_kept(read_row: Any) -> None:
    tool = {"type": "function", "function": {"name": "f"}}
    row = {"input": {"messages": [USER], "tools": [tool]}, "preferred_output": [GOOD], "non_preferred_output": [BAD]}
    assert read_row(OPENAI, row)[0].tools == (tool,)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"input": "q"}, "wrong type"),
        ({"input": {"messages": []}}, "empty prompt"),
        ({"preferred_output": []}, "empty completion"),
        ({"preferred_output": [USER]}, "last turn not assistant"),
        ({"non_preferred_output": [GOOD]}, "chosen equals rejected"),
    ],
)
def test_broken_openai_rows(reason: Callable[..., str], change: dict[str, Any], expected: str) -> None:
    row = {"input": {"messages": [USER]}, "preferred_output": [GOOD], "non_preferred_output": [BAD]}
    assert reason(OPENAI, row | change) == expected
