"""The doctor's look at a feedback file as tokens of one model, which needs no weights."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Literal

from haloes.models.load import load_tokenizer
from haloes.readable import readable
from haloes.records import Record
from haloes.runs.config import TokenSettings
from haloes.tokens.chat_template import with_template_kwargs
from haloes.tokens.doctor.advice import advise
from haloes.tokens.doctor.inspect import inspect_tokens
from haloes.tokens.doctor.preview import Preview, Role
from haloes.tokens.doctor.render import render
from haloes.tokens.encode import make_encoder

if TYPE_CHECKING:
    from rich.text import Text

_STYLES: Mapping[Role, str] = {
    "prompt": "",
    "mark": "dim",
    "context": "dim",
    "elided": "italic dim",
    "answer": "green",
    "end": "bold green",
}


@dataclass(frozen=True, slots=True)
class TokenReport:
    """Findings about the tokens."""

    lines: list[str]
    """Plain text, which may hold bits of the data."""
    previews: "list[Text]"
    """Rows with the trained tokens coloured; lines that begin with "+" are trained, also where there are no colours."""
    errors: list[str]
    """Why no training can start."""
    num_refused: int
    """Rows that cannot be encoded; training stops at the first, unless it is told to leave them out."""


def examine_tokens(
    model: str,
    rows: Iterable[Record],
    settings: TokenSettings,
    *,
    reasoning: Literal["drop", "keep"] = "drop",
    previews: int = 3,
) -> TokenReport:
    """
    Encode the rows as a model would be trained on them.

    Args:
        model: whose tokenizer is used, named as in `model.name`.
        rows: single answers and pairs; refusals are passed over.
        settings: how text becomes tokens.
        reasoning: what becomes of the reasoning before an answer, as `feedback.reasoning` says it.
        previews: how many rows to show.

    Raises:
        ModelError: there is no such model or tokenizer, or it cannot render the rows.
    """
    tokenizer = with_template_kwargs(load_tokenizer(model), settings.chat_template_kwargs)
    encoder = make_encoder(tokenizer, max_length=settings.max_length).with_reasoning(trained=reasoning == "keep")
    findings = inspect_tokens(rows, encoder, previews=previews)
    advice = advise(findings)
    return TokenReport(
        lines=render(findings, advice),
        previews=[_coloured(shown) for shown in findings.previews],
        errors=[item.finding for item in advice if item.severity == "error"],
        num_refused=findings.num_rows - findings.num_encoded,
    )


def _coloured(shown: Preview) -> "Text":
    """Colour the lines of `haloes.tokens.doctor.preview.preview_lines`; nothing in them is taken for markup."""
    from rich.text import Text

    cut = [name for name, is_cut in (("prompt", shown.prompt_cut), ("completion", shown.completion_cut)) if is_cut]
    whole = Text.assemble((f"{shown.where}, {shown.label}" + (f", {' and '.join(cut)} cut" if cut else ""), "bold"))
    for trained, pieces in groupby(shown.pieces, key=lambda piece: piece.trained):
        words = Text.assemble(*((readable(piece.text), _STYLES[piece.role]) for piece in pieces))
        for line in words.split("\n"):
            whole.append(f"\n    {'+' if trained else '|'} ", style="dim").append_text(line)
    return whole
