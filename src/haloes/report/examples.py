"""One prompt of each kind: gained, lost and unchanged, so that a run is not shown by its good answers alone."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from haloes.report.samples import SidesOfPrompt

RULE = "The first prompt of each kind, in the order of the held-out prompts."
"""How the examples are drawn; stands beside them wherever they are shown."""

_BY_RATER = {"gained": "Gained", "lost": "Lost", "same": "Unchanged"}
_BY_JUDGE = {"won": "After won", "beaten": "Before won", "tied": "Tied"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A kind of prompts, by the verdicts on their answers before and after training."""

    kind: str
    """As `SidesOfPrompt.change` names it, or `SidesOfPrompt.judged`."""
    title: str
    num_prompts: int
    """Prompts of this kind."""
    num_with_verdict: int
    """Prompts of any kind: those whose answers have verdicts."""
    side: SidesOfPrompt | None
    """The first prompt of this kind; None where there is none."""

    @property
    def heading(self) -> str:
        """Return the kind with its count, such as "Lost: none of 100 prompts"."""
        return f"{self.title}: {self.num_prompts or 'none'} of {self.num_with_verdict} prompts"


def draw_examples(sides: Sequence[SidesOfPrompt]) -> tuple[Example, ...]:
    """
    Return the first prompt that was gained, the first that was lost and the first unchanged, with how many there are.

    They go by the rater's verdicts; where there is no rater, by those of the judges. Without either there are none.

    Args:
        sides: all prompts of a run with their answers, in their order.
    """
    return _draw(_BY_RATER, [(side.change, side) for side in sides]) or _draw(
        _BY_JUDGE, [(side.judged, side) for side in sides]
    )


def _draw(titles: dict[str, str], sides: Sequence[tuple[str, SidesOfPrompt]]) -> tuple[Example, ...]:
    with_verdict = [(kind, side) for kind, side in sides if kind in titles]
    counts = Counter(kind for kind, _ in with_verdict)
    return tuple(
        Example(
            kind=kind,
            title=title,
            num_prompts=counts[kind],
            num_with_verdict=len(with_verdict),
            side=next((side for of_kind, side in with_verdict if of_kind == kind), None),
        )
        for kind, title in titles.items()
        if with_verdict
    )
