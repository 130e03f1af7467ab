"""The interface of who answers: a run's models in this process, or a server that is asked in their place."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Ask:
    """A request for an answer."""

    raw: bytes
    """The body as the client sent it."""
    body: Mapping[str, Any]
    """The same, read."""
    authorization: bytes | None = None
    """The client's own header, for an upstream; it is not kept."""


@dataclass(frozen=True, slots=True)
class Loading:
    """How far the loading of models is."""

    model: str
    """Name of the one that is being loaded."""
    done: int
    """How many are there."""
    of: int


@dataclass(frozen=True, slots=True)
class Reply:
    """What comes back, as it goes to the client."""

    status: int
    headers: Sequence[tuple[bytes, bytes]]
    parts: AsyncIterator[bytes]
    size: int | None = None
    """Bytes of the body, where they were announced."""
    logprobs: list[float] = field(default_factory=list)
    """Log-probabilities of the tokens that came so far, where they are known without being part of the reply."""


class Backend(Protocol):
    """Answers chats."""

    def opened(self) -> AbstractAsyncContextManager[object]:
        """Return the context in which it answers."""
        ...

    async def models(self, authorization: bytes | None = None) -> list[str]:
        """Return the names of the models. Raises RefusedError where they cannot be had."""
        ...

    def loading(self) -> Loading | None:
        """Return how far the loading of models is; None where none is being loaded."""
        ...

    def failure(self) -> Exception | None:
        """Return why the server must end; None while it need not."""
        ...

    def answer(self, ask: Ask) -> AbstractAsyncContextManager[Reply]:
        """Begin an answer; leaving the block ends it. Raises RefusedError where there is none."""
        ...
