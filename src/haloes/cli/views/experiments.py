"""An experiment on the terminal: carried out with a line a run, then its table."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from haloes.cli.views.output import say, show

if TYPE_CHECKING:
    from haloes.recipes.reproduce.families import Families
    from haloes.recipes.reproduce.imbalance import Imbalance
    from haloes.recipes.reproduce.numbers import Row

Found = TypeVar("Found")


def experiment(
    run: Callable[..., Found],
    given: Mapping[str, Any],
    *,
    source: str,
    columns: str | None = None,
    out: Path | None,
    settings: Sequence[str],
) -> tuple[Found, Path]:
    """Carry it out; what was found and the folder that holds it. On Ctrl-C it says how to go on."""
    from haloes.cli.flags import flag_settings
    from haloes.errors import Interrupted
    from haloes.recipes.reproduce.trials import experiment_config
    from haloes.runs.config import parse_settings
    from haloes.runs.process import stop_on_interrupt

    config = experiment_config(source, flag_settings(columns=columns), parse_settings(settings))
    folder = out or Path("runs") / f"{run.__name__}-{Path(source).name.split('.')[0]}"
    began = time.perf_counter()

    def progress(trial: str, done: int, total: int) -> None:
        minutes = (time.perf_counter() - began) / 60
        say(f"[{done}/{total}, {minutes:.0f} min] {trial}")

    try:
        with stop_on_interrupt() as stop:
            found = run(config, folder, stop=stop, progress=progress, **given)
    except Interrupted as stopped:
        raise KeyboardInterrupt(f"stopped; the same command goes on with what is in {folder}") from stopped
    say(f"{(time.perf_counter() - began) / 60:.0f} minutes; everything is in {folder}")
    return found, folder


def show_families(found: "Families", folder: Path) -> None:
    """The table of methods; as Markdown, it goes into the folder."""
    from rich.table import Table

    from haloes.recipes.reproduce.page import families_page
    from haloes.report.numbers import GIB, size
    from haloes.store import write_text

    write_text(folder / "families.md", families_page(found))

    chosen = {item.method: item for item in found.chosen}
    table = Table(title=_title(found.num_answers, found.num_prompts), title_justify="left", box=None, pad_edge=False)
    for column in ("Method", "AUC (95%)", "From KTO (95%)", "p", "Chosen"):
        table.add_column(column, no_wrap=True)
    for row in found.rows:
        item = chosen[row.method]
        settings = [f"lr {item.lr:g}", *(f"{key} {value:g}" for key, value in item.settings.items())]
        table.add_row(*_cells(row), "\n".join(settings))
    show([table])
    say("p: of no difference from KTO, by Holm's correction for the number of methods.")
    seconds, memory = [item.seconds for item in found.chosen], max(item.memory_gib for item in found.chosen)
    say(f"A run took {min(seconds):.0f} to {max(seconds):.0f} s, with {size(memory * GIB)}.")


def show_imbalance(found: "Imbalance", folder: Path) -> None:
    """The table of shares and weights; as Markdown, it goes into the folder."""
    from rich.table import Table

    from haloes.recipes.reproduce.page import imbalance_page
    from haloes.store import write_text

    write_text(folder / "imbalance.md", imbalance_page(found))

    table = Table(title=_title(found.num_answers, found.num_prompts), title_justify="left", box=None, pad_edge=False)
    for column in ("Run", "AUC (95%)", "From the first (95%)", "p"):
        table.add_column(column)
    for row in found.rows:
        table.add_row(*_cells(row))
    show([table])
    for share, (good, bad) in found.kept.items():
        say(f"{share} of the desirable: {good} desirable and {bad} undesirable answers to train on")


def _title(answers: int, prompts: int) -> str:
    return f"AUC of the implied reward on {answers} held-out answers to {prompts} prompts, mean over seeds"


def _cells(row: "Row") -> list[str]:
    same = row.difference == row.difference_low == row.difference_high == 0
    difference = "–" if same else f"{row.difference:+.3f}\n{row.difference_low:+.2f} to {row.difference_high:+.2f}"
    return [
        row.method,
        f"{row.auc:.3f}\n{row.low:.2f} to {row.high:.2f}",
        difference,
        "–" if same else f"{row.p:.3f}",
    ]
