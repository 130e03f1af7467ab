"""A sentiment scorer: logistic regression on the words and pairs of words of a text, fitted on labelled reviews."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.sparse import csr_matrix

from haloes.errors import DataError
from haloes.results import Score
from haloes.stats.bootstrap import Floats
from haloes.stats.logistic import sigmoid
from haloes.stats.rates import share_with_interval
from haloes.store import read_jsonl

# Shapes: N texts, F features.

_WORD = re.compile(r"[a-z0-9']+|[!?]")
_STEPS = 500


@dataclass(frozen=True, slots=True)
class Reviews:
    """Labelled texts."""

    ids: tuple[str, ...]
    texts: tuple[str, ...]
    positive: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class SentimentScorer:
    """The chance that a text is positive."""

    index: Mapping[str, int]
    """Index of the feature of each word and pair of words."""
    weight_F: Floats
    bias: float

    def __call__(self, texts: Sequence[str]) -> Floats:
        """Return the chance that each text is positive, (N,); a text without a known word gets the bias alone."""
        return sigmoid(np.asarray(_features([grams(text) for text in texts], self.index) @ self.weight_F) + self.bias)


def grams(text: str) -> frozenset[str]:
    """Return a text's words and its pairs of neighbouring words, in lower case; "!" and "?" are words."""
    words = _WORD.findall(text.lower())
    return frozenset([*words, *(f"{one} {next_}" for one, next_ in pairwise(words))])


def read_reviews(paths: Sequence[Path]) -> Reviews:
    """
    Read the rows of JSONL files with `text` and a `label` that is true (positive) or false.

    Raises:
        DataError: a row is something else, or both labels do not occur.
    """
    ids, texts, labels = [], [], []
    for path in paths:
        for number, row in read_jsonl(path):
            text, label = row.get("text"), row.get("label")
            if not isinstance(text, str) or not isinstance(label, bool):
                raise DataError(f"{path}:{number}: a labelled review has a text and a label that is true or false")
            ids.append(str(row.get("id", f"{path.name}:{number}")))
            texts.append(text)
            labels.append(label)
    if len(set(labels)) < 2:  # noqa: PLR2004 - both labels
        raise DataError(f"{', '.join(map(str, paths))}: reviews of both labels are needed")
    return Reviews(tuple(ids), tuple(texts), np.array(labels, np.bool_))


def fit_scorer(reviews: Reviews, *, prior_sd: float = 10**0.5, at_least: int = 2) -> SentimentScorer:
    """
    Fit the scorer by L-BFGS.

    It is the minimum of

        sum_n cross-entropy(positive_n, sigmoid(x_n . w + b)) + |w|^2 / (2 prior_sd^2)

    where x_n has the same value at each feature of the text, and length 1.

    Args:
        reviews: to fit on.
        prior_sd: standard deviation of the weights' normal prior, around zero.
        at_least: texts that a feature must occur in.
    """
    found = [grams(text) for text in reviews.texts]
    counts = Counter(gram for of_text in found for gram in of_text)
    index = {gram: i for i, gram in enumerate(sorted(gram for gram, count in counts.items() if count >= at_least))}
    x_NF, y_N = _features(found, index), reviews.positive.astype(np.float64)

    def objective(parameters: Floats) -> tuple[float, Floats]:
        weight_F, bias = parameters[:-1], parameters[-1]
        linear_N = np.asarray(x_NF @ weight_F) + bias
        # -log sigmoid of the true label's side, without overflow at large |x.w + b|.
        loss = np.logaddexp(0, linear_N) - y_N * linear_N
        error_N = sigmoid(linear_N) - y_N
        gradient = np.append(x_NF.T @ error_N + weight_F / prior_sd**2, error_N.sum())
        return float(loss.sum() + weight_F @ weight_F / (2 * prior_sd**2)), gradient

    start = np.zeros(len(index) + 1)
    solved: Any = minimize(objective, start, jac=True, method="L-BFGS-B", options={"maxiter": _STEPS, "gtol": 1e-4})
    return SentimentScorer(index, solved.x[:-1], float(solved.x[-1]))


def accuracy(scorer: SentimentScorer, reviews: Reviews) -> Score | None:
    """Return the share of reviews whose label the scorer tells, with its interval; None for fewer than two."""
    right = (scorer(reviews.texts) > 0.5) == reviews.positive  # noqa: PLR2004 - more likely than not
    return share_with_interval(
        right, reviews.ids, name="accuracy", variant="scorer", label="Held-out reviews told right by the scorer"
    )


def _features(found: Sequence[frozenset[str]], index: Mapping[str, int]) -> Any:
    """Return the features of each text, (N, F), sparse; each row of length 1, or empty."""
    columns: list[int] = []
    starts = [0]
    values: list[float] = []
    for of_text in found:
        known = sorted(index[gram] for gram in of_text if gram in index)
        columns += known
        values += [1 / sqrt(len(known)) for _ in known]
        starts.append(len(columns))
    return csr_matrix((values, columns, starts), shape=(len(found), len(index)))
