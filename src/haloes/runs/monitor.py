"""Answers to a few held-out prompts while a run trains, as numbers beside each validation, and alarms about them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from haloes.errors import ConfigError
from haloes.judging._contract import Judge
from haloes.records import Completion, Text
from haloes.run_files import METRICS, WATCHED
from haloes.runs.alarms import ENDS_GAINED, ENDS_LOST, Alarms
from haloes.runs.finish import Work
from haloes.runs.live_judge import WatchJudge
from haloes.runs.measure import Rater, kl_scores, rate, validation_numbers
from haloes.sampling.generate import sample
from haloes.stats.text_stats import repetition_rate, words
from haloes.training.metrics_log import read_metrics
from haloes.training.settings import is_validated
from haloes.training.validation import Validation

_KL_TOKENS = 1024


def watched_prompts(work: Work) -> dict[str, Text]:
    """The prompts that are answered at every validation."""
    names = list(work.inputs.prompts)[: work.config.watch.prompts]
    return {name: work.inputs.prompts[name] for name in names}


def watch_judge(work: Work, judge: Judge, before: Sequence[Completion], *, resume: bool) -> WatchJudge:
    """
    The judge of a run, tried out.

    Args:
        work: the run.
        judge: who is asked.
        before: the answers before training.
        resume: whether a run goes on as it was; a judge that does not answer just now is no error then.

    Raises:
        UserError: the judge cannot be used, or there is nothing held out to compare.
    """
    prompts = watched_prompts(work)
    if len(prompts) < 2 or work.inputs.validation is None:  # noqa: PLR2004 - one prompt has no spread
        raise ConfigError(
            f"watch.judge compares answers to held-out prompts at each validation, and {len(prompts)} are held out; "
            "set feedback.validation_share, or give feedback.validation"
        )
    kept = [answer for answer in before if answer.prompt_id in prompts]
    made = WatchJudge(judge, kept, work.run_dir / WATCHED, seed=work.config.samples.seed, same_run=resume)
    work.display.stage(f"trying out the judge {judge.identity.name}")
    if text := made.try_out():
        work.display.note(text)
    return made


class During:
    """Measures at every validation, and tells of each alarm once."""

    def __init__(
        self, work: Work, before: Sequence[Completion], rater: Rater | None, judge: WatchJudge | None = None
    ) -> None:
        """`before`: the answers before training. The judge is asked by one process only, and the others give none."""
        self._work, self._rater, self._judge = work, rater, judge
        self._prompts = watched_prompts(work)
        kept = [answer for answer in before if answer.prompt_id in self._prompts]
        self._ended = {answer.prompt_id: answer.finished for answer in kept}
        self._alarms = Alarms(self._numbers(kept), work.config.watch)

    def measure(self, step: int, validation: Validation) -> Mapping[str, Any]:
        """Further numbers of a validation: the AUC, and what the policy's answers are like now."""
        found: dict[str, Any] = dict(validation_numbers(validation))
        if self._prompts:
            answers = self._answers()
            found |= self._numbers(answers)
            changes = [(self._ended.get(answer.prompt_id, answer.finished), answer.finished) for answer in answers]
            found[ENDS_LOST], found[ENDS_GAINED] = changes.count((True, False)), changes.count((False, True))
            if self._work.policy.reference is not None:
                scores = kl_scores(self._work.policy, self._work.inputs.encoder, answers, budget=_KL_TOKENS)
                found["sampled/kl"] = next(score.value for score in scores if score.name == "kl")
            if self._judge is not None:
                found |= self._judge.numbers(step, answers)
        return found

    def alarms(self) -> list[str]:
        """Everything to be alarmed about so far."""
        return list(self._alarms.given.values())

    def never_measured(self) -> list[str]:
        """What is to be said where no validation has the number that train.keep_best follows, for the judge failed."""
        name = self._work.config.train.keep_best
        lines = [line for line in read_metrics(self._work.run_dir / METRICS) if line["split"] == "validation"]
        if name is None or not lines or any(line.get(name) is not None for line in lines):
            return []
        return [
            f"the model is that after the last step: train.keep_best={name} could not be measured at any validation"
        ]

    def started(self, *, step: int, num_steps: int) -> None:
        """Take in what was written before the run was stopped; tell how often a judge will be asked."""
        if self._judge is not None:
            settings = self._work.config.train
            coming = sum(is_validated(settings, number, num_steps) for number in range(step + 1, num_steps + 1))
            self._work.display.note(self._judge.started(step, coming))
        for line in read_metrics(self._work.run_dir / METRICS):
            self._alarms.take(line)

    def wrote(self, numbers: Mapping[str, Any]) -> None:
        """Tell of what is newly alarming."""
        for text in self._alarms.take(numbers):
            self._work.display.note(f"alarm: {text}")

    def _answers(self) -> list[Completion]:
        settings, encoder = self._work.config.samples, self._work.inputs.encoder
        with self._work.policy.scoring():
            return sample(
                self._work.policy.model,
                encoder.template.tokenizer,
                self._prompts,
                max_new_tokens=settings.max_new_tokens,
                temperature=settings.temperature,
                top_p=settings.top_p,
                seed=settings.seed,
                control=encoder.template.control,
                variant="during",
                batch_size=settings.batch_size,
            )

    def _numbers(self, answers: Sequence[Completion]) -> dict[str, float]:
        if not answers:
            return {}
        found = {
            "sampled/words": np.mean([len(words(answer.completion)) for answer in answers]),
            "sampled/repetition": np.mean([repetition_rate(answer.completion) for answer in answers]),
            "sampled/finished": np.mean([answer.finished for answer in answers]),
        }
        if self._rater is not None:
            found["sampled/liked"] = np.mean([rating.liked for rating in rate(self._rater, answers)])
        return {name: float(value) for name, value in found.items()}
