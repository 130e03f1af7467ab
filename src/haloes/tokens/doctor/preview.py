"""Show an encoded row as pieces of text, so that a person sees which tokens are trained."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal, TypeAlias

from haloes.tokens.encode import Encoded
from haloes.tokens.template_probe import special_ids

Role: TypeAlias = Literal["prompt", "mark", "answer", "end", "context", "elided"]
"""
The role of a piece of a preview. Not trained: "prompt", a "mark" of the template, "context" between the model's turns,
and "elided" in place of a text too long to show. Trained: "answer", and the "end" of a turn.
"""


@dataclass(frozen=True, slots=True)
class Piece:
    """The text of a token, or of several that make a character only together."""

    text: str
    trained: bool
    role: Role


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """One sequence as it is trained, in pieces."""

    where: str
    label: str
    """"desirable", "undesirable" or "unlabelled"; of a pair, the chosen answer is desirable."""
    pieces: tuple[Piece, ...]
    prompt_cut: bool
    completion_cut: bool


PROMPT_TOKENS = (40, 100)
"""Tokens of a long prompt to show: at its beginning, and at its end."""
COMPLETION_TOKENS = (160, 40)
"""Tokens of a long completion to show: at its beginning, and at its end."""

_MOST_BYTES = 4
"""Bytes of the longest character in UTF-8, and so the most tokens that one can take."""
_INCOMPLETE = "\ufffd"


def preview(row: Encoded, tokenizer: Any, *, where: str, label: str) -> Preview:
    """Return a row as pieces of text; the middle of a long prompt or completion is left out."""
    special = special_ids(tokenizer)
    prompt_roles: list[Role] = ["mark" if token in special else "prompt" for token in row.prompt.tolist()]
    completion_roles = [
        _role(token in special, trained) for token, trained in zip(row.completion.tolist(), row.trained, strict=True)
    ]
    pieces = (
        *_pieces(row.prompt.tolist(), prompt_roles, tokenizer, PROMPT_TOKENS),
        *_pieces(row.completion.tolist(), completion_roles, tokenizer, COMPLETION_TOKENS),
    )
    return Preview(
        where=where, label=label, pieces=pieces, prompt_cut=row.prompt_cut, completion_cut=row.completion_cut
    )


def preview_lines(shown: Preview) -> list[str]:
    """Return a preview without colours: "|" begins lines that the model is given, "+" lines that it learns to write."""
    cut = [name for name, is_cut in (("prompt", shown.prompt_cut), ("completion", shown.completion_cut)) if is_cut]
    lines = [f"{shown.where}, {shown.label}" + (f", {' and '.join(cut)} cut" if cut else "")]
    for trained, pieces in groupby(shown.pieces, key=lambda piece: piece.trained):
        text = "".join(piece.text for piece in pieces)
        lines += [f"    {'+' if trained else '|'} {line}" for line in text.removesuffix("\n").split("\n")]
    return lines


def _role(is_special: bool, trained: bool) -> Role:
    if not trained:
        return "context"
    return "end" if is_special else "answer"


def _pieces(ids: list[int], roles: Sequence[Role], tokenizer: Any, shown: tuple[int, int]) -> Iterator[Piece]:
    head, tail = shown
    if len(ids) <= 2 * (head + tail):
        yield from _texts(ids, roles, tokenizer, 0, len(ids))
        return
    yield from _texts(ids, roles, tokenizer, 0, head)
    yield Piece(f"[... {len(ids) - head - tail} tokens ...]", trained=False, role="elided")
    yield from _texts(ids, roles, tokenizer, len(ids) - tail, len(ids))


def _texts(ids: list[int], roles: Sequence[Role], tokenizer: Any, first: int, last: int) -> Iterator[Piece]:
    """
    Yield the pieces of ids[first:last].

    A token's text is what it adds to that of the one before: alone, some tokenizers drop its space. As long as a
    character is incomplete, tokens of the same role are taken together.
    """
    begin = first
    for i in range(first, last):
        # Decoded with the token before it, whose text is then taken off again.
        before = ids[max(begin - 1, 0) : begin]
        text = _decoded(tokenizer, [*before, *ids[begin : i + 1]])[len(_decoded(tokenizer, before)) :]
        goes_on = i + 1 < last and roles[i + 1] == roles[i] and i + 1 - begin < _MOST_BYTES
        if text.endswith(_INCOMPLETE) and goes_on:
            continue
        yield Piece(text, trained=roles[i] in {"answer", "end"}, role=roles[i])
        begin = i + 1


def _decoded(tokenizer: Any, ids: list[int]) -> str:
    text: str = tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    return text
