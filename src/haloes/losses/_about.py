"""What a loss is in words: one source for `haloes losses` and for the table of the documentation."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """A loss in words. Its formula stands, indented, in the docstring of its class."""

    title: str
    """Its full name."""
    source: str
    """Authors, year, venue, arXiv number, equation: where the formula was taken from."""
    reward: str
    """What it takes as the reward of a completion."""
    reference_point: str
    """What it compares that reward with; "none" where it compares it with nothing."""
    value: str
    """What it makes of the difference."""
    use: str
    """When to take it, and what it does that others do not; one or two sentences."""
