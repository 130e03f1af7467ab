"""An experiment on the terminal: carried out with a line a run, then its table."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from haloes.cli.output import say, show

if TYPE_CHECKING:
    from haloes.recipes.reproduce.auc_table import Row
    from haloes.recipes.reproduce.families import Families
    from haloes.recipes.reproduce.imbalance import Imbalance

Found = TypeVar("Found")


def experiment(
    run: Callable[..., Found], given: Mapping[str, Any], *, source: str, out: Path | None, settings: Sequence[str]
) -> Found:
    """Carry it out; on Ctrl-C say how to go on."""
    from haloes.recipes.config import parse_settings
    from haloes.recipes.interrupt import stop_on_interrupt
    from haloes.recipes.reproduce.defaults import experiment_config
    from haloes.training.trainer import Interrupted

    config = experiment_config(source, parse_settings(settings))
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
    return found


def show_families(found: "Families") -> None:
    """The table of methods."""
    from rich.table import Table

    chosen = {item.method: item for item in found.chosen}
    table = Table(title=_title(found.num_answers, found.num_prompts), title_justify="left")
    for column in ("Method", "AUC (95%)", "Within prompts", "From KTO (95%)", "p (Holm)", "Chosen", "s", "GiB"):
        table.add_column(column)
    for row in found.rows:
        item = chosen[row.method]
        settings = ", ".join([f"lr {item.lr:g}", *(f"{key} {value:g}" for key, value in item.settings.items())])
        table.add_row(*_cells(row), settings, f"{item.seconds:.0f}", f"{item.memory_gib:.1f}")
    show([table])


def show_imbalance(found: "Imbalance") -> None:
    """The table of shares and weights."""
    from rich.table import Table

    table = Table(title=_title(found.num_answers, found.num_prompts), title_justify="left")
    for column in ("Run", "AUC (95%)", "Within prompts", "From the first (95%)", "p (Holm)"):
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
    difference = "–" if same else f"{row.difference:+.3f} ({row.difference_low:+.3f} to {row.difference_high:+.3f})"
    return [
        row.method,
        f"{row.auc:.3f} ({row.low:.3f} to {row.high:.3f})",
        f"{row.within_prompt:.2f}",
        difference,
        "–" if same else f"{row.p:.3f}",
    ]
