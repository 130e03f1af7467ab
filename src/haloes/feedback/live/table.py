"""The table of live sources."""

from haloes.feedback.live.contract import LiveSource
from haloes.feedback.live.langfuse import LANGFUSE

SOURCES: dict[str, LiveSource] = {each.name: each for each in (LANGFUSE,)}
"""Every live source by its name."""
