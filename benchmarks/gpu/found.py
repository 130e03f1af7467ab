"""What a side found out about a case, and how findings pass between processes: JSON, a line each, written at once."""

import gc
import json
import os
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch

T = TypeVar("T")

PEAK_TFLOPS = {
    "H100 PCIe": 756.0,
    "H100": 989.0,
    "H200": 989.0,
    "H800": 989.0,
    "A100": 312.0,
    "L40S": 362.0,
    "B200": 2250.0,
}
"""bfloat16 products without sparsity, by what the GPU's name contains: the makers' data sheets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One side of one case."""

    side: str
    case: str
    seconds: list[float] = field(default_factory=list)
    """Of each counted step."""
    tokens: list[int] = field(default_factory=list)
    """Of each counted step: prompts with their completions, no padding, no mismatched completions."""
    needed: list[float] = field(default_factory=list)
    """Floating-point operations of each counted step that the bound needs."""
    peak_gib: float = 0.0
    settings: dict[str, Any] = field(default_factory=dict)
    error: str | None = None

    @property
    def speed(self) -> float:
        """Tokens a second."""
        return sum(self.tokens) / sum(self.seconds) if self.seconds else 0.0

    def utilisation(self, peak: float) -> float:
        """Return the needed operations over those of the GPU's peak."""
        return sum(self.needed) / sum(self.seconds) / peak if self.seconds and self.needed else 0.0


def write(path: Path, found: Found) -> None:
    """Add a line, on disk before anything else happens."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(found)) + "\n")
        file.flush()
        os.fsync(file.fileno())


def noted(path: Path, case: Any, side: str, work: Callable[[], Found]) -> Found:
    """Do the work and write what it found, its error where there was one."""
    try:
        found = work()
    except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding, and the next case may go well
        traceback.print_exc()
        found = Found(side=side, case=case.name, error=f"{type(error).__name__}: {error}"[:500])
    write(path, found)
    return found


def read(path: Path) -> list[Found]:
    """Read all findings; a line that was cut off is left out."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return [Found(**json.loads(line)) for line in lines if line.endswith("\n")]


def peak_flops(device: torch.device) -> tuple[float, str]:
    """Return the GPU's bfloat16 peak by its data sheet, else the rate of a large product here; and which it is."""
    from haloes.models.device import product_rate

    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        known = next((rate for part, rate in PEAK_TFLOPS.items() if part in name), None)
        if known is not None:
            return known * 1e12, f"data sheet of {name}"
        return product_rate(torch.bfloat16, device, rows=8192, inner=8192, columns=8192), f"a product on {name}"
    return product_rate(torch.float32, device), "a product on this CPU"


def peak_gib(device: torch.device) -> float:
    """Return the most memory that tensors took since `forget_peak`; 0 on a CPU."""
    return torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else 0.0


def forget_peak(device: torch.device) -> None:
    """Free what is free, and count the peak from now on."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def first_that_fits(tries: list[T], run: Callable[[T], Found], device: torch.device) -> Found:
    """Return the finding of the first try that does not run out of memory; raise the last error where none fits."""
    why = "nothing was tried"
    for one in tries:
        forget_peak(device)
        try:
            return run(one)
        except Exception as error:
            # torch's own error, or that of a library with torch's words in it.
            if not isinstance(error, MemoryError) and "out of memory" not in str(error).lower():
                raise
            why = f"{one}: {str(error).splitlines()[0]}"
    raise torch.OutOfMemoryError(f"no setting fits; the last: {why}")
