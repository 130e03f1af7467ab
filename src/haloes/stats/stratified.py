"""Scores on a benchmark's questions: means and paired differences, with intervals that know of its subtasks."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from haloes.errors import DataError
from haloes.evaluation_results import BenchmarkChange
from haloes.results import LEVEL, Score, SignTest
from haloes.stats.bootstrap import DRAWS, Floats, percentile_interval
from haloes.stats.bounded_mean import (
    FEW_ON_ONE_SIDE,
    FEW_PROMPTS,
    as_difference,
    bounded_mean_with_interval,
    unit_interval,
)
from haloes.stats.paired import holm
from haloes.stats.rates import sign_test

# Shapes: N rows, C questions, S questions of one stratum, D bootstrap draws.

_CHUNK = 4_000_000


def benchmark_mean(
    values: Sequence[float],
    questions: Sequence[Hashable],
    subtasks: Sequence[Hashable],
    *,
    name: str,
    variant: str,
    label: str = "",
    draws: int = DRAWS,
    seed: int = 0,
) -> Score | None:
    """
    Compute the mean over questions, every question counting once whatever its subtask.

    The subtasks are what the benchmark consists of, not a sample of anything: so questions are resampled within each of
    them, and how hard one subtask is beside another does not widen the interval (see `resampled_means`). Without
    subtasks, and with so few questions or so one-sided scores that a bootstrap would be too narrow, the interval is
    that of `bounded_mean_with_interval` over all questions, which the subtasks could only have made narrower.

    Args:
        values: one number in [0, 1] a row.
        questions: the question of each row; rows of one question (the instructions of a prompt) stay together.
        subtasks: the subtask of each row; all equal where there are none.
        name: what was measured, for the record.
        variant: which model it is about, for the record.
        label: how a report calls the number.
        draws: number of bootstrap draws.
        seed: seed of the draws.

    Returns:
        The score; None with fewer than two questions.

    Raises:
        DataError: the lengths differ, a value is not in [0, 1], or one question stands in two subtasks.
    """
    value_N = unit_interval(values, name)
    mean_C, stratum_C = _by_question(value_N, questions, subtasks, name)
    plain = bounded_mean_with_interval(
        value_N, questions, name=name, variant=variant, label=label, draws=draws, seed=seed
    )
    num = len(mean_C)
    decided = num * min(float(mean_C.mean()), 1 - float(mean_C.mean())) if num else 0.0
    # Few or one-sided questions: the bootstrap would be too narrow here as it is without subtasks.
    if plain is None or np.ptp(stratum_C) == 0 or num < FEW_PROMPTS or decided < FEW_ON_ONE_SIDE:
        return plain
    low, high = percentile_interval(resampled_means(mean_C, stratum_C, draws=draws, seed=seed), LEVEL)
    return replace(plain, low=low, high=high, method=_stratified(num, stratum_C, draws))


def benchmark_changes(
    pairs: Mapping[str, tuple[Mapping[Hashable, float], Mapping[Hashable, float], Mapping[Hashable, Hashable]]],
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> dict[str, BenchmarkChange]:
    """
    Compute the change on each benchmark, paired by question, with p-values corrected by Holm's method for their number.

    Args:
        pairs: for each benchmark, by question: the score before, the score after (each in [0, 1]) and the subtask.
        draws: number of bootstrap draws.
        seed: seed of the draws.

    Returns:
        The changes; a benchmark with fewer than two questions is left out.

    Raises:
        DataError: before and after are not about the same questions, or a score is not in [0, 1].
    """
    tested: dict[str, tuple[Score, SignTest]] = {}
    for name, (before, after, subtasks) in pairs.items():
        if set(before) != set(after):
            odd = sorted(set(before) ^ set(after), key=repr)
            raise DataError(f"{name}: question {odd[0]!r} is on one side only ({len(odd)} such questions)")
        before_N = unit_interval([before[question] for question in before], name)
        after_N = unit_interval([after[question] for question in before], name)
        # A difference lies in [-1, 1]; moved into [0, 1] it has the interval of any bounded mean.
        score = benchmark_mean(
            ((1 + after_N - before_N) / 2).tolist(),
            list(before),
            [subtasks[question] for question in before],
            name=name,
            variant="difference",
            draws=draws,
            seed=seed,
        )
        if score is not None:
            tested[name] = (as_difference(score), sign_test(before_N, after_N))
    corrected = holm([test.p_value for _, test in tested.values()])
    return {
        name: BenchmarkChange(score=score, test=test, p_holm=p_holm)
        for (name, (score, test)), p_holm in zip(tested.items(), corrected, strict=True)
    }


def resampled_means(
    mean_C: Floats, stratum_C: NDArray[np.intp], *, draws: int = DRAWS, seed: int = 0
) -> NDArray[np.float64]:
    """
    Draw bootstrap means over questions that are drawn again within their strata.

    Of the n questions of a stratum n - 1 are drawn (Rao & Wu, J. Am. Stat. Assoc. 83, 1988, 231-241): drawing n would
    make the variance too small by (n - 1) / n, which is half of it where a subtask has two questions. Strata with one
    question, which show no variance, are thrown together; a single such question joins the smallest other stratum.

    Args:
        mean_C: the score of each question.
        stratum_C: the number of its stratum.
        draws: number of means.
        seed: seed of the draws.
    """
    rng = np.random.default_rng(seed)
    total_D = np.zeros(draws)
    for score_S in _strata(mean_C, stratum_C):
        num = len(score_S)
        rows = max(1, _CHUNK // num)
        for start in range(0, draws, rows):
            stop = min(draws, start + rows)
            picked = rng.integers(num, size=(stop - start, num - 1))
            # A stratum weighs as many questions as it has, although one fewer of them is drawn.
            total_D[start:stop] += num * score_S[picked].mean(axis=1)
    return total_D / len(mean_C)


def _strata(mean_C: Floats, stratum_C: NDArray[np.intp]) -> list[Floats]:
    groups = [mean_C[stratum_C == stratum] for stratum in np.unique(stratum_C)]
    # A single question shows no variance, and drawing n - 1 = 0 of them would give no mean at all.
    alone = [group for group in groups if len(group) == 1]
    others = sorted((group for group in groups if len(group) > 1), key=len)
    if len(alone) == 1 and others:
        return [np.concatenate([others[0], *alone]), *others[1:]]
    return others + ([np.concatenate(alone)] if alone else [])


def _by_question(
    value_N: Floats, questions: Sequence[Hashable], subtasks: Sequence[Hashable], name: str
) -> tuple[Floats, NDArray[np.intp]]:
    """Return the mean of each question's rows, and the number of its subtask."""
    if not len(value_N) == len(questions) == len(subtasks):
        raise DataError(f"{name}: {len(value_N)} values, {len(questions)} questions and {len(subtasks)} subtasks")
    rows: dict[Hashable, list[float]] = {}
    home: dict[Hashable, Hashable] = {}
    for value, question, subtask in zip(value_N.tolist(), questions, subtasks, strict=True):
        rows.setdefault(question, []).append(value)
        if home.setdefault(question, subtask) != subtask:
            raise DataError(f"{name}: question {question!r} stands in the subtasks {home[question]!r} and {subtask!r}")
    number = {subtask: i for i, subtask in enumerate(dict.fromkeys(home.values()))}
    mean_C = np.array([sum(values) / len(values) for values in rows.values()])
    return mean_C, np.array([number[subtask] for subtask in home.values()], dtype=np.intp)


def _stratified(num: int, stratum_C: NDArray[np.intp], draws: int) -> str:
    return (
        f"Rao-Wu bootstrap of {num} questions within {len(np.unique(stratum_C))} subtasks, {draws} draws, percentiles"
    )
