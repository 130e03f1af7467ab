"""What is known about feedback in tokens after reading it once: plain values, ready for JSON."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from haloes.feedback.findings import Tally

Role: TypeAlias = Literal["prompt", "mark", "answer", "end", "context", "elided"]
"""
What a piece of a preview is. Not trained: "prompt", a "mark" of the template, "context" between the model's turns, and
"elided" in place of what is too long to show. Trained: "answer", and the "end" of a turn.
"""


@dataclass(frozen=True, slots=True)
class Piece:
    """A token's text; several tokens' where only they together make a character."""

    text: str
    trained: bool
    role: Role


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """One sequence as it is trained."""

    where: str
    label: str
    """"desirable", "undesirable" or "unlabelled"; of a pair, the chosen answer is desirable."""
    pieces: tuple[Piece, ...]
    prompt_cut: bool
    completion_cut: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenLength:
    """How many tokens texts have before anything is cut."""

    text: Literal["prompt", "completion", "both"]
    label: Literal["desirable", "undesirable", "unlabelled"]
    median: int
    p95: int
    maximum: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Where the chat template writes a conversation otherwise than inference sees it, with what surrounds it."""

    where: str
    inference: str
    joint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenFindings:
    """All that one reading shows. What is counted are rows: a pair is one, and is cut if one of its sides is."""

    num_rows: int
    num_encoded: int
    window: int
    """Most tokens of prompt and completion together."""
    has_chat_template: bool
    end_of_turn: str
    lengths: tuple[TokenLength, ...]
    longest: int
    """Tokens of the longest prompt with completion."""
    num_over_window: int
    prompts_cut: Tally
    completions_cut: Tally
    refusals: Mapping[str, Tally]
    """Rows that cannot be encoded, by reason, the most frequent first."""
    disagreements: Tally
    """Rows of which the template, rendering prompt and completion jointly, writes other words than inference sees."""
    difference: Difference | None
    """Of the first such row."""
    previews: tuple[Preview, ...]
