"""Signs that something is wrong with a text: it breaks off, it holds HTML, or it leans on what is not there."""

import re

_ENDS, _AFTER_ENDS = frozenset(".!?…:;。！？।؟"), "\"'”’)]}*_`»"
_ENDS_ALONE = frozenset("\"'”’)]}`>|")
"""Letters that end a sentence, those that may follow such a one, and those that end a quotation or a block."""
_INNER_END = re.compile(r"[.!?…][\"'”’)\]]*\s+")
_OPEN_END = re.compile(
    r"[,(\[{–—]$|\b(the|a|an|and|or|of|to|in|for|with|that|is|are|was|were|by|on|at|as|from|your|their|its|this|which|be|"
    r"can|will|not|if|but|because)$",
    re.IGNORECASE,
)
_LONGEST_OPEN_END = 8
"""Letters from the end in which `_OPEN_END` begins, at most."""
_NO_PROSE, _LIST_MARK = re.compile(r"[=#:|<>{}\\]"), re.compile(r"([-*•>]|\d+[.)])\s")
_SHORTEST_OPEN, _SHORTEST_ALONE = 4, 8
"""Words that a sentence without end has at least: after another sentence, or with an open end; and alone."""

_CODE = re.compile(r"```.*?(```|$)|`[^`\n]*`", re.DOTALL)
_HTML = re.compile(
    r"</(p|div|span|a|b|i|u|em|strong|ul|ol|li|table|tr|td|th|h[1-6]|pre|code|blockquote|font|body|html)\s*>|"
    r"<(br|p|div|hr)\b[^<>\n]{0,200}>|&(nbsp|amp|lt|gt|quot|#\d{2,5}|#x[0-9a-f]{2,5});",
    re.IGNORECASE,
)

_LEADS_BACK = re.compile(
    r"(ok(ay)?|and|but|so|then|also|yes|yeah|no|nope|thanks?|thank you|great|what about|how about|why not|why\?|"
    r"that|this|these|those|it|they|he|she|him|her|them|the (first|second|third|last|other|same|previous)( one)?|both|"
    r"another|more|again|continue|go on|instead|same|shorter|longer|now|is (it|that|this)|does (it|that|this)|"
    r"did (it|that|he|she|they)|can (it|that|they)|was (it|that)|are (they|those|these))(?!\w)",
    re.IGNORECASE,
)
_LONGEST_FOLLOW_UP = 12
"""Words of a question that leans on what was said before; a longer one mostly says what it is about."""

CUT_OFF_RULE = (
    "prose (no list, no verse) whose last line ends in a comma, in a word like 'the' or 'and', or with a lower-case "
    "letter in the middle of a sentence; or a code block that is never closed"
)
"""The rule of `is_cut_off` in words, for the doctor."""


def ends_a_sentence(text: str) -> bool:
    """Return whether a text ends as sentences, quotations and blocks do."""
    words = text.rstrip()
    return words[-1:] in _ENDS_ALONE or words.rstrip(_AFTER_ENDS)[-1:] in _ENDS


def is_cut_off(text: str) -> bool:
    """Return whether an answer seems to break off: see `CUT_OFF_RULE`."""
    words = text.rstrip()
    if words.count("```") % 2:
        return not ends_a_sentence(words)
    *earlier, last = map(str.strip, words.splitlines() or [""])
    # Lines that follow each other without ending are verse, or a list without marks.
    in_verse = bool(earlier and earlier[-1]) and not ends_a_sentence(earlier[-1])
    if in_verse or _LIST_MARK.match(last) or _NO_PROSE.search(last) or ends_a_sentence(last):
        return False
    num_words = len(_INNER_END.split(last)[-1].split())
    after_another = _INNER_END.search(words) is not None
    if _OPEN_END.search(last, max(0, len(last) - _LONGEST_OPEN_END)):
        return after_another or num_words >= _SHORTEST_OPEN
    return num_words >= (_SHORTEST_OPEN if after_another else _SHORTEST_ALONE) and last[-1].islower()


def has_html(text: str) -> bool:
    """Return whether a text holds HTML tags or entities outside of code."""
    if "<" not in text and "&" not in text:
        return False
    return _HTML.search(text) is not None and _HTML.search(_CODE.sub("", text)) is not None


def leans_on_earlier(question: str) -> bool:
    """Return whether a question reads as if something was said before it: short, and led by "and", "it", "why?" ..."""
    words = question.strip()
    return 0 < len(words.split()) <= _LONGEST_FOLLOW_UP and _LEADS_BACK.match(words) is not None
