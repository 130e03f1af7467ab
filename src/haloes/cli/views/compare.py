"""A comparison of runs on the terminal."""

from typing import TYPE_CHECKING

from haloes.cli.views.tables import differences_table, table

if TYPE_CHECKING:
    from rich.console import RenderableType

    from haloes.report.compared import ComparedRuns
    from haloes.results import Score


def comparison_tables(compared: "ComparedRuns") -> "list[RenderableType]":
    """Draw what differs in the settings, then every number of every run and the paired differences."""
    from rich.text import Text

    from haloes.report.compared import differing_settings, extent, measured, rate_notes
    from haloes.report.numbers import measure_of

    names = compared.names
    differing = (*extent(compared.runs), *differing_settings(compared.runs))
    settings = [(key, *values) for key, values in differing]
    tables: list[RenderableType] = [table("Settings that differ", ("Setting", *names), settings)] if settings else []
    rows = [("AUC of the implied reward", *map(_cell, compared.aucs))] if any(compared.aucs) else []
    if rows and not compared.same_rows:
        rows.append((f"AUC on {compared.num_shared} shared rows", *map(_cell, compared.shared_aucs)))
    for scores in (*compared.beside_auc, *measured(compared.runs)):
        heading = next(measure_of(score).heading for score in scores if score is not None)
        rows.append((heading, *map(_cell, scores)))
    if rows:
        tables.append(table("On held-out prompts, with 95% intervals", ("Measure", *names), rows))
    tables += _auc_differences(compared)
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
        tables.append(table("Win rates", ("Compared", "Judge", "Win rate", "At equal length"), rates))
        tables += [Text(f"{note}.") for note in rate_notes(compared)]
    if compared.win_rate_differences:
        tables.append(differences_table("Paired differences in win rate", compared.win_rate_differences))
    return tables


def _auc_differences(compared: "ComparedRuns") -> "list[RenderableType]":
    """Draw the differences in AUC and those at equal length, these first where the two disagree."""
    from rich.text import Text

    from haloes.report.compared import length_notes

    title = "Paired differences in AUC on shared held-out rows"
    of_all, at_equal_length = (
        [differences_table(name, found)] if found else []
        for name, found in (
            (title, compared.auc_differences),
            (f"{title}, at equal length", compared.auc_differences_at_equal_length),
        )
    )
    notes = length_notes(compared)
    told = [Text(f"{note}.") for note in notes]
    return [*told, *at_equal_length, *of_all] if notes else [*of_all, *at_equal_length]


def _cell(score: "Score | None") -> str:
    from haloes.report.numbers import show

    if score is None:
        return "–"
    shown = show(score)
    return f"{shown.value} ({shown.interval})"
