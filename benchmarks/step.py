"""
KTO and DPO steps with the embedded model on a CPU: haloes beside TRL's trainers, in one run, on the same rows.

    python -m benchmarks.step                 all cases once, about 40 minutes on two slow cores
    python -m benchmarks.step --quick         a smoke test; its numbers mean nothing
    python -m benchmarks.step --cases medium-kto long-dpo --minutes 60

Every measured piece is a process of its own, so that its peak memory is its own and nobody finds caches warm. The
pieces of both sides take turns, and a ratio is always of two pieces of the same turn. What is counted are the tokens of
prompts with their completions: no padding and no mismatched completions, for neither side.

TRL gets its best settings: sdpa attention, fused AdamW, no gradient checkpointing, the reference's log-probabilities
precomputed (with a reference model in memory instead in the cases "-live"), and the dtype and the micro-batch that are
fastest here. haloes has its defaults, and the answers to one prompt in one step (train.prompts_together). Both must be
installed: `pip install -r benchmarks/requirements-peer.txt`.
"""

import argparse
import importlib.util
import json
import os
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.cases import CASES, SEARCH, Case
from benchmarks.piece import Found, Task
from benchmarks.processes import ROOT, Processes
from benchmarks.results import CACHED, FIRST, HALOES, LIVE, PRECOMPUTED, SECOND, TRL, Piece, Results

DTYPES = ("float32", "autocast", "bfloat16")
VERSIONS = ("haloes", "trl", "torch", "transformers", "accelerate", "datasets")


@dataclass(slots=True)
class Benchmark:
    """Has the pieces of the cases measured and keeps what is found."""

    processes: Processes
    results: Results
    parts: tuple[int, ...]
    """TRL's micro-batches in a first turn: into how many parts a batch is cut."""
    second: bool = False
    """Whether haloes' second pass is measured as well."""
    dtype: str = "float32"
    """TRL's."""

    def find_dtype(self) -> None:
        """Find the dtype in which TRL is fastest, in a step of four short rows; a slower one is stopped on the way."""
        best, limit = 0.0, None
        tried: dict[str, float | None] = {}
        for dtype in DTYPES:
            task = replace(self._task(SEARCH), dtype=dtype)
            began = time.perf_counter()
            found = self.processes.measure(
                "benchmarks.peer_trl", task, f"looking for TRL's dtype: {dtype}", limit=limit
            )
            limit = limit or time.perf_counter() - began
            tried[dtype] = found.tokens[1] / found.seconds[1] if found else None
            if (tried[dtype] or 0.0) > best:
                best, self.dtype = tried[dtype] or 0.0, dtype
        self.results.facts["TRL's dtypes, tokens/s in a step of four short rows (null: stopped)"] = tried

    def turn(self, case: Case) -> None:
        """Measure one turn of a case: TRL, then haloes without and with cached reference log-probabilities."""
        number = self.results.turns(case.name) + 1
        says = f"{case.name}, turn {number}"
        task = self._task(case)
        kind = LIVE if case.live else PRECOMPUTED
        best = self.results.fastest_micro_batch(case.name)
        for micro in [best] if best else sorted({max(case.batch_size // part, 1) for part in self.parts}):
            theirs = replace(task, dtype=self.dtype, micro_batch=micro, precompute=not case.live)
            found = self.processes.measure("benchmarks.peer_trl", theirs, f"{says}: TRL, {kind}, micro-batch {micro}")
            self._keep(case, number, TRL, kind, found, micro_batch=micro)
        ours = replace(task, reference_cache=str(self.processes.folder / f"cache-{case.name}-{number}"))
        found = self.processes.measure("benchmarks.ours", ours, f"{says}: haloes, {FIRST}")
        self._keep(case, number, HALOES, FIRST, found)
        if not case.live:
            # The first pass filled the cache: the same steps again find all of it, a second pass the matched rows.
            again = replace(ours, epochs=2 if case.loss == "kto" and self.second else 1)
            found = self.processes.measure("benchmarks.ours", again, f"{says}: haloes, {CACHED}")
            self._keep(case, number, HALOES, CACHED, found)
            if again.epochs > 1:
                self._keep(case, number, HALOES, SECOND, found)

    def _task(self, case: Case) -> Task:
        return Task(
            folder=str(self.processes.folder / case.rows),
            loss=case.loss,
            lora=case.lora,
            batch_size=case.batch_size,
            steps=case.steps,
            threads=self.processes.threads,
        )

    def _keep(
        self, case: Case, turn: int, side: str, kind: str, found: Found | None, *, micro_batch: int | None = None
    ) -> None:
        if found is None:
            return
        first, last = (1 if case.steps > 1 else 0), case.steps - 1
        if kind == SECOND:
            first, last = case.steps, 2 * case.steps - 1
        piece = Piece(
            case=case.name,
            turn=turn,
            side=side,
            kind=kind,
            micro_batch=micro_batch,
            found=found,
            first=first,
            last=last,
        )
        self.results.pieces.append(piece)


def run(
    processes: Processes, cases: list[Case], benchmark_of: Callable[[Results], Benchmark], minutes: float
) -> Results:
    """Measure all cases in turn, as often as the minutes allow and at least once."""
    processes.say("choosing the rows and unpacking the model ...")
    wanted = [asdict(case) for case in [SEARCH, *cases]]
    processes.run("benchmarks.rows", [str(processes.folder), json.dumps(wanted)])
    results = Results(_environment(processes))
    benchmark = benchmark_of(results)
    if cases != [SEARCH]:
        benchmark.find_dtype()
    took: dict[str, float] = {}
    while True:
        elapsed = time.perf_counter() - processes.began
        due = [case for case in cases if case.name not in took or elapsed + took[case.name] < 60 * minutes]
        if not due or (cases == [SEARCH] and took):
            return results
        case = min(due, key=lambda case: results.turns(case.name))
        began = time.perf_counter()
        benchmark.turn(case)
        took[case.name] = time.perf_counter() - began


def _environment(processes: Processes) -> dict[str, object]:
    facts = json.loads((processes.folder / "facts.json").read_text())
    return {
        "date": datetime.now(UTC).isoformat(timespec="minutes"),
        "versions": {name: version(name) for name in VERSIONS} | {"python": platform.python_version()},
        "threads": processes.threads,
        "processors": os.cpu_count(),
        "processor": facts["processor"],
        "instructions": facts["instructions"],
        "load before": [round(load, 2) for load in os.getloadavg()],
        "rows": facts["rows"],
    }


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES), help="%(default)s")
    parser.add_argument("--minutes", type=float, default=15, help="take further turns within this time (%(default)s)")
    parser.add_argument("--parts", nargs="+", type=int, default=[1, 2], help="TRL's batch in so many (%(default)s)")
    parser.add_argument("--second", action="store_true", help="measure haloes' second pass over the rows as well")
    parser.add_argument("--threads", type=int, default=2, help="of each process (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="a smoke test with short rows; writes no file")
    chosen = parser.parse_args()
    if importlib.util.find_spec("trl") is None:
        parser.error("trl is not installed here: pip install -r benchmarks/requirements-peer.txt")
    cases = [SEARCH] if chosen.quick else [CASES[name] for name in chosen.cases]
    parts = (1,) if chosen.quick else tuple(chosen.parts)
    with TemporaryDirectory() as folder:
        processes = Processes(Path(folder), chosen.threads, time.perf_counter())
        results = run(processes, cases, lambda found: Benchmark(processes, found, parts, chosen.second), chosen.minutes)
    print()
    print(json.dumps(results.facts, indent=1))
    print(results.table())
    if not chosen.quick:
        name = f"{datetime.now(UTC):%Y-%m-%d}-{chosen.threads}-threads-{results.facts['instructions']}".lower()
        path = ROOT / "benchmarks" / "results" / f"{name}.json"
        results.write(path)
        print(f"\nwritten to {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
