"""The findings for people: a row a case and side, ratios case by case, exactness, features."""

from collections.abc import Sequence

from benchmarks.gpu.found import Found

SPEED, MEMORY, UTILISATION = 2.0, 0.6, 0.45
"""Targets: at least so much of TRL's tokens a second, at most so much of its memory, at least so much of the GPU."""


def table(found: Sequence[Found], *, peak: float) -> str:
    """
    Return everything that was found, as text.

    Args:
        found: by both sides.
        peak: floating-point operations a second that the GPU can do at the most.
    """
    rows = [("case", "side", "tokens/s", "s/step", "peak GiB", "MFU", "micro-batch", "attention")]
    rows += [_row(one, peak) for one in found if one.seconds and one.side != "adamw8bit"]
    return "\n".join([*_aligned(rows), "", *_ratios(found, peak), "", *_rest(found)])


def _row(one: Found, peak: float) -> tuple[str, ...]:
    micro = one.settings.get("micro-batch") or one.settings.get("microbatch_tokens", "")
    more = " (checkpointing)" if one.settings.get("gradient_checkpointing") else ""
    return (
        one.case,
        one.side,
        f"{one.speed:.0f}",
        f"{sum(one.seconds) / len(one.seconds):.3f}",
        f"{one.peak_gib:.1f}",
        f"{one.utilisation(peak):.1%}",
        f"{micro}{more}",
        str(one.settings.get("attention", "")),
    )


def _ratios(found: Sequence[Found], peak: float) -> list[str]:
    lines = ["haloes' faster way / TRL: tokens/s (target 2.0), peak memory (target 0.6), MFU (target 45 % from 1.5B)"]
    for case in dict.fromkeys(one.case for one in found):
        ours = [one for one in found if one.case == case and one.side.startswith("haloes") and one.seconds]
        theirs = [one for one in found if one.case == case and one.side == "TRL" and one.seconds]
        if not ours:
            continue
        best = max(ours, key=lambda one: one.speed)
        use = f"MFU {best.utilisation(peak):.1%} {_mark(best.utilisation(peak) >= UTILISATION)}"
        if not theirs:
            lines.append(f"  {case:<20} TRL was not measured; {use}")
            continue
        speed = best.speed / theirs[0].speed
        memory = best.peak_gib / theirs[0].peak_gib if theirs[0].peak_gib else float("nan")
        same = "" if sorted(best.tokens[:1]) == sorted(theirs[0].tokens[:1]) else " (OTHER TOKENS: not comparable)"
        lines.append(
            f"  {case:<20} {speed:5.2f}x {_mark(speed >= SPEED)}  memory {memory:.2f} {_mark(memory <= MEMORY)}  "
            f"{use}{same}"
        )
    return lines


def _rest(found: Sequence[Found]) -> list[str]:
    """Return exactness, features, and what failed."""
    lines = []
    for one in found:
        if one.error is not None:
            lines.append(f"{one.case} {one.side}: {one.error}")
        elif one.side not in {"TRL", "haloes", "haloes + Liger"}:
            what = ", ".join(f"{name} {_show(value)}" for name, value in one.settings.items())
            speed = f"{one.speed:.0f} tokens/s, {one.peak_gib:.1f} GiB" if one.seconds else ""
            lines.append(f"{one.case} {one.side}: {', '.join(part for part in (speed, what) if part)}")
    return lines


def _show(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _mark(reached: bool) -> str:
    return "ok" if reached else "--"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
