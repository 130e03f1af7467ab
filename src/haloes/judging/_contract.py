"""The interface of judges: two answers to a prompt go in, and a verdict with its reason comes out."""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from haloes.records import Text, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderedPair:
    """
    A question to a judge: two answers to a prompt, in one of their two orders.

    The verdicts on both orders of two answers are taken together later (`JudgedPair`).
    """

    prompt_id: str
    prompt: Text
    first: str
    second: str
    first_finished: bool = True
    """False when the first answer was cut off at a token limit."""
    second_finished: bool = True
    seed: int = 0
    """Seed of the delimiters around the answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeReply:
    """A judge's reply to a comparison, and the verdict that was read in it."""

    verdict: Verdict | None
    """None: it replied, and the reply holds no verdict."""
    reason: str
    """The words that were taken for the verdict, or why there is none."""
    reply: str = ""
    """The judge's words, uncut."""
    preference: float | None = None
    """Preference for the first answer, in [0, 1], from judges that give a number; anything else is taken as unscored
    (`usable`)."""
    is_fault: bool = False
    """Whether the judge failed on it, rather than found no verdict: asked before training, it is refused."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float | None = None


@dataclass(frozen=True, slots=True)
class NoReply:
    """A comparison without a reply (server down, request refused): nothing is known, and a rerun asks again."""

    reason: str


@dataclass(frozen=True, slots=True)
class Identity:
    """A judge's name and settings, by which its judgements are recognised in a file."""

    name: str
    """The name in the records: the model's, the function's ..."""
    template: str = ""
    """The name of its prompt; empty where it reads none."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Everything else that decides verdicts: judgements of other settings are not taken for its own. No secrets."""


class Judge(Protocol):
    """Compares answers. How many comparisons it makes at once, and in which order it is done, is its own affair."""

    @property
    def identity(self) -> Identity:
        """Return who judges, with every setting that decides verdicts."""
        ...

    def compare(self, comparisons: Sequence[OrderedPair]) -> Generator[tuple[int, JudgeReply | NoReply], None, None]:
        """
        Yield the reply to each comparison with the comparison's index, as soon as it is there and in any order.

        When the iterator is closed early, no further comparison is begun.

        Raises:
            UserError: the judge cannot be used at all as it is set up (a wrong key, an unknown model ...).
        """
        ...


def usable(reply: JudgeReply) -> JudgeReply:
    """Return a judge's reply as it is; without a verdict where its preference is no share, as NaN is none."""
    if reply.preference is None or 0 <= reply.preference <= 1:
        return reply
    reason = f"the judge's preference is {reply.preference}, which is not between 0 and 1"
    return replace(reply, verdict=None, preference=None, reason=reason)


def number_verdict(preference: float, *, tie_margin: float = 0.0) -> Verdict:
    """Return the verdict of a preference in [0, 1] for the first answer: a tie within `tie_margin` of 1/2."""
    if abs(preference - 0.5) <= tie_margin:
        return "tie"
    return "first" if preference > 0.5 else "second"  # noqa: PLR2004 - no preference
