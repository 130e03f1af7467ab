"""
Personal data in texts, found by pattern and by what can be checked: what it is, where, and a placeholder for it.

Patterns see what has a form (an address with an @, a number with a checksum, a key with its maker's prefix), and
nothing of names, streets, or what a person tells of themselves. LOG.md has how often they are wrong.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from ipaddress import ip_address
from typing import Any, TypeVar

from haloes.feedback.keys import number_of
from haloes.records import Feedback, FeedbackRow, Message, Pair, Record, Refusal

Row = TypeVar("Row", bound=FeedbackRow)

PLACEHOLDERS = {
    "secret key": "[KEY]",
    "e-mail address": "[EMAIL]",
    "bank account": "[IBAN]",
    "card number": "[CARD]",
    "IP address": "[IP]",
    "phone number": "[PHONE]",
}
"""Kinds of personal data, each with what stands in its place; of two that overlap the first one counts."""
NAMES = {kind: f"{kind}es" if kind.endswith("s") else f"{kind}s" for kind in PLACEHOLDERS}
"""The kinds in the plural."""

_KEY = re.compile(
    r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----.{1,10000}?-----END [A-Z ]{0,30}PRIVATE KEY-----|"
    r"(?<![\w-])(?:sk-[\w-]{20,200}|[rs]k_(?:live|test)_\w{16,200}|gh[pousr]_\w{36,255}|github_pat_\w{40,255}|"
    r"glpat-[\w-]{20,100}|xox[abeprs]-[\w-]{10,200}|hf_[A-Za-z0-9]{30,100}|npm_[A-Za-z0-9]{36}|pypi-AgEI[\w-]{50,500}|"
    r"(?:AKIA|ASIA)[0-9A-Z]{16}|AIza[\w-]{35}|SG\.[\w-]{16,64}\.[\w-]{16,64}|"
    r"eyJ[\w-]{10,2000}\.eyJ[\w-]{10,4000}\.[\w-]{10,1000})(?![\w-])",
    re.DOTALL | re.ASCII,
)
_EMAIL = re.compile(
    r"(?<![\w.%+-])[A-Za-z0-9_%+-][\w.%+-]{0,63}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}(?![\w-])", re.ASCII
)
_NOBODYS = re.compile(r"@(?:[\w-]+\.)*example\.(?:com|net|org)$", re.IGNORECASE)
"""Addresses that are kept for examples (RFC 2606)."""
_IBAN = re.compile(r"(?<![A-Za-z0-9])([A-Z]{2})\d{2}(?: ?[A-Z0-9]){10,30}")
_CARD = re.compile(r"(?<![\d.,])(?<!\d[ -])\d(?:[ -]?\d){12,18}(?![ -]?\d)(?![.,]\d)", re.ASCII)
_IPV4 = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?!\w)(?!\.\d)", re.ASCII)
_IPV6 = re.compile(r"(?<![\w:.])[23][0-9A-Fa-f]{3}(?::[0-9A-Fa-f]{0,4}){2,7}(?![\w:])", re.ASCII)
_IPV6_BEGINS = re.compile(r"[23][0-9A-Fa-f]{3}:", re.ASCII)
_PHONE = re.compile(
    r"(?<![\w+])\+[1-9](?:[ .()/-]{0,2}\d){7,14}(?!\d)|"
    r"(?<![\w.+$-])(?:1[ .-])?(?:\([2-9]\d{2}\) ?|[2-9]\d{2}[.-])[2-9]\d{2}[ .-]\d{4}(?![\w-]|\.\d)|"
    r"(?<=\btel)[.:e ]{1,4}\(?0?\d(?:[ ./()-]{0,2}\d){5,13}(?!\d)|"
    r"(?<=hone)(?: number)?(?: is)?[.: ]{1,3}\(?\d(?:[ ./()-]{0,2}\d){6,13}(?!\d)",
    re.ASCII | re.IGNORECASE,
)
_KEYS_BEGIN = {
    "-": ("PRIVATE KEY", "sk-", "glpat-", "xox", "pypi-"),
    "_": ("k_live_", "k_test_", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "hf_", "npm_"),
    "": ("AKIA", "ASIA", "AIza", "SG.", "eyJ"),
}
"""What keys begin with, by a mark that such a key has: most texts have none, and are not looked through for them."""
_DIGITS_BEGIN = re.compile(r"[0-9](?:[0-9 ()./-]{6}|\.[0-9])")
"""What every text with `_DIGITS` has, and is found in a fifth of the time."""
_DIGITS = re.compile(r"[0-9](?:(?:[ ()./-]{0,3}[0-9]){6}|\.[0-9]{1,3}\.[0-9])")
"""What every text with a card, an account, a phone number or an IPv4 address has: most texts have not."""

_IBAN_LENGTHS = {
    country: length
    for length, countries in {
        15: "NO", 16: "BE", 18: "DK FI FO GL NL SD", 19: "MK SI", 20: "AT BA EE KZ LT LU MN XK", 21: "CH HR LI LV",
        22: "BG BH CR DE GB GE IE ME RS VA", 23: "AE GI IL IQ OM TL", 24: "AD CZ ES MD PK RO SA SE SK TN VG",
        25: "LY PT ST", 26: "IS TR", 27: "BI DJ FR GR IT MC MR SM", 28: "AL AZ BY CY DO GT HU LB NI PL SV",
        29: "BR EG PS QA UA", 30: "JO KW MU", 31: "MT SC", 32: "LC", 33: "RU",
    }.items()
    for country in countries.split()
}  # fmt: skip
"""Characters of an IBAN by country (SWIFT's register)."""
_CARD_MAKERS = re.compile(
    r"4(\d{15}|\d{18})|5[1-5]\d{14}|(222[1-9]|22[3-9]\d|2[3-6]\d{2}|27[01]\d|2720)\d{12}|3[47]\d{13}|"
    r"(6011|64[4-9]\d|65\d{2})\d{12}|35(2[89]|[3-8]\d)\d{12}|3(0[0-5]|[68]\d)\d{11}"
)


@dataclass(frozen=True, slots=True)
class Found:
    """Personal data in a text: its kind, and where it begins and ends."""

    kind: str
    start: int
    end: int


def kinds_in_words(counts: Mapping[str, int]) -> str:
    """Return counts of personal data in words, such as "3 e-mail addresses, 1 phone number"."""
    return ", ".join(f"{num} {kind if num == 1 else NAMES[kind]}" for kind, num in counts.items())


def find_personal(text: str) -> list[Found]:
    """Return the personal data in a text, in order, without overlaps."""
    taken: list[Found] = []
    finders = _FINDERS if _has_digits(text) else _WITHOUT_DIGITS
    for kind, find in finders.items():
        for start, end in find(text):
            if all(end <= other.start or other.end <= start for other in taken):
                taken.append(Found(kind, start, end))
    return sorted(taken, key=lambda found: found.start)


def scrub_text(text: str, counts: Counter[str]) -> str:
    """Return a text with a placeholder for all personal data in it, and add to the counts by kind."""
    pieces, done = [], 0
    for found in find_personal(text):
        counts[found.kind] += 1
        pieces += [text[done : found.start], PLACEHOLDERS[found.kind]]
        done = found.end
    return "".join([*pieces, text[done:]]) if pieces else text


def scrub_rows(rows: Iterator[Record], counts: Counter[str]) -> Iterator[Record]:
    """Yield the rows with placeholders for the personal data in all their texts, and count it anew by kind."""
    counts.clear()
    for row in rows:
        yield row if isinstance(row, Refusal) else scrub_row(row, counts)


def scrub_row(row: Row, counts: Counter[str]) -> Row:
    """
    Return a row with placeholders for the personal data in its texts.

    The names of people and conversations are numbers made from them where they hold such data, so that equal ones
    stay equal.
    """
    changed: dict[str, Any] = {}
    for name in _TEXTS[type(row)]:
        value = getattr(row, name)
        if (scrubbed := _scrubbed(value, counts)) != value:
            changed[name] = scrubbed
    for name in _NAMED:
        value = getattr(row, name)
        if value is not None and find_personal(value):
            counts.update(found.kind for found in find_personal(value))
            changed[name] = f"{name}-{number_of(value) & 0xFFFF_FFFF_FFFF_FFFF:016x}"
    return replace(row, **changed) if changed else row


def personal_kinds(row: FeedbackRow) -> dict[str, int]:
    """Count the personal data in a row's texts and names by kind."""
    texts = [text for name in (*_TEXTS[type(row)], *_NAMED) for text in _texts(getattr(row, name))]
    counts = Counter[str]()
    # One look at all texts together: most rows hold nothing.
    if _may_hold_some("\n".join(texts)):
        for text in texts:
            for found in find_personal(text):
                counts[found.kind] += 1
    return counts


def _may_hold_some(text: str) -> bool:
    """Return whether there are signs of personal data in a text; without any it holds none."""
    return "@" in text or _has_digits(text) or _IPV6_BEGINS.search(text) is not None or _may_hold_a_key(text)


def _has_digits(text: str) -> bool:
    return _DIGITS_BEGIN.search(text) is not None and _DIGITS.search(text) is not None


def _texts(value: Any) -> Iterator[str]:
    """Yield the texts in a value of a row."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Message):
        yield value.content
        if value.tool_calls or value.extra:
            yield from _texts((value.tool_calls, value.extra))
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, Mapping):
        yield from _texts(tuple(value.values()))


def _scrubbed(value: Any, counts: Counter[str]) -> Any:
    if isinstance(value, str):
        return scrub_text(value, counts)
    if isinstance(value, Message):
        return Message(
            value.role,
            scrub_text(value.content, counts),
            _scrubbed(value.tool_calls, counts),
            _scrubbed(value.extra, counts),
        )
    if isinstance(value, tuple | list):
        return type(value)(_scrubbed(item, counts) for item in value)
    if isinstance(value, Mapping):
        return {key: _scrubbed(item, counts) for key, item in value.items()}
    return value


def _may_hold_a_key(text: str) -> bool:
    for mark, firsts in _KEYS_BEGIN.items():
        if mark in text:
            for first in firsts:
                if first in text:
                    return True
    return False


def _keys(text: str) -> Iterator[tuple[int, int]]:
    if not _may_hold_a_key(text):
        return
    # A prefix with nothing but letters after it is a word with hyphens.
    for match in _KEY.finditer(text):
        if re.search(r"\d", match[0]) or "PRIVATE KEY" in match[0]:
            yield match.span()


def _emails(text: str) -> Iterator[tuple[int, int]]:
    if "@" not in text:
        return iter(())
    return (match.span() for match in _EMAIL.finditer(text) if _NOBODYS.search(match[0]) is None)


def _ibans(text: str) -> Iterator[tuple[int, int]]:
    for match in _IBAN.finditer(text):
        length = _IBAN_LENGTHS.get(match[1], 0)
        # Words in capitals may follow: the country says where the number ends.
        places = [i for i, letter in enumerate(match[0]) if letter != " "][:length]
        if len(places) < length or not length:
            continue
        end = match.start() + places[-1] + 1
        code = "".join(match[0][i] for i in places)
        is_whole = not text[end : end + 1].isalnum()
        if is_whole and int("".join(str(int(c, 36)) for c in code[4:] + code[:4])) % 97 == 1:
            yield match.start(), end


def _cards(text: str) -> Iterator[tuple[int, int]]:
    for match in _CARD.finditer(text):
        digits = [int(digit) for digit in match[0] if digit.isdigit()]
        doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
        is_sound = (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0
        if is_sound and _CARD_MAKERS.fullmatch("".join(map(str, digits))):
            yield match.span()


def _ips(text: str) -> Iterator[tuple[int, int]]:
    for pattern in [_IPV4] * ("." in text) + [_IPV6] * (text.count(":") > 1):
        for match in pattern.finditer(text):
            try:
                # Those of a home network, of examples and of this machine are nobody's.
                if ip_address(match[0]).is_global:
                    yield match.span()
            except ValueError:
                continue


def _phones(text: str) -> Iterator[tuple[int, int]]:
    for match in _PHONE.finditer(text):
        start = match.start() + next((i for i, letter in enumerate(match[0]) if letter in "+(" or letter.isdigit()), 0)
        yield start, match.end()


_FINDERS: Mapping[str, Callable[[str], Iterator[tuple[int, int]]]] = {
    "secret key": _keys,
    "e-mail address": _emails,
    "bank account": _ibans,
    "card number": _cards,
    "IP address": _ips,
    "phone number": _phones,
}
_WITHOUT_DIGITS = {kind: _FINDERS[kind] for kind in ("secret key", "e-mail address", "IP address")}
"""Kinds that also stand in texts without `_DIGITS`; of IP addresses those of version 6 do."""
_NAMED = ("user", "conversation", "id", "group")
"""Fields with names of people and of what is theirs."""
_NOT_TEXT = {*_NAMED, "source", "model", "chosen_model", "rejected_model", "rated_at", "where"}
_TEXTS: Mapping[type, Sequence[str]] = {
    kind: tuple(f.name for f in fields(kind) if f.name not in _NOT_TEXT) for kind in (Feedback, Pair)
}
