"""An experiment's result as Markdown, for a page of documentation."""

from haloes.recipes.reproduce.families import Families
from haloes.recipes.reproduce.imbalance import Imbalance
from haloes.recipes.reproduce.numbers import AtEqualLength, Row
from haloes.report.numbers import GIB, size
from haloes.results import Score


def families_page(found: Families) -> str:
    """Write the comparison of methods as Markdown."""
    tuned = {item.method: item for item in found.chosen}
    extra = []
    for row in found.rows:
        item = tuned[row.method]
        settings = ", ".join([f"lr {item.lr:g}", *(f"{key} {value:g}" for key, value in item.settings.items())])
        extra.append([settings, str(item.num_steps), f"{item.seconds:.0f}", size(item.memory_gib * GIB)])
    return _page(found, ["Chosen", "Steps", "s", "Memory"], extra)


def imbalance_page(found: Imbalance) -> str:
    """Write the shares of desirable answers as Markdown."""
    kept = [f"- {share}: {good} desirable, {bad} undesirable" for share, (good, bad) in found.kept.items()]
    table = _page(found, [], [[] for _ in found.rows])
    return table + "\nAnswers to train on:\n" + "\n".join(kept) + "\n"


def _with_interval(score: Score, decimals: int) -> str:
    value, low, high = (f"{number:.{decimals}f}" for number in (score.value, score.low, score.high))
    return f"{value} ({low} to {high})"


def _difference(row: Row | AtEqualLength) -> str:
    return f"{row.difference:+.3f} ({row.difference_low:+.3f} to {row.difference_high:+.3f})"


def _at_equal_length(found: AtEqualLength | None, *, baseline: bool) -> list[str]:
    if found is None:
        return ["–"] * 3
    value = f"{found.auc:.3f} ({found.low:.3f} to {found.high:.3f})"
    return [value, "–", "–"] if baseline else [value, _difference(found), f"{found.p:.3f}"]


def _page(found: Families | Imbalance, columns: list[str], extra: list[list[str]]) -> str:
    rows = found.rows
    has_lengths = any(row.at_equal_length is not None for row in rows)
    of_lengths = ["At equal length (95%)", "From it (95%)", "p (Holm)"] if has_lengths else []
    names = [
        "Method",
        "AUC (95%)",
        "Within prompts (95%)",
        f"From {rows[0].method} (95%)",
        "p (Holm)",
        *of_lengths,
        *columns,
    ]
    of_all = f"AUC of the implied reward on {found.num_answers} held-out answers to {found.num_prompts} prompts"
    of_length = "" if found.length is None else f" {found.length.label}: {_with_interval(found.length, 3)}."
    lines = [
        f"{of_all}, mean over seeds; intervals of prompts and seeds.{of_length}",
        "",
        f"| {' | '.join(names)} |",
        f"|{' --- |' * len(names)}",
    ]
    for row, more in zip(rows, extra, strict=True):
        baseline = row is rows[0]
        difference = _difference(row)
        cells = [
            row.method,
            f"{row.auc:.3f} ({row.low:.3f} to {row.high:.3f})",
            "–" if row.within_prompts is None else _with_interval(row.within_prompts, 2),
            "–" if baseline else difference,
            "–" if baseline else f"{row.p:.3f}",
            *(_at_equal_length(row.at_equal_length, baseline=baseline) if has_lengths else []),
            *more,
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
