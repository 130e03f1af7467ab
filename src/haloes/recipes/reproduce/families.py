"""
The paper's comparison of losses, small but real: one model, one budget, one grid, the same held-out answers.

Each method's learning rate and its own hyperparameter are selected by the AUC (or that at equal length) on answers that
are set aside for it, with one seed; with those it is trained with the other seeds, and all are reported on other
answers still (KTO paper, section 4.1, figures 3 and 4, and the ablations of table 2).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from haloes.recipes.reproduce.numbers import Row, auc_rows
from haloes.recipes.reproduce.sets import SetSizes, make_sets
from haloes.recipes.reproduce.trials import Ledger, Runner, Trial, Workbench
from haloes.results import Score
from haloes.runs.config import RunConfig, as_mapping
from haloes.stats.auc import auc
from haloes.stats.auc_by_length import auc_at_equal_length, auc_of_length
from haloes.stats.bootstrap import Floats
from haloes.store import write_json


@dataclass(frozen=True, slots=True)
class Method:
    """A loss of the comparison, and the hyperparameter that is tuned with it."""

    loss: str
    knob: str | None = None
    """The hyperparameter that is tuned beside the learning rate."""
    values: tuple[float, ...] = ()


_BETAS = (0.1, 0.5)

METHODS: Mapping[str, Method] = {
    "kto": Method("kto", "beta", _BETAS),
    "sft": Method("sft"),
    "csft": Method("csft"),
    "slic": Method("slic", "regularization", (0.1, 1.0)),
    "ppo": Method("ppo"),
    "dpo": Method("dpo", "beta", _BETAS),
    "orpo": Method("orpo", "weight", (0.1, 1.0)),
    "kto-no-reference-point": Method("kto-no-reference-point", "beta", _BETAS),
    "kto-concave": Method("kto-concave", "beta", _BETAS),
    "kto-risk-neutral": Method("kto-risk-neutral", "beta", _BETAS),
    "kto-reference-free": Method("kto-reference-free", "beta", (1.0, 5.0)),
}
BASELINE = "kto"


@dataclass(frozen=True, slots=True)
class TunedMethod:
    """A method with its tuned settings, and the cost of its runs."""

    method: str
    lr: float
    settings: dict[str, Any]
    tuning_auc: float
    seconds: float
    """Duration of one run, the median."""
    memory_gib: float
    num_steps: int


@dataclass(frozen=True, slots=True)
class Families:
    """The rows of the comparison, and each method's settings."""

    rows: tuple[Row, ...]
    chosen: tuple[TunedMethod, ...]
    num_answers: int
    num_prompts: int
    length: Score | None = None
    """The AUC of the length of these answers alone."""


def _plain(rewards: Floats, labels: NDArray[np.bool_], _: Sequence[int], __: Sequence[int]) -> float:
    return auc(rewards, labels) or 0.0


def _at_equal_length(
    rewards: Floats, labels: NDArray[np.bool_], prompts: Sequence[int], tokens: Sequence[int]
) -> float:
    found = auc_at_equal_length(rewards, labels, prompts, tokens)
    return 0.0 if found is None else found.value


TUNE_BY = {"auc": _plain, "auc_length_controlled": _at_equal_length}
"""What settings can be chosen by: the AUC of all answers, or of those of about the same length."""


def families(
    config: RunConfig,
    folder: Path,
    *,
    sizes: SetSizes,
    methods: Sequence[str] = tuple(METHODS),
    lrs: Sequence[float] = (3e-4, 1e-3),
    seeds: Sequence[int] = (0, 1, 2),
    tune_by: str = "auc",
    stop: Callable[[], bool],
    on_run: Callable[[str, int, int], None],
) -> Families:
    """
    Compare methods; runs that the folder holds already are kept.

    Args:
        config: feedback, model and training settings; its loss and learning rate are not used.
        folder: takes everything.
        sizes: how much feedback is used.
        methods: names of `METHODS`; KTO must be among them.
        lrs: learning rates to choose from.
        seeds: the first one tunes.
        tune_by: the number that settings are chosen by: one of `TUNE_BY`.
        stop: asked after every step; True ends the comparison, to be resumed later.
        on_run: called before each run with its name, the runs done and all of them.
    """
    sets = make_sets(config.feedback, sizes, folder / "sets")
    bench = Workbench(config, sets, folder, stop=stop)
    ledger = Ledger(folder / "runs.jsonl", {"config": as_mapping(config), "sizes": asdict(sizes)})
    grid = {name: list(_grid(name, METHODS[name], lrs, seeds[0])) for name in methods}
    total = sum(len(of_method) + len(seeds) - 1 for of_method in grid.values())
    runner = Runner(bench, ledger, on_run, total)
    tune = TUNE_BY[tune_by]
    columns = (*bench.labels("tune"), bench.lengths("tune"))
    rewards = {}
    tuned = []
    for name in methods:
        found = [(trial, runner.run(trial)) for trial in grid[name]]
        best, first = max(found, key=lambda item: tune(item[1].rewards["tune"], *columns))
        # The tuning run is the first seed's run: what it cost is not paid twice.
        rest = [runner.run(Trial(best.method, best.loss, best.settings, best.lr, seed)) for seed in seeds[1:]]
        runs = [first, *rest]
        rewards[name] = [run.rewards["test"] for run in runs]
        tuned.append(
            TunedMethod(
                method=name,
                lr=best.lr,
                settings=dict(best.settings),
                tuning_auc=tune(first.rewards["tune"], *columns),
                seconds=float(np.median([run.seconds for run in runs])),
                memory_gib=max(run.memory_gib for run in runs),
                num_steps=first.num_steps,
            )
        )
    desirable, prompts = bench.labels("test")
    lengths = bench.lengths("test")
    rows = auc_rows(rewards, desirable, prompts, baseline=BASELINE, tokens=lengths)
    length = auc_of_length(lengths, desirable, prompts)
    result = Families(tuple(rows), tuple(tuned), len(prompts), len(set(prompts)), length)
    write_json(folder / "families.json", asdict(result))
    return result


def _grid(name: str, method: Method, lrs: Sequence[float], seed: int) -> list[Trial]:
    settings: list[dict[str, Any]] = [{method.knob: value} for value in method.values] if method.knob else [{}]
    return [Trial(name, method.loss, knobs, lr, seed) for lr in lrs for knobs in settings]
