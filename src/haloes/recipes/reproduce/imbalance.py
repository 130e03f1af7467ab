"""
Imbalance: KTO with fewer and fewer desirable answers, with class weights by the paper's rule and without.

The paper's figure 5 (version 1: figure 6) keeps a share of the desirable answers and raises lambda_D by eq. 9.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from haloes.feedback.keys import completion_key, number_of, seeded_hash
from haloes.recipes.reproduce.numbers import Row, auc_rows
from haloes.recipes.reproduce.sets import SetSizes, make_sets
from haloes.recipes.reproduce.trials import Ledger, Runner, Trial, Workbench
from haloes.records import Feedback
from haloes.records_json import row_to_json
from haloes.results import Score
from haloes.runs.config import FeedbackSettings, RunConfig, as_mapping
from haloes.runs.feedback_rows import open_rows
from haloes.stats.auc_by_length import auc_of_length
from haloes.store import write_json, write_jsonl

WEIGHTED, PLAIN = "by the rule", "all 1"


@dataclass(frozen=True, slots=True)
class Imbalance:
    """The whole experiment: a row for each share and way of weighting, compared with all data."""

    rows: tuple[Row, ...]
    kept: dict[str, tuple[int, int]]
    """Desirable and undesirable rows of each share."""
    num_answers: int
    num_prompts: int
    length: Score | None = None
    """The AUC of the length of these answers alone."""


def imbalance(
    config: RunConfig,
    folder: Path,
    *,
    sizes: SetSizes,
    lr: float = 1e-3,
    shares: Sequence[float] = (1.0, 0.5, 0.25, 0.1),
    seeds: Sequence[int] = (0, 1, 2),
    stop: Callable[[], bool],
    on_run: Callable[[str, int, int], None],
) -> Imbalance:
    """
    Train KTO on each share of the desirable rows, weighted and not; arguments as for `families`.

    The rows are the training rows of `families` with the same sizes, and so are the held-out answers.
    """
    sets = make_sets(config.feedback, sizes, folder / "sets")
    bench = Workbench(config, sets, folder, stop=stop)
    ledger = Ledger(folder / "runs.jsonl", {"config": as_mapping(config), "sizes": asdict(sizes)})
    runner = Runner(bench, ledger, on_run, 2 * len(shares) * len(seeds))
    rewards, kept = {}, {}
    for share in shares:
        path = folder / "sets" / f"train-{share:g}.jsonl"
        kept[f"{share:.0%}"] = keep_desirable(sets.train, share, path)
        for way, weight in ((WEIGHTED, "auto"), (PLAIN, 1.0)):
            settings = {"desirable_weight": weight, "undesirable_weight": weight}
            name = f"{share:.0%} desirable, weights {way}"
            runs = [runner.run(Trial(name, "kto", settings, lr, seed), train_rows=path) for seed in seeds]
            rewards[name] = [run.rewards["test"] for run in runs]
    desirable, prompts = bench.labels("test")
    lengths = bench.lengths("test")
    rows = auc_rows(rewards, desirable, prompts, baseline=next(iter(rewards)), tokens=lengths)
    length = auc_of_length(lengths, desirable, prompts)
    result = Imbalance(tuple(rows), kept, len(prompts), len(set(prompts)), length)
    write_json(folder / "imbalance.json", asdict(result))
    return result


def keep_desirable(source: Path, share: float, target: Path) -> tuple[int, int]:
    """Write the rows with this share of the desirable ones, drawn by content; return the counts of each label."""
    rows = [r for r in open_rows(str(source), FeedbackSettings(), pairs=False) if isinstance(r, Feedback)]
    good = [row for row in rows if row.label]
    order = np.argsort(
        seeded_hash(np.array([number_of(completion_key(row)) for row in good]), seed=0, purpose="imbalance")
    )
    selected = {int(i) for i in order[: max(1, round(share * len(good)))]}
    kept = {id(row) for i, row in enumerate(good) if i in selected}
    left = [row for row in rows if not row.label or id(row) in kept]
    write_jsonl(target, (row_to_json(row) for row in left))
    return len(selected), len(rows) - len(good)
