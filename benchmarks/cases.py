"""What is compared: which rows, which loss, what is trained, and how the peer has its reference."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Case:
    """One comparison."""

    mix: str
    """Of `benchmarks.rows.MIXES`: how long prompts and answers are."""
    loss: str
    """kto, on single answers; or dpo, on pairs."""
    batch_size: int
    """Examples of a step: answers or pairs."""
    steps: int
    """The first does not count where there are several."""
    lora: bool = False
    """Adapters of rank 16 on all linear layers; else all weights."""
    live: bool = False
    """TRL has a reference model in memory; else it precomputes the reference's log-probabilities."""

    @property
    def name(self) -> str:
        """Return the case's name on the command line."""
        return "-".join([self.mix, self.loss, *["lora"] * self.lora, *["live"] * self.live])

    @property
    def rows(self) -> str:
        """Name the rows: cases that differ in nothing that concerns them have the same."""
        return f"{self.mix}-{self.loss}-{self.batch_size}x{self.steps}"


_ALL = (
    Case("short", "kto", 16, 3),
    Case("medium", "kto", 4, 3),
    Case("long", "kto", 4, 2),
    Case("long", "dpo", 2, 2),
    Case("short", "kto", 16, 3, lora=True),
    Case("medium", "kto", 4, 3, lora=True),
    Case("long", "dpo", 2, 2, lora=True),
    Case("medium", "kto", 4, 3, live=True),
)
CASES = {case.name: case for case in _ALL}
SEARCH = Case("quick", "kto", 4, 2)
"""In which TRL's dtype is looked for, and which serves as a smoke test."""
