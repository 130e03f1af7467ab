"""
Names of faults: of "hallucination" or "thumbs_down" a yes, a true and a 1 may say that the answer is bad.

Or that it is not: nobody can tell from the vote, and a guess would turn labels round. So such a vote is a word, whose
meaning the user says (`feedback.words`), or it is left out.
"""

import re

from haloes.feedback.refusals import RefusalError, short_repr

_PIECE = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_FAULT = re.compile(
    r"toxi|hallucinat|unsafe|offensiv|incorrect|wrong|dislik|downvot|thumbsdown|irrelevan|unhelpful|inaccura|bias|error|"
    r"mistake|violat|profan|abus|harmful|insult|jailbreak|refus|spam|misinform|unfaithful|ungrounded|problem|issue|"
    r"complain|hate(ful)?$|harms?$|bad$|down$|flag(s|ged)?$|leak(s|ed)?$"
)
_TURNED = frozenset(
    {"no", "not", "non", "without", "free", "less", "never", "un", "anti", "avoid", "avoids", "avoided", "resolved"}
    | {"solved", "fixed", "handled", "up", "thumbsup", "like", "upvote", "good"}
)
"""Words beside the name of a fault that make it a merit ("no_errors"), or both ends of a scale ("up_down")."""
_YES_OR_NO = frozenset({"yes", "no", "true", "false", "1", "0", "1.0", "0.0", "+1", "-1", "positive", "negative"})


def names_a_fault(metric: str | None) -> bool:
    """Return whether what was rated has the name of a fault, so that more of it is worse."""
    pieces = [piece.casefold() for piece in _PIECE.findall(metric or "")]
    return any(map(_FAULT.match, pieces)) and _TURNED.isdisjoint(pieces)


def check_direction(metric: str | None, word: str) -> None:
    """Raise RefusalError for a yes or no, however it is spelt, on what has the name of a fault."""
    if word.strip().casefold() in _YES_OR_NO and names_a_fault(metric):
        raise RefusalError(
            "not a verdict",
            f"{short_repr(metric)} is called after a fault, and whether {short_repr(word)} is good or bad there is not "
            "known; feedback.words says it: {up: [WORD, ...], down: [WORD, ...]}, beside feedback.metric",
        )
