"""Rows shown as pieces of text."""

from itertools import groupby

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fake_tokenizers import CHATML, bpe_tokenizer, word_tokenizer
from fakes import byte_tokenizer
from haloes.records import Message, Text
from haloes.tokens.doctor.preview import COMPLETION_TOKENS, PROMPT_TOKENS, Piece, Preview, preview, preview_lines
from haloes.tokens.encode import Encoded, make_encoder


def shown(prompt: Text, completion: Text, *, max_length: int = 10_000, words: bool = False) -> Preview:
    tokenizer = (word_tokenizer if words else byte_tokenizer)(chat_template=CHATML)
    [row] = make_encoder(tokenizer, max_length=max_length).encode([(prompt, completion, ())])
    assert isinstance(row, Encoded)
    return preview(row, tokenizer, where="f:1", label="desirable")


def runs(found: Preview) -> list[tuple[str, str]]:
    """Roles with their text, neighbours of one role as one."""
    return [
        (role, "".join(piece.text for piece in pieces))
        for role, pieces in groupby(found.pieces, lambda piece: piece.role)
    ]


def test_every_token_has_its_text_and_its_role() -> None:
    assert runs(shown("Hi", "Hello.")) == [
        ("mark", "<|im_start|>"),
        ("prompt", "user\nHi"),
        ("mark", "<|im_end|>"),
        ("prompt", "\n"),
        ("mark", "<|im_start|>"),
        ("prompt", "assistant\n"),
        ("answer", "Hello."),
        ("end", "<|im_end|>"),
    ]
    assert shown("Hi", "ab").pieces[-3:] == (
        Piece("a", trained=True, role="answer"),
        Piece("b", trained=True, role="answer"),
        Piece("<|im_end|>", trained=True, role="end"),
    )


def test_the_turns_of_others_in_a_completion_are_context() -> None:
    turns = (Message("assistant", "Yes?"), Message("user", "Bye"), Message("assistant", "See you."))

    assert runs(shown("Hi", turns))[6:] == [
        ("answer", "Yes?"),
        ("end", "<|im_end|>"),
        ("context", "\n<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n"),
        ("answer", "See you."),
        ("end", "<|im_end|>"),
    ]


def test_only_answers_and_ends_of_turns_are_trained() -> None:
    turns = (Message("assistant", "Yes?"), Message("user", "Bye"), Message("assistant", "See you."))

    for piece in shown("Hi", turns).pieces:
        assert piece.trained == (piece.role in {"answer", "end"})


def test_tokens_that_make_a_character_only_together_are_one_piece() -> None:
    pieces = [piece.text for piece in shown("Hi", "é🙂!").pieces if piece.role == "answer"]

    assert pieces == ["é", "🙂", "!"]


def test_half_a_character_at_the_end_of_a_cut_answer_stays_there() -> None:
    found = shown("Hi", "aaaaaaaaaaaaaaaaaaaaaaaaa🙂", max_length=21 + 27)

    assert found.completion_cut
    assert runs(found)[-1] == ("answer", "a" * 25 + "\ufffd")


def test_spaces_that_a_token_alone_would_lose_are_kept() -> None:
    assert [piece.text for piece in shown("Hi", "a a b", words=True).pieces if piece.trained] == [
        "a",
        " a",
        " b",
        "<|im_end|>",
    ]


def test_the_middle_of_long_texts_is_left_out() -> None:
    # The prompt has 19 tokens beside its words, the completion 1.
    found = shown("p" * 500, "a" * 1000)
    elided = [piece for piece in found.pieces if piece.role == "elided"]

    assert [piece.text for piece in elided] == [
        f"[... {519 - sum(PROMPT_TOKENS)} tokens ...]",
        f"[... {1001 - sum(COMPLETION_TOKENS)} tokens ...]",
    ]
    assert not any(piece.trained for piece in elided)
    assert len(found.pieces) == sum(PROMPT_TOKENS) + sum(COMPLETION_TOKENS) + 2
    assert runs(found)[-3:] == [
        ("elided", elided[1].text),
        ("answer", "a" * (COMPLETION_TOKENS[1] - 1)),
        ("end", "<|im_end|>"),
    ]


def test_a_text_that_is_hardly_too_long_is_shown_whole() -> None:
    most = 2 * sum(PROMPT_TOKENS) - 19

    assert "elided" not in {piece.role for piece in shown("p" * most, "a").pieces}
    assert "elided" in {piece.role for piece in shown("p" * (most + 1), "a").pieces}


@given(
    prompt=st.text(st.characters(exclude_categories=["Cs"]), max_size=30),
    completion=st.text(st.characters(exclude_categories=["Cs"]), max_size=30),
)
def test_the_pieces_are_the_text(prompt: str, completion: str) -> None:
    tokenizer = bpe_tokenizer("a b", "Ġ a", chat_template=CHATML)
    [row] = make_encoder(tokenizer, max_length=10_000).encode([(prompt, completion, ())])
    assert isinstance(row, Encoded)

    found = preview(row, tokenizer, where="f:1", label="desirable")

    text = "".join(piece.text for piece in found.pieces)
    assert text == tokenizer.decode(np.concatenate([row.prompt, row.completion]).tolist())


def test_lines_say_with_a_plus_what_the_model_is_to_say() -> None:
    assert preview_lines(shown("Hi", "Hello,\n\nyou.")) == [
        "f:1, desirable",
        "    | <|im_start|>user",
        "    | Hi<|im_end|>",
        "    | <|im_start|>assistant",
        "    + Hello,",
        "    + ",
        "    + you.<|im_end|>",
    ]


def test_lines_say_what_was_cut() -> None:
    assert preview_lines(shown("p" * 100, "a" * 100, max_length=60))[0] == "f:1, desirable, prompt and completion cut"
    assert preview_lines(shown("p", "a" * 100, max_length=60))[0] == "f:1, desirable, completion cut"
