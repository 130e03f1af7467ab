"""HH-RLHF transcripts."""

from collections.abc import Callable
from typing import Any

import pytest

from haloes.feedback.formats.hh import HH
from haloes.records import Message, Pair

TWO = "\n\nHuman: Hi\n\nAssistant: Hello.\n\nHuman: A joke?"
PROMPT = (Message("user", "Hi"), Message("assistant", "Hello."), Message("user", "A joke?"))


def answer(*turns: tuple[str, str]) -> tuple[Message, ...]:
    return tuple(Message(role, words) for role, words in turns)


def test_the_last_common_assistant_begins_the_answer(read_row: Any) -> None:
    # Both answers begin with "No", which does not move the split into them.
    row = {"chosen": f"{TWO}\n\nAssistant: No, thanks.", "rejected": f"{TWO}\n\nAssistant: No.", "id": "x"}
    assert HH.matches(row)
    assert read_row(HH, row) == [
        Pair(prompt=PROMPT, chosen=answer(("assistant", "No, thanks.")), rejected=answer(("assistant", "No.")), id="x")
    ]


def test_conversations_that_part_early_keep_their_later_turns(read_row: Any) -> None:
    chosen = "\n\nHuman: Hi\n\nAssistant: Hello.\n\nHuman: Bye\n\nAssistant: Bye."
    rejected = "\n\nHuman: Hi\n\nAssistant: Go away."
    (pair,) = read_row(HH, {"chosen": chosen, "rejected": rejected})
    assert pair.prompt == (Message("user", "Hi"),)
    assert pair.chosen == answer(("assistant", "Hello."), ("user", "Bye"), ("assistant", "Bye."))
    assert pair.rejected == answer(("assistant", "Go away."))


@pytest.mark.parametrize("end", ["", "\n\nAssistant:", "\n\nAssistant: "])
@pytest.mark.parametrize("alone", [True, False])
def test_a_prompt_of_its_own(read_row: Any, end: str, alone: bool) -> None:
    before = "" if alone else f"{TWO}\n\nAssistant:"
    row = {"prompt": TWO + end, "chosen": f"{before} Yes", "rejected": f"{before} No"}
    assert HH.matches(row)
    assert read_row(HH, row) == [
        Pair(prompt=PROMPT, chosen=answer(("assistant", "Yes")), rejected=answer(("assistant", "No")))
    ]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"chosen": f"{TWO}\n\nAssistant: a", "rejected": f"{TWO}\n\nAssistant: a"}, "chosen equals rejected"),
        ({"chosen": f"{TWO}\n\nAssistant:", "rejected": f"{TWO}\n\nAssistant: a"}, "empty completion"),
        ({"chosen": "\n\nHuman: x\n\nAssistant: a", "rejected": "\n\nHuman: y\n\nAssistant: a"}, "no common prompt"),
        (
            {"chosen": f"{TWO}\n\nAssistant: a\n\nHuman: b", "rejected": f"{TWO}\n\nAssistant: c"},
            "last turn not assistant",
        ),
        ({"chosen": f"{TWO}\n\nAssistant: a"}, "missing column"),
        ({"chosen": f"{TWO}\n\nAssistant: a", "rejected": 3}, "wrong type"),
        ({"chosen": f"{TWO}\n\nAssistant: \ud800", "rejected": f"{TWO}\n\nAssistant: a"}, "invalid unicode"),
        ({"prompt": "Hello there.", "chosen": "a", "rejected": "b"}, "wrong type"),
    ],
)
def test_broken_rows(reason: Callable[..., str], row: dict[str, Any], expected: str) -> None:
    assert reason(HH, row) == expected


@pytest.mark.parametrize(
    "row",
    [
        {"chosen": "a", "rejected": "b"},
        {"prompt": "What does a Human: line mean?", "chosen": "a", "rejected": "b"},
        {"prompt": [{"role": "user", "content": "x"}], "chosen": TWO, "rejected": TWO},
        {"chosen": TWO},
    ],
)
def test_other_texts_are_no_transcripts(row: dict[str, Any]) -> None:
    assert not HH.matches(row)
