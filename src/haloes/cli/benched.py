"""Benchmarks on the command line: what is asked, and what came out."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from haloes.cli.views.tables import percent, scores_table, table
from haloes.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from haloes.records import Score
    from haloes.results import BenchmarkNumbers, BenchmarkResult

_BATCH_SIZE = 8


def ask(
    sources: Sequence[Path],
    names: str | None,
    *,
    data: Path | None,
    limit: int | None,
    chat: bool,
    out: Path | None,
    run_generated_code: bool,
    batch_size: int | None,
    seed: int,
) -> Path | None:
    """
    Ask the benchmarks that are named, and give back the folder of the answers; None where none is named.

    Raises:
        ConfigError: a setting cannot take effect, or something is missing.
    """
    if names is None:
        given = {
            "--bench-data": data,
            "--bench-limit": limit,
            "--no-bench-chat": not chat,
            "--bench-out": out,
            "--run-generated-code": run_generated_code,
            "--batch-size": batch_size,
        }
        odd = next((option for option, value in given.items() if value), None)
        if odd is not None:
            raise ConfigError(f"{odd} is for benchmarks, and none is named; add --bench gsm8k,mmlu,...")
        return None
    if len(sources) != 1:
        raise ConfigError(f"--bench asks one run or one model, got {len(sources)}; `haloes compare` compares runs")
    from haloes.cli.views.progress import TerminalDisplay
    from haloes.evaluation.bench.lm_eval import LmEval
    from haloes.evaluation.bench.run import BenchSettings, run_benchmarks

    settings = BenchSettings(
        names=names,
        data=data,
        limit=limit,
        seed=seed,
        chat=chat,
        run_generated_code=run_generated_code,
        batch_size=_BATCH_SIZE if batch_size is None else batch_size,
        out=out,
    )
    with TerminalDisplay() as display:
        return run_benchmarks(str(sources[0]), settings, harness=LmEval(), display=display)


def benchmark_lines(found: "BenchmarkNumbers") -> "Iterator[RenderableType]":
    """The table of all benchmarks, then what each rests on."""
    from rich.text import Text

    if found.results:
        variants = list(dict.fromkeys(score.variant for result in found.results for score in result.scores))
        columns = ("Benchmark", *(variant.capitalize() for variant in variants), "Difference", "p (Holm)", "Questions")
        rows = [_row(result, variants) for result in found.results]
        yield table("Benchmarks, in %, with 95% intervals", columns, rows, whole=columns[1:])
        yield Text("")
    for result in found.results:
        yield Text("\n".join(_about(result)) + "\n")
        if result.others:
            yield scores_table(f"{result.title}: further metrics", result.others)
        for note in result.notes:
            yield Text(f"{result.name}: {note}", style="yellow")
    for note in found.notes:
        yield Text(note, style="yellow")


def _row(result: "BenchmarkResult", variants: Sequence[str]) -> list[str]:
    by_variant = {score.variant: score for score in result.scores}
    change = result.change
    return [
        result.name,
        *(_percent(by_variant.get(variant)) for variant in variants),
        "–" if change is None else _percent(change.score, sign="+"),
        "–" if change is None else f"{change.p_holm:.2g}",
        f"{result.questions:,}\nof {result.of:,}" if result.questions < result.of else f"{result.questions:,}",
    ]


def _percent(score: "Score | None", *, sign: str = "") -> str:
    if score is None:
        return "–"
    value, low, high = (format(100 * number, f"{sign}.1f") for number in (score.value, score.low, score.high))
    return f"{value}\n{low} to {high}"


def _about(result: "BenchmarkResult") -> Iterator[str]:
    yield f"{result.title}: {result.label}"
    yield f"  {result.asked}"
    for score in result.scores:
        yield f"  {score.variant}: {percent(score)}; {score.method}"
    if result.change is not None:
        change = result.change
        yield (
            f"  {change.test.up} questions gained, {change.test.down} lost, {change.test.same} as before; exact "
            f"p = {change.test.p_value:.2g}, with Holm's correction {change.p_holm:.2g}; {change.score.method}"
        )
