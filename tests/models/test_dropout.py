"""One dropout everywhere: none that stays on when it is switched off, none that stays off when it is switched on."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from fakes import VOCAB, tiny_model
from haloes.errors import ConfigError
from haloes.models.adapters import LoRA
from haloes.models.dropout import set_dropout
from haloes.models.layout import make_packed
from haloes.models.policy import Policy, make_policy


def policy_of(model: Any, lora: LoRA | None = None) -> Policy:
    policy = make_policy(model, lora=lora, reference=False, seed=0)
    with torch.no_grad():
        for weight in policy.trainable().values():
            weight.add_(0.05)  # so that an adapter has an effect
    policy.model.train()
    return policy


def score(policy: Policy, *, seed: int) -> Tensor:
    ids = np.random.default_rng(0).integers(0, VOCAB, 40, dtype=np.int32)
    torch.manual_seed(seed)
    with torch.no_grad():
        return policy.token_logps(make_packed([(ids[:5], ids[5:], ids[5:] >= 0)], torch.device("cpu")))


def numbers(model: Any) -> set[float]:
    """Every probability of dropout in the model, in layers or as a number, under any name."""
    layers = {module.p for module in model.modules() if isinstance(module, torch.nn.Dropout)}
    fields = {
        float(value)
        for module in model.modules()
        for name, value in vars(module).items()
        if "drop" in name and not isinstance(value, bool | torch.nn.Module)
    }
    return layers | fields


def opt(dropout: float) -> Any:
    """An architecture that keeps probabilities as numbers, called `dropout`, and draws in its layers' code."""
    sizes = {"hidden_size": 32, "word_embed_proj_dim": 32, "ffn_dim": 48, "num_hidden_layers": 2}
    fields = {"num_attention_heads": 4, "vocab_size": VOCAB, "dropout": dropout, "attention_dropout": dropout}
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(CONFIG_MAPPING["opt"](**sizes, **fields, layerdrop=0.0)).eval()


def model_with(kind: str, dropout: float) -> Any:
    return opt(dropout) if kind == "opt" else tiny_model(kind, dropout=dropout)


kinds = pytest.mark.parametrize("kind", ["llama", "gpt2", "opt"])
ways = pytest.mark.parametrize("lora", [LoRA(rank=4), None], ids=["lora", "full"])


@kinds
@ways
def test_zero_switches_off_what_the_model_came_with(kind: str, lora: LoRA | None):
    policy = policy_of(model_with(kind, 0.5), lora)
    assert not torch.equal(score(policy, seed=0), score(policy, seed=1))

    set_dropout(policy.model, 0.0)

    assert torch.equal(score(policy, seed=0), score(policy, seed=1))
    with policy.scoring():
        still = score(policy, seed=0)
    assert torch.equal(score(policy, seed=0), still)


@kinds
@ways
def test_a_probability_holds_everywhere(kind: str, lora: LoRA | None):
    policy = policy_of(model_with(kind, 0.0), lora)

    set_dropout(policy.model, 0.25)

    assert numbers(policy.model) - {0.25} <= ({0.0} if kind == "opt" else set())  # OPT's layerdrop is not a dropout
    assert not torch.equal(score(policy, seed=0), score(policy, seed=1))
    assert torch.equal(score(policy, seed=0), score(policy, seed=0))


def test_the_adapter_has_its_dropout_too():
    policy = policy_of(tiny_model("llama"), LoRA(rank=4))
    set_dropout(policy.model, 0.25)
    for module in policy.model.modules():
        if type(module).__name__ == "LlamaAttention":
            module.attention_dropout = 0.0  # leaves that of the adapter

    assert not torch.equal(score(policy, seed=0), score(policy, seed=1))


def test_a_whole_number_in_the_config_is_set_as_well():
    policy = policy_of(tiny_model("llama", attention_dropout=0))

    set_dropout(policy.model, 0.25)

    assert numbers(policy.model) == {0.25}


@pytest.mark.parametrize("probability", [-0.1, 1.0, float("nan")])
def test_what_is_no_probability_below_one_is_refused(probability: float):
    with pytest.raises(ConfigError, match=f"train.dropout must be at least 0 and below 1, got {probability}"):
        set_dropout(tiny_model(), probability)
