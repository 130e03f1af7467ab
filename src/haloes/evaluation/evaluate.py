"""All numbers of what was sampled and judged, as one record that is kept beside it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from haloes.errors import ConfigError
from haloes.evaluation.alpaca import alpaca_eval, read_difficulties, read_weights
from haloes.evaluation.bench.answers import answer_files
from haloes.evaluation.bench.numbers import benchmark_numbers
from haloes.evaluation.judge_free import judge_free
from haloes.evaluation.judged import judged_numbers
from haloes.evaluation.refusals import refusal_scores
from haloes.evaluation.sources import Source, judgement_paths, read_source, refusal_paths, sampling_differences
from haloes.evaluation_results import Evaluation
from haloes.progress.contract import NullProgress, Progress
from haloes.records import Completion
from haloes.results import Score
from haloes.results_json import write_evaluation
from haloes.run_files import BENCHMARKS, EVALUATION
from haloes.runs.run_folder import write_pages

_Part = TypeVar("_Part")


def compute_evaluation(
    sources: Sequence[Path],
    *,
    preferences: Sequence[Path] = (),
    lc_weights: Path | None = None,
    difficulties: Path | None = None,
    benchmarks: Path | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Evaluation:
    """
    Compute every number that the sources give.

    Args:
        sources: run folders, files of judgements, files of answers.
        preferences: files of preferences in AlpacaEval's format.
        lc_weights: AlpacaEval's published length-control weights.
        difficulties: difficulties of AlpacaEval's instructions; those beside the weights by default. Without weights,
            for the regression that is fitted to the preferences.
        benchmarks: a folder of answers to benchmarks; that of the run, where one run is given, by default.
        seed: seed of the bootstrap draws.
        progress: told of each source that is read, and of each part that is computed.

    Raises:
        DataError: a file cannot be read, or holds none of these.
        ConfigError: nothing was given, or weights without preferences.
    """
    if benchmarks is None and len(sources) == 1 and sources[0].is_dir():
        # Of several runs each has its own answers, and there is no one folder to take them from.
        benchmarks = sources[0] / BENCHMARKS
    progress = progress or NullProgress()
    benchmarked = None if benchmarks is None else benchmark_numbers(benchmarks, seed=seed)
    if not sources and not preferences and benchmarked is None:
        raise ConfigError("nothing to evaluate: give a run's folder, judgements, answers, or --alpaca-eval FILE")
    if (lc_weights is not None or difficulties is not None) and not preferences:
        raise ConfigError("--lc-weights and --difficulties are for the preferences of --alpaca-eval FILE; give those")
    # A run that was only asked benchmarks is a source all the same, though it has no other records.
    may_be_empty = benchmarked is not None
    progress.stage("reading what was sampled and judged", len(sources))
    read = [_told(progress, read_source(path, may_be_empty=may_be_empty)) for path in sources]
    judged_files = [file for source in read for file in source.judged]
    weights = None if lc_weights is None else read_weights(lc_weights, difficulties)
    known = read_difficulties(difficulties) if difficulties is not None and weights is None else None
    measured = [source for source in read if source.answers or source.held_out]
    refusals = [score for source in read for score in _refusals(source, named=len(read) > 1)]
    is_judged = bool(judged_files or refusals)
    progress.stage("computing the numbers", is_judged + len(measured) + bool(preferences))
    return Evaluation(
        judged=_told(progress, replace(judged_numbers(judged_files, seed=seed), refusals=tuple(refusals)))
        if is_judged
        else None,
        judge_free=tuple(_told(progress, judge_free(source, seed=seed)) for source in measured),
        alpaca_eval=_told(progress, alpaca_eval(preferences, weights, difficulties=known, seed=seed))
        if preferences
        else None,
        benchmarks=benchmarked,
        notes=tuple(sampling_differences(_by_model(read))),
    )


def _refusals(source: Source, *, named: bool) -> list[Score]:
    """Return the rates of refusals of a source; `named`: with the source's name in their labels."""
    scores = refusal_scores(source.refusals, source.answers)
    return [replace(score, label=f"{source.name}: {score.label}") for score in scores] if named else scores


def _told(progress: Progress, part: _Part) -> _Part:
    """Return a part of the work that is done now, and count it."""
    progress.advance(1)
    return part


def _by_model(sources: Sequence[Source]) -> dict[str, list[Completion]]:
    """Group the answers by model, which is called after its source where there are several sources."""
    by_model: dict[str, list[Completion]] = {}
    for source in sources:
        for answer in source.answers:
            name = answer.model if len(sources) == 1 else f"{answer.model} ({source.name})"
            by_model.setdefault(name, []).append(answer)
    return by_model


def evaluation_path(sources: Sequence[Path], preferences: Sequence[Path]) -> Path:
    """Return where the record goes by default: into the first run's folder, or beside the first file."""
    first = [*sources, *preferences][0]
    if first.is_dir():
        return first / EVALUATION
    stem = first.name.removesuffix(".gz").removesuffix(".jsonl").removesuffix(".json")
    return first.with_name(f"{stem}.{EVALUATION}")


def write_judged_report(run_dir: Path) -> Path:
    """
    Write a run's report and model card with the newest numbers of its judgements and benchmarks, if it has some.

    Returns:
        The report's path.

    Raises:
        RunError: the folder does not exist.
        DataError: a judgement is damaged; the report is written all the same, with what was evaluated before.
    """
    try:
        judged = [*judgement_paths(run_dir), *refusal_paths(run_dir)]
        if run_dir.is_dir() and (judged or answer_files(run_dir / BENCHMARKS)):
            write_evaluation(run_dir / EVALUATION, compute_evaluation([run_dir]))
    finally:
        path = write_pages(run_dir)
    return path
