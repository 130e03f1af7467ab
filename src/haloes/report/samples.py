"""Sampled answers side by side: what the model said to a prompt before and after, and what the rater made of it."""

from dataclasses import dataclass

from haloes.evaluation_results import JudgedPair
from haloes.readable import readable
from haloes.records import Completion, Text
from haloes.report.judged import together, verdicts
from haloes.report.load import RunRecords
from haloes.results import AnswerRating


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One side of a comparison."""

    text: str
    num_words: int
    finished: bool
    rating: AnswerRating | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SidesOfPrompt:
    """A prompt with the answers of both models, as far as they were sampled."""

    prompt_id: str
    turns: tuple[tuple[str, str], ...]
    """(role, text) of each turn; a prompt that is plain text is one turn without a role."""
    before: Answer | None
    after: Answer | None
    verdicts: tuple[JudgedPair, ...] = ()
    """Judges' verdicts on the answer after training against that before."""

    @property
    def judged(self) -> str:
        """Return what judges say of the answer after: "won", "beaten", "tied", "unscored", or "unjudged"."""
        return together(self.verdicts) if self.verdicts else "unjudged"

    @property
    def change(self) -> str:
        """Return what became of the rater's verdict: "gained", "lost", "same", or "unrated"."""
        sides = (self.before, self.after)
        if any(side is None or side.rating is None for side in sides):
            return "unrated"
        old, new = (side.rating.liked for side in sides if side is not None and side.rating is not None)
        return "same" if old == new else "gained" if new else "lost"


def sides_of_prompts(run: RunRecords) -> tuple[SidesOfPrompt, ...]:
    """Return all prompts with an answer of the model before or after, in the file's order: none is picked out."""
    by_prompt: dict[str, dict[str, Completion]] = {}
    by_judges = verdicts(run.judged)
    for sample in run.samples:
        # The first answer of each side: further draws of a prompt have no partner to stand beside.
        if sample.model in {"before", "after"}:
            by_prompt.setdefault(sample.prompt_id, {}).setdefault(sample.model, sample)
    return tuple(
        SidesOfPrompt(
            prompt_id=prompt_id,
            turns=_turns(next(iter(sides.values())).prompt),
            before=_answer(sides.get("before"), run),
            after=_answer(sides.get("after"), run),
            verdicts=by_judges.get(prompt_id, ()),
        )
        for prompt_id, sides in by_prompt.items()
    )


def _answer(sample: Completion | None, run: RunRecords) -> Answer | None:
    if sample is None:
        return None
    return Answer(
        text=readable(sample.completion).strip(),
        num_words=len(sample.completion.split()),
        finished=sample.finished,
        rating=run.ratings.get((sample.prompt_id, sample.model)),
    )


def _turns(prompt: Text) -> tuple[tuple[str, str], ...]:
    if isinstance(prompt, str):
        return (("", readable(prompt).strip()),)
    return tuple((readable(message.role), readable(message.content).strip()) for message in prompt)
