"""What an exported file says beside what the run's model says, and the rule that decides whether it is the same."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

from haloes.exports.quantization import bound

TIE = 5.0
"""A greedy answer may go another way where the model itself holds the other token for this many bounds less likely."""

Rendering: TypeAlias = Literal["equal", "differs"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerComparison:
    """The greedy answers to one prompt, as far as they go the same way."""

    prompt: str
    """Its id."""
    num_equal: int
    """Tokens of the answers until they part, or until one ends."""
    num_tokens: int
    """Tokens of the model's own answer."""
    distance: float
    """Nats by which the log-probabilities of the likely tokens differ, weighted by the model's probabilities."""
    gap: float = 0.0
    """Nats by which the model holds the file's token for less likely than its own, where they part."""
    model: str = ""
    """What the model answers."""
    exported: str = ""
    """What the file answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """All that was compared of a file."""

    by: Literal["llama.cpp", "transformers"]
    """What read the file."""
    quantize: str
    """What its weights are saved in."""
    prompts: Mapping[str, Rendering]
    """Held-out prompts, by id: whether the file makes the same token ids of them."""
    conversations: Mapping[str, Rendering]
    """Made-up conversations with system turns, tools or thoughts; those that the template refuses are left out."""
    answers: tuple[AnswerComparison, ...]
    runs_on: tuple[str, ...] = ()
    """Marks that end the model's turn and at which the file's reader does not stop."""
    needs_tools: bool = False
    """Whether the run's prompts offer tools, so that those have to be rendered alike."""

    @property
    def bound(self) -> float:
        """Return the most nats that the answers may differ by on average."""
        return bound(self.quantize)

    @property
    def distance(self) -> float:
        """Return the nats by which the answers differ on average."""
        return max((answer.distance for answer in self.answers), default=0.0)

    @property
    def faults(self) -> tuple[str, ...]:
        """Return what is not as it should be, in sentences; nothing where the file says what the model says."""
        return (*self._rendering_faults(), *self._answer_faults())

    @property
    def notes(self) -> tuple[str, ...]:
        """Return differences that are no fault of the file's, in sentences."""
        found = [name for name, how in self.conversations.items() if how == "differs" and not self._counts(name)]
        if not found:
            return ()
        return (f"{self.by} writes {_listed(found)} otherwise than transformers, and the run has no tools",)

    def _rendering_faults(self) -> list[str]:
        differing = [name for name, how in self.prompts.items() if how == "differs"]
        told = [name for name, how in self.conversations.items() if how == "differs" and self._counts(name)]
        faults = []
        if differing:
            faults.append(
                f"{self.by} makes other tokens of {len(differing)} of {len(self.prompts)} held-out prompts "
                f"({_listed(differing[:3])})"
            )
        if told:
            faults.append(f"{self.by} makes other tokens of {_listed(told)}")
        if self.runs_on:
            faults.append(f"{self.by} does not stop at {_listed(self.runs_on)}, which ends the model's turn")
        return faults

    def _answer_faults(self) -> list[str]:
        far = [answer for answer in self.answers if not answer.distance <= self.bound]
        parted = [answer for answer in self.answers if answer not in far and not answer.gap <= TIE * self.bound]
        faults = [
            f"the answer to {answer.prompt!r} differs by {answer.distance:.3f} nats a token, and {self.quantize} "
            f"explains {self.bound:g}"
            for answer in far
        ]
        return faults + [
            f"the answer to {answer.prompt!r} parts after {answer.num_equal} tokens, with a token that the model holds "
            f"for {answer.gap:.2f} nats less likely than its own"
            for answer in parted
        ]

    def _counts(self, conversation: str) -> bool:
        return self.needs_tools or "tool" not in conversation

    def sentence(self) -> str:
        """Return what was compared, and how it came out."""
        equal = sum(answer.num_equal for answer in self.answers)
        said = sum(answer.num_tokens for answer in self.answers)
        return (
            f"Read by {self.by}, it makes the same tokens of {len(self.prompts)} held-out prompts and "
            f"{sum(how == 'equal' for how in self.conversations.values())} kinds of conversation, and {equal} of "
            f"{said} tokens of its greedy answers are those of the run's model until they part; their "
            f"log-probabilities differ by {self.distance:.3f} nats at most ({self.quantize} may by {self.bound:g})."
        )

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        derived = {"bound": self.bound, "faults": list(self.faults), "notes": list(self.notes)}
        return {**asdict(self), **derived}


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)
