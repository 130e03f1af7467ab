"""Answers to benchmarks as numbers: each model's score, and what changed from before to after, paired by question."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from haloes.evaluation.bench.answers import BenchAnswer, answer_files, read_answers
from haloes.evaluation_results import BenchmarkChange, BenchmarkNumbers, BenchmarkResult
from haloes.results import Score
from haloes.stats.means import mean_with_interval
from haloes.stats.stratified import benchmark_changes, benchmark_mean

_SIDES = ("before", "after")
_MEASURE = "benchmark"
"""Name of all scores; the label says of what."""


@dataclass(frozen=True, slots=True)
class _File:
    """One model's answers to one benchmark."""

    settings: Mapping[str, Any]
    answered: dict[tuple[str, int], BenchAnswer]

    @property
    def complete(self) -> bool:
        return len(self.answered) == int(self.settings["questions"])


def benchmark_numbers(folder: Path, *, seed: int = 0) -> BenchmarkNumbers | None:
    """
    Compute the numbers of a folder of answers; None where nothing was asked.

    Raises:
        DataError: a file is damaged.
    """
    by_benchmark = {name: {side: _read(path) for side, path in sorted(files.items(), key=_order)}
             for name, files in answer_files(folder).items()}  # fmt: skip
    if not by_benchmark:
        return None
    notes = [
        f"{name}: {side} has answered {len(file.answered)} of {file.settings['questions']} questions and is left out; "
        "the same command goes on with it"
        for name, files in by_benchmark.items()
        for side, file in files.items()
        if not file.complete
    ]
    whole = {
        name: {side: file for side, file in files.items() if file.complete} for name, files in by_benchmark.items()
    }
    whole = {name: files for name, files in whole.items() if files}
    paired = {name: pair for name, files in whole.items() if (pair := _pair(files)) is not None}
    for name, files in whole.items():
        if set(files) >= set(_SIDES) and name not in paired:
            notes.append(f"{name}: before and after were asked other questions, so they are not compared")
    changes = benchmark_changes(paired, seed=seed)
    results = tuple(_result(name, files, changes.get(name), seed=seed) for name, files in whole.items())
    return BenchmarkNumbers(results=results, notes=tuple(notes))


def _order(item: tuple[str, Path]) -> int:
    return _SIDES.index(item[0]) if item[0] in _SIDES else len(_SIDES)


def _read(path: Path) -> _File:
    settings, answers = read_answers(path)
    return _File(settings, {answer.key: answer for answer in answers})


def _pair(files: Mapping[str, _File]) -> Any:
    """Return by question the scores before and after, and the subtask; None unless both answered the same rows."""
    if not all(side in files for side in _SIDES):
        return None
    before, after = (files[side] for side in _SIDES)
    # Before and after are paired by question, so both must have been asked the very same rows.
    if before.settings.get("rows") != after.settings.get("rows") or set(before.answered) != set(after.answered):
        return None
    metric = before.settings["metric"]
    sides = [
        {key: _mean_of_parts(file.answered[key].scores[metric]) for key in before.answered} for file in (before, after)
    ]
    return (*sides, {key: key[0] for key in before.answered})


def _result(name: str, files: Mapping[str, _File], change: BenchmarkChange | None, *, seed: int) -> BenchmarkResult:
    settings = next(iter(files.values())).settings
    label = str(settings.get("label", settings["metric"]))
    others = [(str(metric), str(words)) for metric, words in settings.get("others", ())]
    subtasks = list(dict.fromkeys(key[0] for key in sorted(next(iter(files.values())).answered)))
    scored: list[Score | None] = []
    beside: list[Score | None] = []
    parts: list[Score | None] = []
    for side, file in files.items():
        rows = list(file.answered.values())
        scored.append(_mean(rows, settings["metric"], variant=side, label=label, seed=seed))
        beside += [_mean(rows, metric, variant=side, label=words, seed=seed) for metric, words in others]
        for subtask in subtasks if len(subtasks) > 1 else ():
            some = [row for row in rows if row.subtask == subtask]
            parts.append(_mean(some, settings["metric"], variant=side, label=subtask, seed=seed))
    return BenchmarkResult(
        name=name,
        title=str(settings.get("title", name)),
        label=label,
        scores=_not_none(scored),
        change=None if change is None else replace(change, score=replace(change.score, name=_MEASURE, label=label)),
        others=_not_none(beside),
        subtasks=_not_none(parts),
        questions=settings["questions"],
        of=settings["of"],
        asked=_asked(settings),
        notes=tuple(_notes(files)),
    )


def _mean(rows: Sequence[BenchAnswer], metric: str, *, variant: str, label: str, seed: int) -> Score | None:
    values = [(row, value) for row in rows for value in _parts(row.scores[metric])]
    numbers, keys = [value for _, value in values], [row.key for row, _ in values]
    # Parts of one question (instructions of a prompt) are resampled together, and weigh by their number.
    if any(isinstance(row.scores[metric], list) for row in rows):
        return mean_with_interval(numbers, keys, name=_MEASURE, variant=variant, label=label, bounds=(0, 1))
    return benchmark_mean(
        numbers, keys, [row.subtask for row, _ in values], name=_MEASURE, variant=variant, label=label, seed=seed
    )


def _asked(settings: Mapping[str, Any]) -> str:
    many, whole = settings["questions"], settings["of"]
    which = f"all {whole:,} questions"
    if many != whole:
        which = f"{many:,} of {whole:,} questions, drawn with seed {settings['seed']}"
    chat = "through the chat template" if settings.get("chat_template") else "as plain text"
    examples = settings.get("examples")
    shots = f"{examples} examples before each" if examples else "no examples"
    return f"{which}, {shots}, {chat}; {settings.get('harness')}, definition {settings.get('definition')}"


def _notes(files: Mapping[str, _File]) -> Iterator[str]:
    for side, file in files.items():
        cut = sum(answer.cut for answer in file.answered.values())
        if cut:
            yield f"{side}: {cut} prompts did not fit the model's window and lost their beginning"
    templates = {file.settings.get("chat_template") for file in files.values()}
    if len(templates) > 1:
        yield "only one of the two models has a chat template: the difference is also one of the prompts"
    if len({file.settings.get("harness") for file in files.values()}) > 1:
        yield "before and after were asked with different versions of the harness"


def _not_none(scores: Sequence[Score | None]) -> tuple[Score, ...]:
    return tuple(score for score in scores if score is not None)


def _parts(value: float | list[float]) -> list[float]:
    return value if isinstance(value, list) else [value]


def _mean_of_parts(value: float | list[float]) -> float:
    parts = _parts(value)
    return sum(parts) / len(parts)
