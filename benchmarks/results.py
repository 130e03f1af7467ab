"""From measured pieces to ratios, a table, and a file."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.piece import Found

TRL, HALOES = "TRL", "haloes"
PRECOMPUTED, LIVE = "reference precomputed", "reference model"
FIRST, CACHED, SECOND = "first pass", "reference cached", "second pass"
COMPARED = (
    ("training, reference known: cached / precomputed", CACHED, PRECOMPUTED, False),
    ("a second pass: new mismatched pairs / precomputed", SECOND, PRECOMPUTED, False),
    ("one pass from nothing: first pass / precomputing and training", FIRST, PRECOMPUTED, True),
    ("one pass from nothing: first pass / reference model", FIRST, LIVE, False),
)
"""What is compared: a name, haloes' pieces, TRL's, and whether the time of its precomputing counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Some steps of one side in one turn of a case."""

    case: str
    turn: int
    side: str
    kind: str
    micro_batch: int | None
    """Rows that TRL puts through the model together; haloes packs to a budget of tokens."""
    found: Found
    first: int
    """The first step that counts: those before it warmed up."""
    last: int
    """The last step that counts."""

    @property
    def seconds(self) -> list[float]:
        """Return the seconds of each step that counts."""
        return self.found.seconds[self.first : self.last + 1]

    @property
    def tokens(self) -> list[int]:
        """Return the tokens of each step that counts."""
        return self.found.tokens[self.first : self.last + 1]

    @property
    def speed(self) -> float:
        """Return tokens per second in the steps that count."""
        return sum(self.tokens) / sum(self.seconds)

    def speed_with(self, precompute_seconds: float) -> float:
        """Tokens per second of training and of the pass over all rows that came before it."""
        return 1 / (1 / self.speed + precompute_seconds / sum(self.found.tokens))


@dataclass(slots=True)
class Results:
    """All pieces of a run, and what they were measured with."""

    facts: dict[str, Any]
    pieces: list[Piece] = field(default_factory=list)

    def of(self, case: str, side: str) -> list[Piece]:
        """Return the pieces of one side of a case."""
        return [piece for piece in self.pieces if (piece.case, piece.side) == (case, side)]

    def cases(self) -> list[str]:
        """Return the names of the measured cases, in order."""
        return list(dict.fromkeys(piece.case for piece in self.pieces))

    def turns(self, case: str) -> int:
        """Return how many turns of a case were done."""
        return max((piece.turn for piece in self.pieces if piece.case == case), default=0)

    def fastest_micro_batch(self, case: str) -> int | None:
        """Return the micro-batch with which TRL was fastest in this case."""
        speeds: dict[int | None, list[float]] = {}
        for piece in self.of(case, TRL):
            speeds.setdefault(piece.micro_batch, []).append(piece.speed)
        return max(speeds, key=lambda size: median(speeds[size]), default=None)

    def ratios(self, case: str) -> dict[str, list[float]]:
        """Return haloes over TRL with its fastest micro-batch, one value a turn: tokens per second, and peak memory."""
        found: dict[str, list[float]] = {}
        best = self.fastest_micro_batch(case)
        precompute = max((p.found.precompute_seconds for p in self.of(case, TRL) if p.micro_batch == best), default=0.0)
        for theirs in (piece for piece in self.of(case, TRL) if piece.micro_batch == best):
            ours = {piece.kind: piece for piece in self.of(case, HALOES) if piece.turn == theirs.turn}
            for name, kind, other, with_precomputing in COMPARED:
                if kind in ours and theirs.kind == other:
                    speed = theirs.speed_with(precompute) if with_precomputing else theirs.speed
                    found.setdefault(name, []).append(ours[kind].speed / speed)
            peak = max(piece.found.peak_gib for piece in ours.values())
            found.setdefault("peak memory", []).append(peak / theirs.found.peak_gib)
        return found

    def table(self) -> str:
        """Return everything measured, as text for people."""
        rows: list[tuple[str, ...]] = [
            ("case", "", "", "micro-batch", "dtype", "tokens/s", "s/step", "precompute s", "peak GiB")
        ]
        for case in self.cases():
            rows += [_row(pieces) for pieces in _alike(piece for piece in self.pieces if piece.case == case)]
        lines = _aligned(rows)
        for case in self.cases():
            lines += ["", f"{case}: haloes / TRL (median and range over {self.turns(case)} turn(s))"]
            lines += [f"  {name:64}{_spread(values)}" for name, values in self.ratios(case).items()]
        return "\n".join(lines)

    def write(self, path: Path) -> None:
        """Write all numbers as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        content = {
            **self.facts,
            "ratios": {case: self.ratios(case) for case in self.cases()},
            "pieces": [asdict(piece) | {"tokens_per_second": piece.speed} for piece in self.pieces],
        }
        path.write_text(json.dumps(content, indent=1) + "\n")


def _alike(pieces: Iterable[Piece]) -> list[list[Piece]]:
    """Join the same piece of all turns."""
    groups: dict[object, list[Piece]] = {}
    for piece in pieces:
        groups.setdefault((piece.side, piece.kind, piece.micro_batch), []).append(piece)
    return list(groups.values())


def _row(pieces: Sequence[Piece]) -> tuple[str, ...]:
    one = pieces[0]
    precompute = max(piece.found.precompute_seconds for piece in pieces)
    return (
        one.case,
        one.side,
        one.kind,
        str(one.micro_batch or "packed"),
        one.found.dtype,
        _spread([piece.speed for piece in pieces], digits=1),
        f"{median(second for piece in pieces for second in piece.seconds):.1f}",
        f"{precompute:.1f}" if precompute else "",
        f"{median(piece.found.peak_gib for piece in pieces):.2f}",
    )


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _spread(values: Sequence[float], *, digits: int = 2) -> str:
    """Format the median, with the smallest and the largest where there are several."""
    middle = f"{median(values):.{digits}f}"
    return middle if len(values) == 1 else f"{middle} ({min(values):.{digits}f} to {max(values):.{digits}f})"
