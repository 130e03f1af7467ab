"""The description of a loss that it carries itself, for `haloes losses` and the documentation alike."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """A loss described. Its formula stands, indented, in the docstring of its class."""

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
