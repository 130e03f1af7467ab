"""What each of several processes holds, against sums by hand for Llamas of 1.2, 8 and 70 billion numbers."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig

from fakes import tiny_model
from haloes.cli.main import run
from haloes.errors import ConfigError
from haloes.models.activation_memory import activation_bytes
from haloes.models.policy import make_policy
from haloes.planning.model_size import sizes_of
from haloes.planning.several import SharedPlan, parse_memory, plan_shared
from haloes.planning.shares import kept_by_shape
from haloes.runs.config_layers import make_config

VOCABULARY = 128_256
SHAPES: dict[str, dict[str, Any]] = {
    "1.2B": {
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "tie_word_embeddings": True,
    },
    "8B": {
        "hidden_size": 4096,
        "intermediate_size": 14_336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "tie_word_embeddings": False,
    },
    "70B": {
        "hidden_size": 8192,
        "intermediate_size": 28_672,
        "num_hidden_layers": 80,
        "num_attention_heads": 64,
        "num_key_value_heads": 8,
        "tie_word_embeddings": False,
    },
}
"""Of Llama 3.2 and 3.1."""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Their configurations, without a weight."""
    folder = tmp_path_factory.mktemp("shapes")
    for name, fields in SHAPES.items():
        LlamaConfig(vocab_size=VOCABULARY, **fields).save_pretrained(folder / name)
    return folder


def planned(place: Path, /, *, processes: int = 8, shard: bool = True, **sections: Any) -> SharedPlan:
    config = make_config({"loss": {"name": "kto"}, **sections, "model": {"name": str(place), **sections["model"]}})
    return plan_shared(config, processes=processes, gpu_memory=80 * 10**9, shard=shard)


def test_copies_over_groups_of_processes_take_what_a_run_of_one_group_does(models: Path):
    train, model = {"shard_over": 8}, {"lora": None}
    copies = planned(models / next(iter(SHAPES)), processes=16, model=model, train=train)

    assert copies.shards == planned(models / next(iter(SHAPES)), processes=8, model=model).shards
    assert copies.facts["processes that hold a copy together"] == 8
    with pytest.raises(ConfigError, match=r"train\.shard_over=8 does not divide 12 processes"):
        planned(models / next(iter(SHAPES)), processes=12, model=model, train=train)


def gigabytes(parts: Any) -> float:
    """All of it but the activations, which depend on the rows."""
    return round(sum(size for name, size in parts.items() if name != "activations") / 1e9, 1)


def layer_and_apart(name: str) -> tuple[int, int]:
    """Return by hand the numbers of a layer's matrices, and of all that is no matrix of a layer."""
    fields = SHAPES[name]
    width, inner, layers = fields["hidden_size"], fields["intermediate_size"], fields["num_hidden_layers"]
    keys = width * fields["num_key_value_heads"] // fields["num_attention_heads"]
    layer = 2 * width * width + 2 * width * keys + 3 * width * inner
    return layer, (1 if fields["tie_word_embeddings"] else 2) * VOCABULARY * width + (2 * layers + 1) * width


@pytest.mark.parametrize("name", SHAPES)
def test_full_tuning_with_adamw_is_the_sum_by_hand(name: str, models: Path):
    width, layers = SHAPES[name]["hidden_size"], SHAPES[name]["num_hidden_layers"]
    head = VOCABULARY * width
    layer, apart = layer_and_apart(name)
    every = layers * layer + apart
    chunk = 2**26 // (4 * VOCABULARY)
    output = chunk * VOCABULARY * (4 + 2) + 2048 * width * 2 + head * 4
    plan = planned(models / name, model={"lora": None})
    assert plan.shards is not None

    assert {part: size for part, size in plan.whole.items() if part != "activations"} == {
        "weights": 2 * every,
        "reference": 2 * every,
        "trained copy (float32)": 4 * every,
        "optimizer": 8 * every,
        "gradients": 4 * every,
        "output layer": output,
    }
    assert {part: size for part, size in plan.shards.items() if part != "activations"} == {
        "weights": 0,
        "reference": 2 * every // 8,
        "trained copy (float32)": 4 * every // 8,
        "optimizer": 8 * every // 8,
        "gradients": 4 * every // 8,
        # Amid the layers; or at the end, when what is outside of them is there with its gradient and a copy of that.
        "whole for a moment": max(2 * (3 * layer + apart) + 4 * layer, (2 + 2 + 4) * apart),
        "output layer": output,
    }


@pytest.mark.parametrize(
    ("name", "lora", "whole", "over"),
    [
        ("1.2B", None, 25.9, {8: 6.0, 16: 4.7, 32: 4.0}),
        ("8B", None, 162.8, {8: 28.7, 16: 19.7, 32: 15.1}),
        ("70B", None, 1415.4, {8: 179.9, 16: 100.5, 32: 60.8}),
        ("8B", {"rank": 16}, 16.9, {8: 6.4, 16: 5.4, 32: 4.8}),
        ("70B", {"rank": 16}, 145.0, {8: 27.5, 16: 18.5, 32: 14.0}),
    ],
)
def test_these_are_the_gigabytes_of_a_gpu(name: str, lora: Any, whole: float, over: dict[int, float], models: Path):
    plans = {count: planned(models / name, processes=count, model={"lora": lora}) for count in over}

    assert {gigabytes(plan.whole) for plan in plans.values()} == {whole}
    assert {count: gigabytes(plan.shards) for count, plan in plans.items()} == over


@pytest.mark.parametrize("name", SHAPES)
def test_with_adapters_the_worst_moment_is_where_the_embeddings_are_fetched_or_amid_the_layers(name: str, models: Path):
    layer, apart = layer_and_apart(name)
    plan = planned(models / name, model={"lora": {"rank": 16}})
    assert plan.shards is not None

    assert plan.shards["whole for a moment"] == 2 * max(2 * apart, apart + 3 * layer)


def test_a_run_has_shards_where_one_copy_does_not_fit_or_where_they_are_asked_for(models: Path):
    full = {"lora": None}
    small, large = models / "1.2B", models / "8B"

    def of(place: Path, *, shard: bool, setting: str) -> SharedPlan:
        return planned(place, shard=shard, model=full, train={"shard": setting})

    as_it_is = of(small, shard=False, setting="auto")
    assert (as_it_is.needed, as_it_is.advice) == (
        sum(as_it_is.whole.values()),
        ("It fits with everything on each process",),
    )
    by_itself = of(large, shard=False, setting="auto")
    assert by_itself.advice == ("It fits with the weights in shards, as train.shard=auto has them then",)
    assert of(small, shard=True, setting="auto").advice == ("It fits with the weights in shards",)
    assert of(small, shard=False, setting="full").needed < as_it_is.needed
    assert not of(large, shard=False, setting="off").fits


def test_what_is_told_to_be_set_is_what_makes_it_fit(models: Path):
    full = {"lora": None}
    too_few = planned(models / "8B", processes=2, model=full)
    assert not too_few.fits
    assert too_few.advice[0] == "It fits with the weights in shards on 3 processes or more"
    assert planned(models / "8B", processes=3, model=full).fits
    largest = planned(models / "70B", model=full)
    assert largest.advice[0] == (
        "It fits with the weights in shards and train.gradient_checkpointing=true on 27 processes or more"
    )
    train = {"gradient_checkpointing": True}
    assert planned(models / "70B", processes=27, model=full, train=train).fits
    assert not planned(models / "70B", processes=26, model=full, train=train).fits


def test_what_cannot_be_sharded_is_refused_by_name(models: Path):
    with pytest.raises(ConfigError, match=r"does not go with train.optimizer=adamw8bit"):
        planned(models / "1.2B", model={"lora": None}, train={"optimizer": "adamw8bit"})
    with pytest.raises(ConfigError, match=r"does not go with model.quantize=4bit"):
        planned(models / "1.2B", model={"quantize": "4bit"})
    assert planned(models / "1.2B", shard=False, model={"quantize": "4bit"}).shards is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_activations_by_the_shape_are_about_those_that_a_pass_keeps(dtype: torch.dtype):
    model = tiny_model(
        "llama",
        dtype=dtype,
        hidden_size=128,
        intermediate_size=352,
        num_hidden_layers=4,
        num_attention_heads=8,
        num_key_value_heads=2,
        head_dim=16,
    )
    counted = activation_bytes(make_policy(model, lora=None, reference=False, seed=0))

    assert kept_by_shape(sizes_of(model, full=True), dtype.itemsize) == pytest.approx(counted, rel=0.2)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("80G", 80 * 10**9), ("80 gb", 80 * 10**9), ("80Gi", 80 * 2**30), ("80", 80 * 2**30), ("0.5GiB", 2**29)],
)
def test_memory_is_a_number_with_its_unit(text: str, expected: int):
    assert parse_memory(text) == expected


@pytest.mark.parametrize("text", ["", "G", "80T", "-1G", "0", "8 0", "٨G", "nan", "1e3"])
def test_other_texts_are_no_memory(text: str):
    with pytest.raises(ConfigError, match=r"--gpu-memory must be such as 80G"):
        parse_memory(text)


def test_the_command_shows_both_columns_and_ends_with_2_where_it_does_not_fit(models: Path, capsys: Any):
    shape = ["plan", "--model", str(models / "8B"), "--set", "model.lora=null", "--gpu-memory", "80G"]
    assert run([*shape, "--processes", "8", "--shard"]) == 0
    shown = capsys.readouterr().out
    assert run([*shape, "--processes", "8", "--set", 'train.shard="off"']) == 2
    refused = capsys.readouterr()

    assert "all of it  in shards" in shown
    assert "optimizer                         64.2       8.0" in shown
    assert "It fits with the weights in shards on 3 processes or more." in refused.out
    assert "it takes 176.0 GB of a GPU, and 72.0 are there" in refused.err
    assert run([*shape, "--processes", "8", "--shard", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["shards"]["optimizer"] == 8_030_261_248


def test_processes_and_shards_need_the_memory_of_a_gpu(models: Path, capsys: Any):
    for more in (["--processes", "8"], ["--shard"]):
        assert run(["plan", "--model", str(models / "8B"), *more]) == 2
        assert "such as --gpu-memory 80G" in capsys.readouterr().err
