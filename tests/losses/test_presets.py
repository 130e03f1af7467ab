"""The paper's ablations and other losses that are put together, against sums by hand and formulas in NumPy."""

from collections.abc import Callable, Sequence
from math import exp, log
from typing import Any

import numpy as np
import pytest
import torch

from haloes.errors import ConfigError
from haloes.losses._contract import Needs
from haloes.losses._weights import with_weights
from haloes.losses.dpo import DPO
from haloes.losses.humanline import Humanline
from haloes.losses.kto import KTO
from haloes.losses.length_normalised import LengthNormalised
from haloes.losses.mixture import Mixture
from haloes.losses.sft import SFT
from haloes.losses.table import LOSSES
from loss_batches import Example, Numbers, evaluate, gradient, make_examples, make_mismatched, ratio_side, side_of
from loss_oracles import Oracle, Row, assert_agrees
from pair_checks import Tokens, log_ratio
from pair_checks import assert_agrees as assert_pairs_agree

WEIGHTS = {"desirable_weight": 1.5, "undesirable_weight": 0.7}


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def mismatched_mean(of: Callable[[Numbers, Numbers], float], *, clamped: bool) -> float:
    """The mean over the mismatched completions that `evaluate` adds, from their tokens."""
    sides = [side.numbers() for side in make_mismatched()]
    mean = float(np.mean([of(side["policy"], side["reference"]) for side in sides]))
    return max(0.0, mean) if clamped else mean


def kto_like(cost: Callable[[float, float], float], *, z0: float = 0.0, beta: float) -> Oracle:
    """
    The oracle of a loss on single completions, from `cost(weight, z)` of the outcome z.

    z is beta (r - z0) for a desirable completion and beta (z0 - r) for another.
    """

    def losses(rows: Sequence[Row], _: Sequence[Row]) -> Numbers:
        found = []
        for row in rows:
            z = beta * (row.ratio - z0)
            found.append(cost(1.5, z) if row.desirable else cost(0.7, -z))
        return np.array(found)

    return losses


def ratio_z0() -> float:
    return mismatched_mean(lambda policy, reference: policy.sum() - reference.sum(), clamped=True)


def one(ratio: float, *, desirable: bool = True) -> Example:
    return Example(ratio_side(ratio), desirable, 0.0, ratio_side(0.0))


def losses_of(name: str, examples: list[Example], mismatched: Sequence[float] = (), **settings: Any) -> list[float]:
    sides = [ratio_side(ratio) for ratio in mismatched]
    found: list[float] = evaluate(LOSSES[name](**settings), examples, mismatched=sides).per_example.tolist()
    return found


BOTH = [one(5.0), one(-1.0, desirable=False)]
"""With z0 = 2 the outcomes of these are 3 and 3; with z0 = 0 they are 5 and 1."""


@pytest.mark.parametrize("name", ["kto-no-reference-point", "apo-zero"])
def test_without_a_reference_point_the_outcome_is_the_reward(name: str) -> None:
    # 1.5 (1 - sigmoid(0.1 * 5)) and 0.7 (1 - sigmoid(-0.1 * -1))
    assert losses_of(name, BOTH, **WEIGHTS) == pytest.approx(
        [1.5 * (1 - sigmoid(0.5)), 0.7 * (1 - sigmoid(0.1))], rel=1e-12
    )
    assert LOSSES[name]().needs == Needs(reference=True)


@pytest.mark.parametrize("seed", range(3))
def test_without_a_reference_point_it_is_its_formula(seed: int) -> None:
    oracle = kto_like(lambda w, z: w * (1 - sigmoid(z)), beta=0.4)

    assert_agrees(LOSSES["kto-no-reference-point"](beta=0.4, **WEIGHTS), oracle, seed=seed)


def test_the_concave_ablation_never_gives_up_on_an_example() -> None:
    # -1.5 log sigmoid(0.1 * 3) and -0.7 log sigmoid(0.1 * 3)
    found = losses_of("kto-concave", BOTH, [1.0, 3.0], **WEIGHTS)
    hopeless = one(-1000.0)
    [slope] = gradient(evaluate(LOSSES["kto-concave"](), [hopeless]).per_example.sum(), [hopeless.completion.policy])

    assert found == pytest.approx([1.5 * log(1 + exp(-0.3)), 0.7 * log(1 + exp(-0.3))], rel=1e-12)
    assert slope.item() == pytest.approx(-0.1)
    assert LOSSES["kto-concave"]().needs == KTO.needs


@pytest.mark.parametrize("seed", range(3))
def test_the_concave_ablation_is_its_formula(seed: int) -> None:
    oracle = kto_like(lambda w, z: w * np.log1p(np.exp(-z)), z0=ratio_z0(), beta=0.4)

    assert_agrees(LOSSES["kto-concave"](beta=0.4, **WEIGHTS), oracle, seed=seed)


def test_the_risk_neutral_ablation_is_linear() -> None:
    # -1.5 * 0.1 * 3 and -0.7 * 0.1 * 3
    assert losses_of("kto-risk-neutral", BOTH, [1.0, 3.0], **WEIGHTS) == pytest.approx([-0.45, -0.21], rel=1e-12)
    assert LOSSES["kto-risk-neutral"]().needs == KTO.needs


@pytest.mark.parametrize("seed", range(3))
def test_the_risk_neutral_ablation_is_its_formula(seed: int) -> None:
    oracle = kto_like(lambda w, z: -w * z, z0=ratio_z0(), beta=0.4)

    assert_agrees(LOSSES["kto-risk-neutral"](beta=0.4, **WEIGHTS), oracle, seed=seed)


def test_the_reference_free_ablation_compares_mean_log_probabilities() -> None:
    # Mean a token: -1.5; the mismatched ones -2 and -3, -2.5 on average: z = 1. Undesirable: -1.
    side = side_of([-1.0, -2.0], [0.0, 0.0])
    examples = [Example(side, True, 0.0, side), Example(side, False, 0.0, side)]
    others = [side_of([-2.0], [0.0]), side_of([-1.0, -5.0], [0.0, 0.0])]

    found = evaluate(LOSSES["kto-reference-free"](beta=0.5), examples, mismatched=others).per_example.tolist()

    assert found == pytest.approx([1.75 * (1 - sigmoid(0.5)), 1 - sigmoid(-0.5)], rel=1e-12)


def test_the_reference_free_ablation_needs_no_reference() -> None:
    assert LOSSES["kto-reference-free"]().needs == Needs(mismatched=True)


@pytest.mark.parametrize("seed", range(3))
def test_the_reference_free_ablation_is_its_formula(seed: int) -> None:
    z0 = mismatched_mean(lambda policy, _: policy.mean(), clamped=False)

    def oracle(rows: Sequence[Row], _: Sequence[Row]) -> Numbers:
        z = [0.8 * (row.policy.mean() - z0) for row in rows]
        pairs = zip(rows, z, strict=True)
        return np.array([1.5 * (1 - sigmoid(v)) if row.desirable else 0.7 * (1 - sigmoid(-v)) for row, v in pairs])

    assert z0 < 0
    assert_agrees(LOSSES["kto-reference-free"](beta=0.8, **WEIGHTS), oracle, seed=seed)


def test_kahneman_and_tverskys_value_weighs_losses_more_than_gains() -> None:
    # z0 = 2: a gain of 3 and one of 3, then losses of 3 and 3; 3^0.88 = 2.629, and 2.25 times that.
    examples = [*BOTH, one(-1.0), one(5.0, desirable=False)]
    found = losses_of("kahneman-tversky", examples, [1.0, 3.0], **WEIGHTS)

    assert found == pytest.approx(
        [-1.5 * 3**0.88, -0.7 * 3**0.88, 1.5 * 2.25 * 3**0.88, 0.7 * 2.25 * 3**0.88], rel=2e-3
    )
    assert LOSSES["kahneman-tversky"]().needs == KTO.needs


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("alpha", "aversion", "beta"), [(0.88, 2.25, 1.0), (0.5, 1.0, 0.3), (1.0, 3.0, 0.1)])
def test_kahneman_and_tverskys_value_is_its_formula_0_001_away_from_zero(
    seed: int, alpha: float, aversion: float, beta: float
) -> None:
    def cost(w: float, z: float) -> float:
        size = (abs(z) + 0.001) ** alpha - 0.001**alpha
        return -w * size if z > 0 else w * aversion * size

    oracle = kto_like(cost, z0=ratio_z0(), beta=beta)
    settings = {"alpha": alpha, "loss_aversion": aversion, "beta": beta}

    assert_agrees(LOSSES["kahneman-tversky"](**settings, **WEIGHTS), oracle, seed=seed)


def test_the_first_step_with_kahneman_and_tverskys_value_teaches() -> None:
    # Policy and reference agree to the bit: every outcome is 0, where a power has no slope.
    examples = [one(0.0), one(0.0, desirable=False)]
    output = evaluate(LOSSES["kahneman-tversky"](), examples, mismatched=[ratio_side(0.0)])
    slopes = gradient(output.per_example.sum(), [example.completion.policy for example in examples])

    assert output.per_example.tolist() == [0.0, 0.0]
    assert slopes[0].item() < -1
    assert slopes[1].item() > 1


def normalised_ratio(side: Tokens) -> float:
    return log_ratio(side) / len(side["policy"])


@pytest.mark.parametrize("seed", range(3))
def test_length_normalised_dpo_is_its_formula(seed: int) -> None:
    def oracle(chosen: Tokens, rejected: Tokens) -> float:
        return float(np.log1p(np.exp(-2.0 * (normalised_ratio(chosen) - normalised_ratio(rejected)))))

    assert_pairs_agree(LOSSES["dpo-length-normalised"](beta=2.0), oracle, seed=seed)


@pytest.mark.parametrize("seed", range(3))
def test_dpo_with_sft_is_its_formula(seed: int) -> None:
    def oracle(chosen: Tokens, rejected: Tokens) -> float:
        margin = 0.3 * (log_ratio(chosen) - log_ratio(rejected))
        return float(np.log1p(np.exp(-margin)) - 0.2 * chosen["policy"].sum())

    assert_pairs_agree(LOSSES["dpo-sft"](beta=0.3, sft_weight=0.2), oracle, seed=seed)


def test_dpo_with_sft_by_hand() -> None:
    # Log-ratios 2 and 0: -log sigmoid(0.1 * 2). The chosen completion's log-probability is -1: 0.1 * 1 of SFT.
    found = losses_of("dpo-sft", [one(2.0)])

    assert found == pytest.approx([log(1 + exp(-0.2)) + 0.1], rel=1e-12)


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("humanline", Humanline(loss=KTO(), log_low=-1.0, log_high=1.5, every=4)),
        ("length-normalised", LengthNormalised(loss=DPO(beta=5.0))),
        ("mixture", Mixture(losses=(DPO(), SFT()), weights=(1.0, 0.1))),
        ("dpo-length-normalised", LengthNormalised(loss=DPO(beta=5.0))),
        ("dpo-sft", Mixture(losses=(DPO(), SFT()), weights=(1.0, 0.1))),
    ],
)
def test_what_is_made_when_nothing_is_said(name: str, made: Any) -> None:
    assert LOSSES[name]() == made


def test_what_is_made_of_given_losses() -> None:
    inner = KTO(beta=0.3)

    assert LOSSES["humanline"](loss=inner, every=2) == Humanline(loss=inner, every=2)
    assert LOSSES["length-normalised"](loss=inner) == LengthNormalised(loss=inner)
    assert LOSSES["mixture"](losses=(inner, SFT())) == Mixture(losses=(inner, SFT()), weights=(1.0, 1.0))
    assert LOSSES["mixture"](weights=(2.0, 1.0)) == Mixture(losses=(DPO(), SFT()), weights=(2.0, 1.0))


WEIGHTED = ["kto-no-reference-point", "apo-zero", "kto-concave", "kto-risk-neutral", "kto-reference-free"]
WEIGHTED += ["kahneman-tversky"]


@pytest.mark.parametrize("name", WEIGHTED)
def test_weights_can_be_left_to_the_data(name: str) -> None:
    loss = LOSSES[name](desirable_weight="auto", undesirable_weight="auto")

    with pytest.raises(ConfigError, match='still "auto"'):
        evaluate(loss, make_examples())
    assert with_weights(loss, desirable=1.5, undesirable=0.7) == LOSSES[name](**WEIGHTS)


@pytest.mark.parametrize("name", WEIGHTED)
def test_each_label_has_its_weight(name: str) -> None:
    examples = make_examples()
    desirable = torch.tensor([example.desirable for example in examples])
    plain, weighted = (
        evaluate(LOSSES[name](desirable_weight=d, undesirable_weight=u), examples).per_example
        for d, u in ((1.0, 1.0), (3.0, 5.0))
    )

    torch.testing.assert_close(weighted, plain * torch.where(desirable, 3.0, 5.0), rtol=1e-12, atol=0)


def open_kto() -> KTO:
    return KTO(desirable_weight="auto", undesirable_weight="auto")


def filled_kto() -> KTO:
    return KTO(desirable_weight=1.5, undesirable_weight=0.7)


@pytest.mark.parametrize(
    ("loss", "filled"),
    [
        (Humanline(loss=open_kto()), Humanline(loss=filled_kto())),
        (LengthNormalised(loss=open_kto()), LengthNormalised(loss=filled_kto())),
        (
            Mixture(losses=(SFT(), open_kto()), weights=(1.0, 1.0)),
            Mixture(losses=(SFT(), filled_kto()), weights=(1.0, 1.0)),
        ),
        (
            Humanline(loss=Mixture(losses=(open_kto(), LengthNormalised(loss=open_kto())), weights=(1.0, 1.0))),
            Humanline(loss=Mixture(losses=(filled_kto(), LengthNormalised(loss=filled_kto())), weights=(1.0, 1.0))),
        ),
    ],
    ids=["humanline", "length-normalised", "mixture", "all three"],
)
def test_weights_of_losses_inside_others_are_filled_in_too(loss: Any, filled: Any) -> None:
    with pytest.raises(ConfigError, match='still "auto"'):
        evaluate(loss, make_examples())
    assert with_weights(loss, desirable=1.5, undesirable=0.7) == filled


@pytest.mark.parametrize("name", ["kto-no-reference-point", "kto-concave", "kto-risk-neutral", "kahneman-tversky"])
@pytest.mark.parametrize("beta", [0.0, -1.0, float("nan")])
def test_a_beta_out_of_range_is_refused(name: str, beta: float) -> None:
    with pytest.raises(ConfigError, match=f"beta must be positive and finite, got {beta}"):
        LOSSES[name](beta=beta)
