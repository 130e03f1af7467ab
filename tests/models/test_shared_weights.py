"""Layers that share their weights have no adapters: those of several could not be merged into one weight."""

from typing import Any

import pytest

from fakes import tiny_model
from haloes.errors import ConfigError
from haloes.models.adapters import LoRA, add_lora

SHARED = "self_attn.q_proj"


def with_shared_queries() -> Any:
    model = tiny_model("llama")
    first, second = model.model.layers[:2]
    second.self_attn.q_proj.weight = first.self_attn.q_proj.weight
    return model


def test_by_default_they_are_left_alone_and_the_others_have_adapters():
    adapted = [
        name for name, _ in add_lora(with_shared_queries(), LoRA(rank=2), seed=0).named_parameters() if "lora_A" in name
    ]

    assert not any(SHARED in name for name in adapted)
    assert any("self_attn.k_proj" in name for name in adapted)


def test_whoever_names_them_is_told():
    with pytest.raises(
        ConfigError, match=r"takes in model\.layers\.0\.self_attn\.q_proj, whose weights several blocks"
    ):
        add_lora(with_shared_queries(), LoRA(rank=2, targets=["q_proj"]), seed=0)
