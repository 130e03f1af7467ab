"""Evaluate what is on disk, ask benchmarks, and compare runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from haloes.api.arguments import PathLike, ProgressLike, as_path, as_paths, path_of, showing
from haloes.errors import ConfigError
from haloes.run_files import is_run
from haloes.store import require_place

if TYPE_CHECKING:
    from haloes.evaluation_results import Evaluation
    from haloes.progress.contract import Progress
    from haloes.report.compared import ComparedRuns

_BENCH_BATCH_SIZE = 8
"""Questions at once. The argument's default is None, so that one that cannot take effect is noticed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationResult:
    """An evaluation and where it was written."""

    numbers: "Evaluation"
    path: Path
    """The numbers as JSON."""
    report: Path | None
    """The page of the run that was evaluated, with the new numbers; None where no run's own numbers were written."""


def evaluate(
    sources: PathLike | Sequence[PathLike] = (),
    *,
    alpaca_eval: PathLike | Sequence[PathLike] = (),
    lc_weights: PathLike | None = None,
    difficulties: PathLike | None = None,
    bench: str | None = None,
    bench_data: PathLike | None = None,
    bench_limit: int | None = None,
    bench_chat: bool = True,
    bench_out: PathLike | None = None,
    run_generated_code: bool = False,
    batch_size: int | None = None,
    out: PathLike | None = None,
    seed: int = 0,
    progress: ProgressLike = "auto",
) -> EvaluationResult:
    """
    Compute win rates, ratings, agreement of judges and judge-free numbers with intervals, from records on disk.

    Example:
        evaluation = haloes.evaluate("runs/first")
        for source in evaluation.numbers.judge_free:
            print(source.source, [(score.name, score.value) for score in source.scores])

    Args:
        sources: run folders, files of judgements (`haloes.judge`) and files of answers (`haloes.sample`).
        alpaca_eval: files of preferences in AlpacaEval's format.
        lc_weights: AlpacaEval's length-control weights; without them a regression is fitted to the preferences, of all
            models that were judged on the same instructions at once.
        difficulties: difficulties of AlpacaEval's instructions; instruction_difficulty.jsonl beside the weights by
            default. Without weights the regression takes them.
        bench: benchmarks to ask first, such as "gsm8k,mmlu": of a run its model before and after, otherwise one model.
        bench_data: a folder with the benchmarks' rows, where there is no hub.
        bench_limit: ask this many questions of each benchmark, drawn at random and spread over its subtasks.
        bench_chat: put the questions through the model's chat template, if it has one.
        bench_out: where the answers to benchmarks go; RUN/benchmarks, or benchmarks/<model>.
        run_generated_code: run the programs that humaneval has the model write, in a sandbox.
        batch_size: questions at once; 8.
        out: where the numbers go as JSON; evaluation.json in the run's folder, or FILE.evaluation.json beside the file.
        seed: seed of the bootstrap draws, and of the questions that `bench_limit` draws.
        progress: told how far the work is; shown in a terminal or notebook if left out, None for silence.

    Returns:
        The numbers, and where they were written.

    Raises:
        ConfigError: nothing was given, or an argument cannot take effect.
        DataError: a file cannot be read, holds none of these, or the numbers cannot be written.
        RunError: benchmarks were answered under other settings, or the run is not finished.
    """
    from haloes.evaluation.evaluate import compute_evaluation, evaluation_path
    from haloes.results_json import write_evaluation
    from haloes.runs.run_folder import write_pages

    paths = as_paths(sources)
    preferences = as_paths(alpaca_eval)
    if out is not None:
        require_place(path_of(out))
    with showing(progress) as shown:
        answers = _ask_benchmarks(
            paths,
            bench,
            data=as_path(bench_data),
            limit=bench_limit,
            chat=bench_chat,
            out=as_path(bench_out),
            run_generated_code=run_generated_code,
            batch_size=batch_size,
            seed=seed,
            progress=shown,
        )
        run = paths[0] if len(paths) == 1 and is_run(paths[0]) else None
        if answers is not None and run is None:
            paths = ()  # A model that was asked benchmarks is no source of records.
        numbers = compute_evaluation(
            paths,
            preferences=preferences,
            lc_weights=as_path(lc_weights),
            difficulties=as_path(difficulties),
            benchmarks=answers,
            seed=seed,
            progress=shown,
        )
    beside = (answers,) if answers is not None and (bench_out is not None or run is None) else paths
    path = evaluation_path(beside, preferences) if out is None else path_of(out)
    write_evaluation(path, numbers)
    # The page shows evaluation.json of the run's folder, so that numbers elsewhere are none of its concern.
    report = write_pages(run) if run is not None and out is None and bench_out is None else None
    return EvaluationResult(numbers=numbers, path=path, report=report)


def compare(
    runs: Sequence[PathLike],
    *,
    out: PathLike | None = Path("compare.html"),
    seed: int = 0,
    progress: ProgressLike = "auto",
) -> "ComparedRuns":
    """
    Compare several runs: differing settings, paired differences on shared rows, win rates, curves.

    Example:
        compared = haloes.compare(["runs/first", "runs/second"], out=None)
        for difference in compared.auc_differences:
            print(difference.model, difference.other, difference.score.value, difference.p_holm)

    Args:
        runs: two or more run folders.
        out: the page to write; None for no page.
        seed: seed of the bootstrap draws.
        progress: told how far the work is; shown in a terminal or notebook if left out, None for silence.

    Returns:
        The runs, and what was measured across them.

    Raises:
        ConfigError: fewer than two runs, or one of them twice.
        RunError: a folder does not exist, or holds no run.
        DataError: a held-out row or a judgement is damaged, or the page cannot be written.
    """
    from haloes.evaluation.compare_runs import compare_runs
    from haloes.report.compare_page import write_comparison

    if out is not None:
        require_place(path_of(out))
    with showing(progress, patience=2.0) as shown:
        compared = compare_runs(as_paths(runs), seed=seed, progress=shown)
    if out is not None:
        write_comparison(path_of(out), compared)
    return compared


def _ask_benchmarks(
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
    progress: "Progress",
) -> Path | None:
    """Ask the benchmarks that are named, and return the folder of the answers; None where none is named."""
    if names is None:
        given = {
            "--bench-data": data,
            "--bench-limit": limit,
            "--no-bench-chat": not chat,
            "--bench-out": out,
            "--run-generated-code": run_generated_code,
            "--batch-size": batch_size,
        }
        idle = next((option for option, value in given.items() if value), None)
        if idle is not None:
            raise ConfigError(f"{idle} is for benchmarks, and none is named; add --bench gsm8k,mmlu,...")
        return None
    if len(sources) != 1:
        raise ConfigError(f"--bench asks one run or one model, got {len(sources)}; `haloes compare` compares runs")
    from haloes.evaluation.bench.lm_eval import LmEval
    from haloes.evaluation.bench.run import BenchSettings, run_benchmarks

    settings = BenchSettings(
        names=names,
        data=data,
        limit=limit,
        seed=seed,
        chat=chat,
        run_generated_code=run_generated_code,
        batch_size=_BENCH_BATCH_SIZE if batch_size is None else batch_size,
        out=out,
    )
    return run_benchmarks(str(sources[0]), settings, harness=LmEval(), progress=progress)
