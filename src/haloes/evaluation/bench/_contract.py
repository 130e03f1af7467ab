"""The interface of evaluation harnesses: the seam between haloes and lm-eval."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from haloes.evaluation.bench.table import Benchmark

Render: TypeAlias = Callable[..., str]
"""A chat template: (messages, add_generation_prompt) to the text that goes to the model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One question, as a model is asked it."""

    subtask: str
    number: int
    """Index of its row in the subtask."""
    prompt: str
    """The whole text, with examples and chat template."""
    row: str
    """Its row of the benchmark's data, as JSON."""
    requests: Any = field(default=None, repr=False, compare=False)
    """The harness's own requests for the question."""

    @property
    def key(self) -> tuple[str, int]:
        """Return what names the question: equal before and after training."""
        return self.subtask, self.number


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A model's reply to one question: a text, or the log-probability of each choice."""

    text: str | None = None
    logps: tuple[float, ...] | None = None
    greedy: tuple[bool, ...] | None = None
    """Whether each choice is what the model itself would have written."""
    cut: bool = False
    """The prompt was longer than the model's window leaves room for, and lost its beginning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionScore:
    """The scores of a reply."""

    scores: Mapping[str, float | list[float]]
    """By metric and filter; a list where a question consists of parts."""
    extracted: Mapping[str, str]
    """The text that each filter took for the answer."""
    note: str = ""
    """Why it failed, where that is known."""


class HarnessModel(Protocol):
    """A loaded model that can be asked."""

    def answer(self, questions: Sequence[Question]) -> list[Reply]:
        """Answer the questions as one batch, and return the replies in their order."""


class Loaded(Protocol):
    """A benchmark with its rows."""

    @property
    def sizes(self) -> Mapping[str, int]:
        """Return how many questions each subtask has."""

    @property
    def about(self) -> Mapping[str, Any]:
        """Return what decides prompts and scores: the definition's version, number of examples, tokens of an answer."""

    def questions(self, selected: Mapping[str, Sequence[int]], render: Render | None) -> list[Question]:
        """Return the questions with these numbers of each subtask, through the chat template if one is given."""

    def score(self, question: Question, reply: Reply) -> QuestionScore:
        """Score a reply. Raises DataError where the definition does not fit the row."""


class Harness(Protocol):
    """Defines benchmarks: their prompts, their examples, and how replies are scored."""

    @property
    def version(self) -> str:
        """Return the harness's version, for the record."""

    def require(self, benchmarks: Sequence[Benchmark]) -> None:
        """Raise ConfigError where something is not installed; says how to install it. Loads no model."""

    def load(self, benchmark: Benchmark, data: Path | None) -> Loaded:
        """
        Load the definition and its rows, from a local folder or the hub.

        Raises ConfigError or DataError where they cannot be had; loads no model.
        """

    def model(self, model: Any, tokenizer: Any) -> HarnessModel:
        """Wrap a transformers model so that it can be asked."""
