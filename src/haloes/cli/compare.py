"""`haloes compare`: several runs beside each other."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

if TYPE_CHECKING:
    from haloes.records import Score
    from haloes.report.compared import ComparedRuns


def compare(
    runs: Annotated[tuple[Path, ...], Parameter(name=["RUNS"])],
    /,
    *,
    out: Annotated[Path, Parameter(name=["--out", "-o"])] = Path("compare.html"),
    seed: int = 0,
) -> None:
    """Several runs on one page: differing settings, paired differences on shared rows, win rates, curves.

    Parameters
    ----------
    runs
        Two or more run folders.
    out
        The page.
    seed
        Of the bootstrap draws.
    """
    from haloes.cli.views.output import say, show
    from haloes.evaluation.compare_runs import compare_runs
    from haloes.report.compare_page import write_comparison

    compared = compare_runs(runs, seed=seed)
    show(_tables(compared))
    for note in compared.notes:
        say(note)
    write_comparison(out, compared)
    say(f"Page: {out}")


def _tables(compared: "ComparedRuns") -> list[object]:
    from haloes.cli.views.tables import differences_table, table
    from haloes.report.compared import differing_settings, measured
    from haloes.report.numbers import measure_of

    names = compared.names
    settings = [(key, *values) for key, values in differing_settings(compared.runs)]
    found: list[object] = [table("Settings that differ", ("Setting", *names), settings)] if settings else []
    rows = [("AUC of the implied reward", *map(_cell, compared.aucs))] if any(compared.aucs) else []
    if rows and not compared.same_rows:
        rows.append((f"AUC on {compared.num_shared} shared rows", *map(_cell, compared.shared_aucs)))
    for scores in measured(compared.runs):
        heading = next(measure_of(score).heading for score in scores if score is not None)
        rows.append((heading, *map(_cell, scores)))
    if rows:
        found.append(table("On held-out prompts, with 95% intervals", ("Measure", *names), rows))
    if compared.auc_differences:
        title = "Paired differences in AUC on shared held-out rows"
        found.append(differences_table(title, compared.auc_differences))
    if compared.win_rates:
        rates = [
            (
                f"{rate.candidate} against {rate.baseline}",
                rate.judge,
                _cell(rate.win_rate),
                _cell(None if rate.length_controlled is None else rate.length_controlled.score),
            )
            for rate in compared.win_rates
        ]
        found.append(table("Win rates", ("Compared", "Judge", "Win rate", "At equal length"), rates))
    if compared.win_rate_differences:
        found.append(differences_table("Paired differences in win rate", compared.win_rate_differences))
    return found


def _cell(score: "Score | None") -> str:
    from haloes.report.numbers import show

    if score is None:
        return "–"
    shown = show(score)
    return f"{shown.value} ({shown.interval})"
