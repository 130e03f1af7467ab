"""
haloes beside TRL on one GPU: started by `benchmarks/gpu.sh`, which says what it needs.

Every size of model is a process for each side. All findings are on disk as they come, so that a run that is stopped
leaves what it had; a share of the time is set aside for each size, and what cannot begin in time is left out and named.
"""

import argparse
import importlib.util
import json
import os
import platform
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.gpu.cases import CASES, DRY_CASES, WEIGHTS, Case, Plan
from benchmarks.gpu.found import peak_flops, read
from benchmarks.gpu.table import table

ROOT = Path(__file__).parents[2]
VERSIONS = (
    "torch",
    "transformers",
    "trl",
    "peft",
    "accelerate",
    "liger-kernel",
    "flash-attn",
    "bitsandbytes",
    "triton",
)
RESERVE = 12.0
"""Seconds that a started case may still take when a size's time is up, before its process is ended."""


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A run of all cases."""

    out: Path
    """Takes the findings' lines and what the processes printed."""
    plan: Plan
    ends: float
    """When everything is to be over, in seconds since the epoch."""
    liger: bool

    def size(self, cases: list[Case], *, until: float) -> None:
        """Measure both sides of a size, haloes first; each gets half of the time that is left to it."""
        sides = ["ours", "peer"] if is_installed("trl") else ["ours"]
        for i, side in enumerate(sides):
            left = until - time.time()
            self.process(side, cases, until=time.time() + left / (len(sides) - i))

    def process(self, side: str, cases: list[Case], *, until: float) -> None:
        """Run one process; it is ended when its time is up and what it had begun took too long."""
        if until - time.time() < (0 if self.plan.dry else 20):
            self.say(f"{side} {cases[0].size}: no time was left")
            return
        spec = {
            "dry": self.plan.dry,
            "cases": [asdict(case) for case in cases],
            "liger": self.liger,
            "until": until - max(case.seconds for case in cases) - RESERVE,
        }
        command = [sys.executable, "-m", f"benchmarks.gpu.{side}", json.dumps(spec), str(self.out / "findings.jsonl")]
        self.say(f"{side} {cases[0].size}: {len(cases)} case(s), at most {until - time.time():.0f} s ...")
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT), _path()])}
        with (self.out / f"{side}-{cases[0].size}.log").open("w") as log:
            try:
                done = subprocess.run(
                    command, cwd=ROOT, env=environment, stdout=log, stderr=log, check=False, timeout=until - time.time()
                )
            except subprocess.TimeoutExpired:
                self.say(f"{side} {cases[0].size}: stopped, its time was up")
                return
        if done.returncode != 0:
            self.say(f"{side} {cases[0].size} failed, see {log.name}")

    def say(self, text: str) -> None:
        print(f"[{max(self.ends - time.time(), 0):4.0f} s left] {text}", flush=True)


def run(benchmark: Benchmark, cases: list[Case]) -> None:
    """Return all sizes in the order of the cases, then the features."""
    began, whole = time.time(), benchmark.ends - time.time()
    until = began
    for size in dict.fromkeys(case.size for case in cases):
        share = 1.0 if benchmark.plan.dry else WEIGHTS[size]
        until = min(until + whole * share, benchmark.ends)
        benchmark.size([case for case in cases if case.size == size], until=until)
    benchmark.process("features", [min(cases, key=lambda case: case.seconds)], until=benchmark.ends)


def facts(plan: Plan) -> dict[str, Any]:
    """Return the versions and the machine that were measured with."""
    import torch

    peak, source = peak_flops(plan.device)
    return {
        "date": datetime.now(UTC).isoformat(timespec="minutes"),
        "device": torch.cuda.get_device_name() if plan.device.type == "cuda" else f"CPU ({platform.machine()})",
        "peak FLOP/s": peak,
        "peak from": source,
        "dry run": plan.dry,
        "versions": {name: _version(name) for name in VERSIONS} | {"python": platform.python_version()},
    }


def is_installed(module: str) -> bool:
    """Return whether a module can be imported."""
    return importlib.util.find_spec(module) is not None


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _path() -> str:
    return os.environ.get("PYTHONPATH", "")


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "gpu", help="%(default)s")
    parser.add_argument("--minutes", type=float, help="for everything (8.5; 30 for a dry run)")
    parser.add_argument("--sizes", nargs="+", help="only these of 0.1B 0.5B 1.5B 8B")
    parser.add_argument("--dry-run", action="store_true", help="tiny models on the CPU: shows that everything runs")
    chosen = parser.parse_args(arguments)
    plan = Plan(dry=chosen.dry_run)
    cases = [case for case in (DRY_CASES if plan.dry else CASES) if not chosen.sizes or case.size in chosen.sizes]
    if not cases:
        parser.error(f"there is no case of the sizes {' '.join(chosen.sizes)}")
    chosen.out.mkdir(parents=True, exist_ok=True)
    findings = chosen.out / "findings.jsonl"
    findings.unlink(missing_ok=True)
    known = facts(plan)
    liger = is_installed("liger_kernel") and not plan.dry
    minutes = chosen.minutes or (30 if plan.dry else 8.5)
    benchmark = Benchmark(chosen.out, plan, time.time() + 60 * minutes, liger)
    try:
        run(benchmark, cases)
    except KeyboardInterrupt:
        benchmark.say("stopped; what was found so far follows")
    found = read(findings)
    content = {**known, "findings": [asdict(one) for one in found]}
    (chosen.out / "results.json").write_text(json.dumps(content, indent=1) + "\n")
    text = table(found, peak=known["peak FLOP/s"])
    (chosen.out / "results.txt").write_text(text + "\n")
    print(json.dumps(known, indent=1))
    print(text)
    if not any(one.seconds for one in found):
        raise SystemExit("nothing was measured; see the .log files beside the results")


if __name__ == "__main__":
    main()
