"""Tools and variables of the chat template that belong to a row reach training, sampling, and what is measured."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fakes import byte_tokenizer, tiny_model
from haloes.cli.main import run as command
from haloes.feedback.fields import parse_shared_fields
from haloes.feedback.refusals import RefusalError
from haloes.models.quiet import quiet
from haloes.records import Prompt, as_asked
from haloes.records_json import asked_from_json, asked_to_json
from haloes.runs.align import align
from haloes.sampling import generate
from haloes.sampling.generate import sample
from tiny_runs import config, rows_of, save_model, thumbs, write_rows

SHOWS = (
    "{% for t in tools or [] %}{{ t['function']['name'] + '\n' }}{% endfor %}"
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
    "{% if enable_thinking is defined and not enable_thinking %}{{ '<think></think>' }}{% endif %}{% endif %}"
)
TOOL = {"type": "function", "function": {"name": "add"}}
GIVEN: dict[str, Any] = {"tools": [TOOL], "chat_template_kwargs": {"enable_thinking": False}}


def shown(prompt: str) -> str:
    return f"add\n<|im_start|>user\n{prompt}<|im_end|>\n<|im_start|>assistant\n<think></think>"


@pytest.fixture
def base(tmp_path: Path) -> Path:
    folder = save_model(tmp_path / "base")
    with quiet():
        byte_tokenizer(chat_template=SHOWS).save_pretrained(folder)
    return folder


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What models are given to answer from here on."""
    seen: list[str] = []
    decode = generate.decode

    def spy(model: Any, prompts: Any, **how: Any) -> Any:
        seen.extend(byte_tokenizer().decode(ids) for ids in prompts)
        return decode(model, prompts, **how)

    monkeypatch.setattr(generate, "decode", spy)
    return seen


def test_a_run_trains_and_answers_with_what_belongs_to_its_rows(base: Path, tmp_path: Path, asked: list[str]):
    source = write_rows(tmp_path / "t.jsonl", [{**row, **GIVEN} for row in thumbs()])
    run = align(config(base, source, samples={"prompts": 1, "max_new_tokens": 2}), tmp_path / "run")

    [held_out] = rows_of(run.run_dir / "data" / "prompts.jsonl")
    assert {name: held_out[name] for name in GIVEN} == GIVEN
    trained = byte_tokenizer().decode(np.fromfile(run.run_dir / "data" / "train" / "tokens.bin", np.int32))
    assert (
        trained.count("<think></think>") == trained.count("add\n<|im_start|>user") == trained.count("<|im_start|>user")
    )
    assert asked[-1] == shown(held_out["prompt"])
    answers = rows_of(run.run_dir / "samples.jsonl")
    assert [{name: answer[name] for name in GIVEN} for answer in answers] == [GIVEN] * 2


@pytest.mark.parametrize("name", ["t.jsonl", "p.jsonl"])
def test_sampling_asks_with_what_belongs_to_the_prompts(name: str, base: Path, tmp_path: Path, asked: list[str]):
    write_rows(tmp_path / "t.jsonl", [{**row, **GIVEN} for row in thumbs(2)])
    write_rows(tmp_path / "p.jsonl", [{"prompt": "Is 0 it?", **GIVEN}, {"prompt": "Is 1 it?", **GIVEN}])
    out = tmp_path / "a.jsonl"

    assert command(
        ["sample", str(base), str(tmp_path / name), "--out", str(out), "--everything", "--max-new-tokens", "2"]
    ) == 0  # fmt: skip
    assert sorted(asked) == [shown("Is 0 it?"), shown("Is 1 it?")]
    assert {json.dumps({name: row[name] for name in GIVEN}) for row in rows_of(out)} == {json.dumps(GIVEN)}


def test_a_rows_own_value_goes_before_the_runs(base: Path, tmp_path: Path, asked: list[str]):
    rows = [{"prompt": "Hi", "chat_template_kwargs": {"enable_thinking": True}}, {"prompt": "Why?"}]
    how = ["sample", str(base), str(write_rows(tmp_path / "p.jsonl", rows)), "--out", str(tmp_path / "a.jsonl")]

    assert command([*how, "--max-new-tokens", "2", "--set", "tokens.chat_template_kwargs.enable_thinking=false"]) == 0
    assert [text.endswith("<think></think>") for text in sorted(asked)] == [False, True]


def test_pairs_keep_their_variables_when_they_are_converted(tmp_path: Path):
    row = {"prompt": "Hi", "chosen": "a", "rejected": "b", **GIVEN}
    source, out = write_rows(tmp_path / "p.jsonl", [row]), tmp_path / "out.jsonl"

    assert command(["convert", str(source), str(out)]) == 0
    assert [{name: row[name] for name in GIVEN} for row in rows_of(out)] == [GIVEN] * 2


def test_the_variables_of_a_row_are_an_object_or_its_json():
    wanted = {"chat_template_kwargs": {"enable_thinking": False}}

    assert parse_shared_fields(wanted) == wanted
    assert parse_shared_fields({"chat_template_kwargs": '{"enable_thinking": false}'}) == wanted
    for wrong in ("yes", [1], 3):
        with pytest.raises(RefusalError, match="not an object such as"):
            parse_shared_fields({"chat_template_kwargs": wrong})


def test_a_prompt_to_which_nothing_belongs_is_its_text():
    assert as_asked(Prompt("Hi")) == "Hi"
    assert asked_from_json(json.loads(json.dumps(asked_to_json("Hi")))) == "Hi"
    prompt = Prompt("Hi", (TOOL,), {"enable_thinking": False})
    assert asked_from_json(json.loads(json.dumps(asked_to_json(prompt)))) == prompt


def test_sample_takes_prompts_with_what_belongs_to_them(asked: list[str]):
    prompt = Prompt("Hi", (TOOL,), {"enable_thinking": False})
    [answer] = sample(tiny_model(), byte_tokenizer(chat_template=SHOWS), {"a": prompt}, max_new_tokens=2)

    assert asked == [shown("Hi")]
    assert (answer.prompt, answer.tools, answer.chat_template_kwargs) == ("Hi", (TOOL,), {"enable_thinking": False})
