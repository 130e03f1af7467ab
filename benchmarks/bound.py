"""
How far a training step is from its bound, part by part: where the time goes, and how little it could be.

    python -m benchmarks.bound                          KTO, all weights, answers of 60 to 500 tokens
    python -m benchmarks.bound --case long-dpo-lora     any case of benchmarks.cases; --quick for a smoke test

The bound is the floating-point operations that the step needs (`haloes.planning.cost_model`: no padding, no
position without need, nothing computed twice) at the rate of this machine's matrix products, measured before and after.
The time of each part is that of its operators in torch's profiler; what a part needs beyond its bound is lost, and the
largest loss is named.
"""

import argparse
import json
import os
import time
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from benchmarks.cases import CASES, SEARCH, Case
from benchmarks.ours import Clock, Measured, job_of, loaded_policy, warm_up
from benchmarks.piece import Task
from benchmarks.rows import prepare
from torch.profiler import ProfilerActivity, profile

from haloes.batches.collate import LAYING_OUT
from haloes.models.device import product_rate
from haloes.models.layout import Packed
from haloes.planning.cost_model import Layout, forward_operations, layout_of, training_operations
from haloes.planning.model_size import sizes_of
from haloes.tokens.store import TokenStore
from haloes.training.trainer import train

PARTS = ("body", "attention", "head", "optimizer", "data", "elsewhere")
SCOPES = {
    "_TargetLogps": "head",
    "_TargetLogpsBackward": "head",
    "Optimizer.step#AdamW.step": "optimizer",
    LAYING_OUT: "data",
}
PRODUCTS = ("aten::mm", "aten::addmm", "aten::bmm", "aten::addmm_", "aten::matmul", "aten::linear")


@dataclass(slots=True)
class Layouts:
    """What went through the model in a step, with gradient and without."""

    trained: list[Layout] = field(default_factory=list)
    scored: list[Layout] = field(default_factory=list)

    def take(self, packed: Packed, *, trained: bool) -> None:
        """Note a layout: the hook of a `TrainJob`."""
        layout = layout_of(packed.piece_lengths, packed.prefix_pieces, len(packed.target_N))
        (self.trained if trained else self.scored).append(layout)


def seconds_by_part(events: Iterable[Any]) -> dict[str, float]:
    """Sum the profiler's seconds by part and, of the body, those of its matrix products."""
    found: dict[str, float] = defaultdict(float)
    for event in events:
        if event.device_type != torch.autograd.DeviceType.CPU:
            continue
        seconds = event.self_cpu_time_total / 1e6
        part = part_of(event)
        found[part] += seconds
        if part == "body" and event.name in PRODUCTS:
            found["products"] += seconds
    return found


def part_of(event: Any) -> str:
    """Return the part that an event belongs to: that of the innermost scope that tells."""
    around: Any = event
    while around is not None:
        if around.name in SCOPES:
            return SCOPES[around.name]
        if "scaled_dot_product" in around.name:
            return "attention"
        around = around.cpu_parent
    return "body"


def measure(case: Case, *, threads: int) -> dict[str, Any]:
    """Profile the case's last step; its reference log-probabilities are cached, as in TRL's precomputed case."""
    torch.set_num_threads(threads)
    with TemporaryDirectory() as folder:
        rows = prepare(Path(folder), case)
        task = Task(
            folder=f"{folder}/{case.rows}",
            loss=case.loss,
            lora=case.lora,
            batch_size=case.batch_size,
            steps=case.steps,
            threads=threads,
            reference_cache=f"{folder}/cache",
        )
        policy, dtype = loaded_policy(task)
        store = TokenStore(Path(task.folder) / "store")
        warm_up(policy, store)
        for name in ("first", "second"):
            (Path(folder) / name).mkdir()
        with suppress(Measured):
            train(job_of(task, policy, store, Path(folder) / "first"), [Clock()])  # fills the cache
        rate = [product_rate(dtype, policy.device, rows=512, inner=576, columns=1536)]
        layouts, began = Layouts(), time.perf_counter()
        job = replace(job_of(task, policy, store, Path(folder) / "second"), on_layout=layouts.take)
        with profile(activities=[ProfilerActivity.CPU]) as profiler, suppress(Measured):
            clock = Clock()
            train(job, [clock])
        wall = time.perf_counter() - began
        rate.append(product_rate(dtype, policy.device, rows=512, inner=576, columns=1536))
        parts = seconds_by_part(profiler.events())
    needed = operations(policy.model, layouts, full=not case.lora)
    found = {
        "case": case.name,
        "rows": rows,
        "steps": len(clock.seconds),
        "seconds": sum(clock.seconds),
        "rate": max(rate),
        "rates": rate,
        "parts": {part: {"seconds": parts[part], "bound": needed.get(part, 0.0) / max(rate)} for part in PARTS[:-1]},
        "products": parts["products"],
    }
    found["parts"]["elsewhere"] = {"seconds": max(wall - sum(parts[p] for p in PARTS[:-1]), 0.0), "bound": 0.0}
    return found


def operations(model: Any, layouts: Layouts, *, full: bool) -> dict[str, float]:
    """Return the floating-point operations that the steps need, by part."""
    sizes = sizes_of(model, full=full)
    found: dict[str, float] = defaultdict(float)
    for layout in layouts.scored:
        for part, count in zip(("body", "attention", "head"), forward_operations(sizes, layout), strict=True):
            found[part] += count
    for layout in layouts.trained:
        blocks, attention, head = forward_operations(sizes, layout)
        whole = training_operations(sizes, layout, full=full)
        found["attention"] += attention * (1 + 2 * sizes.trained_share)
        found["head"] += head * (3 if sizes.head_trained else 2)
        found["body"] += whole - attention * (1 + 2 * sizes.trained_share) - head * (3 if sizes.head_trained else 2)
        del blocks
    return found


def table(found: dict[str, Any]) -> str:
    """Return the measurement as a table for people."""
    parts = found["parts"]
    total = sum(part["seconds"] for part in parts.values())
    bound = sum(part["bound"] for part in parts.values())
    lines = [
        f"{found['case']}: {found['steps']} steps, {found['seconds']:.1f} s",
        f"matrix products of the body's shape reach {found['rate'] / 1e9:.0f} GFLOP/s",
        f"{'part':<12}{'seconds':>9}{'share':>8}{'bound s':>9}{'of bound':>10}{'lost s':>8}",
    ]
    for name, part in {**parts, "all": {"seconds": total, "bound": bound}}.items():
        reached = f"{part['bound'] / part['seconds']:.0%}" if part["bound"] and part["seconds"] else ""
        lost = part["seconds"] - part["bound"]
        share = part["seconds"] / total
        lines.append(f"{name:<12}{part['seconds']:>9.2f}{share:>8.0%}{part['bound']:>9.2f}{reached:>10}{lost:>8.2f}")
    worst = max(parts, key=lambda name: parts[name]["seconds"] - parts[name]["bound"])
    body = parts["body"]["seconds"]
    lines.append(f"of the body {found['products'] / body:.0%} are matrix products, the rest is elementwise and copies")
    lines.append(f"the largest loss: {worst}")
    return "\n".join(lines)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", nargs="+", choices=list(CASES), default=["medium-kto"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="made-up short rows: a smoke test")
    parser.add_argument("--json", type=Path, help="write the numbers here as well")
    chosen = parser.parse_args()
    found = []
    for case in [SEARCH] if chosen.quick else [CASES[name] for name in chosen.case]:
        found.append(measure(case, threads=chosen.threads))
        print(table(found[-1]), end="\n\n", flush=True)
    if chosen.json:
        chosen.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
