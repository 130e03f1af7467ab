"""A run's model as a plain folder: the same numbers, loadable by transformers alone."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from peft import PeftModel
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from haloes.errors import ConfigError, ModelError, RunError
from haloes.models.quiet import quiet
from haloes.runs import export as export_module
from haloes.runs.align import Run, align
from haloes.runs.export import export_model, merge_note
from tiny_runs import CrashAt, config, save_model

IDS = torch.tensor([[5, 9, 200, 30, 1]])


def logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(IDS).logits.float()


def plain(folder: Path) -> torch.nn.Module:
    with quiet():
        return AutoModelForCausalLM.from_pretrained(folder)


@pytest.fixture
def run(model: Path, thumbs_file: Path, tmp_path: Path) -> Run:
    return align(config(model, thumbs_file, samples={"prompts": 0}), tmp_path / "run")


def test_the_merged_model_says_what_the_adapter_says(run: Run, model: Path, tmp_path: Path):
    out = export_model(run.run_dir, tmp_path / "merged")
    with quiet():
        adapted = PeftModel.from_pretrained(plain(model), run.run_dir / "model")

    torch.testing.assert_close(logits(plain(out)), logits(adapted), atol=1e-4, rtol=1e-4)
    assert (logits(plain(out)) - logits(plain(model))).abs().max() > 0.1


def test_whoever_may_read_the_user_s_files_may_read_those_of_a_run_and_its_export(run: Run, tmp_path: Path):
    (tmp_path / "usual").touch()
    usual = (tmp_path / "usual").stat().st_mode
    out = export_model(run.run_dir, tmp_path / "merged")

    files = [path for folder in (run.run_dir, out) for path in folder.rglob("*") if path.is_file()]
    assert any("checkpoints" in path.parts for path in files)
    assert {path.name: path.stat().st_mode for path in files} == {path.name: usual for path in files}


def test_a_run_in_four_bits_is_merged_into_the_whole_base_and_says_so(run: Run, thumbs_file: Path, tmp_path: Path):
    pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed")
    base = save_model(tmp_path / "base", hidden_size=64, intermediate_size=64, head_dim=16)
    four = {"dtype": "bfloat16", "quantize": "4bit"}

    coarse = align(config(base, thumbs_file, model=four, samples={"prompts": 1}), tmp_path / "coarse")
    out = export_model(coarse.run_dir, tmp_path / "merged")

    assert merge_note(run.run_dir) is None
    note = merge_note(coarse.run_dir)
    assert note is not None
    assert str(coarse.run_dir / "model") in note
    assert not hasattr(plain(out).config, "quantization_config")
    with quiet():
        adapted = PeftModel.from_pretrained(plain(base), coarse.run_dir / "model")
    torch.testing.assert_close(logits(plain(out)), logits(adapted), atol=0.1, rtol=0.1)


def test_the_folder_is_complete_and_knows_nothing_of_adapters(run: Run, tmp_path: Path):
    out = export_model(run.run_dir, tmp_path / "deep" / "merged")
    names = {path.name for path in out.iterdir()}

    assert {"config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja", "README.md"} <= names
    assert not {name for name in names if "adapter" in name}
    assert [path.name for path in out.parent.iterdir()] == ["merged"]
    with quiet():
        tokenizer = AutoTokenizer.from_pretrained(out)
    assert tokenizer.decode(tokenizer("yes")["input_ids"]) == "yes"


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_fully_tuned_model_is_copied_in_its_dtype(dtype: str, model: Path, thumbs_file: Path, tmp_path: Path):
    run = align(
        config(model, thumbs_file, model={"lora": None, "dtype": dtype}, samples={"prompts": 0}), tmp_path / "run"
    )
    out = plain(export_model(run.run_dir, tmp_path / "out"))

    assert str(out.dtype) == f"torch.{dtype}"
    assert torch.equal(logits(out), logits(plain(run.run_dir / "model")))


def test_an_empty_folder_is_taken_and_a_full_one_refused(run: Run, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    assert export_model(run.run_dir, tmp_path / "empty") == tmp_path / "empty"

    with pytest.raises(RunError, match="empty is there already and not empty"):
        export_model(run.run_dir, tmp_path / "empty")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(RunError, match="file is there already"):
        export_model(run.run_dir, tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_run_that_is_not_finished_has_nothing_to_export(model: Path, thumbs_file: Path, tmp_path: Path):
    with pytest.raises(KeyboardInterrupt):
        align(
            config(model, thumbs_file, samples={"prompts": 0}),
            tmp_path / "run",
            progress=CrashAt(step=2, error=KeyboardInterrupt()),
        )

    with pytest.raises(RunError, match=r"has no model yet: finish it with `haloes resume "):
        export_model(tmp_path / "run", tmp_path / "out")
    with pytest.raises(RunError, match="holds no run"):
        export_model(tmp_path / "nothing", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_base_model_that_is_gone_is_named(thumbs_file: Path, tmp_path: Path):
    from tiny_runs import save_model

    base = save_model(tmp_path / "base")
    run = align(config(base, thumbs_file, samples={"prompts": 0}), tmp_path / "run")
    base.rename(tmp_path / "moved")

    with pytest.raises(
        ModelError, match=f"{base} is the base of the adapter in .*, and there is no such folder; put it"
    ):
        export_model(run.run_dir, tmp_path / "out")


def test_nothing_is_left_behind_where_the_folder_cannot_be_written(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(export_module, "write_card", full)

    with pytest.raises(RunError, match=r"out cannot be written \(No space left on device\)"):
        export_model(run.run_dir, tmp_path / "out")
    assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize(("dtype", "saved"), [("auto", "bfloat16"), ("float32", "float32"), ("float16", "float16")])
def test_the_merged_model_has_its_bases_dtype_unless_asked(dtype: Any, saved: str, thumbs_file: Path, tmp_path: Path):
    base = save_model(tmp_path / "base", dtype=torch.bfloat16)
    run = align(config(base, thumbs_file, samples={"prompts": 0}), tmp_path / "run")

    out = export_model(run.run_dir, tmp_path / "out", dtype=dtype)

    assert str(plain(out).dtype) == f"torch.{saved}"
    assert json.loads((out / "config.json").read_text())["dtype"] == saved


def test_a_whole_model_that_was_trained_in_float32_comes_out_in_its_bases_dtype(thumbs_file: Path, tmp_path: Path):
    base = save_model(tmp_path / "base", dtype=torch.bfloat16)
    run = align(config(base, thumbs_file, model={"lora": None}, samples={"prompts": 0}), tmp_path / "run")

    assert plain(run.run_dir / "model").dtype == torch.float32
    assert plain(export_model(run.run_dir, tmp_path / "out")).dtype == torch.bfloat16


def test_a_dtype_that_there_is_not_is_refused(run: Run, tmp_path: Path):
    with pytest.raises(ConfigError, match=r"export\.dtype is 'int8': give one of auto, float32, bfloat16, float16"):
        export_model(run.run_dir, tmp_path / "out", dtype="int8")  # type: ignore[arg-type]


def test_the_folder_says_what_older_versions_read(thumbs_file: Path, tmp_path: Path):
    rope = {"rope_type": "llama3", "rope_theta": 500_000.0, "factor": 8.0, "low_freq_factor": 1.0}
    rope |= {"high_freq_factor": 4.0, "original_max_position_embeddings": 64}
    base = save_model(tmp_path / "base", rope_parameters=rope)
    run = align(config(base, thumbs_file, samples={"prompts": 0}), tmp_path / "run")

    out = export_model(run.run_dir, tmp_path / "out")

    content = json.loads((out / "config.json").read_text())
    assert content["rope_theta"] == 500_000.0
    assert content["rope_scaling"] == {name: value for name, value in rope.items() if name != "rope_theta"}
    with quiet():
        assert AutoConfig.from_pretrained(out).rope_parameters == AutoConfig.from_pretrained(base).rope_parameters
    named = json.loads((out / "tokenizer_config.json").read_text())
    assert named["tokenizer_class"] == "PreTrainedTokenizerFast"
    card = (out / "README.md").read_text()
    assert f"saved with transformers {transformers.__version__}" in card
    assert "transformers 4" in card


@pytest.mark.parametrize("away", [False, True], ids=["from elsewhere", "moved"])
def test_a_base_that_was_named_by_a_relative_path_is_found_beside_the_run(
    away: bool, thumbs_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    project = tmp_path / "project"
    save_model(project / "models" / "base")
    monkeypatch.chdir(project)
    align(config(Path("models/base"), thumbs_file, samples={"prompts": 0}), Path("runs/first"))
    monkeypatch.chdir(tmp_path)
    if away:
        project = project.rename(tmp_path / "elsewhere")

    out = export_model(project / "runs" / "first", tmp_path / "out")

    assert plain(out).config.model_type == "llama"
