"""
The file of collected answers and votes: an SQLite database, whose tables stand here for who writes and who reads it.

A vote is about an answer (`rating`, `correction`) or about a comparison of two answers (`verdict`). Votes are
only added.
"""

import hashlib
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

from haloes.errors import DataError

MAGIC = b"SQLite format 3\x00"
_APPLICATION, _VERSION = 0x48414C4F, 2
"""Marks in the header of the database: "HALO", and the version of these tables."""

_WAITS = "voted = 0 AND purpose = 'chat'"
_INDEXES = f"""
CREATE INDEX answers_listed ON answers(id, rating, voted, model);
CREATE INDEX answers_waiting ON answers(reward, id) WHERE {_WAITS};
CREATE INDEX answers_unscored ON answers(id) WHERE {_WAITS} AND scored_by IS NULL;
"""

SCHEMA = f"""
PRAGMA application_id = {_APPLICATION};
PRAGMA user_version = {_VERSION};
CREATE TABLE answers (
    id INTEGER PRIMARY KEY,
    completion_id TEXT NOT NULL, choice INTEGER NOT NULL, upstream_id TEXT,
    purpose TEXT NOT NULL, created_at REAL NOT NULL,
    model TEXT NOT NULL, user TEXT, conversation TEXT,
    messages TEXT NOT NULL, tools TEXT, chat_template_kwargs TEXT, settings TEXT NOT NULL, message TEXT NOT NULL,
    finish_reason TEXT, first_token_ms REAL, total_ms REAL, prompt_tokens INTEGER, completion_tokens INTEGER,
    logprob REAL, logprobs TEXT,
    voted INTEGER NOT NULL DEFAULT 0, rating INTEGER, comment TEXT, scored_by TEXT, reward REAL
);
CREATE UNIQUE INDEX answers_by_completion ON answers(completion_id, choice);
CREATE INDEX answers_by_upstream ON answers(upstream_id, id);
{_INDEXES}
CREATE TABLE comparisons (
    id INTEGER PRIMARY KEY,
    comparison_id TEXT NOT NULL UNIQUE, prompt_id TEXT, created_at REAL NOT NULL, user TEXT,
    candidate TEXT NOT NULL, baseline TEXT NOT NULL,
    left_answer INTEGER NOT NULL REFERENCES answers(id), right_answer INTEGER NOT NULL REFERENCES answers(id)
);
CREATE INDEX comparisons_by_prompt ON comparisons(prompt_id, id);
CREATE TABLE votes (
    id INTEGER PRIMARY KEY,
    answer INTEGER REFERENCES answers(id), comparison INTEGER REFERENCES comparisons(id),
    rating INTEGER, correction TEXT, verdict TEXT, comment TEXT, user TEXT, created_at REAL NOT NULL,
    CHECK ((answer IS NULL) <> (comparison IS NULL))
);
CREATE INDEX votes_by_answer ON votes(answer, id);
CREATE INDEX votes_by_comparison ON votes(comparison, id);
CREATE VIRTUAL TABLE answers_text USING fts5(
    question, answer, content='', tokenize='unicode61 remove_diacritics 2', prefix='2 3'
);
"""

UPGRADES = {
    1: f"""
DROP INDEX answers_waiting;
DROP INDEX answers_by_rating;
DROP INDEX answers_by_voted;
DROP INDEX answers_by_model;
ALTER TABLE answers ADD COLUMN scored_by TEXT;
ALTER TABLE answers ADD COLUMN reward REAL;
{_INDEXES}
PRAGMA user_version = 2;
"""
}
"""What makes tables of an older version those of the next; who only reads takes them as they are."""

_ANSWER = [
    "completion_id",
    "choice",
    "model",
    "user",
    "conversation",
    "messages",
    "tools",
    "chat_template_kwargs",
    "message",
    "finish_reason",
    "created_at",
]
_JSON = frozenset({"messages", "tools", "chat_template_kwargs", "message"})
_VOTES = f"""
SELECT v.id, v.rating, v.correction, v.verdict, v.comment, v.user, v.created_at,
    c.comparison_id, c.prompt_id, c.candidate, c.baseline,
    {", ".join(f"{side}.{name}" for side in ("a", "l", "r") for name in _ANSWER)}
FROM votes v
LEFT JOIN answers a ON a.id = v.answer
LEFT JOIN comparisons c ON c.id = v.comparison
LEFT JOIN answers l ON l.id = c.left_answer
LEFT JOIN answers r ON r.id = c.right_answer
ORDER BY v.id
"""  # noqa: S608 - our own names
_UNRATED = f"""
SELECT id, {", ".join(_ANSWER)} FROM answers WHERE {_WAITS} ORDER BY id
"""  # noqa: S608 - our own names
_VOTE = ("vote", "rating", "correction", "verdict", "comment", "user", "created_at")
_COMPARISON = ("comparison", "prompt_id", "candidate", "baseline")


def is_collected(path: str | Path) -> bool:
    """Return whether a file is a database of collected answers, by its header."""
    try:
        with Path(path).open("rb") as stream:
            head = stream.read(100)
    except OSError:
        return False
    return head.startswith(MAGIC) and int.from_bytes(head[68:72], "big") == _APPLICATION


def opened_to_read(path: str | Path) -> sqlite3.Connection:
    """
    Open the database for reading; who writes it meanwhile is not disturbed.

    Raises:
        DataError: it is no database of collected answers, of another version, or cannot be read.
    """
    try:
        connection = sqlite3.connect(
            f"file:{quote(str(path))}?mode=ro", uri=True, check_same_thread=False, isolation_level=None
        )
        # The file may come from anybody: what it defines beside tables must not run.
        connection.execute("PRAGMA trusted_schema = OFF")
        kinds = dict(connection.execute("SELECT name, type FROM sqlite_master"))
        (version,) = connection.execute("PRAGMA user_version").fetchone()
    except sqlite3.Error as error:
        raise DataError(f"{path}: the database cannot be read ({error})") from error
    if version not in {*UPGRADES, _VERSION} or any(
        kinds.get(name) != "table" for name in ("answers", "comparisons", "votes")
    ):
        connection.close()
        raise DataError(
            f"{path}: this is no store of `haloes serve` (version {_VERSION}); give the file that it wrote, or export "
            "the database's table as CSV"
        )
    return connection


def votes(path: str | Path) -> Iterator[tuple[int, dict[str, Any] | None]]:
    """
    Yield each vote with its number, as nested values: what it says, and the answer or the two that it is about.

    None stands for a vote whose row holds broken JSON.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        with closing(opened_to_read(path)) as connection:
            for row in connection.execute(_VOTES):
                yield int(row[0]), _vote(row)
    except sqlite3.Error as error:
        raise DataError(f"{path}: the database cannot be read ({error}); is it damaged?") from error


def unrated(path: str | Path) -> Iterator[tuple[int, dict[str, Any] | None]]:
    """Yield each answer of a chat on which nobody voted, with its number, as `votes` does."""
    try:
        with closing(opened_to_read(path)) as connection:
            for number, *values in connection.execute(_UNRATED):
                try:
                    yield int(number), _answer(tuple(values))
                except (ValueError, TypeError, RecursionError):
                    yield int(number), None
    except sqlite3.Error as error:
        raise DataError(f"{path}: the database cannot be read ({error}); is it damaged?") from error


def last_vote(path: str | Path) -> int:
    """Return the number of the newest vote; 0 where there is none."""
    with closing(opened_to_read(path)) as connection:
        return int(connection.execute("SELECT coalesce(max(id), 0) FROM votes").fetchone()[0])


def fingerprint(path: str | Path) -> str:
    """Return the sha256 over all votes and what they are about, in hex: bytes of the file change without a vote."""
    digest = hashlib.sha256()
    for item in votes(path):
        digest.update(json.dumps(item, sort_keys=True).encode())
    return digest.hexdigest()


def _vote(row: tuple[Any, ...]) -> dict[str, Any] | None:
    at = len(_VOTE) + len(_COMPARISON)
    size = len(_ANSWER)
    try:
        answer, left, right = (_answer(row[at + i * size : at + (i + 1) * size]) for i in range(3))
    except (ValueError, TypeError, RecursionError):
        return None
    about = dict(zip((*_VOTE, *_COMPARISON), row[:at], strict=True))
    return {**about, "answer": answer, "left": left, "right": right}


def _answer(values: tuple[Any, ...]) -> dict[str, Any] | None:
    named = dict(zip(_ANSWER, values, strict=True))
    if named["completion_id"] is None:
        return None
    return {key: json.loads(value) if key in _JSON and value is not None else value for key, value in named.items()}
