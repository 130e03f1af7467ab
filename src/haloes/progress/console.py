"""The terminal that everything is drawn on."""

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from haloes.readable import readable


class SafeConsole(Console):
    """A console of rich on which escape sequences from outside, and marks that reorder text, take no effect."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yield the pieces of what is drawn; the movements of the cursor are rich's own."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(readable(segment.text), segment.style)
