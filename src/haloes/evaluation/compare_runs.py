"""Several runs against each other: on the held-out rows that they share, and by their judges."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import TypeAlias

from haloes.errors import ConfigError
from haloes.evaluation.judge_free import held_out_auc
from haloes.evaluation.judged import judged_numbers
from haloes.evaluation.sources import after_its_run, read_judged_files
from haloes.evaluation_results import JudgedNumbers
from haloes.progress.contract import NullProgress, Progress
from haloes.report.compared import ComparedRuns
from haloes.report.load import load_run
from haloes.results import HeldOutRow, PairedDifference, Score
from haloes.results_json import read_held_out
from haloes.run_files import check_is_run
from haloes.stats.auc import ScoredRows, auc_differences, auc_with_interval
from haloes.stats.auc_by_length import auc_differences_at_equal_length

_Rows: TypeAlias = Mapping[Hashable, HeldOutRow]
_Key: TypeAlias = Callable[[HeldOutRow], Hashable]


def compare_runs(run_dirs: Sequence[Path], *, seed: int = 0, progress: Progress | None = None) -> ComparedRuns:
    """
    Compare runs by AUC on their own and on shared held-out rows, and by the win rates that judges give them.

    Held-out rows of two runs are the same where prompt, label and answer are; between runs of different tokenizers,
    where prompt, label, and the file and line are.

    Args:
        run_dirs: two or more run folders.
        seed: seed of the bootstrap draws.
        progress: told of each run that is read, and of each that is measured.

    Raises:
        ConfigError: fewer than two runs, or one of them twice.
        RunError: a folder does not exist, or holds no run.
        DataError: a held-out row or a judgement is damaged.
    """
    if len(run_dirs) < 2 or len({path.resolve() for path in run_dirs}) < len(run_dirs):  # noqa: PLR2004
        raise ConfigError(f"give two or more different runs to compare, got {', '.join(map(str, run_dirs)) or 'none'}")
    for path in run_dirs:
        check_is_run(path)
    progress = progress or NullProgress()
    progress.stage("reading the runs", len(run_dirs))
    runs, held_out = [], []
    for path in run_dirs:
        runs.append(load_run(path))
        held_out.append(read_held_out(path))
        progress.advance(1)
    names = _names(run_dirs)
    shared = _shared(held_out)
    judged_files = [
        after_its_run(file)
        for path, name in zip(run_dirs, names, strict=True)
        for file in read_judged_files(path, name)
    ]
    progress.stage("comparing the runs", len(runs) + bool(judged_files) + 1)
    judged = None
    if judged_files:
        judged = judged_numbers(judged_files, seed=seed)
        progress.advance(1)
    notes = [
        f"{name} has no held_out.jsonl, so its held-out rows are not compared; it is of an older haloes, unfinished, "
        "or held nothing out"
        for name, rows in zip(names, held_out, strict=True)
        if not rows
    ]
    pairs = _pairs(dict(zip(names, held_out, strict=True)))
    at_equal_length = tuple(auc_differences_at_equal_length(pairs))
    progress.advance(1)
    return ComparedRuns(
        names=tuple(names),
        runs=tuple(runs),
        num_held_out=tuple(len(rows) for rows in held_out),
        num_shared=len(shared[0]),
        aucs=tuple(_auc(rows) for rows in held_out),
        shared_aucs=tuple(_auc(rows) for rows in shared),
        beside_auc=_beside_auc(shared if len(shared[0]) else held_out, seed=seed, progress=progress),
        auc_differences=tuple(auc_differences(pairs)),
        auc_differences_at_equal_length=at_equal_length,
        win_rates=tuple(matchup for matchup in judged.matchups if matchup.win_rate is not None) if judged else (),
        win_rate_differences=_win_rate_differences(judged),
        notes=(*notes, *(judged.notes if judged else ())),
    )


def _names(run_dirs: Sequence[Path]) -> list[str]:
    """Return the folders' names; where two are the same, the paths as they were given."""
    short = [path.resolve().name for path in run_dirs]
    return short if len(set(short)) == len(short) else [str(path) for path in run_dirs]


def _by_answer(row: HeldOutRow) -> Hashable:
    return row.group, row.label, row.answer


def _by_line(row: HeldOutRow) -> Hashable:
    # Without its folder: the runs may have been made on different machines.
    return row.group, row.label, row.where.replace("\\", "/").rpartition("/")[2]


def _shared(held_out: Sequence[Sequence[HeldOutRow]]) -> list[list[HeldOutRow]]:
    """Return of each run the rows that all have, in one order; matched by answer, or by line if that finds more."""
    # Runs of one tokenizer share answers by their tokens; of two only file and line can say what is the same.
    keys: tuple[_Key, ...] = (_by_answer, _by_line)
    return max((_shared_by(key, held_out) for key in keys), key=lambda rows: len(rows[0]))


def _shared_by(key: _Key, held_out: Sequence[Sequence[HeldOutRow]]) -> list[list[HeldOutRow]]:
    by_key: list[_Rows] = [{key(row): row for row in rows} for rows in held_out]
    common = [name for name in by_key[0] if all(name in rows for rows in by_key)]
    return [[rows[name] for name in common] for rows in by_key]


def _auc(rows: Sequence[HeldOutRow]) -> Score | None:
    if not rows:
        return None
    return auc_with_interval([row.reward for row in rows], [row.label for row in rows], [row.group for row in rows])


def _beside_auc(
    held_out: Sequence[Sequence[HeldOutRow]], *, seed: int, progress: Progress
) -> tuple[tuple[Score | None, ...], ...]:
    """Return for each number beside the AUC that a run has, such as that at equal length, the one of each run."""
    by_name = []
    for rows in held_out:
        by_name.append({score.name: score for score in held_out_auc(rows, seed=seed)})
        progress.advance(1)
    names = dict.fromkeys(name for scores in by_name for name in scores if name != "auc")
    return tuple(tuple(scores.get(name) for scores in by_name) for name in names)


def _pairs(held_out: Mapping[str, Sequence[HeldOutRow]]) -> dict[tuple[str, str], ScoredRows]:
    """Return for each pair of runs the rows that these two share."""
    pairs = {}
    for run, other in combinations(held_out, 2):
        mine, theirs = _shared([held_out[run], held_out[other]])
        if mine:
            pairs[run, other] = ScoredRows(
                scores=[row.reward for row in mine],
                others=[row.reward for row in theirs],
                labels=[row.label for row in mine],
                prompts=[row.group for row in mine],
                tokens=[row.tokens for row in mine],
            )
    return pairs


def _win_rate_differences(judged: JudgedNumbers | None) -> tuple[PairedDifference, ...]:
    differences = judged.differences if judged else ()
    return tuple(difference for difference in differences if difference.score.name == "win_rate")
