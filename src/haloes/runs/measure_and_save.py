"""The end of a run: the saved model, answers to held-out prompts before and after training, and all scores."""

import copy
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from haloes.models.classifier import save_classifier
from haloes.models.policy import Policy
from haloes.models.quiet import quiet
from haloes.models.scalar_heads import RewardHead
from haloes.progress.contract import Progress
from haloes.records import Asked, Completion
from haloes.records_json import row_to_json
from haloes.results import Score
from haloes.results_json import write_ratings, write_scores
from haloes.run_files import LOGGED_ANSWERS, METRICS, MODEL, RATINGS, SAMPLES, SCORES, WARNINGS
from haloes.runs import manifest
from haloes.runs.answer_kl import kl_scores
from haloes.runs.config import SampleSettings
from haloes.runs.inputs import Inputs
from haloes.runs.measure import (
    Rater,
    answer_scores,
    kept_share_score,
    logged_answer_scores,
    rate,
    reward_pairs,
    validation_scores,
    write_calibration,
    write_held_out,
)
from haloes.runs.save_ends import save_ends
from haloes.runs.warnings import answer_warnings, training_warnings
from haloes.sampling._contract import Advance
from haloes.sampling.generate import sample
from haloes.sampling.run import read_completions
from haloes.store import give_usual_permissions, write_json, write_jsonl
from haloes.tokens.chat_template import plain_chat_template, with_control_text, with_end_of_text
from haloes.tokens.template import Template
from haloes.training.job import TrainResult
from haloes.training.metrics_log import read_metrics

_KL_TOKENS, _KL_ANSWERS = 1024, 16


@dataclass(frozen=True, slots=True)
class RunContext:
    """A run that is under way: what answering, monitoring and finishing share."""

    run_dir: Path
    policy: Policy
    inputs: Inputs
    samples: SampleSettings
    progress: Progress

    def sample(
        self,
        prompts: Mapping[str, Asked],
        *,
        variant: str,
        control: str,
        advance: Advance,
    ) -> list[Completion]:
        """Sample the policy's answers to prompts, with a control text after each, as the run's settings say."""
        settings = self.samples
        with self.policy.scoring():
            return sample(
                self.policy.scorer.model,
                self.inputs.encoder.template.tokenizer,
                prompts,
                max_new_tokens=settings.max_new_tokens,
                temperature=settings.temperature,
                top_p=settings.top_p,
                seed=settings.seed,
                control=control,
                variant=variant,
                batch_size=settings.batch_size,
                advance=advance,
            )


def answer_held_out(context: RunContext, variant: str) -> list[Completion]:
    """Return the policy's answers to the run's held-out prompts, from `samples.jsonl` if they are there already."""
    prompts, path = context.inputs.prompts, context.run_dir / SAMPLES
    if path.exists() and not _is_as_written(context):
        context.progress.note(f"{path} is not what the run wrote: the prompts are answered again")
    answers = [completion for completion in _kept(context) if completion.model == variant]
    if not answers and prompts:
        answers = answer_again(context, variant, prompts)
        keep_answers(context, variant, answers)
    return answers


def answer_again(context: RunContext, variant: str, prompts: Mapping[str, Asked]) -> list[Completion]:
    """Return the policy's answers to prompts as it is now."""
    context.progress.stage(f"answers {variant} training", len(prompts))
    return context.sample(
        prompts,
        variant=variant,
        # The model before training never saw the control text of desirable answers.
        control=context.inputs.encoder.template.control if variant == "after" else "",
        advance=context.progress.advance,
    )


def keep_answers(context: RunContext, variant: str, answers: Sequence[Completion]) -> None:
    """Write answers to the held-out prompts into `samples.jsonl`, in place of others of this variant."""
    others = [completion for completion in _kept(context) if completion.model != variant]
    write_jsonl(context.run_dir / SAMPLES, (row_to_json(completion) for completion in [*others, *answers]))
    manifest.record(context.run_dir, [SAMPLES])


def forget_answers_after(context: RunContext) -> None:
    """Remove answers after training that an earlier end of the run left: it may go further, or end elsewhere."""
    kept = _kept(context)
    if any(completion.model == "after" for completion in kept):
        keep_answers(context, "after", [])


def _kept(context: RunContext) -> list[Completion]:
    """Return the answers in `samples.jsonl`; none where it is not what the run wrote."""
    path = context.run_dir / SAMPLES
    return read_completions(path) if path.exists() and _is_as_written(context) else []


def _is_as_written(context: RunContext) -> bool:
    """Return whether the run's answers are those that it wrote."""
    return not manifest.changed(context.run_dir, SAMPLES)


def measure_trained(
    context: RunContext, outcome: TrainResult, rater: Rater | None, warnings: Sequence[str], *, kl_budget: float
) -> tuple[Score, ...]:
    """
    Answer the held-out prompts again, measure, and write all of it into the run's folder.

    Args:
        context: the run.
        outcome: what training left.
        rater: likes an answer or not.
        warnings: sentences from before.
        kl_budget: nats an answer above which the answers' divergence is warned of.
    """
    run_dir, encoder = context.run_dir, context.inputs.encoder
    before, after = answer_held_out(context, "before"), answer_held_out(context, "after")
    context.progress.stage("measuring")
    scores: list[Score] = []
    if outcome.validation is not None and context.inputs.validation is not None:
        scores = validation_scores(outcome.validation)
        write_held_out(run_dir, outcome.validation, context.inputs.validation)
        write_scores(run_dir / LOGGED_ANSWERS, logged_answer_scores(outcome.validation, context.inputs.validation))
        pairs = reward_pairs(outcome.validation)
        if pairs is not None:
            write_calibration(run_dir, pairs)
    if after:
        ratings = []
        if rater is not None:
            context.progress.stage("rating the answers", len(before) + len(after))
            ratings = rate(rater, [*before, *after], context.progress.advance)
        # Resumed with another rater, or with none: the old verdicts would be shown as this run's.
        (run_dir / RATINGS).unlink(missing_ok=True)
        if ratings:
            write_ratings(run_dir / RATINGS, ratings)
        scores += answer_scores(before, after, ratings)
        if outcome.kept_share < 1:
            scores.append(kept_share_score(outcome.kept_share, len(after)))
        if context.policy.reference is not None:
            measured = after[:_KL_ANSWERS]
            context.progress.stage("divergence along the answers", len(measured))
            scores += kl_scores(context.policy, encoder, measured, budget=_KL_TOKENS, advance=context.progress.advance)
    write_scores(run_dir / SCORES, scores)
    texts = [
        *warnings,
        *answer_warnings([*before, *after]),
        *training_warnings(read_metrics(run_dir / METRICS), scores, kl_budget=kl_budget),
    ]
    write_json(run_dir / WARNINGS, [{"severity": "warning", "message": text} for text in texts])
    return tuple(scores)


def save_trained(context: RunContext, trained: Policy) -> None:
    """Save the trained model into the run's folder."""
    context.progress.stage("saving the model")
    save_model(trained, context.inputs.encoder.template, context.run_dir / MODEL)


def save_model(policy: Policy, template: Template, folder: Path) -> None:
    """
    Save the adapter, or with full tuning the whole model, and the tokenizer, in the layout of transformers and peft.

    A control text becomes a part of the chat template, so that every program that uses the template samples with it;
    where there is none the tokenizer's configuration names it, and haloes samples with it. What ends an answer is in
    the generation settings and the tokenizer. A policy with a reward head is saved whole, as a sequence classifier. A
    folder that is there already is replaced.
    """
    # Renamed at the end: a folder that was killed half-written is never taken for a model.
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    if policy.reward_head is not None:
        save_reward_model(policy, policy.reward_head, template, partial)
    else:
        tokenizer = with_control_text(template.tokenizer, template.control)
        with quiet():
            policy.model.save_pretrained(partial)
            with_end_of_text(tokenizer, template.end_of_turn).save_pretrained(partial)
        save_ends(policy.model, tokenizer, partial)
    give_usual_permissions(partial)
    if folder.exists():
        shutil.rmtree(folder)
    partial.rename(folder)


def save_reward_model(policy: Policy, head: RewardHead, template: Template, folder: Path) -> None:
    """
    Save a sequence classifier that any tool loads, its adapter merged; the policy itself is merged with it.

    The tokenizer always has a chat template, which writes conversations as they were trained.
    """
    dtype, model = policy.scorer.model.dtype, policy.model
    if model is not policy.scorer.model:  # merged in float32, whatever it computed in
        with quiet():
            model = model.float().merge_and_unload(safe_merge=True).to(dtype)
    tokenizer = copy.deepcopy(template.tokenizer)
    if not template.chat:
        tokenizer.chat_template = plain_chat_template(tokenizer, template.end_of_turn)
    save_classifier(model, head.weight, tokenizer, folder, ends=template.end_of_turn)
    give_usual_permissions(folder)
