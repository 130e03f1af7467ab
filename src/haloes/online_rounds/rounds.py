"""Online rounds: answers, verdicts, feedback, training, measuring; every stage on disk, so that none is done twice."""

import dataclasses
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

import torch

from haloes.errors import ConfigError
from haloes.locks import hold_folder
from haloes.losses._contract import Loss
from haloes.models.device import choose_device
from haloes.online_rounds.labelers import Labeler, counts_of, learnable, require_enough
from haloes.online_rounds.settings import EXPERIMENT, OnlineSettings, claim, of_round, release
from haloes.online_rounds.stages import ANSWERS, KL, RoundModel, answers_of, kl_to_first
from haloes.progress.contract import Progress
from haloes.records import Asked, Completion
from haloes.records_json import asked_to_json, row_to_json
from haloes.results import Score
from haloes.run_files import MODEL, is_run
from haloes.runs.align import align
from haloes.runs.config import FeedbackSettings, RunConfig
from haloes.runs.run_folder import known_experiment
from haloes.runs.setup import configured_loss
from haloes.stats.means import mean_with_interval
from haloes.stats.text_stats import words
from haloes.store import read_jsonl, write_json, write_jsonl
from haloes.training.distributed import this_rank

CURVE, ROUND = "curve.json", "round.json"
PROMPTS, FEEDBACK, RUN, HELD_OUT = "prompts.jsonl", "feedback.jsonl", "run", "held_out"


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """A model on the reward-KL curve: round 0 is the first model."""

    round: int
    rating: Score | None
    """Score on held-out prompts: the share that the rater likes, or the win rate against the first model."""
    kl: Score
    """KL to the first model, along the model's own answers, nats an answer."""
    words: Score | None
    """Mean words of an answer."""
    feedback: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """Counts of its round's feedback: desirable and undesirable answers, or pairs."""


@dataclass(frozen=True, slots=True)
class _Experiment:
    config: RunConfig
    settings: OnlineSettings
    labeler: Labeler
    prompts: Mapping[str, Asked]
    held_out: Mapping[str, Asked]
    out: Path
    device: torch.device
    progress: Progress

    def folder(self, number: int) -> Path:
        return self.out / f"round-{number}"

    def model(self, number: int) -> RoundModel:
        """Return the model that a round left."""
        source = self.config.model.name if number == 0 else str((self.folder(number) / RUN / MODEL).absolute())
        dtype: Any = getattr(torch, self.config.model.dtype)  # never "auto": the claim resolved it
        return RoundModel(
            name=f"round-{number}",
            source=source,
            device=self.device,
            dtype=dtype,
            chat_template_kwargs=self.config.tokens.chat_template_kwargs,
        )


def online(
    config: RunConfig,
    settings: OnlineSettings,
    labeler: Labeler,
    *,
    prompts: Mapping[str, Asked],
    held_out: Mapping[str, Asked],
    out: Path,
    progress: Progress,
) -> tuple[CurvePoint, ...]:
    """
    Carry the rounds out, or resume those that `out` holds.

    Args:
        config: model, loss and training of each round; its feedback settings say how the verdicts are read.
        settings: settings of the rounds.
        labeler: the judge or rater whose verdicts are learnt.
        prompts: prompts to learn on, by id, in the order in which they are taken.
        held_out: prompts to measure on, by id.
        out: the experiment's folder. Each round has one of its own in it with its prompts, answers, verdicts,
            feedback, run, and the same of the held-out prompts.
        progress: told how far the work is.

    Returns:
        The reward-KL curve, which is in `curve.json` too: the first model and the model after each round.

    Raises:
        UserError: something that the user can put right; what was done stays, and where nothing was, no folder.
        Interrupted: the user stopped a round's training.
    """
    device = choose_device(config.model.device)
    loss = _suitable_loss(config, device)
    given = {"prompts": prompts, "held-out prompts": held_out}
    known_experiment(out / EXPERIMENT)  # somebody else's folder is refused before anything is made in it
    with hold_folder(out):
        config = claim(
            out, config=config, device=device, settings=settings, labeler=labeler, prompts=given, loss=repr(loss)
        )
        return _carry_out(_Experiment(config, settings, labeler, prompts, held_out, out, device, progress), loss)


def _carry_out(experiment: _Experiment, loss: Loss[Any]) -> tuple[CurvePoint, ...]:
    """Carry the rounds out in a folder that is claimed, and return their curve."""
    # The first model is measured before anything is learnt: what fails here leaves no folder behind.
    try:
        points = [_measure(experiment, 0, {})]
    except BaseException:
        release(experiment.out)
        raise
    for number in range(1, experiment.settings.rounds + 1):
        counts = _collect(experiment, number, pairs=loss.needs.pairs, undesirable=loss.needs.undesirable)
        _train(experiment, number, counts)
        points.append(_measure(experiment, number, counts))
        write_json(experiment.out / CURVE, [_plain(point) for point in points])
    return tuple(points)


def _suitable_loss(config: RunConfig, device: torch.device) -> Loss[Any]:
    """Return the rounds' loss. Raises ConfigError where a round could not go on from the model of the one before."""
    if this_rank(device).count > 1:
        raise ConfigError("online rounds run in one process; start them without torchrun")
    if config.model.quantize is not None:
        raise ConfigError(
            "model.quantize: a round goes on from the adapter of the one before, merged into its base, which cannot be "
            "done in four bits; leave model.quantize out"
        )
    loss = configured_loss(config.loss)
    if loss.needs.control is not None:
        raise ConfigError(
            f"loss.name: {config.loss['name']} marks prompts with control texts, which would pile up over rounds; take "
            "another loss"
        )
    if loss.needs.rewards:
        raise ConfigError(
            f"loss.name: {config.loss['name']} trains a reward model, which gives no answers to learn from; train it "
            "with `haloes train`, and take it as the judge: --judge reward --judge-model ITS_RUN"
        )
    return loss


def _collect(experiment: _Experiment, number: int, *, pairs: bool, undesirable: bool) -> dict[str, int]:
    """Write a round's prompts, answers, verdicts and feedback; return the counts of the latter."""
    settings, folder = experiment.settings, experiment.folder(number)
    names = of_round(list(experiment.prompts), number, settings.prompts_per_round)
    prompts = {name: experiment.prompts[name] for name in names}
    folder.mkdir(exist_ok=True)
    write_jsonl(folder / PROMPTS, ({"id": name, **asked_to_json(prompt)} for name, prompt in prompts.items()))
    seeds = settings.seeds(number)
    # Feedback is written whole or not at all, so that a file of it says that the stages before it are done.
    if not (folder / FEEDBACK).exists():
        stage = f"round {number}: answers"
        answers = _answers(experiment, number - 1, prompts, folder / ANSWERS, seeds=seeds, stage=stage)
        verdicts = experiment.labeler.num_verdicts(answers, against_first=False)
        experiment.progress.stage(f"round {number}: verdicts", verdicts)
        labelled = experiment.labeler.feedback(answers, folder, pairs=pairs, advance=experiment.progress.advance)
        rows = learnable(labelled)
        require_enough(rows, number, pairs=pairs, undesirable=undesirable)
        write_jsonl(folder / FEEDBACK, map(row_to_json, rows))
    return counts_of([row for _, row in read_jsonl(folder / FEEDBACK)])


def _train(experiment: _Experiment, number: int, counts: Mapping[str, int]) -> None:
    """Train a round's run, or resume it where it was stopped."""
    folder, config, settings = experiment.folder(number), experiment.config, experiment.settings
    if (folder / ROUND).exists():
        return
    run_dir = folder / RUN
    resume = is_run(run_dir)
    if not resume:
        # A kill while the feedback was encoded leaves no run to resume.
        shutil.rmtree(run_dir, ignore_errors=True)
    start = experiment.model(number - 1)
    reference = experiment.model(0).source if settings.reference == "fixed" and number > 1 else None
    round_config = dataclasses.replace(
        config,
        feedback=_reading(config.feedback, folder / FEEDBACK),
        model=dataclasses.replace(config.model, name=start.source, reference=reference),
        samples=dataclasses.replace(config.samples, prompts=0, rater=None),
        # Another seed each round, so that its batches and the start of its adapter are not the same ones again.
        train=dataclasses.replace(config.train, seed=config.train.seed + number - 1),
    )
    # Pairs are one kind of feedback, and single answers of both labels the other: the kind that there is is counted.
    kinds = [kind for kind in counts if (kind == "pairs") == bool(counts["pairs"])]
    learnt = ", ".join(f"{counts[kind]} {kind}" for kind in kinds)
    experiment.progress.note(
        f"round {number} of {settings.rounds}, from {start.name}, reference: {settings.reference}, feedback: {learnt}"
    )
    run = align(round_config, run_dir, resume=resume, progress=experiment.progress)
    write_json(folder / ROUND, {"start": start.source, "reference": reference or start.source, "steps": run.num_steps})


def _reading(settings: FeedbackSettings, source: Path) -> FeedbackSettings:
    """Return how a round's feedback is read: what the settings use of it, but not how they read the prompts' file."""
    return FeedbackSettings(
        source=str(source),
        one_per_prompt=settings.one_per_prompt,
        skip_refused=settings.skip_refused,
        validation_share=0.0,
    )


def _measure(experiment: _Experiment, number: int, counts: Mapping[str, int]) -> CurvePoint:
    """Measure the model after a round on the held-out prompts."""
    folder, first = experiment.folder(number) / HELD_OUT, experiment.model(0)
    seeds = range(experiment.settings.seed, experiment.settings.seed + 1)
    label = f"round {number}: held-out"
    answers = _answers(experiment, number, experiment.held_out, folder / ANSWERS, seeds=seeds, stage=f"{label} answers")
    # Round 0 is compared with itself: ties throughout, a win rate of one half by definition.
    baseline = answers if number == 0 else _first_answers(experiment, seeds)
    experiment.progress.stage(f"{label} verdicts", experiment.labeler.num_verdicts(answers, against_first=True))
    rating = experiment.labeler.rating(answers, baseline, folder, advance=experiment.progress.advance)
    experiment.progress.stage(f"{label} divergence", len(answers))
    kl = kl_to_first(
        experiment.model(number),
        first,
        answers,
        folder / KL,
        max_length=experiment.config.tokens.max_length,
        budget=experiment.config.train.microbatch_tokens,
        advance=experiment.progress.advance,
    )
    prompts = [answer.prompt_id for answer in answers]
    lengths = [len(words(answer.completion)) for answer in answers]
    long = mean_with_interval(
        lengths, prompts, name="words", variant=answers[0].model, label="Words an answer", bounds=(0, inf)
    )
    return CurvePoint(round=number, rating=rating, kl=kl, words=long, feedback=counts)


def _first_answers(experiment: _Experiment, seeds: range) -> list[Completion]:
    """Return the first model's answers to the held-out prompts, which round 0 asked for."""
    path = experiment.folder(0) / HELD_OUT / ANSWERS
    return _answers(experiment, 0, experiment.held_out, path, seeds=seeds, stage=None)


def _answers(
    experiment: _Experiment, model: int, prompts: Mapping[str, Asked], path: Path, *, seeds: range, stage: str | None
) -> list[Completion]:
    """Return the model's answers; `stage` is shown where they may take time."""
    if stage is not None:
        experiment.progress.stage(stage, len(prompts) * len(seeds))
    return answers_of(
        experiment.model(model),
        prompts,
        path,
        seeds=seeds,
        settings=experiment.settings,
        advance=experiment.progress.advance,
    )


def _plain(point: CurvePoint) -> dict[str, Any]:
    scores = {name: getattr(point, name) for name in ("rating", "kl", "words")}
    return {
        "round": point.round,
        **{name: None if score is None else row_to_json(score) for name, score in scores.items()},
        "feedback": dict(point.feedback),
    }
