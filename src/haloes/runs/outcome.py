"""Which model a run ends with, in sentences: that of which step, and why training ended before the last."""

from collections.abc import Iterator

from haloes.runs.prepared_run import PreparedRun
from haloes.training.job import TrainResult
from haloes.training.settings import budget_of


def about_outcome(outcome: TrainResult, prepared: PreparedRun) -> Iterator[str]:
    """Yield which step the model is of where that is not the last, and why training ended before it."""
    if outcome.best_step is not None:
        yield _about_best_step(prepared, outcome)
    if outcome.kl_passed is not None:
        step, kl = outcome.kl_passed
        unseen = _num_unseen(prepared, step)
        before = f", before {unseen:,} of the {prepared.inputs.train.num_examples:,} examples were seen"
        slower = "; a new run with a lower train.lr sees them all (`haloes plan --find-lr` proposes one)"
        yield (
            f"training ended after step {step} of {outcome.num_steps}{before if unseen else ''}: held-out answers have "
            f"moved {kl:.3g} nats of KL each from the model before, beyond "
            f"train.kl_budget={budget_of(prepared.config.train):g}, which keeps answers from falling apart; read the "
            "answers, and where they are whole, go on with: haloes resume --set train.kl_budget=null "
            f"{prepared.run_dir}{slower if unseen else ''}"
        )


def _num_unseen(prepared: PreparedRun, step: int) -> int:
    """Return how many examples no step has had yet."""
    return max(0, prepared.inputs.train.num_examples - step * prepared.steps.batch_size)


def _about_best_step(prepared: PreparedRun, outcome: TrainResult) -> str:
    """Return which step's model this is, and on what it was chosen."""
    name, selection = prepared.config.train.keep_best, prepared.inputs.selection
    text = f"the model is that after step {outcome.best_step} of {outcome.num_steps}, where {name} was best"
    if name is not None and name.startswith("sampled/"):
        return (
            f"{text} on the answers to {prepared.config.watch.prompts} of the prompts that are reported: what is "
            "reported of these answers is too good by what choosing among the validations gains"
        )
    if selection is None:
        return text
    return f"{text} on {selection.num_examples} held-out examples of other prompts than those reported"
