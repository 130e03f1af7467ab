"""Numbers of what a run did to its model: AUC, pair accuracy, the rater's verdicts, and the held-out rows."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from haloes.errors import ConfigError
from haloes.judging.functions import load_function
from haloes.records import Completion, Text
from haloes.results import AnswerRating, HeldOutRow, Score
from haloes.results_json import numbers_to_json
from haloes.run_files import CALIBRATION, HELD_OUT
from haloes.stats.auc import auc_with_interval
from haloes.stats.auc_by_length import auc_at_equal_length, auc_beside_length
from haloes.stats.before_after import compare_completions, compare_shares
from haloes.stats.bootstrap import Floats
from haloes.stats.both_sides import BothSides
from haloes.stats.means import mean_with_interval
from haloes.stats.reward_pairs import RewardPairs, length_bias, pair_accuracy, pair_calibration
from haloes.store import write_json, write_jsonl
from haloes.tokens.store import TokenStore
from haloes.training.validation import Validation

Rater: TypeAlias = Callable[[Text, str, bool], tuple[bool, str]]
"""(prompt, completion, finished) to (liked, reason)."""

_DRAWS_WHILE_TRAINING = 500
_BY_DEFINITION = "by definition"
"""Bootstrap draws at each validation: coarse intervals will do there, and a quarter of the usual draws is quick."""


def load_rater(name: str) -> Rater:
    """
    Load a function by `package.module:function` or `path/to/file.py:function`.

    Raises ConfigError when there is no such function.
    """
    rater: Rater = load_function(name, setting="samples.rater")
    return rater


def rate(
    rater: Rater, completions: Iterable[Completion], advance: Callable[[int], None] = lambda _: None
) -> list[AnswerRating]:
    """
    Ask the rater about each answer; `advance` is told of each.

    Raises ConfigError when it fails, or returns something else.
    """
    ratings = []
    for answer in completions:
        try:
            liked, reason = rater(answer.prompt, answer.completion, answer.finished)
            liked, reason = bool(liked), str(reason)
        # The function is the user's: whatever it raises is a fault to tell of, and no bug of ours.
        except (Exception, SystemExit) as error:
            raise ConfigError(
                f"samples.rater: it failed on the answer to prompt {answer.prompt_id} "
                f"({type(error).__name__}: {error}); it is called with (prompt, completion, finished) and gives back "
                "(liked, reason)"
            ) from error
        ratings.append(AnswerRating(prompt_id=answer.prompt_id, model=answer.model, liked=liked, reason=reason))
        advance(1)
    return ratings


def validation_numbers(validation: Validation) -> Mapping[str, float]:
    """Return the AUC, also at equal length, while training; of a reward model the accuracy on pairs."""
    pairs = reward_pairs(validation)
    if pairs is not None:
        return accuracy_numbers(pairs)
    columns = _columns(validation)
    scores = [] if columns is None else [auc_score(validation), auc_at_equal_length(*columns)]
    return as_metrics(scores)


def as_metrics(scores: Iterable[Score | None], *, prefix: str = "") -> dict[str, float]:
    """Return scores as numbers of the metrics while training: each value, with the ends of its interval beside it."""
    return {
        f"{prefix}{score.name}{end}": value
        for score in scores
        if score is not None
        for end, value in (("", score.value), ("/low", score.low), ("/high", score.high))
    }


def auc_score(validation: Validation) -> Score | None:
    """
    Measure how well the trained model separates held-out desirable from undesirable answers, without any judge.

    It is the area under the ROC curve of the implied reward: log p of the trained model minus log p of the model before
    training; of a reward model, the reward. None where the held-out answers all have one label.
    """
    columns = _columns(validation)
    if columns is None:
        return None
    label = "AUC of the implied reward" if validation.reward is None else "AUC of the reward"
    return auc_with_interval(*columns[:3], name="auc", variant="after", label=label)


def auc_before(after: Score) -> Score:
    """Return the same for the model before training: its implied rewards are all 0, its AUC is 1/2 by definition."""
    return Score(
        name=after.name,
        value=0.5,
        low=0.5,
        high=0.5,
        variant="before",
        num_rows=after.num_rows,
        num_clusters=after.num_clusters,
        method="before training the policy is the reference, and every implied reward is 0",
        no_interval=_BY_DEFINITION,
        label=after.label,
    )


def validation_scores(validation: Validation) -> list[Score]:
    """Return the AUC and what it owes to length; of a reward model, the scores of its held-out pairs."""
    pairs = reward_pairs(validation)
    if pairs is not None:
        return pair_scores(pairs)
    columns, after = _columns(validation), auc_score(validation)
    if columns is None or after is None:
        return []
    scores = [after, *auc_beside_length(*columns)]
    # The length of an answer knows of no model, so that it has no number before.
    befores = {score.name: auc_before(score) for score in scores if score.name != "auc_length"}
    return [side for score in scores for side in (befores.get(score.name), score) if side is not None]


def _rewards(validation: Validation) -> Floats | None:
    return validation.log_ratio if validation.reward is None else validation.reward


def _columns(validation: Validation) -> tuple[Floats, NDArray[np.bool_], list[int], NDArray[np.int32]] | None:
    """Return rewards, labels, prompts and lengths of the held-out answers; None where nothing rewards them."""
    rewards = _rewards(validation)
    if rewards is None:
        return None
    # In the order of `held_out.jsonl`: prompts are drawn by their first appearance, and whoever computes an interval
    # from the file again, as `haloes compare` and `eval` do, gets this one.
    order = _in_order(validation)
    return rewards[order], validation.desirable[order], validation.group[order].tolist(), validation.tokens[order]


def answer_scores(
    before: Sequence[Completion], after: Sequence[Completion], ratings: Sequence[AnswerRating]
) -> list[Score]:
    """Compare lengths, endings and repetition before and after, and the share that the rater likes if there is one."""
    scores = list(compare_completions(before, after))
    if ratings:
        sides = [[r for r in ratings if r.model == model] for model in ("before", "after")]
        values, keys = zip(*(([r.liked for r in side], [r.prompt_id for r in side]) for side in sides), strict=True)
        label = "Share of answers that the rater likes"
        scores += compare_shares(BothSides(values[0], keys[0], values[1], keys[1]), name="liked", label=label)
    return scores


def kept_share_score(kept_share: float, num_answers: int) -> Score:
    """Return the share of the change that the model has as one of the run's numbers."""
    return Score(
        name="kept_share",
        value=kept_share,
        low=kept_share,
        high=kept_share,
        variant="after",
        num_rows=num_answers,
        num_clusters=num_answers,
        method="chosen, not estimated: the largest of eight at which the answers do not go in circles",
    )


def reward_pairs(validation: Validation) -> RewardPairs | None:
    """Return the held-out pairs with their rewards; None where nothing rewards them, or they are no pairs."""
    chosen, rejected = validation.pairs()
    if validation.reward is None or not len(chosen):
        return None
    return RewardPairs(
        chosen=validation.reward[chosen],
        rejected=validation.reward[rejected],
        chosen_length=validation.tokens[chosen].astype(np.float64),
        rejected_length=validation.tokens[rejected].astype(np.float64),
        prompts=validation.group[chosen].tolist(),
    )


def accuracy_numbers(pairs: RewardPairs) -> Mapping[str, float]:
    """Return the accuracy with its interval, for the metrics while training."""
    accuracy = pair_accuracy(pairs, draws=_DRAWS_WHILE_TRAINING)
    return {} if accuracy is None else as_metrics([replace(accuracy, name="accuracy")])


def pair_scores(pairs: RewardPairs) -> list[Score]:
    """Score a reward model on held-out pairs: accuracy before and after training, length bias, calibration."""
    accuracy, calibrated = pair_accuracy(pairs), pair_calibration(pairs)
    if accuracy is None or calibrated is None:
        return []
    # By definition and not measured: with a head of zeros each pair is a tie, and an interval would say nothing.
    before = Score(
        name=accuracy.name,
        value=0.5,
        low=0.5,
        high=0.5,
        variant="before",
        num_rows=accuracy.num_rows,
        num_clusters=accuracy.num_clusters,
        method="before training the reward head is zero, and every pair a tie that a coin decides",
        no_interval=_BY_DEFINITION,
    )
    return [before, accuracy, *length_bias(pairs), calibrated.slope, calibrated.brier]


def write_calibration(run_dir: Path, pairs: RewardPairs) -> None:
    """Write how sure the model was and how often it was right, for the report."""
    calibrated = pair_calibration(pairs)
    if calibrated is not None:
        write_json(run_dir / CALIBRATION, numbers_to_json(calibrated.reliability))


def logged_answer_scores(validation: Validation, store: TokenStore) -> list[Score]:
    """
    Measure how likely the model before training finds the held-out logged answers: mean nats a token of an answer.

    First of all answers, then by the model that gave them (the record's label), the one with the most answers first;
    a model with answers to one prompt only is left out, as its number has no interval. None of a reward model.
    """
    if validation.logp is None or validation.log_ratio is None:
        return []
    order = _in_order(validation)
    per_token = ((validation.logp - validation.log_ratio) / np.maximum(validation.tokens, 1))[order]
    prompts = validation.group[order]
    named = np.array([store.model(int(validation.sequences[i])) or "" for i in order], dtype=object)
    counted = Counter(name for name in named.tolist() if name)
    sides = [("all answers", np.ones(len(order), np.bool_))]
    sides += [(name, named == name) for name, _ in sorted(counted.items(), key=lambda one: (-one[1], one[0]))]
    scores = (
        mean_with_interval(
            per_token[own], prompts[own].tolist(), name="logged_logp", variant="before", label=label, bounds=(-inf, 0)
        )
        for label, own in sides
    )
    return [score for score in scores if score is not None]


def write_held_out(run_dir: Path, validation: Validation, store: TokenStore) -> None:
    """Write the last validation of a run, in the order of its rows."""
    write_jsonl(run_dir / HELD_OUT, (numbers_to_json(row) for row in _held_out_rows(validation, store)))


def _in_order(validation: Validation) -> NDArray[np.int64]:
    """Return the places of a validation's numbers in the order of its rows, whatever steps they were computed in."""
    return np.argsort(validation.sequences, kind="stable")


def _held_out_rows(validation: Validation, store: TokenStore) -> Iterator[HeldOutRow]:
    rewards = _rewards(validation)
    if rewards is None:
        return
    for i in _in_order(validation).tolist():
        sequence = int(validation.sequences[i])
        yield HeldOutRow(
            where=store.name(sequence),
            label=bool(validation.desirable[i]),
            group=f"{int(validation.group[i]) & 0xFFFF_FFFF_FFFF_FFFF:016x}",
            answer=hashlib.sha256(store.read(sequence).completion.tobytes()).hexdigest()[:16],
            reward=float(rewards[i]),
            logp=None if validation.logp is None else float(validation.logp[i]),
            tokens=int(validation.tokens[i]),
        )
