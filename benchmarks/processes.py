"""Each measured piece in a process of its own."""

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.piece import Found, Task

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class Processes:
    """Starts processes one after the other, and says what it is doing."""

    folder: Path
    """For what passes between the processes."""
    threads: int
    began: float

    def run(self, module: str, arguments: list[str], *, limit: float | None = None) -> bool:
        """Run `python -m module`; False when it was stopped after `limit` seconds. Exits with its words if it fails."""
        command = [sys.executable, "-m", module, *arguments]
        try:
            done = subprocess.run(
                command, cwd=ROOT, env=self._environment(), capture_output=True, text=True, timeout=limit, check=False
            )
        except subprocess.TimeoutExpired:
            return False
        if done.returncode != 0:
            raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout[-1000:]}\n{done.stderr[-4000:]}")
        return True

    def measure(self, module: str, task: Task, says: str, *, limit: float | None = None) -> Found | None:
        """Have a task measured; None when it was stopped after `limit` seconds."""
        self.say(f"{says} ...", end=" ")
        path = self.folder / "found.json"
        if not self.run(module, [json.dumps(asdict(task)), str(path)], limit=limit):
            print("stopped: slower than what was found before")
            return None
        found = Found(**json.loads(path.read_text()))
        print(f"{sum(found.tokens) / sum(found.seconds):.1f} tokens/s, at most {found.peak_gib:.1f} GiB")
        return found

    def say(self, text: str, *, end: str = "\n") -> None:
        """Print a line with the time since the start."""
        minutes, seconds = divmod(int(time.perf_counter() - self.began), 60)
        print(f"[{minutes:3d}:{seconds:02d}] {text}", end=end, flush=True)

    def _environment(self) -> dict[str, str]:
        """Return the environment: these threads for both libraries, no network, no reports of use, no progress bars."""
        return os.environ | {
            "OMP_NUM_THREADS": str(self.threads),
            "MKL_NUM_THREADS": str(self.threads),
            "TOKENIZERS_PARALLELISM": "false",
            "HF_HUB_OFFLINE": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "CI": "1",
            "TQDM_DISABLE": "1",
        }
