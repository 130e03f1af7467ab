"""Experiments of the paper as tables on the terminal."""

from typing import TYPE_CHECKING

from haloes.cli.views.output import say, show
from haloes.cli.views.tables import table

if TYPE_CHECKING:
    from haloes.recipes.reproduce.families import Families
    from haloes.recipes.reproduce.imbalance import Imbalance
    from haloes.recipes.reproduce.numbers import AtEqualLength, Row
    from haloes.recipes.reproduce.sentiment import Sentiment


def show_families(result: "Families") -> None:
    """Print the methods with their AUC and their difference from KTO, and what a run of them takes."""
    from rich.table import Table

    from haloes.report.numbers import GIB, size

    selected = {item.method: item for item in result.chosen}
    grid = Table(title=_title(result.num_answers, result.num_prompts), title_justify="left", box=None, pad_edge=False)
    for column in ("Method", "AUC (95%)", "From KTO (95%)", "p", "Chosen"):
        grid.add_column(column, no_wrap=True)
    for row in result.rows:
        item = selected[row.method]
        settings = [f"lr {item.lr:g}", *(f"{key} {value:g}" for key, value in item.settings.items())]
        grid.add_row(row.method, *_cells(row), "\n".join(settings))
    show([grid])
    _show_at_equal_length(result)
    say("p: of no difference from KTO, by Holm's correction for the number of methods.")
    seconds, memory = [item.seconds for item in result.chosen], max(item.memory_gib for item in result.chosen)
    say(f"A run took {min(seconds):.0f} to {max(seconds):.0f} s, with {size(memory * GIB)}.")


def show_imbalance(result: "Imbalance") -> None:
    """Print each share of the desirable answers, weighted and not, and what was left to train on."""
    from rich.table import Table

    grid = Table(title=_title(result.num_answers, result.num_prompts), title_justify="left", box=None, pad_edge=False)
    for column in ("Run", "AUC (95%)", "From the first (95%)", "p"):
        grid.add_column(column)
    for row in result.rows:
        grid.add_row(row.method, *_cells(row))
    show([grid])
    _show_at_equal_length(result)
    for share, (good, bad) in result.kept.items():
        say(f"{share} of the desirable: {good} desirable and {bad} undesirable answers to train on")


def show_sentiment(result: "Sentiment") -> None:
    """Print the scorer's accuracy, and reward against divergence of every run."""
    if result.scorer is not None:
        score = result.scorer
        say(f"The scorer tells {score.value:.1%} ({score.low:.1%} to {score.high:.1%}) of held-out reviews right.")
    say(f"It likes {result.liked} of {result.rated} continuations that the methods learn from.")
    columns = ("Run", "Liked (95%)", "KL, nats (95%)", "Unbeaten")
    rows = [
        (
            point.name,
            f"{point.liked.value:.1%} ({point.liked.low:.1%} to {point.liked.high:.1%})",
            f"{point.kl.value:.2f} ({point.kl.low:.2f} to {point.kl.high:.2f})",
            "yes" if point.on_frontier else "",
        )
        for point in sorted(result.points, key=lambda point: point.kl.value)
    ]
    prompts = result.points[0].liked.num_clusters
    show([table(f"Continuations of {prompts} other openings", columns, rows, whole=columns)])
    say("Unbeaten: no other run is liked more at no more divergence.")


def _title(answers: int, prompts: int) -> str:
    answered = f"{answers} held-out answers to {prompts} prompts"
    return f"AUC of the implied reward on {answered}, mean over seeds; intervals of prompts and seeds"


def _show_at_equal_length(result: "Families | Imbalance") -> None:
    """Print the same of answers of about the same length, and what length alone does."""
    rows = [(row.method, *_cells(row.at_equal_length)) for row in result.rows if row.at_equal_length is not None]
    if rows:
        columns = ("At equal length", "AUC (95%)", "Difference (95%)", "p")
        show([table("Of answers within 10% of each other's length", columns, rows, whole=columns[1:])])
    if result.length is not None:
        say(f"{result.length.label}: {result.length.value:.3f} ({result.length.low:.2f} to {result.length.high:.2f})")


def _cells(row: "Row | AtEqualLength") -> list[str]:
    same = row.difference == row.difference_low == row.difference_high == 0
    difference = "–" if same else f"{row.difference:+.3f}\n{row.difference_low:+.2f} to {row.difference_high:+.2f}"
    return [
        f"{row.auc:.3f}\n{row.low:.2f} to {row.high:.2f}",
        difference,
        "–" if same else f"{row.p:.3f}",
    ]
