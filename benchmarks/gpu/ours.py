"""haloes' side: one process for a model, its cases one after the other; what each found is written at once."""

import dataclasses
import json
import sys
import time
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from benchmarks.gpu.cases import WARM_UP, Case, Plan, make_model, write_rows
from benchmarks.gpu.exact import exactness
from benchmarks.gpu.found import Found, first_that_fits, noted, peak_gib, write
from benchmarks.gpu.needed import needed
from benchmarks.piece import BETA, LEARNING_RATE, LORA_LAYERS, LORA_RANK, MAX_GRAD_NORM
from benchmarks.rows import SEED, schedule_of, tokens_of_steps

from haloes.losses.dpo import DPO
from haloes.losses.kto import KTO
from haloes.models.adapters import LoRA
from haloes.models.liger import apply_liger
from haloes.models.policy import Policy, make_policy
from haloes.models.reference_cache import ReferenceCache
from haloes.tokens.store import TokenStore
from haloes.training.completion_logps import ReferenceTotals
from haloes.training.distributed import Ranks
from haloes.training.job import TrainJob
from haloes.training.settings import TrainSettings
from haloes.training.trainer import train

SIDES = {False: "haloes", True: "haloes + Liger"}
BUDGETS = [16384, 8192, 4096]
LOSSES: dict[str, Any] = {"kto": KTO(beta=BETA), "dpo": DPO(beta=BETA)}


class Measured(Exception):  # noqa: N818 - it is what happened, not an error
    """All steps are done, or the time is up."""


class Clock:
    """Looks on as the trainer works, and notes how long each step took."""

    def __init__(self, steps: int, until: float, device: torch.device) -> None:
        self.seconds: list[float] = []
        self._steps, self._until, self._device, self._lap = steps, until, device, 0.0

    def on_start(self, *, step: int, num_steps: int) -> None:
        del step, num_steps
        self._lap = self._now()

    def on_metrics(self, numbers: Mapping[str, Any]) -> None:
        del numbers
        now = self._now()
        self.seconds.append(now - self._lap)
        self._lap = now
        enough = len(self.seconds) > WARM_UP and now > self._until
        if len(self.seconds) == self._steps or enough:
            raise Measured

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()


def policy_of(case: Case, plan: Plan, *, liger: bool) -> Policy:
    """Make the model with its reference, as a run does."""
    size = plan.size(case)
    model = make_model(size, dtype=plan.dtype, device=plan.device)
    if liger:
        apply_liger(model)
    lora = LoRA(rank=LORA_RANK, targets=list(LORA_LAYERS)) if size.lora else None
    # The fingerprint is read once a run and no part of a step; of 16 GB it would take minutes of this benchmark.
    return make_policy(model, lora=lora, reference=True, seed=SEED, fingerprint="random")


def measure(case: Case, plan: Plan, *, liger: bool, settings: Mapping[str, Any] | None = None) -> Found:
    """Train and time, with the first micro-batch that fits."""
    with TemporaryDirectory() as folder:
        store = write_rows(Path(folder) / "rows", case, plan)
        tries = [{"microbatch_tokens": budget} for budget in BUDGETS]
        tries.append({"microbatch_tokens": BUDGETS[-1], "gradient_checkpointing": True})
        return first_that_fits(
            [{**one, **(settings or {})} for one in tries],
            lambda one: _train(case, plan, store, Path(folder), one, liger=liger),
            plan.device,
        )


@dataclass(frozen=True, slots=True)
class _Setup:
    """What every training of a case is made of."""

    policy: Policy
    loss: Any
    store: TokenStore
    cache: ReferenceCache
    batch_size: int
    settings: Mapping[str, Any]

    def train(self, clock: Clock) -> None:
        """Train until the clock says so; checkpoints, which TRL does not write here either, are no part of a step."""
        with TemporaryDirectory() as run_dir, suppress(Measured):
            train(self._job(Path(run_dir)), [clock])

    def _job(self, run_dir: Path) -> TrainJob:
        fixed = TrainSettings(
            lr=LEARNING_RATE,
            batch_size=self.batch_size,
            epochs=1,
            warmup=0.0,
            schedule="constant",
            max_grad_norm=MAX_GRAD_NORM,
            checkpoint_every=10**6,
            seed=SEED,
            prompts_together=True,
        )
        return TrainJob(
            policy=self.policy,
            loss=self.loss,
            train=self.store,
            validation=None,
            settings=dataclasses.replace(fixed, **self.settings),
            run_dir=run_dir,
            identity={},
            ranks=Ranks(0, 1),
            cache=self.cache,
            measure=lambda *_: {},
            stop=lambda: False,
        )


def _train(
    case: Case, plan: Plan, store: TokenStore, folder: Path, settings: Mapping[str, Any], *, liger: bool
) -> Found:
    policy, mix = policy_of(case, plan, liger=liger), plan.mix(case)
    cache = ReferenceCache(folder / "cache")
    schedule = schedule_of(store, mix.batch_size, epochs=1)
    began = time.perf_counter()
    for index in range(schedule.num_steps):
        step = schedule.step(index)
        examples = step.examples
        own = np.concatenate([2 * examples, 2 * examples + 1]) if store.paired else examples
        jobs = np.stack([own, own], axis=1)
        if len(step.mismatched):
            jobs = np.concatenate([jobs, np.stack([examples, step.mismatched], axis=1)])
        ReferenceTotals(policy.reference_logps, cache, settings["microbatch_tokens"], plan.device).score(store, jobs)
    precompute = time.perf_counter() - began
    clock = Clock(WARM_UP + plan.steps, time.perf_counter() + case.seconds, plan.device)
    setup = _Setup(policy, LOSSES[case.loss], store, cache, mix.batch_size, settings)
    setup.train(clock)
    counted = range(WARM_UP, len(clock.seconds))
    full = not plan.size(case).lora
    return Found(
        side=SIDES[liger],
        case=case.name,
        seconds=clock.seconds[WARM_UP:],
        tokens=[tokens_of_steps(store, schedule)[i] for i in counted],
        needed=[needed(policy.model, store, schedule.step(i), full=full) for i in counted],
        peak_gib=peak_gib(plan.device),
        settings={
            **settings,
            "attention": policy.scorer.attention,
            "why no kernel": policy.scorer.no_kernel_because,
            "warm-up seconds": clock.seconds[:WARM_UP],
            "reference seconds, all rows": precompute,
            "synchronisations a step": _synchronisations(setup, plan.device),
        },
    )


def _synchronisations(setup: _Setup, device: torch.device) -> int | None:
    """Count how often the processor waits for the GPU in one step; None on a CPU, where it never does."""
    if device.type != "cuda":
        return None
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            setup.train(Clock(1, 0.0, device))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return sum("synchroniz" in str(one.message) for one in seen)


def main() -> None:
    """Run `python -m benchmarks.gpu.ours SPEC OUT`: the spec names the cases, and when there is no time for another."""
    spec, out = json.loads(sys.argv[1]), Path(sys.argv[2])
    plan, cases = Plan(dry=spec["dry"]), [Case(**fields) for fields in spec["cases"]]
    noted(out, cases[0], "exactness", lambda: exactness(cases[0], plan))
    # Liger's layers are tried on the first case; the others run with what was faster there.
    ways = [False, True] if spec["liger"] else [False]
    for case in cases:
        if time.time() > spec["until"]:
            write(out, Found(side="haloes", case=case.name, error="no time was left"))
            continue
        speeds = {way: noted(out, case, SIDES[way], partial(measure, case, plan, liger=way)).speed for way in ways}
        ways = [max(speeds, key=lambda way: speeds[way])]


if __name__ == "__main__":
    main()
