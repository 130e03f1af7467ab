"""What the doctor says of columns that nobody mapped, and of prompts that lack their history."""

import json
from pathlib import Path
from typing import Any

import pytest

from haloes.feedback.doctor.columns import column_advice
from haloes.feedback.read import FeedbackSource


def advice_on(folder: Path, rows: list[dict[str, Any]], **settings: Any) -> dict[str, Any]:
    path = folder / "f.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {each.name: each for each in column_advice(FeedbackSource(str(path), **settings))}


def rows_with(num: int = 12, **columns: Any) -> list[dict[str, Any]]:
    """Rows of which each column's value is made of the row's number."""
    return [
        {"prompt": f"What is {n}?", "completion": f"a{n}", "label": n % 2 == 0}
        | {name: make(n) for name, make in columns.items()}
        for n in range(num)
    ]


@pytest.mark.parametrize(
    ("column", "name", "make"),
    [
        ("session_id", "conversation", lambda n: n // 3),
        ("threadId", "conversation", lambda n: f"t{n // 2}"),
        ("annotator", "user", lambda n: f"ann{n % 3}"),
        ("rated_by", "user", lambda n: f"ann{n % 3}"),
        ("who", "user", lambda n: f"rider{n % 3}"),
        ("prompt_id", "group", lambda n: n // 2),
        ("sample_weight", "weight", lambda n: str(1 + n % 2)),
    ],
)
def test_columns_are_proposed_by_name_once_their_values_are_checked(
    tmp_path: Path, column: str, name: str, make: Any
) -> None:
    found = advice_on(tmp_path, rows_with(**{column: make}))["columns that are not used"]
    assert f"checked on 12 rows: {column} ({name})" in found.finding
    assert found.action.endswith(f"--columns {name}={column}")


@pytest.mark.parametrize(
    ("column", "make"),
    [
        # A name for each row or for all rows joins nothing; a subject of many prompts is no prompt.
        ("session_id", lambda n: n),
        ("session_id", lambda _: "s"),
        ("session_id", lambda n: [n // 2]),
        ("session_id", lambda n: n // 2 if n < 4 else None),
        ("session_length", lambda n: n // 2),
        ("user_agent", lambda n: n % 2),
        ("task", lambda n: n % 2),
        ("weight_kg", lambda n: 1 + n % 2),
        ("importance", lambda n: n % 2),
        ("importance", lambda _: 1),
        ("importance", lambda n: ["low", "high"][n % 2]),
    ],
)
def test_columns_that_fail_the_check_are_not_proposed(tmp_path: Path, column: str, make: Any) -> None:
    assert "columns that are not used" not in advice_on(tmp_path, rows_with(**{column: make}))


def test_columns_that_are_read_already_are_not_proposed_again_and_the_mapping_is_kept(tmp_path: Path) -> None:
    rows = rows_with(session=lambda n: n // 2, user_id=lambda n: n % 3, user=lambda n: n % 4)
    mapped = advice_on(tmp_path, rows, columns={"conversation": "session"})
    assert "columns that are not used" not in mapped

    rows = [{"q": row.pop("prompt"), **row} for row in rows_with(session=lambda n: n // 2)]
    found = advice_on(tmp_path, rows, columns={"prompt": "q"})["columns that are not used"]
    assert found.action.endswith("--columns prompt=q,conversation=session")


TALK = ["How do I cook rice?", "ok and then?", "What about brown rice?"]


def talks(num: int = 4, **columns: Any) -> list[dict[str, Any]]:
    rows = rows_with(3 * num, chat_id=lambda n: f"c{n // 3}", turn=lambda n: n % 3, **columns)
    return [row | {"prompt": TALK[n % 3] if n % 3 else f"{TALK[0]} {n}"} for n, row in enumerate(rows)]


def test_follow_ups_without_their_history_are_found_with_the_settings_that_put_it_before_them(tmp_path: Path) -> None:
    found = advice_on(tmp_path, talks())["follow-ups without history"]
    assert "8 of 8 (100.0%) prompts that are not the first of their session" in found.finding
    assert f"{tmp_path / 'f.jsonl'}:2 'ok and then?'" in found.finding
    assert found.action == (
        "put the earlier turns before them: --columns conversation=chat_id --set feedback.sessions=turn"
    )
    rows = [{name: value for name, value in row.items() if name != "turn"} for row in talks()]
    assert "feedback.sessions=COLUMN" in advice_on(tmp_path, rows)["follow-ups without history"].action


def test_first_turns_whole_questions_and_chats_are_no_follow_ups(tmp_path: Path) -> None:
    # The order of the file is not that of the talk: the first turn is the one that the order column puts first.
    first = [
        row | {"turn": 2 - row["turn"], "prompt": "ok and then?" if row["turn"] == 2 else "How is it?"}
        for row in talks()
    ]
    whole = [row | {"prompt": f"How many people live in town {n}?"} for n, row in enumerate(talks())]
    before = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]
    chats = [row | {"prompt": [*before, {"role": "user", "content": row["prompt"]}]} for row in talks()]
    loose = rows_with() + [row | {"prompt": TALK[1]} for row in rows_with(3)]
    for rows in (first, whole, chats, loose):
        assert "follow-ups without history" not in advice_on(tmp_path, rows)


def test_the_order_of_sessions_is_told_where_it_is_asked_for(tmp_path: Path) -> None:
    settings = {"columns": {"conversation": "chat_id"}, "sessions": "turn"}
    found = advice_on(tmp_path, talks(), **settings)
    assert "8 rows of 4 sessions have earlier turns" in found["sessions"].finding
    assert set(found) == {"sessions"}

    rows = [row | {"turn": [0, 1, 1][row["turn"]] + 2 * (n == 2)} for n, row in enumerate(talks())]
    found = advice_on(tmp_path, rows, **settings)
    assert "rows with the place of another of their session: 3" in found["turns in the same place"].finding
    assert "session c0: no turn between 1 and 3" in found["missing turns"].finding
