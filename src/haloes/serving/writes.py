"""What is written into the store, each inside the writer's transaction."""

import json
import secrets
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from haloes.serving.records import Answer, Preference, Rating, UnknownError


@dataclass(frozen=True, slots=True, kw_only=True)
class NewComparison:
    """Two answers to one prompt, in the places where they are shown."""

    prompt_id: str | None
    candidate: str
    """Name of the model under test."""
    baseline: str
    left: int
    """Number of the answer in the store."""
    right: int
    user: str | None = None


def new_id(kind: str) -> str:
    """Return an id that nobody can guess."""
    return f"{kind}-{secrets.token_hex(12)}"


def add_answers(connection: sqlite3.Connection, answers: Sequence[Answer]) -> list[int]:
    """Add answers, and return their numbers."""
    return [_add_answer(connection, answer) for answer in answers]


def _add_answer(connection: sqlite3.Connection, answer: Answer) -> int:
    logprobs = list(answer.logprobs)
    row = {
        "completion_id": answer.completion_id,
        "choice": answer.choice,
        "upstream_id": answer.upstream_id,
        "purpose": answer.purpose,
        "created_at": answer.created_at,
        "model": answer.model,
        "user": answer.user,
        "conversation": answer.conversation,
        "messages": _json(answer.messages),
        "tools": _json(answer.tools) if answer.tools else None,
        "chat_template_kwargs": _json(answer.chat_template_kwargs) if answer.chat_template_kwargs else None,
        "settings": _json(answer.settings),
        "message": _json(answer.message),
        "finish_reason": answer.finish_reason,
        "first_token_ms": answer.first_token_ms,
        "total_ms": answer.total_ms,
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": answer.completion_tokens,
        "logprob": sum(logprobs) / len(logprobs) if logprobs else None,
        "logprobs": _json(logprobs) if logprobs else None,
    }
    names, places = ", ".join(row), ", ".join(f":{name}" for name in row)
    number = connection.execute(f"INSERT INTO answers ({names}) VALUES ({places})", row).lastrowid  # noqa: S608 - our names
    assert number is not None  # noqa: S101 - a row was inserted
    connection.execute(
        "INSERT INTO answers_text (rowid, question, answer) VALUES (?, ?, ?)",
        (number, storable(question_of(answer.messages)), storable(words_of(answer.message.get("content")))),
    )
    return number


def add_rating(connection: sqlite3.Connection, vote: Rating) -> dict[str, Any]:
    """
    Add a person's vote on an answer, and return what the client is told.

    Raises:
        UnknownError: there is no such answer.
    """
    number, completion_id = _answer_of(connection, vote.completion_id, vote.choice)
    now = time.time()
    cursor = connection.execute(
        "INSERT INTO votes (answer, rating, correction, comment, user, created_at) VALUES (?, ?, ?, ?, ?, ?)",
        (number, vote.rating, vote.correction, vote.comment, vote.user, now),
    )
    voted = vote.rating is not None or vote.correction is not None
    connection.execute(
        "UPDATE answers SET voted = ?, rating = ?, comment = ? WHERE id = ?",
        (int(voted), vote.rating, vote.comment, number),
    )
    return {"id": cursor.lastrowid, "completion_id": completion_id, "rating": vote.rating, "created_at": now}


def add_comparison(connection: sqlite3.Connection, new: NewComparison) -> str:
    """Add a comparison, and return its id."""
    name = new_id("c")
    connection.execute(
        "INSERT INTO comparisons (comparison_id, prompt_id, created_at, user, candidate, baseline, left_answer, "
        "right_answer) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (name, new.prompt_id, time.time(), new.user, new.candidate, new.baseline, new.left, new.right),
    )
    return name


def add_preference(connection: sqlite3.Connection, vote: Preference) -> dict[str, Any]:
    """
    Add a person's vote on two answers, and return which model stood where.

    Raises:
        UnknownError: there is no such comparison.
    """
    found = connection.execute(
        "SELECT c.id, l.model, r.model FROM comparisons c JOIN answers l ON l.id = c.left_answer "
        "JOIN answers r ON r.id = c.right_answer WHERE c.comparison_id = ?",
        (vote.comparison_id,),
    ).fetchone()
    if found is None:
        raise UnknownError(f"there is no comparison {vote.comparison_id!r:.80}")
    connection.execute(
        "INSERT INTO votes (comparison, verdict, comment, user, created_at) VALUES (?, ?, ?, ?, ?)",
        (found[0], vote.verdict, vote.comment, vote.user, time.time()),
    )
    return {"id": vote.comparison_id, "left": {"model": found[1]}, "right": {"model": found[2]}}


def _answer_of(connection: sqlite3.Connection, completion_id: str, choice: int) -> tuple[int, str]:
    # An upstream may use an id twice: the newest answer that bears it is the one on somebody's screen.
    for column in ("completion_id", "upstream_id"):
        row = connection.execute(
            f"SELECT id, completion_id FROM answers WHERE {column} = ? AND choice = ? ORDER BY id DESC LIMIT 1",  # noqa: S608
            (completion_id, choice),
        ).fetchone()
        if row is not None:
            return row[0], row[1]
    raise UnknownError(f"there is no answer {completion_id!r:.80} (choice {choice})")


def question_of(messages: Sequence[Any]) -> str:
    """Return the words of the user's last turn."""
    turns = [turn for turn in messages if isinstance(turn, dict) and turn.get("role") == "user"]
    return words_of(turns[-1].get("content")) if turns else ""


def words_of(content: object) -> str:
    """Return the words of a turn's content: a text, or the texts of its parts."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    texts = [part.get("text") for part in content if isinstance(part, dict)]
    return "\n".join(text for text in texts if isinstance(text, str))


def storable(text: str) -> str:
    """Return a text without halves of surrogate pairs, which JSON can spell and UTF-8 cannot."""
    return text.encode("utf-8", "replace").decode()


def _json(value: object) -> str:
    # Escaped: half of a surrogate pair cannot be stored as UTF-8.
    return json.dumps(value)
