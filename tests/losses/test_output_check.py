"""What losses from outside return, looked at on made-up batches: right, or refused with what to return instead."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from haloes.errors import ConfigError
from haloes.losses._contract import LossOutput, Needs, Paired, Unpaired
from haloes.losses._output_check import check_output
from haloes.losses.dpo import DPO
from haloes.losses.humanline import Humanline
from haloes.losses.kto import KTO
from haloes.losses.length_normalised import LengthNormalised
from haloes.losses.make import make_loss
from haloes.losses.mixture import Mixture
from haloes.losses.sft import SFT
from haloes.losses.table import LOSSES


@dataclass(frozen=True)
class Mine:
    """A loss that returns what it is told to."""

    returned: Callable[[Any], Any]
    needs: ClassVar[Needs] = Needs(reference=True)
    metrics: ClassVar[tuple[str, ...]] = ()

    def __call__(self, batch: Any) -> Any:
        return self.returned(batch)


@dataclass(frozen=True)
class Measuring(Mine):
    metrics: ClassVar[tuple[str, ...]] = ("worth",)


@dataclass(frozen=True)
class Whole(Mine):
    needs: ClassVar[Needs] = Needs(reference=True, whole_step=True)


@dataclass(frozen=True)
class OnPairs(Mine):
    needs: ClassVar[Needs] = Needs(pairs=True)


def ratio(batch: Unpaired) -> Tensor:
    return batch.completions.log_ratio()


def measured(batch: Unpaired, worth: Any) -> LossOutput:
    return LossOutput(ratio(batch), {"worth": worth})


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_of_the_table_returns_what_it_should(name: str) -> None:
    check_output(make_loss(name, {}))


@pytest.mark.parametrize(
    "loss",
    [
        Mixture(losses=(DPO(), SFT()), weights=(1.0, 0.5)),
        Mixture(losses=(KTO(), SFT()), weights=(1.0, 0.5)),
        LengthNormalised(loss=KTO(desirable_weight="auto")),
        Humanline(loss=KTO()),
        Mine(lambda batch: LossOutput(ratio(batch))),
        Mine(lambda batch: LossOutput(ratio(batch).double())),
        Mine(lambda batch: LossOutput(ratio(batch) + torch.rand(len(batch.desirable_B)))),
        Measuring(lambda batch: measured(batch, ratio(batch).detach())),
        Whole(lambda batch: LossOutput(ratio(batch) - ratio(batch).mean())),
        OnPairs(lambda batch: LossOutput(batch.rejected.policy.total() - batch.chosen.policy.total())),
    ],
)
def test_losses_that_keep_to_the_contract_are_taken(loss: Any) -> None:
    check_output(loss)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (
            Mine(lambda batch: LossOutput(ratio(batch).mean())),
            r"shape \(\).*\(5,\): this is one number for all: leave mean",
        ),
        (Mine(lambda batch: LossOutput(ratio(batch)[:1])), r"shape \(1,\).*leave mean\(\), sum\(\) or the index out"),
        (Mine(lambda batch: LossOutput(ratio(batch).mean().reshape(1))), r"shape \(1,\).*this is one number for all"),
        (
            Mine(lambda batch: LossOutput(batch.completions.policy.token_T)),
            r"shape \(12,\).*for 5 examples of 12 tokens.*sum them up .* batch\.completions\.policy\.sums\(values\)",
        ),
        (Mine(lambda batch: LossOutput(ratio(batch)[:, None])), r"shape \(5, 1\).*values\.reshape\(-1\)"),
        (Mine(lambda batch: LossOutput(ratio(batch).squeeze()[:3])), r"shape \(3,\).*return a number an example"),
        (Mine(lambda batch: LossOutput(ratio(batch).squeeze())), r"shape \(\).* for 1 examples"),
        (Mine(lambda batch: LossOutput((ratio(batch) > 0).long())), r"torch\.int64 .*return floating-point numbers"),
        (Mine(lambda batch: LossOutput(ratio(batch).detach())), "without a gradient, from which nothing can be learnt"),
        (Mine(lambda batch: LossOutput(ratio(batch).tolist())), "per_example as list; return a tensor of shape"),
        (Mine(ratio), r"type Tensor; return haloes\.LossOutput\(per_example=\.\.\.\)"),
        (Mine(lambda batch: None), r"type NoneType; return haloes\.LossOutput"),
        (
            Mine(lambda batch: 1 / 0),
            r"Mine failed on a batch of 5 made-up examples \(ZeroDivisionError: division by zero\)",
        ),
        (Mine(lambda batch: sys.exit(0)), r"Mine failed on a batch of 5 made-up examples \(SystemExit: 0\)"),
        (Mine(lambda batch: LossOutput(batch.completions.reward())), "needs the rewards .*; declare it, as in needs ="),
        (
            Mine(lambda batch: LossOutput(ratio(batch) - ratio(batch).mean())),
            r"Mine gives an example depends on the others .*or declare Needs\(whole_step=True\)",
        ),
        (
            Mine(lambda batch: LossOutput(ratio(batch).mean().expand(len(batch.desirable_B)))),
            r"depends on the others in its micro-batch \(example 1: .* among 5, .* among 3\)",
        ),
        (
            OnPairs(lambda batch: LossOutput(batch.chosen.policy.total() / batch.rejected.policy.total().mean())),
            "Return a number that each pair has by itself: leave means over the batch out",
        ),
        (
            Measuring(lambda batch: measured(batch, ratio(batch).mean())),
            r'the metric "worth" of shape \(\).*one number',
        ),
        (Measuring(lambda batch: measured(batch, 0.5)), 'the metric "worth" as float; return a tensor'),
        (Measuring(lambda batch: LossOutput(ratio(batch))), 'declares the metric "worth" and leaves it out'),
        (
            Measuring(
                lambda batch: measured(batch, ratio(batch)) if batch.desirable_B[0] else LossOutput(ratio(batch))
            ),
            r'"worth" and leaves it out of a batch of 1 made-up examples \(undesirable ones alone\); return it always',
        ),
        (
            Mine(lambda batch: measured(batch, ratio(batch))),
            r'returns the metrics "worth" and declares none; write metrics: ClassVar.* = \(.worth.,\)',
        ),
    ],
)
def test_anything_else_is_refused_in_a_line_with_what_to_return(loss: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        check_output(loss)
    assert "\n" not in str(caught.value)


def test_the_check_leaves_the_random_numbers_of_a_run_as_they_were() -> None:
    before = torch.get_rng_state()
    check_output(Mine(lambda batch: LossOutput(ratio(batch) + torch.rand(len(batch.desirable_B)))))

    assert torch.equal(torch.get_rng_state(), before)


def test_pairs_are_made_up_for_a_loss_on_pairs() -> None:
    seen: list[Any] = []

    def noted(batch: Paired) -> LossOutput:
        seen.append(batch)
        return LossOutput(batch.chosen.policy.total())

    check_output(OnPairs(noted))

    assert all(isinstance(batch, Paired) for batch in seen)
