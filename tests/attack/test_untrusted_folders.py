"""Folders of models and runs from anybody: what is wrong with them is one line, at once."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from haloes.bounded_yaml import load_yaml
from haloes.cli.main import run
from haloes.errors import ConfigError, ModelError
from haloes.models.load import empty_model, load_model, load_tokenizer, saved_dtype
from haloes.models.locate import check_model_exists
from haloes.runs.read_settings import parse_setting, read_yaml
from tiny_runs import save_model


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    made = tmp_path / "model"
    made.mkdir()
    for file in saved.iterdir():
        (made / file.name).write_bytes(file.read_bytes())
    return made


def one_line(call: Any) -> str:
    with pytest.raises(ModelError) as told:
        call()
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 1000
    return str(told.value)


def load(name: object) -> Any:
    return load_model(str(name), dtype=torch.float32, device="cpu")


# --- a model's config


@pytest.mark.parametrize(
    "written",
    ["[]", "5", "null", "{", "[" * 3000, '{"a":' * 3000, "\\xff", '{"num_hidden_layers": ' + "9" * 5000 + "}"],
)
def test_a_config_that_is_none_is_told(written: str, folder: Path):
    (folder / "config.json").write_text(written)

    for call in (load, load_tokenizer, empty_model, saved_dtype):
        assert "config.json" in one_line(lambda call=call: call(str(folder)))


@pytest.mark.parametrize("number", [10**9, 10**30, -1, "x", 1.5, True, [1], 1e400])
@pytest.mark.parametrize("name", ["num_hidden_layers", "n_layer", "num_local_experts"])
def test_a_number_of_layers_that_no_model_has_is_told_before_one_is_made(name: str, number: Any, folder: Path):
    config = json.loads((folder / "config.json").read_text())
    for written in (
        {**config, name: number},
        {**config, "text_config": {name: number}},
        {**config, "thinker_config": [{"text_config": {name: number}}]},
    ):
        (folder / "config.json").write_text(json.dumps(written))
        for call in (load, load_tokenizer, empty_model):
            assert f"{name} is " in one_line(lambda call=call: call(str(folder)))


@pytest.mark.parametrize(
    "changed",
    [
        {"num_attention_heads": 0},
        {"num_attention_heads": "x"},
        {"hidden_size": None},
        {"hidden_act": "os.system"},
        {"dtype": "os.system"},
        {"model_type": ["llama"]},
        {"rope_parameters": 5},
    ],
)
def test_values_that_make_no_model_are_told(changed: dict[str, Any], folder: Path):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changed}))

    one_line(lambda: load(folder))


# --- adapters


def adapter(folder: Path, base: Any) -> Path:
    folder.mkdir()
    written = base if isinstance(base, str) and base.startswith("[") else json.dumps({"base_model_name_or_path": base})
    (folder / "adapter_config.json").write_text(written)
    (folder / "adapter_model.safetensors").write_bytes(b"")
    return folder


def test_adapters_that_stand_on_one_another_in_a_ring_are_told(tmp_path: Path):
    first, second = tmp_path / "first", tmp_path / "second"
    adapter(first, str(second))
    adapter(second, str(first))
    itself = adapter(tmp_path / "itself", str(tmp_path / "itself"))

    for name in (first, itself):
        for call in (load, load_tokenizer, empty_model, saved_dtype):
            assert "from adapter to adapter" in one_line(lambda call=call, name=name: call(str(name)))


def test_a_chain_of_adapters_leads_to_its_model(folder: Path, tmp_path: Path):
    first = adapter(tmp_path / "first", str(folder))
    second = adapter(tmp_path / "second", str(first))

    assert load_tokenizer(str(second)).vocab_size == load_tokenizer(str(folder)).vocab_size


@pytest.mark.parametrize("base", ["[]", "[" * 3000, 5, "", None, ["a"], "~nobody-of-this-name", "x" * 5000, "a\x00b"])
def test_a_base_that_is_no_name_is_told(base: Any, tmp_path: Path):
    one_line(lambda: load(adapter(tmp_path / "adapter", base)))


@pytest.mark.parametrize("name", ["~nobody-of-this-name", "x" * 5000, "x/" * 3000, "a\x00b"])
def test_a_name_where_no_model_can_be_is_told(name: str):
    one_line(lambda: check_model_exists(name))


# --- YAML


def aliases(levels: int) -> str:
    """Nine of the one before, level by level: a few lines that stand for 9 ** levels values."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, levels)]
    return "\n".join(lines) + "\n"


HOSTILE = {
    "aliases": aliases(9),
    "a ring": "train: &a [*a]\n",
    "a ring of names": "train: &a {lr: *a}\n",
    "merged": "a: &a {x: 1}\nb: &b {<<: [*a, *a]}\n"
    + "".join(f"c{i}: {{<<: [*b, *b]}}\n" for i in range(3))
    + aliases(9),
    "depth": "[" * 5000,
    "digits": "train: {seed: " + "9" * 5000 + "}\n",
    "a day": "train: {lr: 2026-99-99}\n",
    "a list as a name": "? [a, b]\n: c\n",
    "python": "train: !!python/object/apply:os.system [true]\n",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_settings_that_are_made_to_break_a_reader_are_told(name: str, tmp_path: Path):
    path = tmp_path / "run.yaml"
    path.write_text(HOSTILE[name])

    with pytest.raises(ConfigError, match=r"run\.yaml"):
        read_yaml(path)
    with pytest.raises(yaml.YAMLError):
        load_yaml(HOSTILE[name])


@pytest.mark.parametrize("value", ["&a [*a]", "9" * 5000, "2026-99-99"])
def test_a_setting_alike(value: str):
    with pytest.raises(ConfigError, match="the value is not YAML"):
        parse_setting(f"train.lr={value}")


def test_aliases_that_stand_for_little_are_read():
    assert load_yaml("a: &a {x: 1}\nb: [*a, *a]\nc: {<<: *a, y: 2}") == {
        "a": {"x": 1},
        "b": [{"x": 1}, {"x": 1}],
        "c": {"x": 1, "y": 2},
    }


@pytest.mark.parametrize("name", HOSTILE)
def test_a_run_with_such_settings_has_a_report(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.yaml").write_text(HOSTILE[name])
    (folder / "metrics.jsonl").write_text(
        '{"split": "train", "step": 1e400}\n{"split": "train", "step": 1, "loss": 1}\n'
    )
    score = {"name": "x", "value": 1, "low": 0, "high": 1, "variant": "after"}
    (folder / "scores.jsonl").write_text(json.dumps(score) + "\n" + json.dumps({**score, "name": ["x"]}) + "\n")
    sample = {"prompt_id": "a", "prompt": "p", "completion": "c", "model": "after", "num_tokens": 1e400}
    (folder / "samples.jsonl").write_text(json.dumps(sample) + "\n")

    assert run(["report", str(folder)]) == 0
    shown = capsys.readouterr().out
    assert "config.yaml: cannot be read" in shown
    assert "metrics.jsonl:1: left out" in shown
