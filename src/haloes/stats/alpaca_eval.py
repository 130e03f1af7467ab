"""
AlpacaEval's numbers from AlpacaEval's files (https://github.com/tatsu-lab/alpaca_eval).

There a preference is a number in [1, 2], 2 where the model was preferred and 1 where the baseline was; 1.5 and (in old
files) 0 are draws, and a missing one is left out. Rates are in percent.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from haloes.errors import DataError
from haloes.evaluation_results import LeaderboardRow
from haloes.stats.bootstrap import finite
from haloes.stats.logistic import sigmoid
from haloes.store import read_json, read_jsonl

_DRAW = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotation:
    """One judged instruction."""

    annotator: str
    generator: str
    """The model whose answer was compared with the baseline's."""
    instruction: str
    """The instruction's id, or its text."""
    preference: float | None
    """In [1, 2]; None where the annotator gave none."""
    length: int | None
    """Characters of the model's answer."""
    baseline_length: int | None
    """Characters of the baseline's answer."""

    def share(self) -> float | None:
        """Return the preference as a number in [0, 1], as the other functions take it; None where there is none."""
        return None if self.preference is None else self.preference - 1


def read_annotations(path: str | Path) -> list[Annotation]:
    """
    Read AlpacaEval's annotations: a JSON array as the tool writes it, or the same rows as JSONL (gzipped or not).

    A row holds `preference`, `annotator`, and either both outputs and generators (`output_1`, `generator_1` are the
    baseline's), or `generator`, `len_output`, `len_baseline` and `instruction_id`.

    Raises:
        DataError: a row lacks the preference or the generator, or its preference is neither missing, nor 0, nor in
            [1, 2]; the message names the file and the line (in a JSON array, the row).
    """
    name = Path(path).name.removesuffix(".gz")
    if not name.endswith(".json"):
        return [_annotation(row, f"{path}:{line}") for line, row in read_jsonl(path)]
    rows = read_json(path)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise DataError(f"{path}: annotations must be a JSON array of objects")
    return [_annotation(row, f"{path}: row {number}") for number, row in enumerate(rows, start=1)]


def leaderboard_row(preferences: Sequence[float | None]) -> LeaderboardRow | None:
    """
    Compute win rate, standard error and counts as AlpacaEval's `describe_head2head` defines them.

    Args:
        preferences: in [1, 2] as in AlpacaEval's files; None is left out.

    Returns:
        The row; None without any preference.

    Raises:
        DataError: a preference is neither 0 nor in [1, 2].
    """
    given = [_checked(value, f"preference {row}") for row, value in enumerate(preferences) if value is not None]
    if not given:
        return None
    share_N = np.array(given) - 1
    wins, losses = int((share_N > 0.5).sum()), int((share_N < 0.5).sum())  # noqa: PLR2004 - a draw
    draws = len(share_N) - wins - losses
    error = float(share_N.std(ddof=1)) / math.sqrt(len(share_N)) if len(share_N) > 1 else None
    return LeaderboardRow(
        win_rate=100 * float(share_N.mean()),
        standard_error=None if error is None else 100 * error,
        discrete_win_rate=100 * (wins + draws / 2) / len(share_N),
        n_wins=wins,
        n_wins_base=losses,
        n_draws=draws,
        n_total=len(share_N),
    )


def length_controlled_from_weights(
    *,
    theta: float,
    psi_difficulty: float,
    difficulties: Sequence[float],
    baseline_theta: float = 0.0,
    baseline_psi_difficulty: float = 0.0,
) -> float:
    """
    Compute the length-controlled win rate, in percent, that published weights stand for.

    100 * mean over instructions of sigmoid((theta - theta_b) + (psi - psi_b) * difficulty): the weight of the length
    does not enter, since there the lengths are equal. The weights of AlpacaEval 2's own baseline are zero; those of
    another model give the rate against that model.

    Of 199 published models it is the leaderboard's rate to seven digits, but for ten. Eight of those lack judgements of
    1 to 3 instructions; theirs is the mean over as many of the *first* difficulties (their rows were numbered anew), so
    that it is off by up to 0.012 points (llama-2-70b-chat-hf; platolm-7b by 0.0105). Two have the rate of another fit
    than their weights: dbrx-instruct (0.19) of one that later weights replaced, and NullModel (0.13) of one with a
    weaker penalty. The tool chooses the penalty by cross-validation: the weights are those of C = 2.78 (86.33), the
    rate and its standard error those of the next in its list, C = 21.5 (86.46).

    Raises:
        DataError: no difficulties, or a number is not finite.
    """
    difficulty_N = finite(difficulties, "difficulty")
    if not len(difficulty_N):
        raise DataError("length_controlled_from_weights: no difficulties; give one for each instruction")
    weights = finite([theta, psi_difficulty, baseline_theta, baseline_psi_difficulty], "length-control weights")
    logit_N = (weights[0] - weights[2]) + (weights[1] - weights[3]) * difficulty_N
    return 100 * float(sigmoid(logit_N).mean())


def _annotation(row: Mapping[str, Any], where: str) -> Annotation:
    generator = row.get("generator_2", row.get("generator"))
    if not isinstance(generator, str):
        raise DataError(f"{where}: generator_2 (or generator) must name the model, got {generator!r}")
    if "preference" not in row:
        raise DataError(f"{where}: there is no preference; is this an annotations file of AlpacaEval?")
    preference = row["preference"]
    missing = preference is None or (isinstance(preference, float) and math.isnan(preference))
    return Annotation(
        annotator=str(row.get("annotator") or ""),
        generator=generator,
        instruction=str(row.get("instruction_id", row.get("instruction", ""))),
        preference=None if missing else _checked(preference, where),
        length=_length(row, "output_2", "len_output"),
        baseline_length=_length(row, "output_1", "len_baseline"),
    )


def _checked(preference: object, where: str) -> float:
    if isinstance(preference, (int, float)) and not isinstance(preference, bool):
        if preference == 0:
            return _DRAW
        if 1 <= preference <= 2:  # noqa: PLR2004 - AlpacaEval's scale
            return float(preference)
    raise DataError(f"{where}: a preference must be in [1, 2], or 0 for a draw, got {preference!r}")


def _length(row: Mapping[str, Any], output: str, length: str) -> int | None:
    text, number = row.get(output), row.get(length)
    if isinstance(text, str):
        return len(text)
    return int(number) if isinstance(number, (int, float)) else None
