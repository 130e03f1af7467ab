"""The interface of engines: prompts and decoding settings go in, and completions come out."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, Literal, Protocol, TypeAlias

from haloes.errors import ConfigError
from haloes.records import Asked, Completion, Sampling

EngineName: TypeAlias = Literal["transformers", "vllm", "http"]
"""Engines by name: in this process, vLLM, or a server of the OpenAI kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoding:
    """How answers are drawn."""

    max_new_tokens: int = 256
    """Most tokens of an answer."""
    temperature: float = 0.0
    """0 takes the likeliest token each time."""
    top_p: float = 1.0
    """Nucleus sampling: the likeliest tokens with this total probability are drawn from."""

    def __post_init__(self) -> None:
        check_decoding("sample", max_new_tokens=self.max_new_tokens, temperature=self.temperature, top_p=self.top_p)

    def by(
        self, engine: str, model: str, *, control: str = "", chat_template_kwargs: Mapping[str, Any] | None = None
    ) -> Sampling:
        """Return the record of how answers are made with these settings."""
        return Sampling(
            engine=engine,
            model=model,
            max_new_tokens=self.max_new_tokens,
            temperature=float(self.temperature),
            top_p=float(self.top_p),
            control=control,
            chat_template_kwargs=chat_template_kwargs or None,
        )


def check_decoding(section: str, *, max_new_tokens: int, temperature: float, top_p: float) -> None:
    """Raise ConfigError where a setting of decoding is out of range; `section` is where the user set it."""
    for name, value, fits, rule in (
        ("max_new_tokens", max_new_tokens, max_new_tokens >= 1, "at least 1"),
        ("temperature", temperature, 0 <= temperature < inf, "0 (the likeliest token) or positive"),
        ("top_p", top_p, 0 < top_p <= 1, "above 0 and at most 1"),
    ):
        if not fits:
            raise ConfigError(f"{section}.{name} must be {rule}, got {value}")


Advance: TypeAlias = Callable[[float], None]
"""Told how many further answers are done, or which part of them."""


def ignore_parts(count: float) -> None:
    """Do nothing: where nobody waits for the answers."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One prompt, to be answered once."""

    prompt_id: str
    prompt: Asked
    seed: int
    """Seed of the draws; where nothing is drawn it only tells answers apart."""


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """A prompt that got no answer; a rerun asks again."""

    prompt_id: str
    reason: str


class Engine(Protocol):
    """Answers prompts."""

    @property
    def name(self) -> str:
        """Return the model's name in the records."""
        ...

    def sampling(self, decoding: Decoding) -> Sampling:
        """Return the record of how this engine answers with these settings."""
        ...

    def answer(
        self, asks: Sequence[Ask], decoding: Decoding, advance: Advance = ignore_parts
    ) -> Iterator[Completion | NoAnswer]:
        """
        Yield the answers as they come, in any order. Raises RunError or ConfigError where none can be had.

        Args:
            asks: what to answer.
            decoding: how answers are drawn.
            advance: told of answers that are done, and of parts of them where they grow together.
        """
        ...
