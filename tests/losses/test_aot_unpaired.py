"""Unpaired AOT, against sums done by hand, order statistics in NumPy, an assignment solver, and TRL where it is."""

from collections.abc import Sequence
from math import exp, log
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment

from haloes.errors import ConfigError
from haloes.losses._math import coupling
from haloes.losses.aot_unpaired import AOTUnpaired
from loss_batches import Example, Numbers, evaluate, gradient, make_examples, ratio_side
from loss_oracles import Row, assert_agrees


def examples_with(*, desirable: Sequence[float], undesirable: Sequence[float]) -> list[Example]:
    """Completions of one token with these log-ratios."""
    sides = [(ratio_side(r), True) for r in desirable] + [(ratio_side(r), False) for r in undesirable]
    return [Example(side, label, 0.0, side) for side, label in sides]


def cost(margin: float) -> float:
    """-log sigmoid."""
    return log(1 + exp(-margin))


def order_statistics(rows: Sequence[Row], still: Sequence[Row]) -> Numbers:
    """
    Each label's completions repeated until both have equally many, sorted and paired: beta = 0.6.

    The i-th pair costs -log s(beta (u_(i) - v_(i))), half of it each completion's; the mean over pairs is the loss.
    """
    good = sorted((i for i, row in enumerate(rows) if row.desirable), key=lambda i: still[i].ratio)
    bad = sorted((i for i, row in enumerate(rows) if not row.desirable), key=lambda i: still[i].ratio)
    found = np.zeros(len(rows))
    for u, v in zip(np.repeat(good, len(bad)), np.repeat(bad, len(good)), strict=True):
        each = np.logaddexp(0, -0.6 * (rows[u].ratio - rows[v].ratio)) / (len(good) * len(bad))
        found[u] += each / 2
        found[v] += each / 2
    return len(rows) * found


def test_equal_counts_are_paired_in_order_of_their_rewards() -> None:
    # Sorted: 1, 4 against -2, 3; so 4 meets 3 and 1 meets -2. Each completion costs what its couple does.
    output = evaluate(AOTUnpaired(beta=1.0), examples_with(desirable=[4.0, 1.0], undesirable=[-2.0, 3.0]))

    assert output.per_example.tolist() == pytest.approx([cost(1), cost(3), cost(3), cost(1)], rel=1e-12)


def test_unequal_counts_share_quantiles() -> None:
    # Desirable 0 spans [0, 1/2] and 6 spans [1/2, 1]; undesirable 1, 2, 3 a third each. Couples and their widths:
    # (0, 1): 1/3, (0, 2): 1/6, (6, 2): 1/6, (6, 3): 1/3. The mean over the 5 examples is the sum of width times cost.
    output = evaluate(AOTUnpaired(beta=1.0), examples_with(desirable=[0.0, 6.0], undesirable=[3.0, 1.0, 2.0]))

    integral = cost(-1) / 3 + cost(-2) / 6 + cost(4) / 6 + cost(3) / 3
    assert output.per_example.mean().item() == pytest.approx(integral, rel=1e-12)
    assert output.per_example[0].item() == pytest.approx(5 / 2 * (cost(-1) / 3 + cost(-2) / 6), rel=1e-12)
    assert output.per_example[2].item() == pytest.approx(5 / 2 * cost(3) / 3, rel=1e-12)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("num", [2, 6, 9])
def test_values_and_gradients_are_those_of_coupled_order_statistics(seed: int, num: int) -> None:
    assert_agrees(AOTUnpaired(beta=0.6), order_statistics, seed=seed, num=num)


@pytest.mark.parametrize(("num_good", "num_bad"), [(1, 1), (3, 3), (2, 5), (7, 4), (1, 6)])
def test_the_coupling_is_the_cheapest_there_is(num_good: int, num_bad: int) -> None:
    rng = np.random.default_rng(num_good)
    good, bad = rng.normal(0, 2, num_good), rng.normal(0, 2, num_bad)
    # Every completion in as many pieces as the other label has completions: an assignment of equal pieces.
    costs = np.logaddexp(0, -(np.repeat(good, num_bad)[:, None] - np.repeat(bad, num_good)[None, :]))
    cheapest = costs[linear_sum_assignment(costs)].mean()

    output = evaluate(AOTUnpaired(beta=1.0), examples_with(desirable=good.tolist(), undesirable=bad.tolist()))

    assert output.per_example.mean().item() == pytest.approx(cheapest, rel=1e-10)


@pytest.mark.parametrize(("num_good", "num_bad"), [(3, 3), (2, 5), (64, 63)])
def test_every_completion_gives_away_its_whole_share(num_good: int, num_bad: int) -> None:
    rewards = torch.randn(num_good + num_bad, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    desirable = torch.arange(num_good + num_bad) < num_good

    share = coupling(rewards, desirable)

    wanted = torch.tensor([1 / num_good] * num_good + [1 / num_bad] * num_bad, dtype=torch.float64)
    torch.testing.assert_close(share.sum(0) + share.sum(1), wanted, rtol=1e-13, atol=0)
    assert not share[~desirable].any()
    assert not share[:, desirable].any()


def test_equal_rewards_are_coupled_all_the_same() -> None:
    output = evaluate(AOTUnpaired(beta=1.0), examples_with(desirable=[1.0, 1.0], undesirable=[1.0, 1.0, 1.0]))

    assert output.per_example.mean().item() == pytest.approx(log(2), rel=1e-12)


@pytest.mark.parametrize("label", [True, False])
def test_where_a_label_is_absent_the_loss_is_zero_and_can_still_be_walked_back(label: bool) -> None:
    examples = [e for e in make_examples() if e.desirable == label]

    output = evaluate(AOTUnpaired(), examples)
    slopes = gradient(output.per_example.sum(), [e.completion.policy for e in examples])

    assert output.per_example.requires_grad
    assert output.per_example.tolist() == [0.0] * len(examples)
    assert not any(slope.any() for slope in slopes)


@pytest.mark.peer
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(3))
def test_trl_agrees_for_equal_counts(seed: int) -> None:
    pytest.importorskip("trl", reason="trl is not installed (make test-peers runs it)")
    from trl import DPOTrainer

    ratios = torch.tensor(np.random.default_rng(seed).normal(0, 3, 8))
    policy = ratios.clone().requires_grad_()
    ours = evaluate(
        AOTUnpaired(beta=0.2), examples_with(desirable=ratios[:4].tolist(), undesirable=ratios[4:].tolist())
    )

    theirs = DPOTrainer._compute_loss(_trainer(), _model(policy), _inputs(), False)

    assert theirs.item() == pytest.approx(ours.per_example.mean().item(), abs=1e-5)


def _trainer() -> SimpleNamespace:
    """As much of TRL 1.16's trainer as its loss looks at; the reference gives every completion 0."""
    alone = SimpleNamespace(device="cpu", gather=lambda x: x, gather_for_metrics=lambda x: x)
    return SimpleNamespace(
        model=SimpleNamespace(training=False),
        accelerator=alone,
        aux_loss_enabled=False,
        ld_alpha=None,
        precompute_ref_logps=True,
        f_divergence_type="reverse_kl",
        loss_types=["aot_unpaired"],
        loss_weights=[1.0],
        beta=0.2,
        label_smoothing=0.0,
        use_weighting=False,
        _tp_size=1,
        _total_train_tokens=0,
        _metrics={"eval": _Lists()},
    )


class _Lists(dict[str, list[float]]):
    def __missing__(self, key: str) -> list[float]:
        self[key] = []
        return self[key]


def _model(logps: torch.Tensor) -> object:
    """A model of one-token completions with these log-probabilities."""
    column = logps[:, None]
    outputs = SimpleNamespace(
        log_probs=column, entropy=column, mean_logits=column, is_top1=torch.ones_like(column).bool()
    )
    return lambda **_: outputs


def _inputs() -> dict[str, torch.Tensor]:
    tokens = torch.ones(8, 2, dtype=torch.int64)
    return {
        "input_ids": tokens,
        "attention_mask": tokens,
        "completion_mask": torch.tensor([[0, 1]] * 8),
        "ref_chosen_logps": torch.zeros(4, dtype=torch.float64),
        "ref_rejected_logps": torch.zeros(4, dtype=torch.float64),
    }


@pytest.mark.parametrize("beta", [0, -0.1, float("nan"), float("inf")])
def test_beta_must_be_positive(beta: float) -> None:
    with pytest.raises(ConfigError, match=f"aot_unpaired: beta must be positive and finite, got {beta}"):
        AOTUnpaired(beta=beta)
