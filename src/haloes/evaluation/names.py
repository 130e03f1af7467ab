"""One name for each model and each judge, where several files of judgements use the same name for different ones."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

from haloes.evaluation.sources import JudgedFile
from haloes.records import Judgement

_Lengths: TypeAlias = dict[tuple[str, int], int | None]


def with_distinct_names(files: Sequence[JudgedFile]) -> list[JudgedFile]:
    """
    The same judgements under names that mean one thing.

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
    """The same judgements with the model "after" under the name of its run."""
    names = {"after": judged.source}
    return replace(judged, judgements=[_renamed(judgement, names) for judgement in judged.judgements])


def _renamed(judgement: Judgement, names: Mapping[str, str]) -> Judgement:
    return replace(
        judgement,
        candidate=names.get(judgement.candidate, judgement.candidate),
        baseline=names.get(judgement.baseline, judgement.baseline),
    )


def _model_names(files: Sequence[JudgedFile]) -> list[dict[str, str]]:
    """For each file, what its models are to be called."""
    found: list[dict[str, str]] = [{} for _ in files]
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
                found[i][name] = new if len(groups) > 1 else name
    return found


def _lengths(judgements: Sequence[Judgement]) -> dict[str, _Lengths]:
    found: dict[str, _Lengths] = {}
    for judgement in judgements:
        place = (judgement.prompt_id, judgement.draw)
        found.setdefault(judgement.candidate, {})[place] = judgement.candidate_length
        found.setdefault(judgement.baseline, {})[place] = judgement.baseline_length
    return found


def _same(name: str, one: JudgedFile, lengths: _Lengths, other: JudgedFile, others: _Lengths) -> bool:
    if one.source == other.source:
        return True
    if name == "after":
        return False
    shared = [place for place in lengths if place in others]
    if not shared:
        return name != "before"
    return all(lengths[place] == others[place] for place in shared)


def _with_judges_apart(files: Sequence[JudgedFile]) -> list[JudgedFile]:
    """Each judge with its template, its seed, or its file in its name, as far as that is needed to tell them apart."""
    every = [judgement for judged in files for judgement in judged.judgements]
    templates, seeds = _values(every, "template"), _values(every, "seed")
    asked: dict[tuple[object, ...], tuple[str, int]] = {}
    twice: set[int] = set()
    for i, judged in enumerate(files):
        for judgement in judged.judgements:
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
    found: dict[str, set[object]] = {}
    for judgement in judgements:
        found.setdefault(judgement.judge, set()).add(getattr(judgement, name))
    return found


def _question(judgement: Judgement) -> tuple[object, ...]:
    return (
        *(judgement.candidate, judgement.baseline, judgement.judge, judgement.template, judgement.seed),
        *(judgement.prompt_id, judgement.draw, judgement.candidate_first),
    )
