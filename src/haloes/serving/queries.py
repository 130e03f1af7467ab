"""What is read from the store: lists, the queue, and comparisons."""

import json
import sqlite3
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from haloes.serving.records import UnknownError
from haloes.serving.writes import question_of, words_of

_CUT = 300
"""Characters of a question or an answer in a list."""
_SHORT = "id, completion_id, created_at, model, user, messages, message, rating, comment, reward"
_NOTHING = '""'
"""A search that finds nothing: of signs without a word."""
# Named, as SQLite else takes another index and sorts all that wait.
_WAITING = "answers INDEXED BY answers_waiting WHERE voted = 0 AND purpose = 'chat' AND reward"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What of the answers is listed."""

    search: str = ""
    """Words that question or answer hold, the last perhaps a beginning of one; empty for all."""
    rating: int | None = None
    """1 or -1: those with this rating; 0: those that nobody rated; None: all."""
    model: str | None = None
    before: int | None = None
    """Only answers with a smaller number."""
    limit: int = 50


def listed(connection: sqlite3.Connection, wanted: Listing) -> dict[str, Any]:
    """
    Return answers, the newest first, and the number before which the next ones stand.

    Answers of a pair that waits for its vote bear no model's name, and are found by none.
    """
    blind = _blind(connection)
    # The index holds all that is asked of a row beside its words: only those that are shown are read.
    tables, conditions, values = "answers a INDEXED BY answers_listed", ["a.id < ?"], list[Any]()
    values.append(1 << 62 if wanted.before is None else wanted.before)
    if wanted.search.strip():
        tables = f"answers_text t CROSS JOIN {tables} ON a.id = t.rowid"
        conditions += ["t.rowid < ?", "answers_text MATCH ?"]
        values += [values[0], _words(wanted.search) or _NOTHING]
    if wanted.rating == 0:
        conditions.append("a.voted = 0")
    elif wanted.rating is not None:
        conditions.append("a.rating = ?")
        values.append(wanted.rating)
    if wanted.model is not None:
        conditions += ["a.model = ?", "a.id NOT IN (SELECT value FROM json_each(?))"]
        values += [wanted.model, json.dumps(sorted(blind))]
    order = "t.rowid" if wanted.search.strip() else "a.id"
    found = connection.execute(
        f"SELECT a.id FROM {tables} WHERE {' AND '.join(conditions)} ORDER BY {order} DESC LIMIT ?",  # noqa: S608
        (*values, wanted.limit + 1),
    ).fetchall()
    shown = [number for (number,) in found[: wanted.limit]]
    rows = [connection.execute(f"SELECT {_SHORT} FROM answers WHERE id = ?", (n,)).fetchone() for n in shown]  # noqa: S608
    return {
        "answers": [_short(row, blind=blind) for row in rows],
        "next": shown[-1] if len(found) > wanted.limit else None,
    }


def waiting(connection: sqlite3.Connection, limit: int) -> dict[str, Any]:
    """
    Return answers that nobody rated, and how many there are: the least certain first, then the newest without a reward.

    Least certain are the answers whose implied reward is nearest to the median of all that wait. The mean of it over a
    model's own answers is KL(model || the one before), which is KTO's reference point, from which an answer counts as
    a gain (Ethayarajh et al., 2024); the median minds no outliers.
    """
    (scored,) = connection.execute(f"SELECT count(*) FROM {_WAITING} IS NOT NULL").fetchone()  # noqa: S608 - our words
    (others,) = connection.execute(f"SELECT count(*) FROM {_WAITING} IS NULL").fetchone()  # noqa: S608
    middle, rows = None, list[Any]()
    if scored:
        place = (scored - 1) // 2
        (middle,) = connection.execute(
            f"SELECT reward FROM {_WAITING} IS NOT NULL ORDER BY reward LIMIT 1 OFFSET ?",  # noqa: S608
            (place,),
        ).fetchone()
        for side in (">= ? ORDER BY reward", "< ? ORDER BY reward DESC"):
            rows += connection.execute(f"SELECT {_SHORT} FROM {_WAITING} {side} LIMIT ?", (middle, limit))  # noqa: S608
        rows = sorted(rows, key=lambda row: abs(row[9] - middle))[:limit]
    rows += connection.execute(
        f"SELECT {_SHORT} FROM {_WAITING} IS NULL ORDER BY id DESC LIMIT ?",  # noqa: S608
        (limit - len(rows),),
    )
    answers = [{**_short(row), **_turns(row)} for row in rows]
    return {"answers": answers, "left": scored + others, "scored": scored, "middle": middle}


def answer(connection: sqlite3.Connection, completion_id: str) -> dict[str, Any]:
    """
    Return all that is known of an answer.

    Raises:
        UnknownError: there is none of this id.
    """
    found = connection.execute(
        f"SELECT {_SHORT}, settings, finish_reason, first_token_ms, total_ms, logprob FROM answers "  # noqa: S608
        "WHERE completion_id = ? ORDER BY choice LIMIT 1",
        (completion_id,),
    ).fetchone()
    if found is None:
        raise UnknownError(f"there is no answer {completion_id!r:.80}")
    votes = connection.execute(
        "SELECT rating, comment, correction, user, created_at FROM votes WHERE answer = ? ORDER BY id", (found[0],)
    )
    names = ("rating", "comment", "correction", "user", "created_at")
    settings, reason, first, total, logprob = found[-5:]
    return {
        **_short(found, cut=None, blind=_blind(connection)),
        **_turns(found),
        "settings": json.loads(settings),
        "finish_reason": reason,
        "first_token_ms": first,
        "total_ms": total,
        "logprob": logprob,
        "votes": [{**dict(zip(names, vote, strict=True)), "created_at": iso(vote[-1])} for vote in votes],
    }


def counts(connection: sqlite3.Connection) -> dict[str, int]:
    """Return how many answers and votes there are."""
    return {
        name: connection.execute(f"SELECT coalesce(max(id), 0) FROM {name}").fetchone()[0]  # noqa: S608 - our names
        for name in ("answers", "votes")
    }


def voted_prompts(connection: sqlite3.Connection, user: str | None) -> set[str]:
    """Return the ids of the prompts on which a person voted in comparisons."""
    rows = connection.execute(
        "SELECT DISTINCT c.prompt_id FROM votes v JOIN comparisons c ON c.id = v.comparison "
        "WHERE v.user IS ? AND c.prompt_id IS NOT NULL",
        (user,),
    )
    return {row[0] for row in rows}


def answers_shown(connection: sqlite3.Connection, prompt_id: str, models: Sequence[str]) -> tuple[int, int] | None:
    """Return the numbers of both models' answers that a comparison of this prompt showed; None where none did."""
    row = connection.execute(
        "SELECT l.model, l.id, r.model, r.id FROM comparisons c JOIN answers l ON l.id = c.left_answer "
        "JOIN answers r ON r.id = c.right_answer WHERE c.prompt_id = ? AND c.candidate = ? AND c.baseline = ? LIMIT 1",
        (prompt_id, *models),
    ).fetchone()
    if row is None:
        return None
    numbers = {row[0]: row[1], row[2]: row[3]}
    return numbers[models[0]], numbers[models[1]]


def waiting_pair(
    connection: sqlite3.Connection, prompt_id: str, models: Sequence[str], user: str | None
) -> tuple[str, int, int] | None:
    """Return the id and both answers' numbers of a person's pair of this prompt that waits for a vote; None: none."""
    found: tuple[str, int, int] | None = connection.execute(
        "SELECT comparison_id, left_answer, right_answer FROM comparisons c "
        "WHERE prompt_id = ? AND candidate = ? AND baseline = ? AND user IS ? "
        "AND NOT EXISTS (SELECT 1 FROM votes v WHERE v.comparison = c.id) ORDER BY id LIMIT 1",
        (prompt_id, *models, user),
    ).fetchone()
    return found


def messages_of(connection: sqlite3.Connection, numbers: Sequence[int]) -> list[Mapping[str, Any]]:
    """Return the answers of these numbers, as turns."""
    return [
        json.loads(connection.execute("SELECT message FROM answers WHERE id = ?", (number,)).fetchone()[0])
        for number in numbers
    ]


def verdicts(connection: sqlite3.Connection, candidate: str, baseline: str) -> list[tuple[str, str]]:
    """
    Return the last verdict of each person on each comparison of two models.

    Returns:
        Pairs of the prompt (of a prompt of one's own the comparison's id), and "win", "loss", "tie" or "both_bad" from
        the candidate's side.
    """
    rows = connection.execute(
        "SELECT coalesce(c.prompt_id, c.comparison_id), v.verdict, l.model FROM votes v "
        "JOIN comparisons c ON c.id = v.comparison JOIN answers l ON l.id = c.left_answer "
        "WHERE v.id IN (SELECT max(id) FROM votes WHERE comparison IS NOT NULL GROUP BY comparison, user) "
        "AND c.candidate = ? AND c.baseline = ? ORDER BY v.id",
        (candidate, baseline),
    )
    return [(prompt, _for_candidate(verdict, left == candidate)) for prompt, verdict, left in rows]


def iso(seconds: float) -> str:
    """Return a time as ISO 8601, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _for_candidate(verdict: str, candidate_left: bool) -> str:
    if verdict not in ("left", "right"):
        return verdict
    return "win" if (verdict == "left") == candidate_left else "loss"


def _words(search: str) -> str:
    """Return a search as FTS5 has it: all words, the last one perhaps a beginning, nothing of its syntax."""
    words = ("".join(c if c.isalnum() else " " for c in search)).split()[:20]
    # The index knows beginnings of two characters and more; the last word may still be being written.
    return " ".join(f'"{word}"{"*" if i == len(words) - 1 and len(word) > 1 else ""}' for i, word in enumerate(words))


def _blind(connection: sqlite3.Connection) -> set[int]:
    """Return the numbers of the answers that stand in a pair on which nobody has voted yet."""
    pairs = connection.execute(
        "SELECT left_answer, right_answer FROM comparisons c "
        "WHERE NOT EXISTS (SELECT 1 FROM votes v WHERE v.comparison = c.id)"
    )
    return {number for pair in pairs for number in pair}


def _short(row: Sequence[Any], *, cut: int | None = _CUT, blind: Collection[int] = ()) -> dict[str, Any]:
    number, completion_id, created_at, model, user, messages, message, rating, comment, reward = row[:10]
    return {
        "number": number,
        "completion_id": completion_id,
        "created_at": iso(created_at),
        "model": None if number in blind else model,
        "user": user,
        "question": question_of(json.loads(messages))[:cut],
        "answer": words_of(json.loads(message).get("content"))[:cut],
        "rating": rating,
        "comment": comment,
        "reward": reward,
    }


def _turns(row: Sequence[Any]) -> dict[str, Any]:
    return {"messages": json.loads(row[5]), "message": json.loads(row[6])}
