"""The Bradley-Terry reward model, against sums done by hand, the formulas of its papers in NumPy, and what it needs."""

from math import exp, log

import numpy as np
import pytest
import torch

from haloes.errors import ConfigError, MissingInputError
from haloes.losses._contract import LossOutput, Needs, Paired, Scored, Unpaired
from haloes.losses.bradley_terry import BradleyTerry
from haloes.losses.definition import is_halo
from haloes.losses.length_normalised import LengthNormalised

SETTINGS = [(0.0, 0.0), (1.0, 0.0), (0.0, 0.01), (0.7, 0.3)]
"""margin and center."""


def evaluate(
    loss: BradleyTerry, chosen: list[float], rejected: list[float], margins: list[float] | None = None
) -> tuple[LossOutput, torch.Tensor, torch.Tensor]:
    good, bad = (torch.tensor(side, dtype=torch.float64, requires_grad=True) for side in (chosen, rejected))
    margin = None if margins is None else torch.tensor(margins, dtype=torch.float64)
    return loss(Paired(Scored(None, reward_B=good), Scored(None, reward_B=bad), margin)), good, bad


def test_worked_example() -> None:
    # -log sigmoid(x) = log(1 + e^-x), at x = 3 - 1 = 2, at x = -0.5 - 1.5 = -2, and at 0.
    output, _, _ = evaluate(BradleyTerry(), [3.0, -0.5, 4.0], [1.0, 1.5, 4.0])

    assert output.per_example.tolist() == pytest.approx([log(1 + exp(-2.0)), log(1 + exp(2.0)), log(2)], rel=1e-14)
    assert output.metrics["accuracy"].tolist() == [1.0, 0.0, 0.5]


def test_worked_example_with_a_margin() -> None:
    # x = 3 - 1 - 0.5 * 3 = 0.5; the accuracy does not ask for the margin.
    output, _, _ = evaluate(BradleyTerry(margin=0.5), [3.0], [1.0], [3.0])

    assert output.per_example.tolist() == pytest.approx([log(1 + exp(-0.5))], rel=1e-14)
    assert output.metrics["accuracy"].tolist() == [1.0]


def test_worked_example_with_centred_rewards() -> None:
    # 0.01 * (3 + 1)^2 = 0.16 beside log(1 + e^-2).
    output, _, _ = evaluate(BradleyTerry(center=0.01), [3.0], [1.0])

    assert output.per_example.tolist() == pytest.approx([0.16 + log(1 + exp(-2.0))], rel=1e-14)


def test_worked_gradient() -> None:
    # d/dr_chosen of log(1 + e^-x) is -1 / (1 + e^x), at x = 2; of 0.25 (r + r')^2 it is 0.5 (3 + 1) = 2 for both.
    output, good, bad = evaluate(BradleyTerry(center=0.25), [3.0], [1.0])
    to_good, to_bad = torch.autograd.grad(output.per_example.sum(), (good, bad))

    assert to_good.tolist() == pytest.approx([2 - 1 / (1 + exp(2.0))], rel=1e-14)
    assert to_bad.tolist() == pytest.approx([2 + 1 / (1 + exp(2.0))], rel=1e-14)


@pytest.mark.parametrize(("margin", "center"), SETTINGS)
@pytest.mark.parametrize("seed", range(3))
def test_values_and_gradients_are_those_of_the_formulas(margin: float, center: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    chosen, rejected, margins = rng.normal(0, 2, 9), rng.normal(0, 2, 9), rng.exponential(1, 9)

    def formula(chosen: np.ndarray, rejected: np.ndarray) -> np.ndarray:
        chance = 1 / (1 + np.exp(-(chosen - rejected - margin * margins)))
        return -np.log(chance) + center * (chosen + rejected) ** 2

    loss = BradleyTerry(margin=margin, center=center)
    output, good, bad = evaluate(loss, chosen.tolist(), rejected.tolist(), margins.tolist() if margin else None)
    slopes = torch.autograd.grad(output.per_example.sum(), (good, bad))

    np.testing.assert_allclose(output.per_example.detach().numpy(), formula(chosen, rejected), rtol=1e-12)
    step = 1e-6
    for slope, (d_chosen, d_rejected) in zip(slopes, ((step, 0.0), (0.0, step)), strict=True):
        ends = [formula(chosen + sign * d_chosen, rejected + sign * d_rejected) for sign in (1, -1)]
        np.testing.assert_allclose(slope.numpy(), (ends[0] - ends[1]) / (2 * step), rtol=1e-6, atol=1e-8)


def test_without_a_center_rewards_may_lie_anywhere() -> None:
    here, _, _ = evaluate(BradleyTerry(margin=1.0), [3.0, 0.0], [1.0, 2.0], [1.0, 0.5])
    there, _, _ = evaluate(BradleyTerry(margin=1.0), [103.0, -50.0], [101.0, -48.0], [1.0, 0.5])

    assert here.per_example.tolist() == pytest.approx(there.per_example.tolist(), rel=1e-12)


def test_it_needs_a_reward_head_and_no_log_probabilities_and_margins_only_where_they_count() -> None:
    assert BradleyTerry(center=0.5).needs == Needs(pairs=True, logps=False, rewards=True)
    assert BradleyTerry(margin=0.5).needs == Needs(pairs=True, logps=False, rewards=True, margins=True)


def test_what_is_missing_is_named() -> None:
    with pytest.raises(MissingInputError, match="margins"):
        evaluate(BradleyTerry(margin=1.0), [1.0], [0.0])
    with pytest.raises(MissingInputError, match="needs the margins of pairs, and the batch holds single completions"):
        Unpaired(Scored(None), torch.tensor([True])).margins()
    with pytest.raises(MissingInputError, match="reward head"):
        BradleyTerry()(Paired(Scored(None), Scored(None)))
    with pytest.raises(MissingInputError, match="log-probabilities"):
        Scored(None).log_ratio()


@pytest.mark.parametrize("name", ["margin", "center"])
@pytest.mark.parametrize("value", [-0.1, float("inf"), float("nan")])
def test_its_settings_are_finite_and_not_negative(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"{name} must be a finite number of at least 0, got"):
        BradleyTerry(**{name: value})


def test_it_is_no_human_aware_loss_and_cannot_be_normalised_by_length() -> None:
    assert "a head reads" in is_halo(BradleyTerry()).reason
    with pytest.raises(ConfigError, match="one on log-probabilities"):
        LengthNormalised(loss=BradleyTerry())
