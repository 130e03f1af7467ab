"""An export of Open WebUI as its administrator downloads it: many people's votes on chats that are trees."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_START = 1735689600
_PLACES = ("Oslo", "Lima", "Cairo", "Delhi", "Paris", "Quito", "Seoul", "Turin")


def open_webui_votes(num_votes: int, *, people: int = 5) -> list[dict[str, Any]]:
    """
    Votes as the feedback history holds them.

    Each is on the second answer of a chat of its own, to which another answer (a sibling) was given as well. Short
    answers are liked. Every third answer begins with reasoning, every tenth vote is a draw (0), and every seventh
    person changed the mind: there is a vote of the opposite kind that was given before.
    """
    votes = []
    for number in range(num_votes):
        liked = number % 2 == 0
        rating = 0 if number % 10 == 9 else 1 if liked else -1
        if number % 7 == 6 and rating:
            votes.append(_vote(number, f"{number}-before", -rating, people=people, at=_START + 60 * number + 10))
        votes.append(_vote(number, str(number), rating, people=people, at=_START + 60 * number + 30))
    return votes


def last_votes(votes: Sequence[dict[str, Any]]) -> dict[str, bool]:
    """The vote on each message that counts, by the vote's id, read from the export without haloes: the last one."""
    last: dict[tuple[str, str], dict[str, Any]] = {}
    for vote in sorted(votes, key=lambda vote: int(vote["updated_at"])):
        last[vote["user_id"], vote["meta"]["message_id"]] = vote
    return {vote["id"]: vote["data"]["rating"] == 1 for vote in last.values() if vote["data"]["rating"] != 0}


def write_open_webui_votes(path: Path, num_votes: int) -> Path:
    """Write such an export as one JSON file."""
    path.write_text(json.dumps(open_webui_votes(num_votes), indent=1))
    return path


def open_webui_chats(num_chats: int, *, every: int = 3) -> list[dict[str, Any]]:
    """
    Chats as all of them are exported: two questions with a short and a long answer each, of a person of their own.

    In every third chat (`every`) the long answer is rated, and in every sixth the short one: up, and down.
    """
    return [_chat(number, every=every) for number in range(num_chats)]


def _chat(number: int, *, every: int) -> dict[str, Any]:
    said = [
        ("user", f"Is {_PLACES[number % 8]} large?", {}),
        ("assistant", f"Yes {number}.", {"rating": -1} if number % (2 * every) == 0 else None),
        ("user", "Tell me more.", {}),
        ("assistant", f"It has {number} parks. " * 8, {"rating": 1} if number % every == 0 else None),
    ]
    messages = {
        f"m{place}": {
            "id": f"m{place}",
            "parentId": f"m{place - 1}" if place else None,
            "role": role,
            "content": content,
            "timestamp": _START + 3600 * number + place,
            **({"model": "m", "done": True} if role == "assistant" else {}),
            **({"annotation": annotation} if annotation else {}),
        }
        for place, (role, content, annotation) in enumerate(said)
    }
    return {
        "id": f"c{number}",
        "user_id": f"u{number}",
        "title": "Travel",
        "chat": {"title": "Travel", "history": {"messages": messages, "currentId": "m3"}},
        "updated_at": _START,
    }


def _vote(number: int, identity: str, rating: int, *, people: int, at: int) -> dict[str, Any]:
    place = _PLACES[number % len(_PLACES)]
    ids = [f"m{number}-{i}" for i in range(6)]
    liked = number % 2 == 0
    thought = (
        f'<details type="reasoning" done="true" duration="2">\n<summary>Thought</summary>\n> {place}?\n</details>\n'
    )
    answer = f"Yes, {place} {number}." if liked else f"No. {place} {number} is, as one may say, a place like others."
    said = [
        ("user", "Hello!", None),
        ("assistant", "Hello, ask me.", 0),
        ("user", f"Is {place} number {number} worth a visit?", 1),
        ("assistant", (thought if number % 3 == 0 else "") + answer, 2),
        ("assistant", f"Who knows {place}?", 2),
        ("user", "Thank you." if liked else "That is too long.", 3),
    ]
    messages = {
        ids[i]: {
            "id": ids[i],
            "parentId": None if parent is None else ids[parent],
            "childrenIds": [ids[j] for j, (_, _, other) in enumerate(said) if other == i],
            "role": role,
            "content": content,
            "timestamp": at - 20 + i,
            **({"model": "one" if i != 4 else "other", "done": True} if role == "assistant" else {}),
        }
        for i, (role, content, parent) in enumerate(said)
    }
    return {
        "id": f"vote-{identity}",
        "user_id": f"person-{number % people}",
        "version": 0,
        "type": "rating",
        "data": {"rating": rating, "model_id": "one", "reason": "too_long" if rating < 0 else "", "comment": ""},
        "meta": {"arena": False, "chat_id": f"chat-{number}", "message_id": ids[3], "message_index": 4},
        "snapshot": {
            "chat": {"id": f"chat-{number}", "chat": {"history": {"messages": messages, "currentId": ids[5]}}}
        },
        "created_at": at,
        "updated_at": at,
    }
