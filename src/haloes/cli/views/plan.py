"""A plan on the terminal, and as JSON."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from haloes.cli.views.output import say, show
from haloes.cli.views.tables import table
from haloes.errors import ConfigError
from haloes.report.numbers import size

if TYPE_CHECKING:
    from haloes.planning.find_rate import RateSearch
    from haloes.planning.plan import Plan, StepCost
    from haloes.planning.several import SharedPlan

_SMALL = 10
_LEAST = 0.05
"""Seconds that are still written as 0.1."""


def end_of_plan(plan: "Plan | SharedPlan", *, json: bool) -> None:
    """Print a plan. Raises ConfigError where the run does not fit."""
    from haloes.planning.several import SharedPlan

    if isinstance(plan, SharedPlan):
        text, lines = shared_as_json(plan), shared_lines(plan)
        lacks = f"{_gb(plan.needed)} GB of a GPU, and {_gb(plan.limit)} are there"
    else:
        text, lines = as_json(plan), plan_lines(plan)
        lacks = f"{size(max(plan.training, plan.sampling))}, and {size(plan.limit)} are there"
    if json:
        say(text)
    else:
        show(lines)
    if not plan.fits:
        raise ConfigError(f"the run does not fit: it takes {lacks}")


def shared_lines(plan: "SharedPlan") -> Iterator[Any]:
    """Draw what each of several processes holds: a column for everything, and one for shards."""
    from rich.text import Text

    facts = [(name, f"{value:,}" if isinstance(value, int) else str(value)) for name, value in plan.facts.items()]
    yield table("Run", ("", ""), facts)
    columns = {"all of it": plan.whole}
    if plan.shards is not None:
        columns["in shards"] = plan.shards
    names = dict.fromkeys(name for parts in columns.values() for name in parts)
    rows = [(name, *(_gb(parts.get(name, 0)) for parts in columns.values())) for name in names]
    rows.append(("in all", *(_gb(sum(parts.values())) for parts in columns.values())))
    rows.append(("there are, without CUDA and gaps", *([_gb(plan.limit)] * len(columns))))
    yield table("Memory of each process, GB (10^9 bytes)", ("", *columns), [row for row in rows if any(row[1:])])
    yield Text(
        "Computed from the model's shape: no feedback was read, nothing was tried, and activations are an estimate."
    )
    for sentence in plan.advice:
        yield Text(f"{sentence}.")


def shared_as_json(plan: "SharedPlan") -> str:
    """Return all numbers of such a plan as JSON, in bytes."""
    return json.dumps(asdict(plan), indent=1)


def _gb(size: int) -> str:
    """Write bytes in GB; nothing for none."""
    return f"{size / 1e9:.1f}" if size else ""


def as_json(plan: "Plan") -> str:
    """Return all numbers of a plan as JSON: bytes, seconds, floating-point operations."""
    return json.dumps({**asdict(plan), "seconds in all": sum(plan.seconds.values())}, indent=1)


def plan_lines(plan: "Plan") -> Iterator[Any]:
    """Draw a plan: the run, memory, time, speed, what to change where it does not fit, and warnings."""
    from rich.text import Text

    facts = [(name, f"{value:,}" if isinstance(value, int) else str(value)) for name, value in plan.facts.items()]
    yield table("Run", ("", ""), facts)
    yield _memory(plan)
    if plan.seconds:
        times = [(name, _time(value)) for name, value in plan.seconds.items() if value]
        yield table("Time", ("", "about"), [*times, ("in all", _time(sum(plan.seconds.values())))])
    if plan.step is not None:
        yield _speed(plan, plan.step)
    if plan.tried != "all":
        yield Text(f"Tried: {plan.tried}; the rest is computed.")
    if plan.changes:
        changes = [(c.setting, size(c.peak), size(c.together), c.costs) for c in plan.changes]
        yield table("What to change", ("Setting", "alone", "with those above", "at the cost of"), changes)
    if not plan.fits and (not plan.changes or plan.changes[-1].together > plan.limit):
        yield Text("No setting makes it fit: take a smaller model, or a machine with more memory.")
    if plan.could_show is not None:
        yield Text(f"{plan.could_show}.")
    if plan.rates is not None:
        yield from _rates(plan.rates)
    for note in plan.notes:
        yield Text(f"{note}.")
    for warning in plan.warnings:
        yield Text(f"Warning: {warning}.")


def _rates(rates: "RateSearch") -> Iterator[Any]:
    from rich.text import Text

    from haloes.planning.find_rate import describe_kl

    rows = [(f"{trial.lr:g}", describe_kl(trial)) for trial in rates.tried]
    columns = ("train.lr", "KL of held-out answers, nats an answer (95% interval)")
    yield table("Learning rates that were tried", columns, rows)
    yield Text(f"Proposed for train.kl_budget={rates.kl_budget:g}: --lr {rates.lr:g} ({rates.why}).")


def _memory(plan: "Plan") -> Any:
    apart = "keys and values while sampling"
    rows = [(name, size(value)) for name, value in plan.memory.items() if value and name != apart]
    rows.append(("while training, in all", size(plan.training)))
    rows.append((f"while sampling, in all ({size(plan.memory[apart])} of it keys and values)", size(plan.sampling)))
    rows.append(("free", size(plan.limit)))
    if plan.disk:
        rows.append((f"on disk ({size(plan.disk_free)} free)", size(plan.disk)))
    return table("Memory", ("", "about"), rows)


def _speed(plan: "Plan", step: "StepCost") -> Any:
    machine = plan.machine
    threads = f"{machine.threads} on {machine.cores} cores"
    if machine.one_thread is not None:
        threads += f" ({machine.rate / machine.one_thread:.1f} times as fast as one)"
    rows = [
        ("threads", threads),
        ("matrix products", f"{machine.rate / 1e9:,.0f} GFLOP/s in {plan.facts['dtype']}"),
        ("typical micro-batch", f"{step.tokens} tokens, {step.seconds:.3g} s: {step.tokens / step.seconds:,.0f} tok/s"),
        ("its floor", f"{step.operations / 1e9:,.3g} GFLOP, {step.floor:.3g} s"),
        ("times the floor", f"{step.seconds / step.floor:.2f}"),
        ("its reference, where not cached", f"{step.reference_seconds:.3g} s"),
    ]
    return table("Speed", ("", ""), rows)


def _time(value: float) -> str:
    if value < _LEAST:
        return "under 0.1 s"
    if value < 60:  # noqa: PLR2004 - a minute
        return f"{value:.1f} s" if value < _SMALL else f"{value:.0f} s"
    hours, minutes = divmod(round(value / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
