"""The sentiment scorer against a fit by other means, and what it takes."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import minimize

from haloes.errors import DataError
from haloes.recipes.reproduce.scorer import Reviews, accuracy, fit_scorer, grams, read_reviews

TEXTS = ("good film", "good fun film", "bad film", "bad bad plot", "good plot", "bad fun")
POSITIVE = np.array([True, True, False, False, True, False])
REVIEWS = Reviews(tuple(f"r{i}" for i in range(6)), TEXTS, POSITIVE)


def test_a_text_is_its_words_and_pairs_of_neighbours_each_once():
    assert grams("It's GOOD, good fun!") == {"it's", "good", "fun", "!", "it's good", "good good", "good fun", "fun !"}
    assert grams("…") == frozenset()


def test_the_fit_is_the_minimum_that_another_method_finds():
    scorer = fit_scorer(REVIEWS, prior_sd=2.0)
    # Features that two texts have, by hand: bad, film, fun, good, plot. No pair of words is in two texts.
    assert list(scorer.index) == ["bad", "film", "fun", "good", "plot"]
    x = np.array(
        [[0, 1, 0, 1, 0], [0, 1, 1, 1, 0], [1, 1, 0, 0, 0], [1, 0, 0, 0, 1], [0, 0, 0, 1, 1], [1, 0, 1, 0, 0]], float
    )
    x /= np.sqrt(x.sum(axis=1, keepdims=True))

    def objective(b: np.ndarray) -> float:
        chance = 1 / (1 + np.exp(-(x @ b[:5] + b[5])))
        return float(-np.log(np.where(POSITIVE, chance, 1 - chance)).sum() + (b[:5] ** 2).sum() / 8)

    expected = minimize(objective, np.zeros(6), method="Nelder-Mead", options={"maxiter": 20_000, "fatol": 1e-12}).x
    np.testing.assert_allclose([*scorer.weight_F, scorer.bias], expected, atol=1e-3)


def test_the_chance_of_a_text_rests_on_the_words_that_are_known():
    scorer = fit_scorer(REVIEWS)
    good, bad, unknown, empty = scorer(["good", "bad", "what is this", ""])

    assert good > 0.8
    assert bad < 0.2
    assert unknown == empty == pytest.approx(1 / (1 + np.exp(-scorer.bias)))


def test_accuracy_is_the_share_of_held_out_reviews_told_right():
    scorer = fit_scorer(REVIEWS)
    held_out = Reviews(("a", "b", "c", "d"), ("good", "bad", "good", "good"), np.array([True, False, False, True]))
    score = accuracy(scorer, held_out)

    assert score is not None
    assert (score.value, score.num_clusters) == (0.75, 4)
    # Agresti and Coull's interval of 3 in 4, by hand: c +- z sqrt(c (1 - c) / (n + z2)) with c = (3 + z2/2) / (n + z2).
    assert (score.low, score.high) == pytest.approx((0.2891, 0.9659), abs=1e-4)


def test_reviews_are_read_from_several_files_and_faults_are_named_by_line(tmp_path: Path):
    one, two = tmp_path / "one.jsonl", tmp_path / "two.jsonl"
    one.write_text(json.dumps({"id": "x", "text": "good", "label": True}) + "\n")
    two.write_text(json.dumps({"text": "bad", "label": False}) + "\n")
    found = read_reviews([one, two])
    assert (found.ids, found.texts, found.positive.tolist()) == (("x", "two.jsonl:1"), ("good", "bad"), [True, False])

    with pytest.raises(DataError, match="reviews of both labels are needed"):
        read_reviews([one])
    two.write_text(json.dumps({"text": "bad", "label": "neg"}) + "\n")
    with pytest.raises(DataError, match=r"two.jsonl:1: a labelled review has a text and a label"):
        read_reviews([one, two])
