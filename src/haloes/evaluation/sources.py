"""
Sources of an evaluation: files of judgements, files of answers, and run folders, told apart by what they hold.

Several sources together need two things: names that mean one model and one judge each (`with_distinct_names`), and a
word where their answers were not made alike (`sampling_differences`).
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TypeAlias

from haloes.collected import is_collected
from haloes.errors import DataError
from haloes.evaluation.people import judgements_of_people
from haloes.judging.refusals import refusing_model
from haloes.judging.run import canary_path
from haloes.records import Completion, Judgement, Sampling
from haloes.records_json import judgement_from_json
from haloes.report.load import load_run
from haloes.results import HeldOutRow, Score
from haloes.results_json import read_held_out
from haloes.run_files import COLLECTED, HELD_OUT, SAMPLES
from haloes.sampling.run import read_completions
from haloes.store import read_jsonl

_OF_THE_MODEL = frozenset({"model", "control"})
"""Fields of `Sampling` in which two models may differ: they say which model it is."""
_Lengths: TypeAlias = dict[tuple[str, int], int | None]
"""Characters of each answer, by prompt and draw."""


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
    refusals: Sequence[Judgement] = ()
    """What judges said of whether an answer refuses; each judge has a name of its own."""
    answers: Sequence[Completion] = ()
    held_out: Sequence[HeldOutRow] = ()
    measured: Sequence[Score] = field(default=())
    """Scores that a run measured itself when it ended, such as the KL divergence."""


def read_source(path: Path, *, may_be_empty: bool = False) -> Source:
    """
    Read a run's folder, a file of judgements or a file of answers.

    Args:
        path: path of the folder or file.
        may_be_empty: accept a folder that holds no records.

    Raises:
        DataError: there is nothing at the path, a row is damaged, or it is none of the three.
    """
    if path.is_dir():
        return _run_folder(path, may_be_empty=may_be_empty)
    if is_collected(path):
        judged = _of_people(path, _stem(path))
        if not judged:
            raise DataError(f"{path}: nobody has compared answers in this store yet")
        return Source(name=_stem(path), path=path, judged=judged)
    _, first = next(read_jsonl(path), (0, {}))
    if "judge" in first and "candidate_first" in first:
        read = _read_judged_file(path, _stem(path))
        if all(refusing_model(judgement) is not None for judgement in read.judgements):
            return Source(name=_stem(path), path=path, refusals=read.judgements)
        return Source(name=_stem(path), path=path, judged=[read])
    if "completion" in first:
        return Source(name=_stem(path), path=path, answers=read_completions(path))
    raise DataError(
        f"{path}: expected judgements (`haloes judge`), answers (`haloes sample`) or a run's folder; its first row has "
        f"the fields {', '.join(first) or 'of none, for it is empty'}"
    )


def judgement_paths(run_dir: Path) -> list[Path]:
    """List the files of judgements in a run's folder: judgements*.jsonl, without those of canaries."""
    return sorted(path for path in run_dir.glob("judgements*.jsonl") if ".canaries" not in path.suffixes)


def refusal_paths(run_dir: Path) -> list[Path]:
    """List the files of judgements on refusals in a run's folder: refusals*.jsonl."""
    return sorted(run_dir.glob("refusals*.jsonl"))


def read_judged_files(run_dir: Path, name: str) -> list[JudgedFile]:
    """
    Read what was judged in a run's folder, by judges and by people (`haloes serve`), under the name of the run.

    Raises:
        DataError: a row is no judgement.
    """
    files = [_read_judged_file(path, name) for path in judgement_paths(run_dir)]
    return [*files, *_of_people(run_dir / COLLECTED, name)]


def _of_people(store: Path, name: str) -> list[JudgedFile]:
    judgements = judgements_of_people(store) if store.is_file() else []
    return [JudgedFile(source=name, judgements=judgements)] if judgements else []


def _run_folder(path: Path, *, may_be_empty: bool) -> Source:
    name = path.resolve().name
    answers = read_completions(path) if (path / SAMPLES).is_file() else []
    judged = read_judged_files(path, name)
    asked = _with_judges_apart([_read_judged_file(file, name) for file in refusal_paths(path)])
    held_out = read_held_out(path)
    if not answers and not judged and not asked and not held_out and not may_be_empty:
        raise DataError(
            f"{path}: the folder has nothing to evaluate: no judgements*.jsonl, no {SAMPLES} and no {HELD_OUT}"
        )
    return Source(
        name=name,
        path=path,
        judged=judged,
        refusals=[judgement for file in asked for judgement in file.judgements],
        answers=answers,
        held_out=held_out,
        measured=load_run(path).scores,
    )


def _read_judged_file(path: Path, source: str) -> JudgedFile:
    # Canaries stand in a file of their own, so that nobody counts them as answers.
    beside = canary_path(path)
    return JudgedFile(
        source=source,
        judgements=_read_judgements(path),
        canaries=_read_judgements(beside) if beside.is_file() and beside != path else (),
    )


def _read_judgements(path: Path) -> list[Judgement]:
    return [judgement_from_json(row, where=f"{path}:{number}") for number, row in read_jsonl(path)]


def _stem(path: Path) -> str:
    return path.name.removesuffix(".gz").removesuffix(".jsonl").removesuffix(".db")


# --- one name for one model and one judge


def with_distinct_names(files: Sequence[JudgedFile]) -> list[JudgedFile]:
    """
    Rename models and judges so that each name means one thing across the files.

    The models "after" of two runs are two, and each is called after its run. Others of one name are two where the
    lengths of their answers to the prompts that they share differ. A judge with several templates or seeds is several
    judges, and so is one that was asked the same question in different files, as when its settings were changed.
    """
    models = _model_names(files)
    files = [
        replace(
            judged,
            judgements=[_renamed(judgement, models[i]) for judgement in judged.judgements],
            canaries=[_renamed(judgement, models[i]) for judgement in judged.canaries],
        )
        for i, judged in enumerate(files)
    ]
    return _with_judges_apart(files)


def after_its_run(judged: JudgedFile) -> JudgedFile:
    """Rename the model "after" to the name of its run."""
    names = {"after": judged.source}
    return replace(judged, judgements=[_renamed(judgement, names) for judgement in judged.judgements])


def _renamed(judgement: Judgement, names: Mapping[str, str]) -> Judgement:
    return replace(
        judgement,
        candidate=names.get(judgement.candidate, judgement.candidate),
        baseline=names.get(judgement.baseline, judgement.baseline),
    )


def _model_names(files: Sequence[JudgedFile]) -> list[dict[str, str]]:
    """Decide for each file how its models are to be called."""
    names: list[dict[str, str]] = [{} for _ in files]
    lengths = [_lengths(judged.judgements) for judged in files]
    for name in dict.fromkeys(name for by_model in lengths for name in by_model):
        groups: list[list[int]] = []
        for i, by_model in enumerate(lengths):
            if name not in by_model:
                continue
            same = (g for g in groups if _same(name, files[i], by_model[name], files[g[0]], lengths[g[0]][name]))
            group = next(same, None)
            if group is None:
                groups.append([i])
            else:
                group.append(i)
        for group in groups:
            source = files[group[0]].source
            new = source if name == "after" else f"{name} ({source})"
            for i in group:
                names[i][name] = new if len(groups) > 1 else name
    return names


def _lengths(judgements: Sequence[Judgement]) -> dict[str, _Lengths]:
    lengths: dict[str, _Lengths] = {}
    for judgement in judgements:
        answer = (judgement.prompt_id, judgement.draw)
        lengths.setdefault(judgement.candidate, {})[answer] = judgement.candidate_length
        lengths.setdefault(judgement.baseline, {})[answer] = judgement.baseline_length
    return lengths


def _same(name: str, one: JudgedFile, lengths: _Lengths, other: JudgedFile, others: _Lengths) -> bool:
    if one.source == other.source:
        return True
    # Two runs train two models, however alike their answers are.
    if name == "after":
        return False
    shared = [answer for answer in lengths if answer in others]
    if not shared:
        return name != "before"
    return all(lengths[answer] == others[answer] for answer in shared)


def _with_judges_apart(files: Sequence[JudgedFile]) -> list[JudgedFile]:
    """Add to each judge's name its template, its seed, or its file, as far as that is needed to tell judges apart."""
    every = [judgement for judged in files for judgement in judged.judgements]
    templates, seeds = _values(every, "template"), _values(every, "seed")
    asked: dict[tuple[object, ...], tuple[str, int]] = {}
    twice: set[int] = set()
    for i, judged in enumerate(files):
        for judgement in judged.judgements:
            # The same question with another fingerprint was put to a judge with other settings: that is another judge.
            fingerprint, first = asked.setdefault(_question(judgement), (judgement.fingerprint, i))
            if first != i and fingerprint != judgement.fingerprint:
                twice.add(i)

    def label(judgement: Judgement, i: int) -> Judgement:
        parts = [judgement.template] if len(templates[judgement.judge]) > 1 else []
        parts += [f"seed {judgement.seed}"] if len(seeds[judgement.judge]) > 1 else []
        parts += [f"{files[i].source}, file {i + 1}"] if i in twice else []
        name = f"{judgement.judge} ({', '.join(parts)})" if parts else judgement.judge
        return replace(judgement, judge=name)

    return [
        replace(
            judged,
            judgements=[label(judgement, i) for judgement in judged.judgements],
            canaries=[label(judgement, i) for judgement in judged.canaries],
        )
        for i, judged in enumerate(files)
    ]


def _values(judgements: Sequence[Judgement], name: str) -> dict[str, set[object]]:
    values: dict[str, set[object]] = {}
    for judgement in judgements:
        values.setdefault(judgement.judge, set()).add(getattr(judgement, name))
    return values


def _question(judgement: Judgement) -> tuple[object, ...]:
    return (
        *(judgement.candidate, judgement.baseline, judgement.judge, judgement.template, judgement.seed),
        *(judgement.prompt_id, judgement.draw, judgement.candidate_first),
    )


# --- answers that were not made alike


def sampling_differences(answers: Mapping[str, Sequence[Completion]]) -> list[str]:
    """
    Describe answers that were not made alike: those of one model among themselves, and those of two models.

    A difference that comes from the temperature, the token limit or the engine looks like one of the models otherwise.

    Args:
        answers: answers by their model's name in the notes.
    """
    ways = {model: Counter(answer.sampling for answer in some) for model, some in answers.items() if some}
    notes = [text for model, counted in ways.items() for text in _among_themselves(model, counted)]
    # Of a mixture it was said already that it is one.
    alike = {model: next(iter(counted)) for model, counted in ways.items() if len(counted) == 1}
    recorded = {model: way for model, way in alike.items() if way is not None}
    for model, way in list(recorded.items())[1:]:
        first = next(iter(recorded))
        if text := _difference(recorded[first], way, leaving_out=_OF_THE_MODEL):
            notes.append(f"the answers of {first} and of {model} were not made alike: {text}")
    unknown = [model for model in alike if model not in recorded]
    if recorded and unknown:
        notes.append(f"how the answers of {' and '.join(unknown)} were made is not recorded")
    return notes


def _among_themselves(model: str, ways: Counter[Sampling | None]) -> list[str]:
    (usual, count), *others = ways.most_common()
    return [
        f"the answers of {model} are a mixture ({count:,} and {number:,}): {_difference(usual, other)}"
        for other, number in others
    ]


def _difference(one: Sampling | None, other: Sampling | None, *, leaving_out: Collection[str] = ()) -> str:
    if one is None or other is None:
        return "of some it is not recorded how they were made"
    differing = [
        f"{f.name.replace('_', ' ')} {getattr(one, f.name)!s} and {getattr(other, f.name)!s}"
        for f in fields(Sampling)
        if f.name not in leaving_out and getattr(one, f.name) != getattr(other, f.name)
    ]
    return ", ".join(differing)
