"""Personal data by pattern: what is found, what is not, and what stands in its place."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haloes.feedback.personal import PLACEHOLDERS, find_personal, personal_kinds, scrub_row, scrub_text
from haloes.records import Feedback, Message, Pair

PERSONAL = (
    "ann@firm.org",
    "4111 1111 1111 1111",
    "93.184.216.34",
    "2606:2800:220:1:248:1893:25c8:1946",
    "ghp_" + "a1B2" * 9,
    "+14155552671",
    "DE89 3704 0044 0532 0130 00",
)
"""One of each kind, and an address of either version."""


def scrubbed(text: str) -> str:
    return scrub_text(text, Counter())


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("ann.lee+news@mail.firm.co.uk", "e-mail address"),
        ("DE89 3704 0044 0532 0130 00", "bank account"),
        ("GB82WEST12345698765432", "bank account"),
        ("NO93 8601 1117 947", "bank account"),
        ("4111 1111 1111 1111", "card number"),
        ("5555-5555-5555-4444", "card number"),
        ("378282246310005", "card number"),
        ("6011000990139424", "card number"),
        ("93.184.216.34", "IP address"),
        ("2606:2800:220:1:248:1893:25c8:1946", "IP address"),
        ("2a00:1450:4001:82f::200e", "IP address"),
        ("+49 (30) 901820", "phone number"),
        ("+14155552671", "phone number"),
        ("(415) 555-2671", "phone number"),
        ("415-555-2671", "phone number"),
        ("sk-proj-" + "aB3_" * 12, "secret key"),
        ("ghp_" + "a1B2" * 9, "secret key"),
        ("AKIA" + "IOSFODNN7EXAMPLE", "secret key"),
        ("hf_" + "aBcD1" * 7, "secret key"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\nabc=\n-----END RSA PRIVATE KEY-----", "secret key"),
    ],
)
@pytest.mark.parametrize("around", ["{}", "It is {}.", "({})", "“{}”, he said", "a\n{}\nb", "see: {}; and", "nun {}!"])
def test_personal_data_is_found_whole_wherever_it_stands(text: str, kind: str, around: str) -> None:
    assert scrubbed(around.format(text)) == around.format(PLACEHOLDERS[kind])


@pytest.mark.parametrize(
    "text",
    [
        "user@example.com and me@mail.example.org",  # kept for examples
        "@mention, a@b, foo@bar, 3 @ 5.00",
        "DE89 3704 0044 0532 0130 01",  # the checksum is wrong
        "XX89 3704 0044 0532 0130 00",  # no such country
        "4111 1111 1111 1112",  # Luhn's sum is wrong
        "1234567890123452",  # no maker's
        "127.0.0.1, 192.168.0.1, 10.1.2.3, 999.1.1.1, ::1, fe80::1, 2001:db8::1",
        "version 1.2.3, 1.2.3.4.5, 12:30:45, std::vector<int>, a::b, 1:2:3",
        "3.14159265358979323846, 6.02214076e23, 1,000,000,000,000",
        "2026-03-02 11:22:33, 1999-2004, 12/24/2025, ISBN 978-3-16-148410-0",
        "from 1914 to 1918, 100 200 300, 50-60-70, $415.555.2671, 555-1234",
        "x = 415 - 555 - 2671; a+1234567; 2+2222222222",
        "sk-learn and sk-something-that-is-long-but-plain-words-only",
        "task-based-learning-approach-to-teaching",
        "1111222233334444555566667777888899990000",
    ],
)
def test_what_only_looks_a_little_like_it_stays(text: str) -> None:
    assert scrubbed(text) == text


def test_words_in_capitals_after_an_account_stay() -> None:
    assert scrubbed("DE89 3704 0044 0532 0130 00 AND MORE") == "[IBAN] AND MORE"


def test_every_kind_is_counted_and_named_by_place() -> None:
    text = "Ann: ann@firm.de or +49 30 901820; Ben: ben@firm.de"
    counts = Counter[str]()

    assert scrub_text(text, counts) == "Ann: [EMAIL] or [PHONE]; Ben: [EMAIL]"
    assert counts == {"e-mail address": 2, "phone number": 1}
    assert [text[found.start : found.end] for found in find_personal(text)] == [
        "ann@firm.de",
        "+49 30 901820",
        "ben@firm.de",
    ]


def test_all_texts_of_a_row_are_scrubbed_and_nothing_else_changes() -> None:
    call = {"type": "function", "function": {"name": "mail", "arguments": '{"to": "ann@firm.de"}'}}
    turn = Message("assistant", "I wrote ann@firm.de.", (call,), (("reasoning_content", "ann@firm.de?"),))
    row = Feedback(
        prompt=(Message("user", "Write to ann@firm.de"),),
        completion=(turn,),
        label=True,
        comment="my mail is ann@firm.de",
        hindsight="and ben@firm.de",
        model="gpt@firm.de",
        weight=2.0,
    )
    counts = Counter[str]()

    found = scrub_row(row, counts)

    assert "firm.de" not in repr(found).replace("gpt@firm.de", "")
    assert (found.label, found.weight, found.model) == (True, 2.0, "gpt@firm.de")
    assert counts == {"e-mail address": 6} == personal_kinds(row)


def test_a_pairs_texts_are_scrubbed() -> None:
    found = scrub_row(Pair(prompt="a@firm.de", chosen="b@firm.de", rejected="c@firm.de"), Counter())

    assert (found.prompt, found.chosen, found.rejected) == ("[EMAIL]", "[EMAIL]", "[EMAIL]")


def test_people_named_by_their_address_become_numbers_and_stay_apart() -> None:
    rows = [Feedback(prompt="p", completion="c", label=True, user=user) for user in ("a@firm.de", "b@firm.de", "ann")]
    first, other, named = (scrub_row(row, Counter()).user for row in rows)

    assert first is not None
    assert first.startswith("user-")
    assert first != other
    assert first == scrub_row(rows[0], Counter()).user
    assert named == "ann"


def test_a_row_without_personal_data_is_the_same_object() -> None:
    row = Feedback(prompt="p", completion="call 5 people", label=True)

    assert scrub_row(row, Counter()) is row


@given(st.text(alphabet="0123456789+-(). @aAbB:/eyJsk_DE\n", max_size=200))
def test_a_scrubbed_text_holds_no_more_of_it(text: str) -> None:
    assert find_personal(scrubbed(text)) == []


@pytest.mark.parametrize("piece", ["1 ", "1-", "a.", "a@", "1.", "1:", "+1", "A1", "sk-a", "eyJa.", "(2", "2a:", "@a."])
def test_a_long_text_of_beginnings_ends(piece: str) -> None:
    # Half an hour, where a pattern is quadratic.
    assert len(find_personal(piece * (200_000 // len(piece)))) <= 200_000


@given(st.lists(st.sampled_from([*PERSONAL, "call", "a: b: c", "1-2"])))
def test_what_is_counted_in_a_row_is_what_would_be_replaced(words: list[str]) -> None:
    text = " and ".join(words)
    call = {"function": {"name": "mail", "arguments": text}}
    row = Feedback(
        prompt=(Message("user", text, extra=(("name", text),)),),
        completion=(Message("assistant", text, (call,)),),
        label=True,
        comment=text,
        user=text or None,
    )
    counts = Counter[str]()
    scrub_row(row, counts)
    assert personal_kinds(row) == counts
    personal = sum(word in PERSONAL for word in words)
    assert sum(counts.values()) == 6 * personal  # in six places
