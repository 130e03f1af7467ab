"""Ask models a benchmark's questions; each answer is kept at once, and a rerun asks only those that are missing."""

import hashlib
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import floor
from pathlib import Path
from typing import Any

from haloes.errors import ConfigError
from haloes.evaluation.bench._contract import Harness, Loaded, Question, Render
from haloes.evaluation.bench.answers import BenchAnswer, claim_answers
from haloes.evaluation.bench.table import Benchmark, find_benchmarks
from haloes.evaluation.bench.variants import Variant, load, variants
from haloes.journal import Journal
from haloes.locks import hold_folder
from haloes.progress.contract import Progress
from haloes.tokens.bounded_template import bounded_template
from haloes.tokens.template_probe import find_parts


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchSettings:
    """Benchmarks to ask, and how."""

    names: str
    """Benchmarks, separated by commas."""
    data: Path | None = None
    """A folder with the benchmarks' rows; None for the hub."""
    limit: int | None = None
    """Questions of each benchmark; None for all."""
    seed: int = 0
    """Seed of the draw of questions."""
    chat: bool = True
    """Put the questions through the chat template of models that have one, as they were trained."""
    run_generated_code: bool = False
    batch_size: int = 8
    """Questions at once."""
    out: Path | None = None
    """Folder for the answers; None for the run's folder, or benchmarks/<model>."""


@dataclass(frozen=True, slots=True)
class _Part:
    """A benchmark for one model, with the questions that are still to be asked."""

    benchmark: Benchmark
    loaded: Loaded
    variant: Variant
    journal: Journal[BenchAnswer]
    missing: list[Question]


def run_benchmarks(source: str, settings: BenchSettings, *, harness: Harness, progress: Progress) -> Path:
    """
    Answer the benchmarks' questions with the models of a source, and return the folder of the answers.

    Everything that can be found wrong is found before a model is loaded.

    Args:
        source: a run's folder (its model before and after), or one model.
        settings: benchmarks, and how their questions are asked.
        harness: library that defines the benchmarks.
        progress: told how far the work is.

    Raises:
        ConfigError: something is unknown or not installed, or generated code may not or cannot be run.
        DataError: rows are missing or damaged.
        RunError: the folder holds answers under other settings, another process adds to it, or the run is not finished.
        ModelError: a model cannot be loaded.
    """
    benchmarks = find_benchmarks(settings.names)
    if settings.batch_size < 1:
        raise ConfigError(f"--batch-size must be at least 1, got {settings.batch_size}")
    if settings.limit is not None and settings.limit < 1:
        raise ConfigError(f"--bench-limit must be at least 1, got {settings.limit}")
    _require_permission(benchmarks, settings)
    harness.require(benchmarks)
    place, asked = variants(source)
    folder = settings.out or place
    loaded = {benchmark: _loaded(benchmark, settings, harness, progress) for benchmark in benchmarks}
    with hold_folder(folder):
        parts = [part for variant in asked for part in _parts(variant, loaded, settings, harness, folder)]
        if any(part.benchmark.runs_code and part.missing for part in parts):
            from haloes.evaluation.bench.sandbox.run import find_jail

            if remark := find_jail().remark:
                progress.note(remark)
        for variant in asked:
            todo = [part for part in parts if part.variant is variant and part.missing]
            if todo:
                progress.stage(f"model {variant.name}")
                _answer(todo, load(variant), settings, harness, progress)
    return folder


def draw(sizes: Mapping[str, int], limit: int | None, *, seed: int) -> dict[str, list[int]]:
    """
    Draw `limit` questions of a benchmark, spread over its subtasks in proportion to their size.

    The questions are put in one row, subtask by subtask and shuffled within each; from a random start every
    (size / limit)-th is taken. So each has the same chance, and the mean over the drawn ones estimates the mean over
    all (systematic sampling of a population that is ordered by stratum).

    Args:
        sizes: number of questions of each subtask.
        limit: number of questions to draw; None, or more than there are, for all.
        seed: seed of the draw.

    Returns:
        Of each subtask that has some, the drawn numbers, ascending.

    Raises:
        ConfigError: the limit is below 1.
    """
    if limit is not None and limit < 1:
        raise ConfigError(f"--bench-limit must be at least 1, got {limit}")
    everything = [(subtask, number) for subtask, size in sizes.items() for number in range(size)]
    if limit is None or limit >= len(everything):
        selected = everything
    else:
        rng = random.Random(seed)
        row = []
        for subtask, size in sizes.items():
            numbers = list(range(size))
            rng.shuffle(numbers)
            row += [(subtask, number) for number in numbers]
        start, stride = rng.random(), len(row) / limit
        selected = [row[floor((start + i) * stride)] for i in range(limit)]
    drawn: dict[str, list[int]] = {}
    for subtask, number in sorted(selected, key=lambda one: (list(sizes).index(one[0]), one[1])):
        drawn.setdefault(subtask, []).append(number)
    return drawn


def _require_permission(benchmarks: Sequence[Benchmark], settings: BenchSettings) -> None:
    code = [benchmark.name for benchmark in benchmarks if benchmark.runs_code]
    if code and not settings.run_generated_code:
        raise ConfigError(
            f"{code[0]} runs the programs that the model writes. It is done in a sandbox (no network, no files, no "
            "environment, limits on time and memory), and only if you say so: --run-generated-code"
        )


def _loaded(benchmark: Benchmark, settings: BenchSettings, harness: Harness, progress: Progress) -> Loaded:
    progress.stage(f"{benchmark.name}: questions")
    return harness.load(benchmark, settings.data)


def _parts(
    variant: Variant, loaded: dict[Benchmark, Loaded], settings: BenchSettings, harness: Harness, folder: Path
) -> Iterator[_Part]:
    from haloes.models.load import load_tokenizer

    render = _render(load_tokenizer(variant.source)) if settings.chat else None
    for benchmark, one in loaded.items():
        selected = draw(one.sizes, settings.limit, seed=settings.seed)
        questions = one.questions(selected, render)
        journal, known = claim_answers(
            folder,
            benchmark.name,
            variant.name,
            {
                "benchmark": benchmark.name,
                "title": benchmark.title,
                "harness": harness.version,
                **one.about,
                "questions": len(questions),
                "of": sum(one.sizes.values()),
                "seed": settings.seed if len(questions) < sum(one.sizes.values()) else None,
                "chat_template": render is not None,
                "rows": _digest(question.row for question in questions),
                "prompts": _digest(question.prompt for question in questions),
                "variant": variant.name,
                "model": variant.source,
                "model_contents": variant.digest,
                "metric": benchmark.metric,
                "label": benchmark.label,
                "others": [list(other) for other in benchmark.others],
            },
        )
        answered = {answer.key for answer in known}
        yield _Part(benchmark, one, variant, journal, [q for q in questions if q.key not in answered])


def _answer(parts: Sequence[_Part], model: Any, settings: BenchSettings, harness: Harness, progress: Progress) -> None:
    asked = harness.model(model.model, model.tokenizer)
    for part in parts:
        progress.stage(f"{part.benchmark.name}, {part.variant.name}", len(part.missing))
        # Long ones first, so that what does not fit in memory shows at once; alike lengths together.
        left = sorted(part.missing, key=lambda question: (-len(question.prompt), question.key))
        for start in range(0, len(left), settings.batch_size):
            batch = left[start : start + settings.batch_size]
            replies = asked.answer(batch)
            answers = [_answer_of(part, question, reply) for question, reply in zip(batch, replies, strict=True)]
            part.journal.add(*answers)
            progress.advance(len(batch))


def _answer_of(part: _Part, question: Question, reply: Any) -> BenchAnswer:
    scored = part.loaded.score(question, reply)
    return BenchAnswer(
        subtask=question.subtask,
        number=question.number,
        prompt=_digest([question.prompt]),
        reply=reply.text,
        logps=None if reply.logps is None else list(reply.logps),
        extracted=dict(scored.extracted),
        scores=dict(scored.scores),
        cut=reply.cut,
        note=scored.note,
    )


def _render(tokenizer: Any) -> Render | None:
    """Return the chat template as lm-eval calls it; None for a tokenizer without one."""
    if not tokenizer.chat_template:
        return None
    parts, _ = find_parts(tokenizer)
    template = bounded_template(tokenizer)

    def render(messages: Any, *, add_generation_prompt: bool = True) -> str:
        return str(
            tokenizer.apply_chat_template(
                [_in_parts(turn) if turn["role"] in parts else turn for turn in messages],
                chat_template=template,
                tokenize=False,
                add_generation_prompt=add_generation_prompt,
                continue_final_message=not add_generation_prompt,
            )
        )

    return render


def _in_parts(turn: Mapping[str, Any]) -> dict[str, Any]:
    """Return a turn with its words as a list of parts, of which some templates read nothing else."""
    return {**turn, "content": [{"type": "text", "text": turn["content"]}]}


def _digest(texts: Any) -> str:
    whole = hashlib.sha256()
    for text in texts:
        whole.update(hashlib.sha256(text.encode(errors="surrogatepass")).digest())
    return whole.hexdigest()[:16]
