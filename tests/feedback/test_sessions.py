"""Rows of a log as the turns of sessions: their order, the history of prompts, and what is odd about the order."""

import json
from pathlib import Path
from typing import Any

import pytest

from haloes.errors import DataError
from haloes.feedback.read import FeedbackSource
from haloes.feedback.refusals import RefusalError
from haloes.feedback.sessions import parse_order
from haloes.records import Feedback, Message, Refusal

COLUMNS = {"prompt": "asked", "completion": "said", "label": "thumb", "conversation": "chat"}


def turn(chat: str | None, place: object, asked: str = "", thumb: object = "up", **more: object) -> dict[str, Any]:
    return {"chat": chat, "n": place, "asked": asked or f"q{place}", "said": f"a{place}", "thumb": thumb, **more}


def opened(folder: Path, rows: list[dict[str, Any]], **settings: Any) -> FeedbackSource:
    path = folder / "f.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return FeedbackSource(str(path), **({"columns": COLUMNS, "sessions": "n"} | settings))


def said(record: object) -> list[str] | str:
    assert isinstance(record, Feedback)
    return record.prompt if isinstance(record.prompt, str) else [message.content for message in record.prompt]


def test_earlier_rows_of_a_session_become_the_history_whatever_their_order_in_the_file(tmp_path: Path) -> None:
    third, other, first, second, alone = opened(
        tmp_path, [turn("x", 3), turn("y", 2), turn("x", 1), turn("x", 2), turn(None, 9)]
    )

    assert said(third) == ["q1", "a1", "q2", "a2", "q3"]
    assert said(second) == ["q1", "a1", "q2"]
    assert [said(first), said(other), said(alone)] == ["q1", "q2", "q9"]
    assert isinstance(third, Feedback)
    assert [message.role for message in third.prompt if isinstance(message, Message)] == ["user", "assistant"] * 2 + [
        "user"
    ]
    assert (third.completion, third.conversation) == ("a3", "x")


def test_turns_that_nobody_rated_are_history_and_those_without_text_are_not(tmp_path: Path) -> None:
    unrated, blank, last = opened(tmp_path, [turn("x", 1, thumb=None), turn("x", 2) | {"said": " "}, turn("x", 3)])

    assert isinstance(unrated, Refusal)
    assert isinstance(blank, Refusal)
    assert said(last) == ["q1", "a1", "q3"]


def test_dates_order_as_numbers_do(tmp_path: Path) -> None:
    times = ["2024-05-02", "2024-05-01T23:00:00-05:00", "2024-05-01T10:00:00Z"]
    late, middle, first = opened(tmp_path, [turn("x", time) for time in times])
    # 23:00 five hours west of Greenwich is four in the morning of the next day there, and so the last of the three.
    assert [len(said(record)) for record in (middle, late)] == [5, 3]
    assert said(first) == "q2024-05-01T10:00:00Z"


def test_a_prompt_with_a_history_of_its_own_keeps_it_and_system_turns_stay_first(tmp_path: Path) -> None:
    chat = [{"role": "user", "content": "u"}, {"role": "assistant", "content": "v"}, {"role": "user", "content": "w"}]
    _, own, after, led = opened(
        tmp_path, [turn("x", 1), turn("x", 2) | {"asked": chat}, turn("x", 3), turn("x", 4, system="be kind")]
    )
    assert said(own) == ["u", "v", "w"]
    assert said(after) == ["q1", "a1", "w", "a2", "q3"]
    assert said(led)[:2] == ["be kind", "q1"]


def test_rows_in_one_place_are_told_and_only_the_last_is_gone_on_from(tmp_path: Path) -> None:
    source = opened(tmp_path, [turn("x", 1), turn("x", 2, "old"), turn("x", 2, "new"), turn("x", 3)])
    *_, last = source
    faults = source.read_sessions("n").faults()

    assert said(last) == ["q1", "a1", "new", "a2", "q3"]
    assert (faults.num_same_place, faults.same_place) == (1, (f"{source.path}:3 in session x",))
    assert (faults.num_sessions, faults.num_later_turns) == (1, 3)


def test_gaps_are_told_where_numbers_count_turns_and_not_where_they_are_times(tmp_path: Path) -> None:
    counted = opened(tmp_path, [turn("x", 0), turn("x", 2), turn("y", 0), turn("z", 3)])
    assert counted.read_sessions("n").faults().missing == (
        "session x: no turn between 0 and 2",
        f"{counted.path}:4: session z begins with turn 3",
    )
    timed = opened(tmp_path, [turn("x", 1714557600), turn("x", 1714557660)])
    assert timed.read_sessions("n").faults().num_missing == 0


@pytest.mark.parametrize("place", ["soon", None, "2024-05-01", [1]])
def test_a_row_without_a_place_is_refused_and_the_others_are_read(tmp_path: Path, place: object) -> None:
    first, odd, last = opened(tmp_path, [turn("x", 1), turn("x", 2) | {"n": place}, turn("x", 3)])
    assert isinstance(odd, Refusal)
    assert odd.reason == "order"
    assert [said(first), said(last)] == ["q1", ["q1", "a1", "q3"]]


def test_places_are_numbers_or_iso_dates() -> None:
    assert parse_order("12", column="n") == ("number", 12.0)
    assert parse_order("1970-01-01 00:01", column="n") == ("date", 60.0)
    with pytest.raises(RefusalError, match="n is 'x', neither a number nor an ISO date"):
        parse_order("x", column="n")


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"sessions": "m"}, r"the file has no column 'm'"),
        ({"sessions": "asked"}, r"asked puts nothing in order: its first values are neither numbers nor ISO dates"),
        (
            {"columns": {name: column for name, column in COLUMNS.items() if name != "conversation"}},
            r"map it: --columns prompt=asked,completion=said,label=thumb,conversation=chat",
        ),
        (
            {"columns": {"prompt": "asked", "chosen": "said", "rejected": "thumb", "conversation": "chat"}},
            r"rows of the format 'paired' hold their history themselves",
        ),
    ],
)
def test_a_file_without_sessions_is_refused_at_once(tmp_path: Path, settings: dict[str, Any], fault: str) -> None:
    with pytest.raises(DataError, match=fault):
        opened(tmp_path, [turn("x", 1), turn("x", 2)], **settings)
