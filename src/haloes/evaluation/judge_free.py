"""Numbers of a source that need no judge: of its answers, and of the implied reward as a score and a probability."""

from collections.abc import Sequence

from haloes.evaluation.sources import Source
from haloes.records import Completion
from haloes.results import HeldOutRow, JudgeFree, Score
from haloes.stats.auc import auc_with_interval
from haloes.stats.auc_by_length import auc_beside_length
from haloes.stats.before_after import ANSWER_BOUNDS, compare_completions, compare_shares
from haloes.stats.both_sides import BothSides
from haloes.stats.calibration import calibration
from haloes.stats.means import mean_with_interval
from haloes.stats.rates import share_with_interval
from haloes.stats.refusal import corrected_refusal_rate, is_refusal, refusal_rate
from haloes.stats.text_stats import distinct_n, repeats_itself, repetition_rate, words

_SIDES = ("before", "after")
LABELS = {
    "words": "Words an answer",
    "tokens": "Tokens an answer",
    "repetition": "Repeated four-word runs",
    "repeats": "Answers that repeat themselves",
    "finished": "Answers that end by themselves",
    "refusal": "Answers that refuse (by phrases, which find 0.2 to 0.9 of them)",
    "refusal_corrected": "Answers that refuse, with those that phrases miss",
    "distinct_2": "Different word pairs by all (distinct-2)",
    "auc": "AUC of the implied reward",
}


def judge_free(source: Source, *, seed: int = 0) -> JudgeFree:
    """
    Compute all numbers of a source that need no judge.

    Answers "before" and "after" to the same prompts are also compared; other models are told one by one.
    """
    scores = answer_numbers(source.answers)
    scores += held_out_auc(source.held_out, seed=seed)
    computed = {score.name for score in scores}
    # A run's own scores fill in what cannot be measured again from its records, such as the KL divergence.
    scores += [score for score in source.measured if score.name not in computed]
    rewards, labels, groups = _columns(source.held_out)
    return JudgeFree(
        source=source.name,
        scores=tuple(scores),
        calibration=calibration(rewards, labels, groups, seed=seed) if rewards else None,
    )


def answer_numbers(answers: Sequence[Completion]) -> list[Score]:
    """Measure length, endings, repetition, refusals and variety of the answers of each model."""
    by_model = {
        model: [a for a in answers if a.model == model] for model in dict.fromkeys(answer.model for answer in answers)
    }
    both = [by_model.get(side, []) for side in _SIDES]
    keys = [[answer.prompt_id for answer in side] for side in both]
    scores: list[Score] = []
    # A difference is paired by prompt, so both sides must have answered the same ones.
    if both[0] and set(keys[0]) == set(keys[1]):
        refused = [[is_refusal(answer.completion) for answer in side] for side in both]
        scores += compare_completions(*both)
        scores += compare_shares(BothSides(refused[0], keys[0], refused[1], keys[1]), name="refusal")
        rest = {model: some for model, some in by_model.items() if model not in _SIDES}
    else:
        rest = by_model
    for model, some in rest.items():
        scores += _alone(some, model)
    corrected = [_corrected_refusals(some, model) for model, some in by_model.items()]
    scores += [score for score in corrected if score is not None]
    return scores + [_distinct(some, model) for model, some in by_model.items() if distinct_n(_texts(some))]


def held_out_auc(rows: Sequence[HeldOutRow], *, seed: int = 0) -> list[Score]:
    """Measure how often the implied reward puts good held-out answers above bad ones, and what that owes to length."""
    rewards, labels, groups = _columns(rows)
    score = auc_with_interval(rewards, labels, groups) if rewards else None
    if score is None:
        return []
    return [score, *auc_beside_length(rewards, labels, groups, [row.tokens for row in rows], seed=seed)]


def _columns(rows: Sequence[HeldOutRow]) -> tuple[list[float], list[bool], list[str]]:
    return [row.reward for row in rows], [row.label for row in rows], [row.group for row in rows]


def _alone(answers: Sequence[Completion], model: str) -> list[Score]:
    keys = [answer.prompt_id for answer in answers]
    values: dict[str, list[float]] = {
        "words": [len(words(answer.completion)) for answer in answers],
        "tokens": [answer.num_tokens for answer in answers],
        "repetition": [repetition_rate(answer.completion) for answer in answers],
    }
    measured = [
        mean_with_interval(v, keys, name=name, variant=model, bounds=ANSWER_BOUNDS[name]) for name, v in values.items()
    ]
    shares = {
        "repeats": [repeats_itself(answer.completion) for answer in answers],
        "finished": [answer.finished for answer in answers],
    }
    measured += [share_with_interval(v, keys, name=name, variant=model) for name, v in shares.items()]
    measured.append(refusal_rate(answers, variant=model))
    return [score for score in measured if score is not None]


def _corrected_refusals(answers: Sequence[Completion], model: str) -> Score | None:
    refused = [is_refusal(answer.completion) for answer in answers]
    return corrected_refusal_rate(refused, [answer.prompt_id for answer in answers], variant=model)


def _distinct(answers: Sequence[Completion], model: str) -> Score:
    value = distinct_n(_texts(answers)) or 0.0
    return Score(
        name="distinct_2",
        value=value,
        low=value,
        high=value,
        variant=model,
        num_rows=len(answers),
        num_clusters=len({answer.prompt_id for answer in answers}),
        method="of all answers together",
        no_interval="none: answers that are drawn twice repeat their words",
    )


def _texts(answers: Sequence[Completion]) -> list[str]:
    return [answer.completion for answer in answers]
