"""Adapters for vLLM, which takes some of them, and the command that serves them."""

from pathlib import Path
from typing import Any

import pytest

from haloes.exports.export import export_run
from haloes.exports.request import Request
from haloes.exports.vllm import served_rank, why_merged
from haloes.progress.contract import NullProgress
from haloes.runs.align import align
from tiny_runs import config

ADAPTER: dict[str, Any] = {"base_model_name_or_path": "owner/base", "r": 16, "bias": "none", "use_dora": False}


@pytest.mark.parametrize(("rank", "served"), [(1, 1), (2, 8), (8, 8), (9, 16), (200, 256), (257, 320), (512, 512)])
def test_the_rank_is_the_least_that_vllm_takes(rank: int, served: int):
    assert served_rank(rank) == served


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"r": 600}, "rank is 600"),
        ({"base_model_name_or_path": "embedded"}, "base is embedded"),
        ({"base_model_name_or_path": "some/model.gguf"}, "base is some/model.gguf"),
        ({"use_dora": True}, "DoRA"),
        ({"modules_to_save": ["lm_head"]}, "whole layers"),
        ({"trainable_token_indices": [5]}, "token embeddings"),
        ({"rank_pattern": {"q_proj": 4}}, "different ranks"),
        ({"bias": "all"}, "biases"),
    ],
)
def test_what_vllm_does_not_serve_is_merged_and_said_why(changes: dict[str, Any], reason: str | None):
    said = why_merged(ADAPTER | changes)

    assert said is None if reason is None else reason in str(said)


def test_an_adapter_comes_with_the_command_that_serves_it(model: Path, thumbs_file: Path, tmp_path: Path):
    run = align(config(model, thumbs_file, samples={"prompts": 0}), tmp_path / "run")

    exported = export_run(Request(run_dir=run.run_dir, target=str(tmp_path / "my model"), kind="vllm"), NullProgress())

    assert {path.name for path in (tmp_path / "my model").iterdir()} >= {"adapter_config.json", "tokenizer.json"}
    assert exported.usage[0] == (
        f"vllm serve {model} --enable-lora --max-lora-rank 8 --lora-modules 'my model'='{tmp_path}/my model' "
        f"--chat-template '{tmp_path}/my model/chat_template.jinja'"
    )


def test_a_whole_model_comes_as_a_folder(model: Path, thumbs_file: Path, tmp_path: Path):
    run = align(config(model, thumbs_file, model={"lora": None}, samples={"prompts": 0}), tmp_path / "run")

    exported = export_run(Request(run_dir=run.run_dir, target=str(tmp_path / "out"), kind="vllm"), NullProgress())

    assert (tmp_path / "out" / "model.safetensors").is_file()
    assert exported.usage[:2] == (
        f"vllm serve {tmp_path}/out --served-model-name out",
        "It is a merged folder: the run trained the whole model.",
    )
