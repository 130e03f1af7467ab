"""
What an AUC owes to the length of the answers.

The implied reward is a sum over tokens, so that it drifts with length, and length often tells good from bad by itself:
a ranking of answers may be one of lengths. Controlled for length is the AUC of answers of about the same length
(`similar_comparisons`): in simulations it is unbiased whatever the reward makes of length, where regressing length out
is not (`design/014-auc-and-length.md`).
"""

from collections.abc import Hashable, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from haloes.errors import DataError
from haloes.results import PairedDifference, Score
from haloes.stats.auc import (
    ScoredRows,
    auc,
    auc_with_interval,
    checked_rows,
    comparisons_score,
    with_p_values,
)
from haloes.stats.auc_interval import Comparisons
from haloes.stats.bootstrap import Codes, Floats, finite
from haloes.stats.bounded_mean import bounded_mean_with_interval

# Shapes: N rows, S rows of a stretch of similar lengths.

SIMILAR = 0.1
"""Answers are of about the same length where the logarithms of their tokens differ by no more: by 10 %."""
_HALF = 0.5


def auc_beside_length(
    scores: ArrayLike, labels: ArrayLike, prompts: Sequence[Hashable], tokens: ArrayLike, *, seed: int = 0
) -> list[Score]:
    """
    Compute what stands beside the AUC of a score that is summed over tokens; what cannot be measured is left out.

    - `auc_length_controlled`: of answers of about the same length only;
    - `auc_per_token`: of the score divided by the tokens;
    - `auc_within_prompts`: the mean over prompts of the AUC of their own answers;
    - `auc_length`: of the length alone, with its label saying whether shorter or longer answers are the good ones.

    Args:
        scores: one finite number a row, such as the implied reward.
        labels: True for desirable rows.
        prompts: the prompt identity of each row.
        tokens: the length of each answer.
        seed: seed of the draws for the mean over many prompts.

    Raises:
        DataError: the lengths differ, a number is not finite, or a label is neither true nor false.
    """
    score_N, label_N, codes_N = checked_rows(scores, labels, prompts)
    token_N = _lengths(tokens, len(score_N))
    found = [
        auc_at_equal_length(score_N, label_N, prompts, token_N),
        _per_token(score_N / np.maximum(token_N, 1), label_N, prompts),
        _within_prompts(score_N, label_N, codes_N, seed=seed),
        auc_of_length(token_N, label_N, prompts),
    ]
    return [score for score in found if score is not None]


def auc_differences_at_equal_length(pairs: Mapping[tuple[str, str], ScoredRows]) -> list[PairedDifference]:
    """Compute what `auc_differences` does, of answers of about the same length; pairs without such are left out."""
    sides = {}
    for names, rows in pairs.items():
        tokens_N = _lengths(rows.tokens, len(rows.labels))
        both = [
            similar_comparisons(*checked_rows(scores, rows.labels, rows.prompts), tokens_N)
            for scores in (rows.others, rows.scores)
        ]
        if both[0] is not None and both[1] is not None:
            sides[names] = (both[0], both[1])
    return with_p_values(sides)


def similar_comparisons(
    score_N: Floats, label_N: NDArray[np.bool_], codes_N: Codes, token_N: Floats
) -> Comparisons | None:
    """
    Compare each desirable row with the undesirable ones of about its length; None where not two prompts have any.

    Comparisons in which the desirable answer is a little longer weigh as much as those in which it is a little shorter,
    so that a reward that is nothing but length comes out at one half.
    """
    log_N = np.log(np.maximum(token_N, 1))
    bad = np.flatnonzero(~label_N)
    bad = bad[np.argsort(log_N[bad], kind="stable")]
    # In order of length, the answers similar to one are a stretch; rounding must not decide about its ends.
    starts_N, ends_N = (np.searchsorted(log_N[bad], log_N + end) for end in (-SIMILAR - 1e-9, SIMILAR + 1e-9))
    same_N, beyond_N = (np.searchsorted(log_N[bad], log_N, side=side) for side in ("left", "right"))
    num_longer, num_shorter = int((same_N - starts_N)[label_N].sum()), int((ends_N - beyond_N)[label_N].sum())
    weights = _balanced(num_longer, int((beyond_N - same_N)[label_N].sum()), num_shorter)
    wins_N, count_N = np.zeros(len(score_N)), np.zeros(len(score_N))
    for row in np.flatnonzero(label_N).tolist():
        stretch = bad[starts_N[row] : ends_N[row]]
        lengths = (same_N[row] - starts_N[row], beyond_N[row] - same_N[row], ends_N[row] - beyond_N[row])
        weight_S = np.repeat(weights, lengths)
        won_S = weight_S * np.where(score_N[stretch] == score_N[row], _HALF, score_N[stretch] < score_N[row])
        wins_N[row], count_N[row] = won_S.sum(), weight_S.sum()
        # A stretch holds no row twice.
        wins_N[stretch] += won_S
        count_N[stretch] += weight_S
    if len(np.unique(codes_N[count_N > 0])) < 2:  # noqa: PLR2004 - one prompt has no spread
        return None
    return Comparisons(label_N=label_N, codes_N=codes_N, wins_N=wins_N, count_N=count_N)


def _balanced(num_longer: int, num_same: int, num_shorter: int) -> Floats:
    """Return the weights of comparisons with a longer, an equally long and a shorter desirable answer."""
    # Where there is one kind only there is nothing to weigh against it.
    if not num_longer or not num_shorter:
        return np.ones(3)
    number_3 = np.array([num_longer, num_same, num_shorter], dtype=np.float64)
    half = (num_longer + num_shorter) / 2
    weight_3 = np.array([half / num_longer, 1.0, half / num_shorter])
    # Scaled so that the sum of weights is the number of equal comparisons that tell as much (Kish).
    return np.asarray(weight_3 * ((number_3 @ weight_3) / (number_3 @ weight_3**2)), dtype=np.float64)


def auc_at_equal_length(
    scores: ArrayLike, labels: ArrayLike, prompts: Sequence[Hashable], tokens: ArrayLike
) -> Score | None:
    """Compute the first of `auc_beside_length` alone, which takes the same arguments."""
    score_N, label_N, codes_N = checked_rows(scores, labels, prompts)
    similar = similar_comparisons(score_N, label_N, codes_N, _lengths(tokens, len(score_N)))
    name, label = "auc_length_controlled", "AUC at equal length"
    return None if similar is None else comparisons_score(similar, name=name, variant="after", label=label)


def _per_token(mean_N: Floats, label_N: NDArray[np.bool_], prompts: Sequence[Hashable]) -> Score | None:
    return auc_with_interval(mean_N, label_N, prompts, name="auc_per_token", label="AUC of the reward per token")


def aucs_of_prompts(score_N: Floats, label_N: NDArray[np.bool_], codes_N: Codes) -> tuple[Floats, list[int]]:
    """Return the AUC of each prompt that has answers of both classes, and which prompts those are."""
    # Ranks within a prompt, from one sort of all rows: a prompt's rows lie together, and keep their order of scores.
    order = np.lexsort((score_N, codes_N))
    bounds = np.flatnonzero(np.diff(codes_N[order])) + 1
    values, keys = [], []
    for rows in np.split(order, bounds):
        value = auc(score_N[rows], label_N[rows])
        if value is not None:
            values.append(value)
            keys.append(int(codes_N[rows[0]]))
    return np.array(values), keys


def _within_prompts(score_N: Floats, label_N: NDArray[np.bool_], codes_N: Codes, *, seed: int) -> Score | None:
    values, keys = aucs_of_prompts(score_N, label_N, codes_N)
    label = "AUC within prompts"
    return bounded_mean_with_interval(values, keys, name="auc_within_prompts", variant="after", label=label, seed=seed)


def auc_of_length(tokens: ArrayLike, labels: ArrayLike, prompts: Sequence[Hashable]) -> Score | None:
    """Compute the AUC of the length alone, in the direction that is above one half."""
    token_N = finite(tokens, "tokens")
    of_longer = auc(token_N, labels)
    is_longer = of_longer is not None and of_longer >= _HALF
    label = f"AUC of length alone ({'longer' if is_longer else 'shorter'} is better)"
    return auc_with_interval(token_N if is_longer else -token_N, labels, prompts, name="auc_length", label=label)


def _lengths(tokens: ArrayLike, num: int) -> Floats:
    token_N = finite(tokens, "tokens")
    if token_N.shape != (num,):
        raise DataError(f"auc: {token_N.shape} lengths for {num} scores; give one a score")
    return token_N
