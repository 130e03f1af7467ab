"""Labelers: a rater likes answers or not, a judge compares them; both make feedback of answers, and rate a model."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, Protocol

from haloes.errors import ConfigError, DataError, RunError
from haloes.feedback.keys import group_of
from haloes.judging._contract import Judge
from haloes.judging.functions import fingerprint, name_of, source_hash
from haloes.judging.pairs import AnswerPair, AnswerPairs, pair_answers
from haloes.judging.rule import Rule
from haloes.judging.run import JudgingOutcome, judge_pairs
from haloes.judging.table import given_judge
from haloes.records import Completion, Feedback, Pair
from haloes.results import Score
from haloes.results_json import numbers_to_json
from haloes.run_files import JUDGEMENTS, RATINGS
from haloes.runs.measure import Rater, load_rater, rate
from haloes.stats.comparisons import comparisons
from haloes.stats.rates import share_with_interval
from haloes.stats.win_rate import win_rate
from haloes.store import write_jsonl

_EVEN = 0.5

Advance = Callable[[int], None]


class Labeler(Protocol):
    """Turns answers into feedback, and says how good a model's answers to held-out prompts are."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """Everything that decides the verdicts."""
        ...

    def num_verdicts(self, answers: Sequence[Completion], *, against_first: bool) -> int:
        """Return how many verdicts these answers take: for feedback, or against those of the first model."""
        ...

    def feedback(
        self, answers: Sequence[Completion], folder: Path, *, pairs: bool, advance: Advance
    ) -> list[Feedback | Pair]:
        """
        Return the feedback that these answers of one model earn; keep the verdicts in `folder`.

        Args:
            answers: to the prompts of a round, several each.
            folder: takes the verdicts.
            pairs: whether the loss wants pairs.
            advance: called with the number of verdicts that just came.
        """
        ...

    def rating(
        self, answers: Sequence[Completion], first: Sequence[Completion], folder: Path, *, advance: Advance
    ) -> Score | None:
        """Score the answers of a model beside those of the first model; keep the verdicts in `folder`."""
        ...


@dataclass(frozen=True, slots=True)
class RaterLabeler:
    """A Python function that likes an answer or does not: (prompt, completion, finished) to (liked, reason)."""

    rater: str | Rater
    """`package.module:function` or `file.py:function`, or the function itself."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """Return its name, and a hash of its source; of a function that was given itself, of its code."""
        if isinstance(self.rater, str):
            return {"rater": self.rater, "source": source_hash(load_rater(self.rater))}
        return {"rater": name_of(self.rater), "source": fingerprint(self.rater)}

    def num_verdicts(self, answers: Sequence[Completion], *, against_first: bool) -> int:  # noqa: ARG002 - a thumb each
        """Return one an answer."""
        return len(answers)

    def feedback(
        self,
        answers: Sequence[Completion],
        folder: Path,
        *,
        pairs: bool,  # noqa: ARG002 - a loss on pairs makes them of the thumbs
        advance: Advance,
    ) -> list[Feedback | Pair]:
        """Return one labelled answer for each."""
        liked = self._rated(answers, folder / RATINGS, advance)
        return [_feedback(answer, label=label) for answer, label in zip(answers, liked, strict=True)]

    def rating(
        self,
        answers: Sequence[Completion],
        first: Sequence[Completion],  # noqa: ARG002 - a thumb needs nothing beside it
        folder: Path,
        *,
        advance: Advance,
    ) -> Score | None:
        """Return the share that is liked, with its interval."""
        liked = self._rated(answers, folder / RATINGS, advance)
        prompts = [answer.prompt_id for answer in answers]
        return share_with_interval(
            liked, prompts, name="liked", variant=answers[0].model, label="Share of answers that the rater likes"
        )

    def _rated(self, answers: Sequence[Completion], path: Path, advance: Advance) -> list[bool]:
        rater = load_rater(self.rater) if isinstance(self.rater, str) else self.rater
        ratings = rate(rater, answers, advance)
        rows = (
            {**numbers_to_json(rating), "seed": answer.seed} for rating, answer in zip(ratings, answers, strict=True)
        )
        write_jsonl(path, rows)
        return [rating.liked for rating in ratings]


@dataclass(frozen=True, slots=True)
class JudgeLabeler:
    """A judge that says which of two answers is better, asked in both orders."""

    judge: Judge
    seed: int

    @property
    def identity(self) -> Mapping[str, Any]:
        """Return its name, template and settings."""
        identity = self.judge.identity
        return {"judge": identity.name, "template": identity.template, **identity.settings}

    def num_verdicts(self, answers: Sequence[Completion], *, against_first: bool) -> int:
        """Return two for every two answers that are compared, one in each order."""
        return 2 * (len(answers) if against_first else len(_every_two(answers).pairs))

    def feedback(
        self, answers: Sequence[Completion], folder: Path, *, pairs: bool, advance: Advance
    ) -> list[Feedback | Pair]:
        """
        Compare every two answers to a prompt.

        For a loss on pairs each comparison with a winner is a pair. Otherwise an answer is desirable if it won more
        than half of its comparisons (ties count half), undesirable if fewer, and left out if exactly half; the share is
        its score. A comparison that holds no verdict, or whose orders make up for each other, says nothing.
        """
        compared = _every_two(answers)
        preferences = self._preferences(compared, folder / JUDGEMENTS, advance)
        decided = [(pair, value) for pair, value in zip(compared.pairs, preferences, strict=True) if value is not None]
        if pairs:
            return [_pair(pair, value) for pair, value in decided if value != _EVEN]
        # By prompt and seed: these two name an answer of a model.
        points: defaultdict[tuple[str, int | None], list[float]] = defaultdict(list)
        for pair, value in decided:
            points[pair.prompt_id, pair.candidate.seed].append(value)
            points[pair.prompt_id, pair.baseline.seed].append(1 - value)
        won = [(answer, _mean(points[answer.prompt_id, answer.seed])) for answer in answers]
        # Exactly half says neither yes nor no, and nothing is learnt from a coin.
        return [_feedback(answer, label=share > _EVEN, score=share) for answer, share in won if share != _EVEN]

    def rating(
        self, answers: Sequence[Completion], first: Sequence[Completion], folder: Path, *, advance: Advance
    ) -> Score | None:
        """Return the win rate against the first model's answers to the same prompts, with its interval."""
        compared = pair_answers(answers, first, names=(answers[0].model, "first model"))
        preferences = self._preferences(compared, folder / JUDGEMENTS, advance)
        prompts = [pair.prompt_id for pair in compared.pairs]
        label = "Win rate against the first model"
        return win_rate(preferences, prompts, variant=answers[0].model, label=label).score

    def _preferences(self, compared: AnswerPairs, out: Path, advance: Advance) -> list[float | None]:
        judged = judge_pairs(self.judge, compared, out, seed=self.seed, advance=advance)
        # A round learns from all verdicts or waits: those of a server that failed halfway would be an arbitrary share.
        _require_all(judged)
        preferences = {(pair.prompt_id, pair.draw): pair.preference for pair in comparisons(judged.judgements)}
        return [preferences[pair.prompt_id, pair.draw] for pair in compared.pairs]


def make_labeler(
    rater: str | Rater | None, judge: str | Rule | None, settings: Mapping[str, Any], *, seed: int
) -> Labeler:
    """Return the rater or the judge that decides, with the judge's settings. Raises ConfigError for both or neither."""
    if rater is not None and judge is None:
        return _rater_labeler(rater, settings)
    if judge is None or rater is not None:
        raise ConfigError("give either --rater module:function, or --judge rule, http, local or reward")
    return JudgeLabeler(given_judge(judge, settings), seed)


def _rater_labeler(rater: str | Rater, settings: Mapping[str, Any]) -> RaterLabeler:
    if settings:
        raise ConfigError(f"{next(iter(settings))} is a setting of a judge, and --rater is none; leave it out")
    if isinstance(rater, str):
        load_rater(rater)  # One that cannot be loaded is refused before a model is.
    return RaterLabeler(rater)


def _mean(points: Sequence[float]) -> float:
    """Return the mean of the points; even where there are none."""
    return sum(points) / len(points) if points else _EVEN


def _every_two(answers: Sequence[Completion]) -> AnswerPairs:
    by_prompt: defaultdict[str, list[Completion]] = defaultdict(list)
    for answer in answers:
        by_prompt[answer.prompt_id].append(answer)
    pairs = [
        AnswerPair(first, second, draw)
        for of_prompt in by_prompt.values()
        for draw, (first, second) in enumerate(combinations(of_prompt, 2))
    ]
    return AnswerPairs(tuple(pairs), "one answer", "another", left_over=0)


def _feedback(answer: Completion, *, label: bool, score: float | None = None) -> Feedback:
    return Feedback(
        prompt=answer.prompt,
        completion=answer.text,
        label=label,
        score=score,
        finished=answer.finished,
        tools=answer.tools,
        chat_template_kwargs=answer.chat_template_kwargs,
        id=f"{answer.prompt_id}/{answer.seed}",
        source=answer.model,
    )


def _pair(pair: AnswerPair, preference: float) -> Pair:
    winner, loser = (pair.candidate, pair.baseline) if preference > _EVEN else (pair.baseline, pair.candidate)
    return Pair(
        prompt=winner.prompt,
        chosen=winner.text,
        rejected=loser.text,
        chosen_finished=winner.finished,
        rejected_finished=loser.finished,
        tools=winner.tools,
        chat_template_kwargs=winner.chat_template_kwargs,
        id=f"{winner.prompt_id}/{winner.seed}+{loser.seed}",
        source=winner.model,
    )


def _require_all(judged: JudgingOutcome) -> None:
    if judged.unanswered:
        raise RunError(
            f"{len(judged.unanswered)} comparisons got no answer, the first: {judged.unanswered[0]}; the same command "
            "asks for them again"
        )
    unread = [judgement for judgement in judged.judgements if judgement.verdict is None]
    if unread and len(unread) == len(judged.judgements):
        raise RunError(
            f"none of the {len(unread)} replies of the judge holds a verdict, the first: {unread[0].reason}; mend "
            "that, or take another template or judge"
        )


_WHAT_TO_DO = "give another judge, raise --per-prompt or --temperature, or begin with a model that is sometimes right"


def learnable(rows: Iterable[Feedback | Pair]) -> list[Feedback | Pair]:
    """Return the rows without empty answers, and without pairs of the same text."""
    return [row for row in rows if all(_words(row)) and len(set(_words(row))) == len(_words(row))]


def counts_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Count how many rows of a feedback file are desirable, undesirable, and pairs."""
    labels = [row.get("label") for row in rows]
    return {
        "desirable": labels.count(True),
        "undesirable": labels.count(False),
        "pairs": sum("chosen" in row for row in rows),
    }


def require_enough(rows: Sequence[Feedback | Pair], number: int, *, pairs: bool, undesirable: bool) -> None:
    """
    Make sure that a round's loss has something to learn from.

    Args:
        rows: the round's feedback.
        number: the round.
        pairs: whether the loss wants pairs.
        undesirable: whether it learns from undesirable answers.

    Raises:
        DataError: it has not.
    """
    if not rows:
        raise DataError(f"round {number}: no verdict says anything; {_WHAT_TO_DO}")
    labels: defaultdict[str, set[bool]] = defaultdict(set)
    for row in rows:
        labels[group_of(row)] |= {True, False} if isinstance(row, Pair) else {bool(row.label)}
    if pairs and not any(len(kinds) > 1 for kinds in labels.values()):
        raise DataError(f"round {number}: no prompt has a liked and a disliked answer, so no pairs; {_WHAT_TO_DO}")
    if not undesirable and not any(True in kinds for kinds in labels.values()):
        raise DataError(f"round {number}: no answer is liked, and the loss learns from liked ones; {_WHAT_TO_DO}")


def _words(row: Feedback | Pair) -> list[str]:
    texts = [row.chosen, row.rejected] if isinstance(row, Pair) else [row.completion]
    return [str(text).strip() for text in texts]
