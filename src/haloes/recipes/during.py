"""Answers to a few held-out prompts while a run trains, as numbers beside each validation, and alarms about them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from haloes.evaluate.text_stats import repetition_rate, words
from haloes.recipes import folder
from haloes.recipes.alarms import Alarms
from haloes.recipes.answers import Work
from haloes.recipes.measure import Rater, kl_scores, rate, validation_numbers
from haloes.records import Completion
from haloes.sample.generate import sample
from haloes.training.log import read_metrics
from haloes.training.validation import Validation

_KL_TOKENS = 1024


class During:
    """Measures at every validation, and tells of each alarm once."""

    def __init__(self, work: Work, before: Sequence[Completion], rater: Rater | None) -> None:
        """`before`: the answers before training."""
        self._work, self._rater = work, rater
        names = list(work.inputs.prompts)[: work.config.watch.prompts]
        self._prompts = {name: work.inputs.prompts[name] for name in names}
        numbers = self._numbers([answer for answer in before if answer.prompt_id in self._prompts])
        self._alarms = Alarms(numbers, work.config.watch)

    def measure(self, validation: Validation) -> Mapping[str, float]:
        """Further numbers of a validation: the AUC, and what the policy's answers are like now."""
        found = dict(validation_numbers(validation))
        if self._prompts:
            answers = self._answers()
            found |= self._numbers(answers)
            if self._work.policy.reference is not None:
                scores = kl_scores(self._work.policy, self._work.inputs.encoder, answers, budget=_KL_TOKENS)
                found["sampled/kl"] = next(score.value for score in scores if score.name == "kl")
        return found

    def alarms(self) -> list[str]:
        """Everything to be alarmed about so far."""
        return list(self._alarms.given.values())

    def started(self, *, step: int, num_steps: int) -> None:  # noqa: ARG002 - as of any `Watcher`
        """Take in what was written before the run was stopped."""
        for line in read_metrics(self._work.run_dir / folder.METRICS):
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
