"""
A conversation in which several answers were rated: assistant turns of `messages` carry their own `label`.

The canonical form, one row a conversation:

    {"messages": [{"role": "user", "content": "..."},
                  {"role": "assistant", "content": "...", "label": true},
                  {"role": "user", "content": "..."},
                  {"role": "assistant", "content": "...", "label": null}],
     "conversation": "c1"}

`rating`, `feedback` and `thumb` are read as `label` is; a turn may have a `score` instead or as well. Each rated turn
becomes one record, with all turns before it as the prompt. Its conversation is the row's `conversation`, or else its
`id`, or else a name made from the turns; its id is the row's id with the turn's number.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from haloes.feedback.fields import RawRow, parse_rating, parse_shared_fields
from haloes.feedback.formats.contract import Format, always
from haloes.feedback.formats.rated_messages import turns_column
from haloes.feedback.messages import is_messages, parse_completion, parse_prompt, role_of
from haloes.feedback.refusals import RefusalError, short_repr
from haloes.records import Feedback, Record, Where

_LABELS = ("label", "rating", "feedback", "thumb")


def _matches(row: RawRow) -> bool:
    column = turns_column(row)
    return column is not None and is_messages(row[column]) and any(map(_is_rated, row[column]))


def _parse(row: RawRow, where: Where) -> Iterator[Record]:
    column = turns_column(row)
    turns = row[column] if column is not None else None
    if not isinstance(turns, list | tuple):
        raise RefusalError(
            "missing column" if column is None else "wrong type", "the row has no messages", column="messages"
        )
    if any(row.get(name) is not None for name in ("label", "kto_tag", "score")):
        message = "the row has a label beside those of its turns; keep one of them (--columns label= leaves it out)"
        raise RefusalError("label", message, column="label")
    rated = [number for number, turn in enumerate(turns) if _is_rated(turn)]
    if not rated:
        raise RefusalError("no label", "no turn of the conversation has a label: nobody rated it", column="label")
    shared = parse_shared_fields(row)
    name = shared.setdefault("conversation", shared.get("id") or _name_of(turns))
    for number in rated:
        own = {"id": f"{shared.get('id', name)}#{number}"}
        # One broken turn does not cost the ratings of the others.
        try:
            yield _feedback(row, turns, number, where, shared=shared | own)
        except RefusalError as refused:
            yield refused.at(where)


def _feedback(row: RawRow, turns: Any, number: int, where: Where, *, shared: Mapping[str, Any]) -> Feedback:
    """Build the record of one rated turn, with all turns before it as the prompt."""
    turn = turns[number]
    if role_of(turn, subject=f"messages[{number}]") != "assistant":
        message = f"messages[{number}] is rated and is not an assistant turn: {short_repr(turn.get('content'))}"
        raise RefusalError("last turn not assistant", message)
    return Feedback(
        prompt=parse_prompt(list(map(_unrated, turns[:number])), system=row.get("system")),
        completion=parse_completion([_unrated(turn)]),
        **parse_rating(turn, label_columns=_LABELS),
        **shared,
        where=where,
    )


def _is_rated(turn: object) -> bool:
    return isinstance(turn, Mapping) and any(turn.get(name) is not None for name in (*_LABELS, "score"))


def _unrated(turn: object) -> object:
    """Return a turn as the model sees it, without the verdict on it."""
    if not isinstance(turn, Mapping):
        return turn
    return {name: value for name, value in turn.items() if name not in {*_LABELS, "score"}}


def _name_of(turns: object) -> str:
    """Return a name that depends on the turns alone, so that copies of a conversation share it."""
    text = json.dumps(turns, sort_keys=True, default=str)
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:16]


def _labels(row: RawRow) -> list[object]:
    column = turns_column(row)
    turns = row[column] if column is not None and is_messages(row[column]) else ()
    return [
        next((turn[name] for name in _LABELS if turn.get(name) is not None), None) for turn in filter(_is_rated, turns)
    ]


RATED_TURNS = Format(
    name="rated-turns",
    needs="messages whose assistant turns carry a label (or rating, feedback, thumb, score)",
    matches=_matches,
    parse=_parse,
    reads=always("messages", "system"),
    labels=_labels,
)
