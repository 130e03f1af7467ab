"""The terminal that everything is drawn on."""

import os
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from haloes.readable import readable


class SafeConsole(Console):
    """A console of rich on which escape sequences from outside, and marks that reorder text, take no effect."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yield the pieces of what is drawn; the movements of the cursor are rich's own."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(readable(segment.text), segment.style)

    def on_broken_pipe(self) -> None:
        """Let the caller know, who has an exit code for it; rich would end the process with another."""
        raise BrokenPipeError


def unheard(stream: Any) -> Any:
    """Return a stream like this one that drops what cannot be written: hours of work do not end for a closed pipe."""
    return _Unheard(stream)


class _Unheard:
    """A stream that may have no reader any more, or no room; everything but writing is that of the stream."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write the text where that is possible."""
        try:
            self._stream.write(text)
        except OSError:
            self._give_up()
        return len(text)

    def flush(self) -> None:
        """Hand over what was written where that is possible."""
        try:
            self._stream.flush()
        except OSError:
            self._give_up()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _give_up(self) -> None:
        # Python flushes it once more when it ends, and would give another exit code for it.
        with suppress(OSError, ValueError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self._stream.fileno())
            os.close(null)
