"""A fingerprint says what a model computes, by its tensors."""

import hashlib
import json
from functools import partial
from pathlib import Path

import torch

from fakes import byte_tokenizer, tiny_model
from haloes.models.adapters import LoRA
from haloes.models.fingerprint import combined, tensor_hash, weights_fingerprint, what_it_is
from haloes.models.load import load_model
from haloes.models.packing_check import make_scorer
from haloes.models.policy import make_policy


def test_a_fingerprint_is_put_together_from_hashes_that_nobody_has_to_make_at_once():
    model = tiny_model("llama")
    weights = list(model.state_dict().items())
    mine, theirs = ({name: tensor_hash(tensor) for name, tensor in part} for part in (weights[1::2], weights[::2]))

    assert combined(what_it_is(model), mine | theirs) == weights_fingerprint(model)


def test_the_hash_of_a_tensor_is_of_dtype_shape_and_bytes():
    tensor = torch.arange(6, dtype=torch.int16).reshape(2, 3)

    by_hand = hashlib.sha256(b"torch.int16 (2, 3)" + bytes([0, 0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0])).hexdigest()
    assert tensor_hash(tensor) == by_hand
    assert tensor_hash(tensor.t().contiguous().t()) == by_hand
    others = [tensor.reshape(3, 2), tensor.view(torch.float16), tensor + 1]
    assert len({by_hand, *map(tensor_hash, others)}) == 4


def test_only_the_hash_of_the_tensor_that_differs_is_another():
    model, other = tiny_model("llama"), tiny_model("llama")
    with torch.no_grad():
        other.model.layers[1].mlp.up_proj.weight[0, 0] += 1e-6

    differ = [
        name
        for name, tensor in model.state_dict().items()
        if tensor_hash(tensor) != tensor_hash(other.state_dict()[name])
    ]
    assert differ == ["model.layers.1.mlp.up_proj.weight"]


def test_beside_a_recorded_fingerprint_of_the_older_kind_it_is_of_that_kind():
    model = tiny_model("llama", dtype=torch.bfloat16)
    named = {"_name_or_path", "architectures", "dtype", "transformers_version", "use_cache"}
    config = {key: value for key, value in model.config.to_dict().items() if key not in named}
    digest = hashlib.sha256(
        f"LlamaForCausalLM torch.bfloat16 {json.dumps(config, sort_keys=True, default=str)}".encode()
    )
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)}".encode() + tensor.view(torch.uint8).numpy().tobytes())

    assert weights_fingerprint(model, like="0" * 64) == digest.hexdigest()
    now = weights_fingerprint(model)
    assert now != digest.hexdigest()
    assert weights_fingerprint(model, like=now) == now


def test_a_policy_is_hashed_in_the_kind_of_what_it_is_compared_with():
    model, other = tiny_model("llama"), tiny_model("llama", seed=1)
    older = [weights_fingerprint(each, like="0" * 64) for each in (model, other)]

    hashed = partial(weights_fingerprint, like="0" * 64)
    policy = make_policy(model, lora=LoRA(rank=4), reference=True, seed=0, reference_model=other, hashed=hashed)

    assert [policy.start_fingerprint, policy.reference_fingerprint] == older


def test_the_fingerprint_follows_what_a_model_computes():
    fingerprint = weights_fingerprint(tiny_model("llama"))
    nudged = tiny_model("llama")
    with torch.no_grad():
        nudged.model.norm.weight[3] += 1e-6

    assert weights_fingerprint(tiny_model("llama")) == fingerprint
    assert weights_fingerprint(nudged) != fingerprint
    assert weights_fingerprint(tiny_model("llama", dtype=torch.bfloat16)) != fingerprint
    assert weights_fingerprint(tiny_model("llama", rms_norm_eps=1e-3)) != fingerprint
    theta = {"rope_parameters": {"rope_type": "default", "rope_theta": 500.0}}
    assert weights_fingerprint(tiny_model("llama", **theta)) != fingerprint


def test_the_fingerprint_does_not_follow_the_name(tmp_path: Path):
    model = tiny_model("llama")
    fingerprint = weights_fingerprint(model)
    model.save_pretrained(tmp_path / "elsewhere")
    byte_tokenizer().save_pretrained(tmp_path / "elsewhere")

    loaded = load_model(str(tmp_path / "elsewhere"), dtype=torch.float32, device="cpu").model

    assert loaded.name_or_path != model.name_or_path
    assert weights_fingerprint(loaded) == fingerprint
    make_scorer(loaded)
    assert weights_fingerprint(loaded) == fingerprint


def test_a_model_with_a_single_number_among_its_weights_has_a_fingerprint():
    model = tiny_model()
    model.register_buffer("temperature", torch.tensor(1.0))
    warmer = tiny_model()
    warmer.register_buffer("temperature", torch.tensor(2.0))

    assert weights_fingerprint(model) != weights_fingerprint(warmer)
