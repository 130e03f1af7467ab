"""Processes that share a model read their own rows of its files, to the bits of a model that was loaded whole."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import unread_weights_script
from fakes import byte_tokenizer, tiny_model
from haloes.losses._contract import Needs
from haloes.models.adapters import LoRA
from haloes.models.fingerprint import weights_fingerprint
from haloes.models.load import because_whole, load_model
from haloes.models.policy import make_policy
from haloes.models.unread_weights import files_of
from haloes.runs.config import ModelSettings
from haloes.runs.sharding import why_whole
from haloes.training.distributed import Ranks
from started_scripts import carry_out
from tiny_architectures import tiny_architecture
from tiny_runs import save_model

Found = Mapping[str, Mapping[str, Any]]
FLOAT32 = torch.float32


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """What both processes found of each case, by "CASE R"."""
    folder = carry_out(unread_weights_script, tmp_path_factory.mktemp("weight files"), seconds=900)
    return {path.stem: dict(np.load(path)) for path in folder.glob("*.npz")}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that can be read by rows."""
    return save_model(tmp_path_factory.mktemp("models") / "model")


@pytest.mark.parametrize("case", unread_weights_script.CASES)
def test_what_the_processes_read_row_by_row_is_the_whole_model_to_the_bit_and_each_row_once(case: str, found: Found):
    both = [found[f"{case} {process}"] for process in (0, 1)]

    assert [name for one in both for name, value in one.items() if name.startswith("the same") and not value] == []
    # The script fails where a whole model is loaded.
    assert sum(int(one["numbers read"]) for one in both) == both[0]["numbers in files"]
    assert all(one["numbers read"] < 0.6 * one["numbers in files"] for one in both)


def test_machines_with_copies_of_a_model_that_differ_have_other_fingerprints(found: Found):
    one, two = (found[f"machines {process}"] for process in (0, 1))

    assert one["the same"] == two["the same"] == one["another"]
    assert two["another"] != one["another"]


def test_a_model_in_files_takes_no_memory_and_is_otherwise_the_model(model: Path):
    whole = load_model(str(model), dtype=torch.bfloat16, device="cpu").model
    ours = load_model(str(model), dtype=torch.bfloat16, device="cpu", in_files=True).model

    assert {w.untyped_storage().nbytes() for w in ours.parameters()} == {2}
    assert [(n, w.shape, w.dtype) for n, w in ours.named_parameters()] == [
        (n, w.shape, w.dtype) for n, w in whole.named_parameters()
    ]
    assert ours.lm_head.weight is ours.model.embed_tokens.weight
    assert ours.generation_config.to_dict() == whole.generation_config.to_dict()
    assert weights_fingerprint(ours) == weights_fingerprint(whole)
    assert weights_fingerprint(ours, like="0" * 64) == weights_fingerprint(whole, like="0" * 64)


@pytest.mark.parametrize("lora", [None, LoRA(rank=4)])
def test_a_policy_in_files_begins_with_the_same_adapters_and_no_weights(lora: LoRA | None, model: Path):
    whole, ours = (
        make_policy(
            load_model(str(model), dtype=FLOAT32, device="cpu", in_files=in_files).model,
            lora=lora,
            reference=True,
            seed=5,
        )
        for in_files in (False, True)
    )

    assert ours.reference_fingerprint == whole.reference_fingerprint
    assert list(ours.trainable()) == list(whole.trainable())
    if lora is not None:
        assert all(torch.equal(weight, whole.trainable()[name]) for name, weight in ours.trainable().items())
    assert ours.reference is not None
    with ours.reference() as scorer:
        assert files_of(scorer.model) is not None
        base = [w for name, w in scorer.model.named_parameters() if "lora_" not in name]
        assert {w.untyped_storage().nbytes() for w in base} == {4}


def test_a_weight_by_another_name_in_the_files_is_said(model: Path, tmp_path: Path):
    copy = save_model(tmp_path / "model")
    tensors = load_file(copy / "model.safetensors")
    save_file({name.removeprefix("model."): tensor for name, tensor in tensors.items()}, copy / "model.safetensors")

    assert because_whole(str(model), FLOAT32) is None
    assert because_whole(str(copy), FLOAT32) == "model.embed_tokens.weight is not in its files by this name"


def test_a_weight_of_another_shape_in_the_files_is_said(tmp_path: Path):
    copy = save_model(tmp_path / "model")
    tensors = load_file(copy / "model.safetensors")
    save_file(tensors | {"model.norm.weight": torch.ones(3)}, copy / "model.safetensors")

    assert because_whole(str(copy), FLOAT32) == "model.norm.weight has another shape in its files"


def test_a_tied_weight_that_is_there_twice_is_said(tmp_path: Path):
    copy = save_model(tmp_path / "model")
    tensors = load_file(copy / "model.safetensors")
    twice = {"lm_head.weight": tensors["model.embed_tokens.weight"] + 1}
    save_file(tensors | twice, copy / "model.safetensors")

    assert "in its files more than once" in str(because_whole(str(copy), FLOAT32))


@pytest.mark.parametrize("kind", ["mixtral", "qwen2_moe"])
def test_an_architecture_whose_weights_are_made_of_others_is_said(kind: str, tmp_path: Path):
    tiny_architecture(kind).save_pretrained(tmp_path)
    byte_tokenizer().save_pretrained(tmp_path)

    assert because_whole(str(tmp_path), FLOAT32) == "transformers makes its weights out of others in its files"


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("codegen", "it computes numbers beside its weights that depend on the dtype"),
        ("zamba", "it keeps some weights in another dtype than the others"),
    ],
)
def test_what_would_come_out_otherwise_in_bfloat16_is_said(kind: str, why: str, tmp_path: Path):
    tiny_architecture(kind).save_pretrained(tmp_path)
    byte_tokenizer().save_pretrained(tmp_path)

    assert because_whole(str(tmp_path), torch.bfloat16) == why


def test_weights_in_other_files_or_quantized_are_said(tmp_path: Path):
    copy = save_model(tmp_path / "model")
    (copy / "model.safetensors").rename(copy / "consolidated.safetensors")
    assert "files other than model.safetensors" in str(because_whole(str(copy), FLOAT32))

    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"quantization_config": {"quant_method": "fp8"}}))
    assert because_whole(str(copy), FLOAT32) == "its weights are quantized"


def test_the_model_that_has_to_be_whole_is_named(model: Path, tmp_path: Path):
    copy, alone = save_model(tmp_path / "model"), Ranks(0, 1)
    (copy / "model.safetensors").rename(copy / "consolidated.safetensors")
    settings = ModelSettings(name=str(model), reference=str(copy))

    assert str(why_whole(settings, Needs(), FLOAT32, alone)).startswith(f"{copy}: its weights are in files other than")
    assert why_whole(ModelSettings(name=str(model)), Needs(), FLOAT32, alone) is None
    assert "a reward head is tried out on it" in str(
        why_whole(ModelSettings(name=str(model)), Needs(rewards=True), FLOAT32, alone)
    )


def test_a_shape_that_nobody_reads_is_no_obstacle(tmp_path: Path):
    copy = save_model(tmp_path / "model")
    tensors = load_file(copy / "model.safetensors")
    save_file(tensors | {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(3)}, copy / "model.safetensors")

    assert because_whole(str(copy), FLOAT32) is None


def test_a_model_keeps_its_name_for_adapters(model: Path):
    assert load_model(str(model), dtype=FLOAT32, device="cpu", in_files=True).model.name_or_path == str(model)


def test_a_tiny_model_of_another_kind_is_read_by_rows_too(tmp_path: Path):
    tiny_model("gpt2").save_pretrained(tmp_path)
    byte_tokenizer().save_pretrained(tmp_path)
    whole = load_model(str(tmp_path), dtype=FLOAT32, device="cpu").model

    assert because_whole(str(tmp_path), FLOAT32) is None
    ours = load_model(str(tmp_path), dtype=FLOAT32, device="cpu", in_files=True).model
    assert weights_fingerprint(ours) == weights_fingerprint(whole)
