"""Giving a step up between two of its passes, where the time until the process is killed is too short to end it."""

from collections.abc import Callable

from haloes.training.distributed import Ranks

Cut = Callable[[], bool]
"""Returns whether the step is to be given up; once it has said so it always does."""


class StepCut(Exception):  # noqa: N818 - it is what happened, not an error
    """A step was given up; weights, moments and numbers are as the step before left them."""


def never() -> bool:
    """Return False: a step that is never given up."""
    return False


def refuse_if_cut(ranks: Ranks, cut: Cut) -> None:
    """Raise StepCut on all processes where one of them gives the step up; all come here at the same point of it."""
    if cut is not never and ranks.any(cut()):
        raise StepCut
