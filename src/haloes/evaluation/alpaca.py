"""AlpacaEval's table from AlpacaEval's files."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from haloes.errors import ConfigError, DataError
from haloes.evaluation_results import AlpacaEval, AlpacaEvalRow, LengthControlled
from haloes.results import PairedDifference
from haloes.stats.alpaca_eval import (
    Annotation,
    leaderboard_row,
    length_controlled_from_weights,
    read_annotations,
)
from haloes.stats.length_control import CONTROLLED, length_controlled_win_rate
from haloes.stats.paired import paired_differences
from haloes.stats.shared_difficulty import Compared, length_controlled_together, shared_prompts
from haloes.stats.win_rate import win_rate
from haloes.store import read_jsonl

ALPACA_EVAL_2 = "weighted_alpaca_eval_gpt4_turbo"
"""The annotator whose judgements the published weights are fitted to."""
_MOST_PAIRED = 6
"""Models that are compared with each other; above this there are too many pairs to read."""
_DIFFICULTIES = "instruction_difficulty.jsonl"
_EVEN = 0.5


@dataclass(frozen=True, slots=True)
class Weights:
    """Published parameters of length control."""

    by_generator: Mapping[str, tuple[float, float]]
    """theta and psi_difficulty."""
    difficulties: Mapping[str, float]
    """By the instruction's id."""


def read_weights(path: Path, difficulties: Path | None) -> Weights:
    """
    Read published length-control weights (JSONL: generator, theta, psi_difficulty) and the instructions' difficulties.

    Args:
        path: the weights.
        difficulties: JSONL of instruction_id and difficulty; None for instruction_difficulty.jsonl beside the weights.

    Raises:
        DataError: a row lacks a field, or holds no number.
        ConfigError: there is no file of difficulties.
    """
    difficulties_path = difficulties or path.with_name(_DIFFICULTIES)
    if not difficulties_path.is_file():
        raise ConfigError(
            f"--lc-weights needs the instructions' difficulties: {difficulties_path} does not exist; --difficulties"
        )
    weights = {
        str(row.get("generator")): (_number(row, "theta", where), _number(row, "psi_difficulty", where))
        for row, where in _rows(path)
    }
    return Weights(weights, read_difficulties(difficulties_path))


def read_difficulties(path: Path) -> dict[str, float]:
    """Read the difficulty of each instruction (JSONL: instruction_id, difficulty). Raises DataError by line."""
    return {str(row.get("instruction_id")): _number(row, "difficulty", where) for row, where in _rows(path)}


def alpaca_eval(
    files: Sequence[Path],
    weights: Weights | None,
    *,
    difficulties: Mapping[str, float] | None = None,
    seed: int = 0,
) -> AlpacaEval:
    """
    Compute the numbers of AlpacaEval's leaderboard for each annotator and model in the files.

    Args:
        files: files of preferences, as `read_annotations` takes them.
        weights: weights of the length-controlled win rate of AlpacaEval 2; None to fit one to the preferences instead.
        difficulties: difficulty of each instruction, for that fit; None to fit them too, where several models were
            judged on the same instructions.
        seed: seed of the bootstrap draws.

    Raises:
        DataError: a file cannot be read or holds no preference, or an instruction has no difficulty.
    """
    judged: dict[tuple[str, str], list[Annotation]] = {}
    for path in files:
        for annotation in read_annotations(path):
            judged.setdefault((annotation.annotator, annotation.generator), []).append(annotation)
    fitted: dict[tuple[str, str], LengthControlled | None] = {}
    for annotator in dict.fromkeys(annotator for annotator, _ in judged) if weights is None else ():
        of_one = {model: some for (by, model), some in judged.items() if by == annotator}
        together = _fitted(of_one, difficulties)
        fitted |= {(annotator, model): controlled for model, controlled in together.items()}
    rows = [
        row
        for by_and_model, some in judged.items()
        if (row := _row(some, weights, fitted.get(by_and_model), seed=seed)) is not None
    ]
    if not rows:
        raise DataError(f"{', '.join(map(str, files))}: there is no preference in it")
    # Ordered by the leaderboard's own number, which is what AlpacaEval's table is read by.
    rows.sort(key=lambda row: (row.annotator, -row.leaderboard.win_rate))
    differences: list[PairedDifference] = []
    for annotator in dict.fromkeys(annotator for annotator, _ in judged):
        by_model = {model: some for (by, model), some in judged.items() if by == annotator}
        differences += _differences(by_model, seed=seed) if len(by_model) <= _MOST_PAIRED else []
    return AlpacaEval(rows=tuple(rows), differences=tuple(differences))


def _row(
    judged: Sequence[Annotation], weights: Weights | None, fitted: LengthControlled | None, *, seed: int
) -> AlpacaEvalRow | None:
    about = judged[0]
    leaderboard = leaderboard_row([annotation.preference for annotation in judged])
    if leaderboard is None:
        return None
    lengths = [annotation.length for annotation in judged if annotation.length is not None]
    shares, instructions = (
        [annotation.share() for annotation in judged],
        [annotation.instruction for annotation in judged],
    )
    return AlpacaEvalRow(
        generator=about.generator,
        annotator=about.annotator,
        leaderboard=leaderboard,
        win_rate=win_rate(shares, instructions, variant=about.generator, label=about.annotator, seed=seed).score,
        average_length=sum(lengths) / len(lengths) if lengths else None,
        length_controlled=None if weights is None else _from_weights(about, weights),
        fitted=None if fitted is None else fitted.score,
        fitted_with_difficulty=fitted is not None and fitted.score.name == CONTROLLED,
    )


def _from_weights(about: Annotation, weights: Weights) -> float | None:
    # Published weights hold for the annotator they were fitted to, and for no other.
    if about.generator not in weights.by_generator or about.annotator not in {ALPACA_EVAL_2, ""}:
        return None
    theta, psi = weights.by_generator[about.generator]
    return length_controlled_from_weights(
        theta=theta, psi_difficulty=psi, difficulties=list(weights.difficulties.values())
    )


def _fitted(
    by_model: Mapping[str, Sequence[Annotation]], difficulties: Mapping[str, float] | None
) -> dict[str, LengthControlled | None]:
    """Fit each model's rate at equal length: with the difficulties given, or those of several models, or without."""
    compared = {model: _compared(model, some) for model, some in by_model.items()}
    # The baseline itself, which a table of AlpacaEval holds, says nothing of which instruction is difficult.
    others = [one for one in compared.values() if any(preference != _EVEN for preference in one.preferences)]
    if difficulties is None and shared_prompts(others):
        together = length_controlled_together(others, label=_annotator(by_model))
        return {one.variant: controlled for one, controlled in zip(others, together, strict=True)}
    return {
        model: length_controlled_win_rate(
            one.preferences,
            one.lengths,
            one.baseline_lengths,
            one.prompts,
            difficulties=None if difficulties is None else [_known(difficulties, prompt) for prompt in one.prompts],
            variant=model,
            label=_annotator(by_model),
        )
        for model, one in compared.items()
    }


def _compared(model: str, judged: Sequence[Annotation]) -> Compared:
    with_lengths = [
        (a, a.length, a.baseline_length) for a in judged if a.length is not None and a.baseline_length is not None
    ]
    return Compared(
        variant=model,
        preferences=[annotation.share() for annotation, _, _ in with_lengths],
        lengths=[length for _, length, _ in with_lengths],
        baseline_lengths=[length for _, _, length in with_lengths],
        prompts=[annotation.instruction for annotation, _, _ in with_lengths],
    )


def _annotator(by_model: Mapping[str, Sequence[Annotation]]) -> str:
    return next(some[0].annotator for some in by_model.values())


def _known(difficulties: Mapping[str, float], instruction: Hashable) -> float:
    if instruction not in difficulties:
        raise DataError(
            f"--difficulties: there is none of instruction {instruction!r}; give one for each that was judged"
        )
    return difficulties[str(instruction)]


def _differences(by_model: Mapping[str, Sequence[Annotation]], *, seed: int) -> list[PairedDifference]:
    """Compare models pairwise on the instructions that all of them were judged on."""
    if len(by_model) < 2:  # noqa: PLR2004 - nothing to compare
        return []
    shared = set.intersection(*({annotation.instruction for annotation in some} for some in by_model.values()))
    given = {
        model: (
            [annotation.share() for annotation in some if annotation.instruction in shared],
            [annotation.instruction for annotation in some if annotation.instruction in shared],
        )
        for model, some in by_model.items()
    }
    return paired_differences(given, seed=seed)


def _rows(path: Path) -> list[tuple[dict[str, Any], str]]:
    return [(row, f"{path}:{number}") for number, row in read_jsonl(path)]


def _number(row: Mapping[str, Any], name: str, where: str) -> float:
    value = row.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise DataError(f"{where}: {name} must be a number, got {value!r}")
    return float(value)
