"""An experiment's result as Markdown, for a page of documentation."""

from collections.abc import Sequence

from haloes.recipes.reproduce.families import Families
from haloes.recipes.reproduce.imbalance import Imbalance
from haloes.recipes.reproduce.numbers import Row
from haloes.report.numbers import GIB, size


def families_page(found: Families) -> str:
    """Write the comparison of methods as Markdown."""
    tuned = {item.method: item for item in found.chosen}
    extra = []
    for row in found.rows:
        item = tuned[row.method]
        settings = ", ".join([f"lr {item.lr:g}", *(f"{key} {value:g}" for key, value in item.settings.items())])
        extra.append([settings, str(item.num_steps), f"{item.seconds:.0f}", size(item.memory_gib * GIB)])
    return _page(found.num_answers, found.num_prompts, found.rows, ["Chosen", "Steps", "s", "Memory"], extra)


def imbalance_page(found: Imbalance) -> str:
    """Write the shares of desirable answers as Markdown."""
    kept = [f"- {share}: {good} desirable, {bad} undesirable" for share, (good, bad) in found.kept.items()]
    table = _page(found.num_answers, found.num_prompts, found.rows, [], [[] for _ in found.rows])
    return table + "\nAnswers to train on:\n" + "\n".join(kept) + "\n"


def _page(answers: int, prompts: int, rows: Sequence[Row], columns: list[str], extra: list[list[str]]) -> str:
    names = ["Method", "AUC (95%)", "Within prompts", f"From {rows[0].method} (95%)", "p (Holm)", *columns]
    lines = [
        f"AUC of the implied reward on {answers} held-out answers to {prompts} prompts, mean over seeds.",
        "",
        f"| {' | '.join(names)} |",
        f"|{' --- |' * len(names)}",
    ]
    for row, more in zip(rows, extra, strict=True):
        baseline = row is rows[0]
        difference = f"{row.difference:+.3f} ({row.difference_low:+.3f} to {row.difference_high:+.3f})"
        cells = [
            row.method,
            f"{row.auc:.3f} ({row.low:.3f} to {row.high:.3f})",
            f"{row.within_prompt:.2f}",
            "–" if baseline else difference,
            "–" if baseline else f"{row.p:.3f}",
            *more,
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
