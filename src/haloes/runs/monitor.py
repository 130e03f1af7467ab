"""The monitor of a run: answers to a few held-out prompts at each validation, and alarms while it can be stopped."""

from collections.abc import Mapping, Sequence
from math import inf
from typing import Any

import numpy as np

from haloes.errors import ConfigError
from haloes.judging._contract import Judge
from haloes.records import Asked, Completion
from haloes.run_files import METRICS, WATCHED
from haloes.runs.answer_kl import kl_scores
from haloes.runs.config import WatchSettings
from haloes.runs.live_judge import JUDGE_ERROR, LiveJudge
from haloes.runs.measure import Rater, as_metrics, rate, validation_numbers
from haloes.runs.measure_and_save import RunContext
from haloes.stats.before_after import ANSWER_BOUNDS
from haloes.stats.means import mean_with_interval
from haloes.stats.rates import share_with_interval, sign_test
from haloes.stats.text_stats import repetition_rate, words
from haloes.training.metrics_log import read_metrics
from haloes.training.settings import TrainSettings, budget_of, is_validated
from haloes.training.validation import Validation

ENDS_LOST, ENDS_GAINED = "sampled/finished/lost", "sampled/finished/gained"
"""Counts of prompts whose answers ended by themselves before training and do not now, and the reverse."""
_IN_A_ROW = 8
"""Steps in which the rewards of both classes have to be low for an alarm. Where the desirable's stay as they were but
the means of single steps scatter by 2 nats, as those of 16 answers do, 3 steps are low together in 9 of 10 runs of 100
steps, and 8 in 1 of 100."""
_BY_CHANCE = 0.05
"""An exact test's p-value from which on a change may be chance."""
_KL_TOKENS = 1024


def monitored_prompts(context: RunContext, watch: WatchSettings) -> dict[str, Asked]:
    """Return the prompts that are answered at every validation, by id."""
    names = list(context.inputs.prompts)[: watch.prompts]
    return {name: context.inputs.prompts[name] for name in names}


def make_live_judge(
    context: RunContext, watch: WatchSettings, judge: Judge, before: Sequence[Completion], *, same_run: bool
) -> LiveJudge:
    """
    Return the judge of a run, tried out on a question.

    Args:
        context: the run.
        watch: how many prompts are answered.
        judge: the judge that is asked.
        before: the answers before training.
        same_run: whether a run is resumed as it was; a judge that does not answer just now is no error then.

    Raises:
        UserError: the judge cannot be used, or there is nothing held out to compare.
    """
    prompts = monitored_prompts(context, watch)
    if len(prompts) < 2 or context.inputs.validation is None:  # noqa: PLR2004 - one prompt has no spread
        raise ConfigError(
            f"watch.judge compares answers to held-out prompts at each validation, and {len(prompts)} are held out; "
            "set feedback.validation_share, or give feedback.validation"
        )
    kept = [answer for answer in before if answer.prompt_id in prompts]
    live = LiveJudge(judge, kept, context.run_dir / WATCHED, seed=context.samples.seed, same_run=same_run)
    context.progress.stage(f"trying out the judge {judge.identity.name}")
    if text := live.try_out():
        context.progress.note(text)
    return live


class Monitor:
    """Measures at every validation, and tells of each alarm once."""

    def __init__(
        self,
        context: RunContext,
        watch: WatchSettings,
        train: TrainSettings,
        before: Sequence[Completion],
        *,
        rater: Rater | None,
        judge: LiveJudge | None = None,
    ) -> None:
        """
        Measure the baseline that alarms compare with.

        Args:
            context: the run.
            watch: how many prompts are answered at a validation, and when to give an alarm.
            train: when the run validates, and which number it keeps the best of.
            before: the answers before training.
            rater: likes an answer or not.
            judge: compares answers with those before training; the main process alone has one.
        """
        self._context, self._train, self._rater, self._judge = context, train, rater, judge
        self._prompts = monitored_prompts(context, watch)
        kept = [answer for answer in before if answer.prompt_id in self._prompts]
        self._ended = {answer.prompt_id: answer.finished for answer in kept}
        self._alarms = Alarms(self._numbers(kept), watch, kl_budget=budget_of(train))

    def measure(self, step: int, validation: Validation) -> Mapping[str, Any]:
        """Return further numbers of a validation: the AUC, and what the policy's answers are like now."""
        numbers: dict[str, Any] = dict(validation_numbers(validation))
        if self._prompts:
            context, encoder = self._context, self._context.inputs.encoder
            context.progress.stage("answers amid training", len(self._prompts))
            answers = context.sample(
                self._prompts,
                variant="during",
                control=encoder.template.control,
                advance=context.progress.advance,
            )
            numbers |= self._numbers(answers)
            # Prompt by prompt, not only as a share: the alarm asks whether so many changes may be chance.
            changes = [(self._ended.get(answer.prompt_id, answer.finished), answer.finished) for answer in answers]
            numbers[ENDS_LOST], numbers[ENDS_GAINED] = changes.count((True, False)), changes.count((False, True))
            if context.policy.reference is not None:
                scores = kl_scores(context.policy, encoder, answers, budget=_KL_TOKENS)
                # Of a single prompt there is no mean with an interval, and no number.
                numbers |= as_metrics((score for score in scores if score.name == "kl"), prefix="sampled/")
            if self._judge is not None:
                numbers |= self._judge.numbers(step, answers)
        return numbers

    def alarms(self) -> list[str]:
        """Return all alarms so far."""
        return list(self._alarms.given.values())

    def never_measured(self) -> list[str]:
        """Return a warning where no validation has the number that train.keep_best follows, for the judge failed."""
        name = self._train.keep_best
        lines = [line for line in read_metrics(self._context.run_dir / METRICS) if line["split"] == "validation"]
        if name is None or not lines or any(line.get(name) is not None for line in lines):
            return []
        return [
            f"the model is that after the last step: train.keep_best={name} could not be measured at any validation"
        ]

    def on_start(self, *, step: int, num_steps: int) -> None:
        """Take in what was written before the run was stopped; tell how often a judge will be asked."""
        if self._judge is not None:
            coming = sum(is_validated(self._train, number, num_steps) for number in range(step + 1, num_steps + 1))
            if damaged := self._judge.drop_damaged(step):
                self._context.progress.note(damaged)
            self._context.progress.note(self._judge.begin(step, coming))
        # Alarms that were given before a run was resumed are not told twice, and are among the warnings at its end.
        for line in read_metrics(self._context.run_dir / METRICS):
            self._alarms.take(line)

    def on_metrics(self, numbers: Mapping[str, Any]) -> None:
        """Tell of new alarms."""
        for text in self._alarms.take(numbers):
            self._context.progress.note(f"alarm: {text}")

    def _numbers(self, answers: Sequence[Completion]) -> dict[str, float]:
        """Describe answers, with intervals: words, repetition, ends of turn, and the share that the rater likes."""
        if not answers:
            return {}
        keys = [answer.prompt_id for answer in answers]
        means: dict[str, list[float]] = {
            "words": [len(words(answer.completion)) for answer in answers],
            "repetition": [repetition_rate(answer.completion) for answer in answers],
        }
        shares = {"finished": [answer.finished for answer in answers]}
        if self._rater is not None:
            shares["liked"] = [rating.liked for rating in rate(self._rater, answers)]
        # The answer to a single prompt has numbers, and they have no interval.
        alone = {f"sampled/{name}": float(np.mean(values)) for name, values in (means | shares).items()}
        scores = [
            mean_with_interval(values, keys, name=name, variant="during", bounds=ANSWER_BOUNDS[name])
            for name, values in means.items()
        ]
        scores += [share_with_interval(values, keys, name=name, variant="during") for name, values in shares.items()]
        return alone | as_metrics(scores, prefix="sampled/")


class Alarms:
    """Follows a run's metrics, and gives each kind of alarm once: what repeats is not read."""

    def __init__(self, before: Mapping[str, float], limits: WatchSettings, *, kl_budget: float = inf) -> None:
        """
        Set the limits; nothing of the run is seen yet.

        Args:
            before: the numbers of the answers before training (`sampled/words` ...); empty if none were made.
            limits: when it is too much.
            kl_budget: `train.kl_budget`.
        """
        self._before, self._limits, self._kl_budget = before, limits, kl_budget
        self._falling = 0
        self.given: dict[str, str] = {}
        """By a short name, in the order in which they came."""

    def take(self, line: Mapping[str, Any]) -> list[str]:
        """Take in a line of the metrics and return the new alarms."""
        alarms = (
            self._of_rewards(line)
            if line["split"] == "train"
            else _of_answers(line, self._before, self._limits, self._kl_budget)
        )
        new = {name: f"step {line['step']}: {text}" for name, text in alarms.items() if name not in self.given}
        self.given |= new
        return list(new.values())

    def _of_rewards(self, line: Mapping[str, Any]) -> dict[str, str]:
        """Look for the paper's sign of a learning rate that is too high: the rewards of both classes fall."""
        good, bad = line.get("reward/desirable"), line.get("reward/undesirable")
        if good is None or bad is None:
            return {}
        # Steps in a row: a single step's mean over few examples falls by chance.
        self._falling = self._falling + 1 if good < -1 and bad < -1 else 0
        if self._falling < _IN_A_ROW:
            return {}
        text = (
            f"the rewards of both classes have fallen ({good:.1f} and {bad:.1f} nats): the learning rate is probably "
            "too high (KTO paper, section 4.2); lower train.lr (`haloes plan --find-lr` measures one)"
        )
        return {"rewards": text}


def _of_answers(
    line: Mapping[str, Any], before: Mapping[str, float], limits: WatchSettings, kl_budget: float
) -> dict[str, str]:
    """Return the alarms about the answers of a validation, by their short names."""
    alarms = {}
    words, words_before = line.get("sampled/words"), before.get("sampled/words")
    if words is not None and words_before:
        ratio = words / words_before
        if ratio > limits.length:
            alarms["longer"] = (
                f"answers have {_told(line, 'sampled/words', '.0f')} words, {ratio:.1f} times as many as before "
                "training; are long answers liked more often in the feedback (`haloes doctor`)? Raise loss.beta, or "
                "lower train.lr"
            )
        if ratio < 1 / limits.length:
            alarms["shorter"] = (
                f"answers have {_told(line, 'sampled/words', '.0f')} words, and {words_before:.0f} before training; "
                "raise loss.beta, or lower train.lr"
            )
    risen = _change("sampled/repetition", line, before)
    if risen is not None and risen > limits.repetition:
        alarms["repetition"] = (
            f"{_told(line, 'sampled/repetition', '.0%')} of an answer's four-word runs are repeated, "
            f"{risen * 100:.0f} points more than before training; lower train.lr"
        )
    unended = _fewer_ends(line, before, limits)
    if unended is not None:
        alarms["end of turn"] = unended
    if JUDGE_ERROR in line:
        alarms["judge"] = f"the judge's win rate is missing or rests on fewer answers ({line[JUDGE_ERROR]})"
    kl = line.get("sampled/kl")
    if kl is not None and kl > limits.kl:
        alarms["kl"] = (
            f"the KL divergence to the reference is {_told(line, 'sampled/kl', '.0f')} nats an answer, above "
            f"watch.kl={limits.kl:g}; raise loss.beta, or lower train.lr"
        )
    elif kl is not None and kl > kl_budget:
        alarms["kl budget"] = (
            f"the KL divergence to the reference is {_told(line, 'sampled/kl', '.2g')} nats an answer, above "
            f"train.kl_budget={kl_budget:g}; read the answers, and lower train.lr (`haloes plan --find-lr` "
            "measures one) if they fall apart"
        )
    return alarms


def _fewer_ends(line: Mapping[str, Any], before: Mapping[str, float], limits: WatchSettings) -> str | None:
    """Return the alarm where the model ends fewer answers itself, by more than the limit and more than by chance."""
    # The same prompts before and now: the paired test asks whether losses outnumber gains by more than coins would.
    change = _change("sampled/finished", line, before)
    lost, gained = line.get(ENDS_LOST), line.get(ENDS_GAINED)
    if change is None or change >= -limits.finished or lost is None or gained is None:
        return None
    p_value = sign_test([True] * lost + [False] * gained, [False] * lost + [True] * gained).p_value
    if p_value >= _BY_CHANCE:
        return None
    return (
        f"the model ends {_told(line, 'sampled/finished', '.0%')} of its answers itself, "
        f"{-change * 100:.0f} points less than before training ({lost} prompts lost their end, {gained} gained one, "
        f"exact p = {p_value:.2g}); were answers in the feedback cut off without being marked (finished: false)?"
    )


def _told(line: Mapping[str, Any], name: str, form: str) -> str:
    """Write a number of a validation, with its interval where there is one."""
    value, low, high = (line.get(f"{name}{end}") for end in ("", "/low", "/high"))
    return f"{value:{form}}" if low is None or high is None else f"{value:{form}} [{low:{form}}, {high:{form}}]"


def _change(name: str, line: Mapping[str, Any], before: Mapping[str, float]) -> float | None:
    return float(line[name]) - before[name] if name in line and name in before else None
