"""One training run of an experiment: a loss and its settings in, rewards of held-out answers out."""

import copy
import dataclasses
import json
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from haloes.errors import ConfigError, DataError
from haloes.feedback.weights import class_weights
from haloes.journal import Journal
from haloes.losses._contract import Loss, Needs
from haloes.losses._weights import with_weights
from haloes.losses.make import hyperparameters, loss_maker, make_loss
from haloes.models.device import choose_device
from haloes.models.load import load_model, load_tokenizer
from haloes.models.policy import Policy
from haloes.models.reference_cache import ReferenceCache
from haloes.progress.contract import NullProgress
from haloes.recipes.reproduce.sets import Sets
from haloes.run_files import CHECKPOINTS, METRICS
from haloes.runs.auto_settings import compute_dtype
from haloes.runs.config import FeedbackSettings, RunConfig
from haloes.runs.config_layers import make_config
from haloes.runs.data import encode_feedback
from haloes.runs.go_on import refuse_init
from haloes.runs.load_policy import reference_folder, trainable_policy
from haloes.stats.bootstrap import Floats
from haloes.tokens.chat_template import with_template_kwargs
from haloes.tokens.encode import Encoder, make_encoder
from haloes.tokens.store import TokenStore
from haloes.training.completion_logps import ReferenceTotals, TokenLogps
from haloes.training.distributed import Ranks
from haloes.training.job import TrainJob
from haloes.training.metrics_log import read_metrics
from haloes.training.settings import TrainSettings, settled
from haloes.training.trainer import train


def experiment_config(source: str, *overrides: Mapping[str, Any]) -> RunConfig:
    """
    Return the feedback, model and training settings that all runs of an experiment share.

    The adapters are on the upper third of the model's blocks, where the backward pass ends, so that two cores without
    an accelerator take an hour at most with the embedded model.
    """
    config = make_config(
        {
            "feedback": {"source": source},
            "tokens": {"max_length": 512},
            "model": {"name": "embedded", "lora": {"rank": 16, "alpha": 32.0, "layers": "upper third"}},
            "train": {"batch_size": 16, "epochs": 1.0, "checkpoint_every": 1_000_000},
        },
        *overrides,
    )
    refuse_init(config.model, where="haloes reproduce")
    return config


@dataclass(frozen=True, slots=True)
class Trial:
    """The settings of one run."""

    method: str
    """Its name in the table."""
    loss: str
    settings: Mapping[str, Any]
    """Hyperparameters of the loss."""
    lr: float
    seed: int

    @property
    def key(self) -> str:
        """Return the run's name among those of an experiment."""
        values = ",".join(f"{name}={value}" for name, value in sorted(self.settings.items()))
        return f"{self.method}({values}) lr={self.lr:g} seed={self.seed}"


@dataclass(frozen=True, slots=True)
class TrialScores:
    """The rewards of a run on held-out answers, and its cost."""

    rewards: dict[str, Floats]
    """log p_policy - log p of the model before training, of each row of `tune` and of `test`."""
    seconds: float
    memory_gib: float
    num_steps: int


@dataclass(frozen=True, slots=True)
class ReadyTrial:
    """A run before its first step."""

    trial: Trial
    loss: Loss[Any]
    policy: Policy
    store: TokenStore
    cache: ReferenceCache


@dataclass(frozen=True, slots=True)
class TrainingCost:
    """Memory and steps of a run's training."""

    memory_gib: float
    num_steps: int


class Workbench:
    """A model, three sets of feedback, and the training settings that all runs share."""

    def __init__(self, config: RunConfig, sets: Sets, folder: Path, *, stop: Callable[[], bool]) -> None:
        """
        Load the model and encode what is held out.

        Args:
            config: model, tokens and training settings; loss, learning rate and seed are the trials' own.
            sets: the feedback.
            folder: takes encoded rows and the runs' metrics.
            stop: asked after every step; True ends a run.
        """
        self._config, self._sets, self._folder, self._stop = config, sets, folder, stop
        device = choose_device(config.model.device)
        self.model: Any = load_model(config.model.name, dtype=compute_dtype(config.model, device), device=device).model
        """The model before training; every run trains a copy."""
        self.encoder = make_encoder(
            with_template_kwargs(load_tokenizer(config.model.name), config.tokens.chat_template_kwargs),
            max_length=config.tokens.max_length,
        )
        self.budget = config.train.microbatch_tokens or 1024
        """Tokens that go through the model together."""

    def labels(self, name: str) -> tuple[NDArray[np.bool_], list[int]]:
        """Return which rows of a held-out set are desirable, and the prompt of each."""
        store = self._held_out(name, "")
        return store.desirable, store.group.tolist()

    def lengths(self, name: str) -> list[int]:
        """Return the tokens of each row of a held-out set."""
        return [int(length) for length in self._held_out(name, "").trained_length]

    def run(self, trial: Trial, *, train_rows: Path | None = None) -> TrialScores:
        """Train, and score what is held out. `train_rows`: a file in place of the sets' own."""
        began = time.perf_counter()
        ready = self.ready(trial, train_rows=train_rows)
        policy = ready.policy
        before = {
            name: self._score(policy.reference_logps, self._held_out(name, ""), ready.cache) for name in _HELD_OUT
        }
        cost = self.train(ready)
        control = ready.loss.needs.control[0] if ready.loss.needs.control else ""
        with policy.scoring():
            after = {n: self._score(policy.token_logps, self._held_out(n, control), None) for n in _HELD_OUT}
        return TrialScores(
            rewards={name: after[name] - before[name] for name in _HELD_OUT},
            seconds=time.perf_counter() - began,
            memory_gib=cost.memory_gib,
            num_steps=cost.num_steps,
        )

    def ready(self, trial: Trial, *, train_rows: Path | None = None) -> ReadyTrial:
        """Set up a copy of the model with the trial's loss and its rows. `train_rows`: as in `run`."""
        loss = make_loss(trial.loss, {**_auto(trial.loss), **trial.settings})
        if not loss.needs.logps:
            raise ConfigError(f"{trial.loss} changes no log-probability, and runs are compared by those; leave it out")
        store = self._train_store(train_rows or self._sets.train, loss.needs)
        weights = class_weights(*store.class_totals())
        loss = with_weights(loss, desirable=weights.desirable, undesirable=weights.undesirable)
        # Copied in memory: a trial trains for less time than loading the model from disk takes.
        model = copy.deepcopy(self.model)
        policy = trainable_policy(model, loss.needs, lora=self._config.model.lora, seed=trial.seed, reference=True)
        cache = ReferenceCache(reference_folder(policy.reference_fingerprint))
        return ReadyTrial(trial, loss, policy, store, cache)

    def run_dir(self, trial: Trial) -> Path:
        """Return the folder of a trial's metrics."""
        return self._folder / "runs" / trial.key

    def train(self, ready: ReadyTrial) -> TrainingCost:
        """Train the policy in place. Raises Interrupted where it was told to stop; the run begins anew then."""
        trial, needs = ready.trial, ready.loss.needs
        run_dir = self.run_dir(trial)
        shutil.rmtree(run_dir, ignore_errors=True)
        run_dir.mkdir(parents=True)
        outcome = train(
            TrainJob(
                policy=ready.policy,
                loss=ready.loss,
                train=ready.store,
                validation=None,
                settings=self._settings(trial, ready.store),
                run_dir=run_dir,
                identity={"trial": trial.key},
                ranks=Ranks(0, 1),
                cache=ready.cache if needs.sync_every is None else None,
                measure=lambda _, __: {},
                stop=self._stop,
            )
        )
        shutil.rmtree(run_dir / CHECKPOINTS, ignore_errors=True)
        lines = read_metrics(run_dir / METRICS)
        return TrainingCost(max(line["memory_gib"] for line in lines), outcome.num_steps)

    def _settings(self, trial: Trial, store: TokenStore) -> TrainSettings:
        # A pair is two answers: every method sees as many of them in a step.
        answers = settled(self._config.train.batch_size, "batch_size")
        size = max(1, answers // store.sequences_per_example)
        return dataclasses.replace(self._config.train, lr=trial.lr, seed=trial.seed, batch_size=size)

    def _train_store(self, source: Path, needs: Needs) -> TokenStore:
        return self._store(source, needs, self.encoder)

    def _held_out(self, name: str, control: str) -> TokenStore:
        source = self._sets.tune if name == "tune" else self._sets.test
        return self._store(source, Needs(), self.encoder.with_control(control))

    def _store(self, source: Path, needs: Needs, encoder: Encoder) -> TokenStore:
        """Encode the rows of a file as a loss with these needs wants them, once for all runs."""
        kind = [str(needs.pairs), str(needs.undesirable), str(needs.control), str(needs.score_range)]
        folder = self._folder / "data" / f"{source.stem}-{'-'.join(kind)}-{encoder.template.control}".replace("/", "_")
        if not (folder / "train").exists():
            settings = FeedbackSettings(source=str(source), validation_share=0.0)
            encode_feedback(
                settings, needs=needs, encoder=encoder, folder=folder, num_prompts=0, progress=NullProgress()
            )
        return TokenStore(folder / "train")

    def _score(self, score: TokenLogps, store: TokenStore, cache: ReferenceCache | None) -> Floats:
        every = np.arange(len(store))
        scorer = ReferenceTotals(score, cache, self.budget, self.model.device)
        return scorer.score(store, np.stack([every, every], axis=1)).totals


class Ledger:
    """Finished runs on disk, a line each; those of other settings stay in the file and do not count."""

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        """
        Read what is there. A last line that a kill cut off is taken away; its run is done again.

        Raises DataError, with file and line, where a row is no finished run.
        """
        # As they come back from the file: a path is text there, and a tuple a list.
        self._settings = json.loads(json.dumps(settings, default=str))
        self._journal: Journal[Mapping[str, Any]] = Journal(
            path,
            first_key="trial",
            load=_line,
            dump=json.dumps,
            advice="the runs that were finished before are kept, and the same command goes on from them",
        )
        lines = self._journal.resume()
        self._known = {line["trial"]: line["finding"] for line in lines if line["settings"] == self._settings}

    def get(self, key: str) -> dict[str, Any] | None:
        """Return what a run found, if it was done."""
        return self._known.get(key)

    def add(self, key: str, finding: dict[str, Any]) -> None:
        """Keep what a run found, which is JSON-ready. Raises RunError where the disk is full."""
        self._journal.add({"trial": key, "finding": finding, "settings": self._settings})
        self._known[key] = finding


class Runner:
    """Runs trials that are not in the ledger, and tells how far things are."""

    def __init__(self, bench: Workbench, ledger: Ledger, on_run: Callable[[str, int, int], None], total: int) -> None:
        """Take `total`, the number of runs that there will be, for the progress."""
        self._bench, self._ledger, self._on_run, self._total = bench, ledger, on_run, total
        self._done = 0

    def run(self, trial: Trial, *, train_rows: Path | None = None) -> TrialScores:
        """Return the trial's result, from the ledger if it is there."""
        self._on_run(trial.key, self._done, self._total)
        plain = self._ledger.get(trial.key)
        if plain is None:
            found = self._bench.run(trial, train_rows=train_rows)
            self._ledger.add(trial.key, _plain(found))
        else:
            found = _finding(plain)
        self._done += 1
        return found


def _plain(finding: TrialScores) -> dict[str, Any]:
    return {**asdict(finding), "rewards": {name: values.tolist() for name, values in finding.rewards.items()}}


def _finding(plain: Mapping[str, Any]) -> TrialScores:
    rewards = {name: np.array(values, np.float64) for name, values in plain["rewards"].items()}
    return TrialScores(rewards, plain["seconds"], plain["memory_gib"], plain["num_steps"])


_HELD_OUT = ("tune", "test")


def _line(row: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    missing = [name for name in ("trial", "finding", "settings") if name not in row]
    if missing:
        raise DataError(f"{where}: this is no finished run: it has no {missing[0]!r}")
    return row


def _auto(loss: str) -> dict[str, str]:
    """Take class weights from the data, for a loss that has them."""
    return {
        name: "auto" for name in hyperparameters(loss_maker(loss)) if name in {"desirable_weight", "undesirable_weight"}
    }
