"""Whether a policy has come apart: answers to held-out prompts that go in circles, and did not before training."""

from collections.abc import Iterable, Sequence

from haloes.records import Completion
from haloes.runs.measure_and_save import RunContext, answer_again, keep_answers
from haloes.stats.text_stats import repeats_itself


class NewRepeats:
    """
    Asks the policy for its answers as often as it is called, and says whether too many of them are in circles.

    Answers that pass are kept as those after training; until some do, those with all of the change are.
    """

    def __init__(self, context: RunContext, before: Sequence[Completion], budget: float) -> None:
        """
        Look at the answers before training.

        Args:
            context: the run.
            before: the answers before training, to the prompts that are asked.
            budget: `train.repeats_budget`.
        """
        self._context, self._budget = context, budget
        self._sound = {answer.prompt_id for answer in before if not repeats_itself(answer.completion)}
        self._at_start = len(before) - len(self._sound)
        self._most = budget * len(before)
        self._suspects: list[str] = []
        self.at_first: int | None = None
        """How many answers went in circles when the policy was asked first; None while it was not."""

    def __call__(self) -> bool:
        """Return whether more answers go in circles than the budget allows."""
        prompts = self._context.inputs.prompts
        # Those that failed last time first: they are few, and where they fail again nobody has to ask the others.
        if self._suspects:
            asked = {name: prompts[name] for name in self._suspects}
            if len(self._new(answer_again(self._context, "after", asked))) > self._most:
                return True
        answers = answer_again(self._context, "after", prompts)
        self._suspects = self._new(answers)
        if self.at_first is None:
            self.at_first = len(self._suspects)
            # Where no part of the change is any better, all of it stays, and nobody has to ask for these again.
            keep_answers(self._context, "after", answers)
            if self.at_first > self._most:
                self._context.progress.note(
                    f"{self.at_first} of {len(answers)} answers go in circles that did not before training: less of "
                    "what training changed is tried"
                )
            return self.at_first > self._most
        if len(self._suspects) > self._most:
            return True
        keep_answers(self._context, "after", answers)
        return False

    def _new(self, answers: Iterable[Completion]) -> list[str]:
        return [a.prompt_id for a in answers if a.prompt_id in self._sound and repeats_itself(a.completion)]

    def told(self, kept_share: float) -> list[str]:
        """Return a sentence on how much of the change was taken back, and why; none where the answers were sound."""
        if self.at_first is None or self.at_first <= self._most:
            return []
        count, run_dir = f"{self.at_first} of {len(self._context.inputs.prompts)}", self._context.run_dir
        seen = (
            f"with all that training changed {count} answers to held-out prompts go in circles that did not before "
            f"(train.repeats_budget={self._budget:g})"
        )
        if kept_share == 1:
            start = f"; before training {self._at_start} did" if self._at_start else ""
            text = (
                f"{seen}{start}, and so they do, these or others, with any part of it, so that it was all kept: read "
                "them, and lower train.lr where they matter"
            )
            return [text]
        text = (
            f"{seen}, so the model has {kept_share:.0%} of the change, with which no more than that do. That was seen "
            "on the very answers that are reported: on other prompts some may. All of the change: haloes resume --set "
            f"train.repeats_budget=null {run_dir}"
        )
        return [text]
