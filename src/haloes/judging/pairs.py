"""Pairs of answers that two models gave to the same prompts."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from haloes.errors import ConfigError, DataError
from haloes.records import Completion
from haloes.sampling.run import read_completions

BEFORE, AFTER = "before", "after"


@dataclass(frozen=True, slots=True)
class AnswerPair:
    """The answers of two models to one prompt."""

    candidate: Completion
    baseline: Completion
    draw: int
    """Index of the answer among those that each model gave to the prompt."""

    @property
    def prompt_id(self) -> str:
        """Return the prompt's id."""
        return self.candidate.prompt_id


@dataclass(frozen=True, slots=True)
class AnswerPairs:
    """The answers that could be paired, and how many had no partner."""

    pairs: tuple[AnswerPair, ...]
    candidate: str
    """The candidate model's name."""
    baseline: str
    """The baseline model's name."""
    left_over: int

    @property
    def num_prompts(self) -> int:
        """Return how many different prompts there are among the pairs."""
        return len({pair.prompt_id for pair in self.pairs})


def first_prompts(paired: AnswerPairs, most: int | None) -> AnswerPairs:
    """Keep the pairs of the first `most` prompts; all of them for None. Raises ConfigError for less than one."""
    if most is None:
        return paired
    if most < 1:
        raise ConfigError(f"--most must be at least 1, got {most}")
    kept = set(list(dict.fromkeys(pair.prompt_id for pair in paired.pairs))[:most])
    return replace(paired, pairs=tuple(pair for pair in paired.pairs if pair.prompt_id in kept))


def read_pairs(
    source: Path, other: Path | None = None, *, candidate: str | None = None, baseline: str | None = None
) -> AnswerPairs:
    """
    Read the pairs of two files of answers, or of two models in one file.

    Args:
        source: file of answers (JSONL) of the candidate, or of both; or a run's folder, whose answers after training
            are the candidate's and, without `other`, those before it the baseline's.
        other: file of answers of the baseline, or another run's folder.
        candidate: name of the candidate's model in `source`; needed where several are there.
        baseline: name of the baseline's model, likewise.

    Raises:
        DataError: a file cannot be read, it is not plain which model is meant, or nothing can be paired.
    """
    mine = read_completions(source)
    if other is None:
        if candidate is None and baseline is None:
            candidate, baseline = _both(mine, source)
        candidate = candidate or _the_other(mine, source, baseline or "")
        baseline = baseline or _the_other(mine, source, candidate)
        return pair_answers(_of(mine, source, candidate), _of(mine, source, baseline))
    theirs = read_completions(other)
    candidate = candidate or _only(mine, source, "--candidate")
    baseline = baseline or _only(theirs, other, "--baseline")
    names = (candidate, baseline) if candidate != baseline else _told_apart(source, other)
    return pair_answers(_of(mine, source, candidate), _of(theirs, other, baseline), names=names)


def pair_answers(
    candidate: Sequence[Completion], baseline: Sequence[Completion], *, names: tuple[str, str] | None = None
) -> AnswerPairs:
    """
    Join answers on their prompts; several answers of a model to one prompt are joined in the order of their seeds.

    Args:
        candidate: answers of one model.
        baseline: answers of the other.
        names: names of candidate and baseline; None for those in the answers.

    Raises:
        DataError: an id stands for different prompts on the two sides, or no prompt is answered on both.
    """
    mine, theirs = _by_prompt(candidate), _by_prompt(baseline)
    pairs = []
    for prompt_id in mine:
        for draw, (one, other) in enumerate(zip(mine[prompt_id], theirs.get(prompt_id, ()), strict=False)):
            if one.prompt != other.prompt:
                raise DataError(
                    f"prompt {prompt_id!r} is not the same text on the two sides, so their answers cannot be compared; "
                    "sample both models from the same prompts"
                )
            pairs.append(AnswerPair(one, other, draw))
    if not pairs:
        raise DataError(
            f"no prompt is answered by both models ({len(mine)} prompts on one side, {len(theirs)} on the other); "
            "sample both from the same prompts"
        )
    called = names or (candidate[0].model, baseline[0].model)
    return AnswerPairs(tuple(pairs), *called, left_over=len(candidate) + len(baseline) - 2 * len(pairs))


def _by_prompt(answers: Iterable[Completion]) -> dict[str, list[Completion]]:
    found: defaultdict[str, list[Completion]] = defaultdict(list)
    for answer in answers:
        found[answer.prompt_id].append(answer)
    # A stable sort: answers without a seed stay in the order of the file.
    return {prompt_id: sorted(some, key=lambda answer: answer.seed or 0) for prompt_id, some in found.items()}


def _models(answers: Iterable[Completion]) -> list[str]:
    return list(dict.fromkeys(answer.model for answer in answers))


def _of(answers: Sequence[Completion], path: Path, model: str) -> list[Completion]:
    selected = [answer for answer in answers if answer.model == model]
    if not selected:
        raise DataError(f"{path} has no answers of {model!r}; it has those of {', '.join(_models(answers))}")
    return selected


def _both(answers: Sequence[Completion], path: Path) -> tuple[str, str]:
    models = _models(answers)
    if {BEFORE, AFTER} <= set(models):
        return AFTER, BEFORE
    raise DataError(
        f"{path} has answers of {', '.join(models)}; give a second file, or say which of them are compared: "
        "--candidate and --baseline"
    )


def _the_other(answers: Sequence[Completion], path: Path, known: str) -> str:
    others = [model for model in _models(answers) if model != known]
    if len(others) != 1:
        raise DataError(
            f"{path} has answers of {', '.join(_models(answers))}; say which two of them are compared: --candidate and "
            "--baseline"
        )
    return others[0]


def _only(answers: Sequence[Completion], path: Path, flag: str) -> str:
    models = _models(answers)
    if len(models) == 1:
        return models[0]
    if AFTER in models:
        return AFTER
    raise DataError(f"{path} has answers of {', '.join(models)}; say which are meant: {flag}")


def _told_apart(source: Path, other: Path) -> tuple[str, str]:
    """Return names for two models of one name: those of their files or folders, or their whole paths."""
    one, two = (path.name if path.is_dir() else path.stem for path in (source.absolute(), other.absolute()))
    return (one, two) if one != two else (str(source), str(other))
