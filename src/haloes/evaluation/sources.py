"""What is evaluated: files of judgements, files of answers, and run folders, told apart by what they hold."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from haloes.errors import DataError
from haloes.judging.run import canary_path
from haloes.records import Completion, Judgement, Score, judgement_from_json
from haloes.report.load import load_run
from haloes.run_files import HELD_OUT, SAMPLES
from haloes.runs.held_out import HeldOutRow, read_held_out
from haloes.sampling.run import read_completions
from haloes.store import read_jsonl


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedFile:
    """A file of judgements."""

    source: str
    """A name for it: its run folder's, or its own."""
    judgements: Sequence[Judgement]
    canaries: Sequence[Judgement] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One thing to evaluate, with all that it holds."""

    name: str
    path: Path
    judged: Sequence[JudgedFile] = ()
    answers: Sequence[Completion] = ()
    held_out: Sequence[HeldOutRow] = ()
    measured: Sequence[Score] = field(default=())
    """What a run measured itself when it ended, such as the KL divergence."""


def read_source(path: Path, *, optional: bool = False) -> Source:
    """
    A run's folder, a file of judgements or a file of answers.

    Args:
        path: of one of these.
        optional: a folder may hold none of it.

    Raises:
        DataError: there is nothing at the path, a row is damaged, or it is none of the three.
    """
    if path.is_dir():
        return _run_folder(path, optional=optional)
    _, first = next(read_jsonl(path), (0, {}))
    if "judge" in first and "candidate_first" in first:
        return Source(name=_stem(path), path=path, judged=[_judged(path, _stem(path))])
    if "completion" in first:
        return Source(name=_stem(path), path=path, answers=read_completions(path))
    raise DataError(
        f"{path}: expected judgements (`haloes judge`), answers (`haloes sample`) or a run's folder; its first row has "
        f"the fields {', '.join(first) or 'of none, for it is empty'}"
    )


def judgement_files(run_dir: Path) -> list[Path]:
    """The files of judgements in a run's folder: judgements*.jsonl, without those of canaries."""
    return sorted(path for path in run_dir.glob("judgements*.jsonl") if ".canaries" not in path.suffixes)


def judged_files(run_dir: Path, name: str) -> list[JudgedFile]:
    """
    What was judged in a run's folder, under the name of the run.

    Raises:
        DataError: a row is no judgement.
    """
    return [_judged(path, name) for path in judgement_files(run_dir)]


def _run_folder(path: Path, *, optional: bool) -> Source:
    name = path.resolve().name
    answers = read_completions(path) if (path / SAMPLES).is_file() else []
    judged = judged_files(path, name)
    held_out = read_held_out(path)
    if not answers and not judged and not held_out and not optional:
        raise DataError(
            f"{path}: the folder has nothing to evaluate: no judgements*.jsonl, no {SAMPLES} and no {HELD_OUT}"
        )
    return Source(
        name=name, path=path, judged=judged, answers=answers, held_out=held_out, measured=load_run(path).scores
    )


def _judged(path: Path, source: str) -> JudgedFile:
    beside = canary_path(path)
    return JudgedFile(
        source=source,
        judgements=_read_judgements(path),
        canaries=_read_judgements(beside) if beside.is_file() and beside != path else (),
    )


def _read_judgements(path: Path) -> list[Judgement]:
    return [judgement_from_json(row, where=f"{path}:{number}") for number, row in read_jsonl(path)]


def _stem(path: Path) -> str:
    return path.name.removesuffix(".gz").removesuffix(".jsonl")
