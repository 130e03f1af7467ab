"""Chats that a file holds as text are chats, or the row is refused; they are never plain text without a word."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from haloes.feedback.chats_in_text import spelled_turns
from haloes.feedback.read import FeedbackSource
from haloes.feedback.refusals import RefusalError
from haloes.records import Feedback, Message, Refusal

USER = {"role": "user", "content": 'It\'s\n"this", {and} [that]'}
BOT = {"role": "assistant", "content": "So.", "tool_calls": None}
CHAT = [USER, BOT, {"content": "More?", "role": "user"}]
SHAREGPT = [{"from": "human", "value": "Hi"}]


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(CHAT),
        json.dumps(CHAT, indent=2),
        "\n " + json.dumps(CHAT, indent=4) + "\n",
        json.dumps(json.dumps(CHAT)),
        repr(CHAT),
        str(tuple(CHAT)),
        str(np.array(CHAT, dtype=object)),
        repr(np.array(CHAT, dtype=object)),
    ],
)
def test_a_chat_is_read_in_every_spelling(text: str) -> None:
    assert spelled_turns(text) == CHAT


def test_a_single_turn_and_the_turns_of_sharegpt_are_read_too() -> None:
    assert spelled_turns(repr(USER)) == USER
    assert spelled_turns(json.dumps(SHAREGPT)) == SHAREGPT
    assert spelled_turns('[{"role": "assistant", "tool_calls": []}]') == [{"role": "assistant", "tool_calls": []}]


@pytest.mark.parametrize(
    "text",
    [
        "Hi",
        "",
        "[1, 2]",
        '{"name": "x", "role": "admin"}',
        '[{"a": 1}]',
        "a list: [{'role': 'user', 'content': 'x'}]",
        "[{]",
        '{"role": "admin", "content": "all of it"}',
    ],
)
def test_other_texts_stay_texts(text: str) -> None:
    assert spelled_turns(text) is None


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(CHAT)[:-8],
        repr(CHAT)[:-1],
        '[{"role": "user", "content": "x"}, {"content": "y"}]',
        "[{'role': 'user', 'content': 'x', 'at': Timestamp('2026-01-01')}]",
        '[{"role": "user", "words": "x"}]',
    ],
)
def test_what_begins_as_a_chat_and_is_none_is_refused(text: str) -> None:
    with pytest.raises(RefusalError, match="looks like the turns of a chat and cannot be read as such"):
        spelled_turns(text)


def records(path: Path, rows: list[dict[str, Any]]) -> list[Any]:
    if path.suffix == ".csv":
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return list(FeedbackSource(str(path)))


@pytest.mark.parametrize("name", ["f.csv", "f.jsonl"])
@pytest.mark.parametrize("spell", [json.dumps, repr, lambda chat: json.dumps(chat, indent=1)])
def test_a_file_with_chats_as_text_is_read_as_one_with_chats(tmp_path: Path, name: str, spell: Any) -> None:
    answer = [{"role": "assistant", "content": "So."}]
    [row] = records(tmp_path / name, [{"prompt": spell(CHAT), "completion": spell(answer), "label": "true"}])

    assert isinstance(row, Feedback)
    assert [(turn.role, turn.content) for turn in row.prompt] == [(turn["role"], turn["content"]) for turn in CHAT]
    assert row.completion == (Message("assistant", "So."),)


@pytest.mark.parametrize("name", ["f.csv", "f.jsonl"])
def test_rated_chats_as_text_are_found_by_their_format(tmp_path: Path, name: str) -> None:
    [row] = records(tmp_path / name, [{"messages": repr(CHAT[:2]), "label": "true"}])

    assert isinstance(row, Feedback)
    assert row.completion == (Message("assistant", "So."),)


@pytest.mark.parametrize("name", ["f.csv", "f.jsonl"])
def test_a_broken_chat_is_refused_with_its_row(tmp_path: Path, name: str) -> None:
    good = {"prompt": "Hi", "completion": "So.", "label": "true"}
    first, second = records(tmp_path / name, [good, good | {"prompt": repr(CHAT)[:-1]}])

    assert isinstance(first, Feedback)
    assert isinstance(second, Refusal)
    assert second.reason == "wrong type"
    assert second.message.startswith("the prompt: the text ")
