"""What is added for transformers 4 changes nothing of what transformers 5 reads."""

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoConfig, AutoTokenizer

from fakes import byte_tokenizer, tiny_model
from haloes.models import older_readers
from haloes.models.older_readers import make_readable
from length_dependent import LONGROPE
from tiny_architectures import tiny_config

PHI3 = {"original_max_position_embeddings": 64, "rope_parameters": LONGROPE}


def content_of(folder: Path, name: str = "config.json") -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / name).read_text())
    return content


def test_longrope_is_written_as_phi3_of_transformers_4_wants_it(tmp_path: Path):
    tiny_config("phi3", **PHI3).save_pretrained(tmp_path)
    before = AutoConfig.from_pretrained(tmp_path).rope_parameters

    make_readable(tmp_path)

    content = content_of(tmp_path)
    assert set(content["rope_scaling"]) == {"type", "short_factor", "long_factor"}
    assert content["rope_theta"] == 10_000.0
    after = AutoConfig.from_pretrained(tmp_path).rope_parameters
    assert {name: after[name] for name in before} == before


def test_both_kinds_of_positions_of_gemma_3_are_written(tmp_path: Path):
    tiny_model("gemma3_text").config.save_pretrained(tmp_path)
    before = AutoConfig.from_pretrained(tmp_path).rope_parameters

    make_readable(tmp_path)

    content = content_of(tmp_path)
    assert (content["rope_theta"], content["rope_local_base_freq"]) == (1_000_000.0, 10_000.0)
    assert AutoConfig.from_pretrained(tmp_path).rope_parameters == before


def test_a_config_without_rotary_positions_stays_as_it_is(tmp_path: Path):
    tiny_model("gpt2").config.save_pretrained(tmp_path)
    before = content_of(tmp_path)

    make_readable(tmp_path)

    assert content_of(tmp_path) == before


def test_a_change_that_would_be_read_otherwise_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    tiny_model().config.save_pretrained(tmp_path)
    before = (tmp_path / "config.json").read_bytes()
    monkeypatch.setattr(older_readers, "_with_old_rope", lambda config: config | {"hidden_size": 48})

    make_readable(tmp_path)

    assert (tmp_path / "config.json").read_bytes() == before


def test_marks_of_a_tokenizer_are_written_as_transformers_4_reads_them(tmp_path: Path):
    tokenizer = byte_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|call|>"]})
    tokenizer.save_pretrained(tmp_path)
    before = AutoTokenizer.from_pretrained(tmp_path)

    make_readable(tmp_path)

    content = content_of(tmp_path, "tokenizer_config.json")
    assert content["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert not isinstance(content.get("extra_special_tokens"), list)
    after = AutoTokenizer.from_pretrained(tmp_path)
    assert after.all_special_tokens == before.all_special_tokens
    assert after("a <|call|>")["input_ids"] == before("a <|call|>")["input_ids"]
