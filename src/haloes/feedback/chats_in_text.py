"""
Chats that a file holds as text: JSON in a string (indented, or a string in a string), or what Python prints of a list.

CSV has no lists, and `to_csv` of pandas prints them; a NumPy array of turns loses its commas on the way.
"""

import ast
import json
import re
from collections.abc import Mapping
from typing import Any

from haloes.feedback.refusals import RefusalError, short_repr
from haloes.feedback.roles import ROLES

_ITEMS = re.compile(r"\}[ \t]*\n\s*\{")
"""The gap between two turns of a printed array: line breaks inside the turns' words are printed as escapes."""
_KEY = r"""\\?["'](?:role|from|content|value|name|tool_calls|tool_call_id)\\?["']\s*:"""
_BEGINS = re.compile(rf"""\s*["']?\s*(?:array\()?[\[(]?\s*\{{\s*{_KEY}""")
_ROLE = re.compile(rf"""\\?["'](?:role|from)\\?["']\s*:\s*\\?["'](?:{"|".join(ROLES)})\\?["']""", re.IGNORECASE)


def spelled_turns(text: str) -> list[Any] | dict[str, Any] | None:
    """
    Return the turns that a text spells; None where it is no chat.

    Raises:
        RefusalError: It begins as a chat does, and cannot be read as one.
    """
    # A text is read no further than to its first letter, in nearly all cases.
    if text.lstrip()[:1] not in {"[", "{", "(", '"', "'", "a"} or not (_BEGINS.match(text) and _ROLE.search(text)):
        return None
    value = _read(text)
    if isinstance(value, str):  # JSON as a value of JSON
        value = _read(value)
    turns = value if isinstance(value, list | tuple) else [value]
    if turns and all(map(_is_turn, turns)):
        return list(turns) if isinstance(value, list | tuple) else value
    raise RefusalError(
        "wrong type",
        f"the text {short_repr(text)} looks like the turns of a chat and cannot be read as such; write the turns as "
        "JSON, or store a list",
    )


def _read(text: str) -> Any:
    """Return what the text spells as JSON or in Python; None where it is neither."""
    try:
        return json.loads(text, strict=False)
    except (ValueError, RecursionError):
        pass
    bare = text.strip().removeprefix("array(").removesuffix(")").removesuffix(", dtype=object").strip()
    for spelling in (text.strip(), _ITEMS.sub("}, {", bare)):
        try:
            return ast.literal_eval(spelling)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    return None


def _is_turn(turn: object) -> bool:
    if not isinstance(turn, Mapping):
        return False
    role = turn.get("role", turn.get("from"))
    says = any(key in turn for key in ("content", "value", "tool_calls", "function_call"))
    return isinstance(role, str) and role.strip().lower() in ROLES and says
