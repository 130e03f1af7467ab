"""Adapters from anybody: what their settings would have done is refused in one line, before it is done."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model

from fakes import byte_tokenizer, tiny_model
from haloes.errors import ConfigError, ModelError
from haloes.models.adapters import LoRA, add_lora
from haloes.models.load import load_model
from haloes.models.quiet import quiet
from haloes.models.untrusted_adapter import check_patterns
from tiny_runs import save_model

ENDLESS = "(([a-z_.0-9])*)*#"


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter of two layers in each block."""
    folder = tmp_path_factory.mktemp("adapter")
    base = load_model(str(save_model(folder / "base")), dtype=torch.float32, device="cpu").model
    with quiet():
        get_peft_model(base, LoraConfig(r=2, target_modules=["q_proj", "v_proj"])).save_pretrained(folder / "adapter")
    byte_tokenizer().save_pretrained(folder / "adapter")
    return folder / "adapter"


def load(saved: Path, folder: Path, **settings: Any) -> Any:
    """Load the adapter with these settings in place of its own."""
    folder.mkdir()
    for file in saved.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))
    return load_model(str(folder), dtype=torch.float32, device="cpu")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"target_modules": ENDLESS}, "regular expressions"),
        ({"exclude_modules": ENDLESS}, "regular expressions"),
        ({"modules_to_save": [ENDLESS]}, "regular expressions"),
        ({"layers_pattern": ["layers", ENDLESS], "layers_to_transform": [0]}, "regular expressions"),
        ({"rank_pattern": {ENDLESS: 2}}, "regular expressions"),
        ({"alpha_pattern": {ENDLESS: 2}}, "regular expressions"),
        ({"r": 10**9}, "its rank is 1,000,000,000"),
        ({"rank_pattern": {"q_proj": 10**9}}, "its rank is 1,000,000,000"),
        ({"layer_replication": [[0, 10**9]]}, "layer_replication makes 1,000,000,000 layers"),
        ({"layer_replication": 5}, "layer_replication holds no pairs"),
        ({"megatron_config": {"a": 1}, "megatron_core": "antigravity"}, "megatron_config is set"),
        (
            {
                "peft_type": "PROMPT_TUNING",
                "tokenizer_name_or_path": "a/b",
                "tokenizer_kwargs": {"trust_remote_code": True},
            },
            "peft_type is 'PROMPT_TUNING', which cannot be merged",
        ),
        ({"peft_type": ["LORA"]}, "peft_type is"),
    ],
)
def test_settings_that_ask_for_more_than_weights_are_refused(
    settings: dict[str, Any], message: str, saved: Path, tmp_path: Path
):
    with pytest.raises(ModelError, match=message) as told:
        load(saved, tmp_path / "adapter", **settings)

    assert "adapter_config.json: " in str(told.value)
    assert "\n" not in str(told.value)


UNSLOTH = (
    r"(?:.*?(?:language|text|model).*?(?:self_attn|attention|mlp).*?(?:q_proj|v_proj).*?)|"
    r"(?:\bmodel\.layers\.[\d]{1,}\.(?:self_attn|attention|mlp)\.(?:(?:q_proj|v_proj)))"
)
"""As some tools write it."""


@pytest.mark.parametrize("targets", [["q_proj", "v_proj"], r".*\.(q|v)_proj", UNSLOTH])
def test_patterns_that_come_to_an_end_are_loaded(targets: object, saved: Path, tmp_path: Path):
    expected = load(saved, tmp_path / "as it is").model.state_dict()
    found = load(saved, tmp_path / "adapter", target_modules=targets).model.state_dict()

    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("layers", [None, [0]])
def test_targets_in_settings_are_tried_out_as_well(layers: list[int] | None):
    with pytest.raises(ConfigError, match=r"model\.lora\.targets .* was not found in the names of the layers"):
        add_lora(tiny_model("llama"), LoRA(targets=ENDLESS, layers=layers), seed=0)


def test_what_is_no_regular_expression_is_left_to_who_reads_it(tmp_path: Path):
    (tmp_path / "adapter_config.json").write_text(json.dumps({"target_modules": "(("}))

    check_patterns(tmp_path / "adapter_config.json", ["model.layers.0"])
