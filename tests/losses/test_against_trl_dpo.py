"""
Losses on pairs equal TRL's on the same log-probabilities, values and gradients.

TRL computes its losses inside a method of a trainer, from what a model returns. Here that method runs as it is, on a
model that returns given log-probabilities; a real trainer around a tiny model lends it the rest.
`benchmarks/requirements-peer.txt` names the version.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from datasets import Dataset
from torch import Tensor

from fakes import byte_tokenizer, tiny_model
from haloes.losses._contract import Needs, Paired, Scored
from haloes.losses.apo_down import APODown
from haloes.losses.cdpo import CDPO
from haloes.losses.cpo import CPO
from haloes.losses.discopop import DiscoPOP
from haloes.losses.dpo import DPO
from haloes.losses.exo import EXO
from haloes.losses.f_dpo_alpha import AlphaDivergenceDPO
from haloes.losses.f_dpo_forward_kl import ForwardKLDPO
from haloes.losses.f_dpo_jensen_shannon import JensenShannonDPO
from haloes.losses.hinge import Hinge
from haloes.losses.ipo import IPO
from haloes.losses.ld_dpo import LDDPO
from haloes.losses.nca import NCA
from haloes.losses.orpo import ORPO
from haloes.losses.robust_dpo import RobustDPO
from haloes.losses.simpo import SimPO
from haloes.losses.sppo import SPPO
from haloes.losses.wpo import WPO
from loss_batches import Example, Side, gradient, make_batch, make_examples

trl = pytest.importorskip("trl", reason="trl is not installed (make test-peers runs it)")

pytestmark = [
    pytest.mark.peer,
    # What TRL and the libraries under it warn of is not this project's to mend.
    pytest.mark.filterwarnings("ignore"),
]

ROWS = [{"prompt": "Two and two?", "chosen": "Four.", "rejected": "Five."}]
WIDTH = 6
"""Tokens of a sequence: one of a prompt and at most five of a completion."""
READ_AT_THE_START = (
    "beta",
    "label_smoothing",
    "ld_alpha",
    "f_divergence_type",
    "f_alpha_divergence_coef",
    "use_weighting",
)
"""Settings of which a trainer keeps a copy."""


@dataclass(frozen=True)
class Case:
    """A loss, the settings under which TRL's is the same, and what is done to the scores first."""

    loss: Any
    peer: dict[str, Any]
    change: Callable[[Scored], Scored] = field(default=lambda side: side)
    dtype: torch.dtype = torch.float64


def per_token(side: Scored) -> Scored:
    """The scores divided by the number of tokens of their completion."""
    lengths_B = side.policy.lengths_B
    token_T = side.policy.token_T / side.policy.spread(lengths_B)
    assert side.reference_B is not None
    return replace(side, logps=replace(side.policy, token_T=token_T), reference_B=side.reference_B / lengths_B)


CASES = {
    "sigmoid": Case(DPO(beta=0.3), {"loss_type": "sigmoid", "beta": 0.3}),
    "sigmoid_norm": Case(DPO(beta=3.0), {"loss_type": "sigmoid_norm", "beta": 3.0}, change=per_token),
    "hinge": Case(Hinge(beta=0.3), {"loss_type": "hinge", "beta": 0.3}),
    # The paper sums over tokens, TRL averages: the same loss on length-normalised scores.
    "ipo": Case(IPO(beta=0.5), {"loss_type": "ipo", "beta": 0.5}, change=per_token),
    "exo_pair": Case(
        EXO(beta=0.3, label_smoothing=0.01), {"loss_type": "exo_pair", "beta": 0.3, "label_smoothing": 0.01}
    ),
    "nca_pair": Case(NCA(beta=0.3), {"loss_type": "nca_pair", "beta": 0.3}),
    "robust": Case(
        RobustDPO(beta=0.3, label_smoothing=0.2), {"loss_type": "robust", "beta": 0.3, "label_smoothing": 0.2}
    ),
    "sppo_hard": Case(SPPO(beta=0.1), {"loss_type": "sppo_hard", "beta": 0.1}),
    "apo_down": Case(APODown(beta=0.3), {"loss_type": "apo_down", "beta": 0.3}),
    "discopop": Case(DiscoPOP(beta=0.1, tau=0.2), {"loss_type": "discopop", "beta": 0.1, "discopop_tau": 0.2}),
    "forward_kl": Case(ForwardKLDPO(beta=0.3), {"beta": 0.3, "f_divergence_type": "forward_kl"}),
    "js_divergence": Case(JensenShannonDPO(beta=0.3), {"beta": 0.3, "f_divergence_type": "js_divergence"}),
    # TRL has f'(u) = (u^(c - 1) - 1) / (c - 1) where the paper has (1 - u^-alpha) / alpha: c is 1 - alpha.
    # It knows no float64 here.
    "alpha_divergence": Case(
        AlphaDivergenceDPO(beta=0.3, alpha=0.7),
        {"beta": 0.3, "f_divergence_type": "alpha_divergence", "f_alpha_divergence_coef": 0.3},
        dtype=torch.float32,
    ),
    "ld_alpha": Case(LDDPO(beta=0.3, alpha=0.4), {"beta": 0.3, "ld_alpha": 0.4}),
    # TRL leaves out the cap that the paper's authors put on the weight in their code.
    "use_weighting": Case(WPO(beta=0.3, cap=1e9), {"beta": 0.3, "use_weighting": True}),
}


@dataclass(frozen=True)
class Peer:
    """A trainer of TRL's and the settings of every case."""

    trainer: Any
    settings: dict[str, Any]


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    folder = str(tmp_path_factory.mktemp("trl"))
    common = {"use_cpu": True, "bf16": False, "gradient_checkpointing": False, "report_to": "none"}
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("CI", "1")  # TRL reports its use over the network, except in CI
        environment.setenv("TQDM_DISABLE", "1")
        # All settings before the trainer: making some forgets the device that an earlier trainer found.
        settings = {name: trl.DPOConfig(output_dir=folder, **common, **case.peer) for name, case in CASES.items()}
        trainer = trl.DPOTrainer(
            model=tiny_model("llama"),
            ref_model=tiny_model("llama"),
            args=settings["sigmoid"],
            train_dataset=Dataset.from_list(ROWS),
            processing_class=byte_tokenizer(),
        )
        yield Peer(trainer, settings)


def rows(sides: list[Side], name: str) -> Tensor:
    """A field of the completions' tokens as TRL's models return it, zeros after the end, (B, WIDTH - 1)."""
    tokens = [getattr(side, name) for side in sides]
    return torch.stack([torch.nn.functional.pad(t, (0, WIDTH - 1 - len(t))) for t in tokens])


def peer_loss(peer: Peer, name: str, examples: list[Example]) -> Tensor:
    """TRL's loss of the batch, the mean over its pairs, from these tokens' log-probabilities."""
    trainer = peer.trainer
    trainer.args = peer.settings[name]
    trainer.loss_types, trainer.loss_weights = trainer.args.loss_type, [1.0]
    for setting in READ_AT_THE_START:
        assert hasattr(trainer, setting)
        setattr(trainer, setting, getattr(trainer.args, setting))
    sides = [example.completion for example in examples] + [example.rejected for example in examples]
    lengths = torch.tensor([[len(side.policy)] for side in sides])
    places = torch.arange(WIDTH)[None]
    inputs = {
        "input_ids": torch.zeros(len(sides), WIDTH, dtype=torch.int64),
        "attention_mask": (places <= lengths).long(),
        "completion_mask": ((places >= 1) & (places <= lengths)).long(),
    }

    def scorer(name: str) -> Callable[..., Any]:
        zeros = torch.zeros(len(sides), WIDTH - 1)
        return lambda **_: SimpleNamespace(
            log_probs=rows(sides, name),
            log_sum_sq_probs=rows(sides, "collision"),
            entropy=zeros,
            mean_logits=zeros,
            is_top1=zeros.bool(),
        )

    trainer.ref_model = scorer("reference")
    loss: Tensor = trainer._compute_loss(scorer("policy"), inputs, return_outputs=False)
    return loss


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", CASES)
def test_value_and_gradient_are_trls(peer: Peer, name: str, seed: int) -> None:
    case = CASES[name]
    examples = make_examples(7, seed=seed, dtype=case.dtype)
    leaves = [side.policy for example in examples for side in (example.completion, example.rejected)]
    batch = make_batch(examples, case.loss.needs)
    assert isinstance(batch, Paired)

    found = case.loss(batch.mapped(case.change)).per_example.mean()
    expected = peer_loss(peer, name, examples)

    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    for ours, theirs in zip(gradient(found, leaves), gradient(expected, leaves), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_with_its_cap_wpo_differs_from_trl_where_a_pair_would_weigh_more(peer: Peer, seed: int) -> None:
    examples = make_examples(7, seed=seed)
    weights = WPO(cap=1e9)(make_batch(examples, WPO.needs)).metrics["weight"]
    assert 0 < int((weights > 1).sum()) < len(examples)

    for example, weight in zip(examples, weights.tolist(), strict=True):
        [found] = WPO(beta=0.3)(make_batch([example], WPO.needs)).per_example.tolist()
        expected = peer_loss(peer, "use_weighting", [example]).item()
        assert found == pytest.approx(expected * min(1, weight) / weight, rel=1e-5)


def peer_function(module: str, cls: str, method: str) -> Callable[..., Any]:
    """A method of one of TRL's trainers that needs no trainer."""
    found: Callable[..., Any] = getattr(getattr(pytest.importorskip(f"trl.experimental.{module}"), cls), method)
    return found


def peer_cpo(totals: tuple[Tensor, Tensor], **settings: Any) -> Tensor:
    """TRL's CPO loss, without the likelihood that it adds from the whole batch, (B,)."""
    accelerator = SimpleNamespace(device="cpu")
    stand_in = SimpleNamespace(**{"alpha": 0.0, "label_smoothing": 0.0, "accelerator": accelerator, **settings})
    losses: Tensor = peer_function("cpo", "CPOTrainer", "cpo_loss")(stand_in, *totals)[0]
    return losses


def pairs(seed: int) -> Paired:
    batch = make_batch(make_examples(7, seed=seed), Needs(pairs=True, reference=True))
    assert isinstance(batch, Paired)
    return batch


@pytest.mark.parametrize("seed", range(3))
def test_simpo_is_trls(seed: int) -> None:
    batch = pairs(seed)
    averages = (batch.chosen.policy.average(), batch.rejected.policy.average())

    expected = peer_cpo(averages, loss_type="simpo", beta=2.5, simpo_gamma=1.4)

    torch.testing.assert_close(SimPO(beta=2.5, gamma=1.4)(batch).per_example, expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize("seed", range(3))
def test_cpos_preference_term_is_trls(seed: int) -> None:
    # The likelihood is not compared: TRL averages it over all tokens of the batch, the paper sums it.
    batch = pairs(seed)
    totals = (batch.chosen.policy.total(), batch.rejected.policy.total())

    expected = peer_cpo(totals, loss_type="sigmoid", beta=0.3)

    torch.testing.assert_close(CPO(beta=0.3, alpha=0)(batch).per_example, expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize("seed", range(3))
def test_cdpo_is_trls_label_smoothing(seed: int) -> None:
    # TRL's DPO has lost its label smoothing. Its CPO loss has kept it, and is DPO's when given log-ratios.
    batch = pairs(seed)
    ratios = (batch.chosen.log_ratio(), batch.rejected.log_ratio())

    expected = peer_cpo(ratios, loss_type="sigmoid", beta=0.3, label_smoothing=0.2)

    torch.testing.assert_close(CDPO(beta=0.3, label_smoothing=0.2)(batch).per_example, expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize("seed", range(3))
def test_orpos_odds_ratio_term_is_trls(seed: int) -> None:
    # The likelihood is left out: TRL averages it over all tokens of the batch, those of the prompts too.
    batch = pairs(seed)
    averages = (batch.chosen.policy.average(), batch.rejected.policy.average())
    odds_ratio_loss = peer_function("orpo", "ORPOTrainer", "odds_ratio_loss")
    stand_in = SimpleNamespace(beta=0.3, accelerator=SimpleNamespace(device="cpu"))

    expected = odds_ratio_loss(stand_in, *averages)[0].double()

    found = averages[0] + ORPO(weight=0.3)(batch).per_example  # without the likelihood of the chosen completion
    torch.testing.assert_close(found, -expected, rtol=1e-5, atol=1e-6)
