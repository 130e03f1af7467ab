"""Agreement beyond chance, against published worked examples."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from haloes.errors import DataError
from haloes.stats.agreement import cohens_kappa, krippendorffs_alpha

# The data of Krippendorff's "Computing Krippendorff's Alpha-Reliability" (2011), section C; dots are missing.
OBSERVERS = ["1 2 3 3 2 1 4 1 2 . . .", "1 2 3 3 2 2 4 1 2 5 . 3", ". 3 3 3 2 3 4 2 2 5 1 .", "1 2 3 3 2 4 4 1 2 5 1 ."]
UNITS = [[None if v == "." else v for v in unit] for unit in zip(*(row.split() for row in OBSERVERS), strict=True)]

verdicts = st.lists(st.tuples(*[st.sampled_from(["a", "b", "tie"])] * 2), min_size=2, max_size=40)


def test_kappa_by_hand():
    # 20 and 15 of 50 agreed; both chose "yes" 25 and 30 times: chance 0.5 * 0.6 + 0.5 * 0.4 = 0.5; (0.7 - 0.5) / 0.5.
    one = ["yes"] * 25 + ["no"] * 25
    other = ["yes"] * 20 + ["no"] * 5 + ["yes"] * 10 + ["no"] * 15
    score = cohens_kappa(one, other, list(range(50)))
    assert score.value == pytest.approx(0.4)
    # Fleiss, Cohen and Everitt's large-sample standard error of this table is 0.127.
    assert (score.low, score.high) == pytest.approx((0.4 - 1.96 * 0.127, 0.4 + 1.96 * 0.127), abs=0.04)


@pytest.mark.peer
def test_statsmodels_gives_the_same_kappa():
    inter_rater = pytest.importorskip(
        "statsmodels.stats.inter_rater", reason="statsmodels is not installed (make test-peers runs it)"
    )
    rng = np.random.default_rng(0)
    one, other = rng.integers(3, size=80), rng.integers(3, size=80)
    table = np.zeros((3, 3))
    np.add.at(table, (one, other), 1)
    score = cohens_kappa(one.tolist(), other.tolist(), list(range(80)), draws=20)
    assert score.value == pytest.approx(inter_rater.cohens_kappa(table).kappa)


@pytest.mark.peer
@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_the_krippendorff_package_gives_the_same_alpha(missing: float):
    krippendorff = pytest.importorskip("krippendorff", reason="krippendorff is not installed (make test-peers runs it)")
    rng = np.random.default_rng(1)
    ratings = rng.integers(3, size=(60, 1)) * (rng.random((60, 3)) < 0.6) + 1.0
    ratings[rng.random(ratings.shape) < missing] = np.nan
    rows = [[None if np.isnan(value) else str(value) for value in row] for row in ratings]
    score = krippendorffs_alpha(rows, list(range(60)), draws=20)
    expected = krippendorff.alpha(reliability_data=ratings.T, level_of_measurement="nominal")
    assert score.value == pytest.approx(expected, abs=1e-12)


def test_alpha_of_krippendorffs_example():
    score = krippendorffs_alpha(UNITS, list(range(12)))
    assert score.value == pytest.approx(0.743, abs=0.0005)
    assert score.low < 0.743 < score.high
    assert (score.num_rows, score.num_clusters) == (11, 11)


@given(verdicts)
def test_alpha_of_two_raters_is_scotts_pi_with_its_small_sample_correction(rows: list[tuple[str, str]]):
    score = krippendorffs_alpha(rows, list(range(len(rows))), draws=20)
    pooled = [verdict for row in rows for verdict in row]
    if len(set(pooled)) == 1:
        assert score is None
        return
    shares = [pooled.count(kind) / len(pooled) for kind in set(pooled)]
    agreed, chance = sum(a == b for a, b in rows) / len(rows), sum(share**2 for share in shares)
    pi = (agreed - chance) / (1 - chance)
    assert score.value == pytest.approx(pi + (1 - pi) / len(pooled), abs=1e-9)


@given(verdicts)
def test_kappa_does_not_mind_who_is_who_or_what_the_verdicts_are_called(rows: list[tuple[str, str]]):
    one, other, prompts = [a for a, _ in rows], [b for _, b in rows], list(range(len(rows)))
    here = cohens_kappa(one, other, prompts, draws=10)
    name = {"a": 3, "b": "x", "tie": (1, 2)}
    there = cohens_kappa([name[b] for b in other], [name[a] for a in one], prompts, draws=10)
    if here is None:
        assert there is None
    else:
        assert (there.value, there.low, there.high) == pytest.approx((here.value, here.low, here.high))


def test_full_agreement_is_one_and_its_interval_has_width():
    one = ["a", "b"] * 20
    kappa, alpha = cohens_kappa(one, one, range(40)), krippendorffs_alpha(list(zip(one, one, strict=True)), range(40))
    # Wilson's bound z^2 / (n + z^2) on those that may disagree, by a chance disagreement of one half.
    assert (kappa.value, kappa.high) == (1, 1)
    assert kappa.low == pytest.approx(1 - 1.959964**2 / (40 + 1.959964**2) / 0.5, rel=1e-6)
    assert alpha.low == pytest.approx(kappa.low, abs=0.01)
    assert "as all 40 agree" in kappa.method


def test_rows_that_one_rater_left_out_say_nothing():
    one, other = ["a", None, "b", "a", "b"], ["a", "a", None, "a", "b"]
    assert cohens_kappa(one, other, range(5)).value == 1
    assert cohens_kappa(one, other, range(5)).num_rows == 3
    assert krippendorffs_alpha(list(zip(one, other, strict=True)), range(5)).num_rows == 3


def test_answers_to_one_prompt_are_resampled_together():
    one, other = ["a", "a", "b"] * 30, ["a", "b", "b"] * 30
    alone = cohens_kappa(one, other, range(90))
    together = cohens_kappa(one, other, [row // 3 for row in range(90)])
    assert together.num_clusters == 30
    assert together.high - together.low < alone.high - alone.low


def test_where_no_disagreement_is_possible_there_is_no_number():
    assert cohens_kappa(["a"] * 5, ["a"] * 5, range(5)) is None
    assert krippendorffs_alpha([["a", "a"]] * 5, range(5)) is None
    assert krippendorffs_alpha([["a", None]] * 5, range(5)) is None
    assert cohens_kappa(["a", "b"], ["a", "b"], ["p", "p"]) is None


def test_a_few_verdicts_of_nearly_one_kind_do_not_make_a_narrow_interval():
    # Nine ties that both gave, and one verdict on which they differ: kappa is 0, and may as well be 0.5.
    one, other = ["tie"] * 9 + ["won"], ["tie"] * 10
    kappa = cohens_kappa(one, other, range(10))
    alpha = krippendorffs_alpha(list(zip(one, other, strict=True)), range(10))
    assert kappa.low <= kappa.value <= kappa.high
    assert min(kappa.high, alpha.high) > 0.5


def test_lengths_must_agree():
    with pytest.raises(DataError, match="1 and 2 verdicts for 2 prompts"):
        cohens_kappa(["a"], ["a", "b"], ["p", "q"])
    with pytest.raises(DataError, match="1 rows for 2 prompts"):
        krippendorffs_alpha([["a", "b"]], ["p", "q"])
