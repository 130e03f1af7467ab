"""A saved model stops where haloes' samples stop, and its chat template writes what was trained."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import AddedToken
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from fakes import IM_END, IM_END_ID, VOCAB, byte_tokenizer, tiny_model
from haloes.cli.main import run as command
from haloes.errors import ConfigError
from haloes.models.load import load_model, load_tokenizer
from haloes.models.quiet import quiet
from haloes.runs.align import Run, align
from haloes.runs.export import export_model
from haloes.sampling.generate import end_of_turn_ids
from haloes.tokens.chat_template import with_end_of_text, with_template_kwargs
from haloes.tokens.encode import make_encoder
from tiny_runs import config, flags, rows_of, thumbs, write_rows

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
    "{% if enable_thinking is defined and not enable_thinking %}{{ '<think>\n\n</think>\n\n' }}{% endif %}{% endif %}"
)
NO_THINKING = "<|im_start|>assistant\n<think>\n\n</think>\n\n"


def base(folder: Path, chat_template: Any = CHATML) -> Path:
    """A base model whose text ends with a mark of its own, which its chat template does not write."""
    tokenizer = byte_tokenizer(chat_template=chat_template)
    tokenizer.add_special_tokens({"eos_token": AddedToken("<|endoftext|>", special=True, normalized=False)})
    with quiet():
        model = tiny_model(vocab=VOCAB + 1, seed=1)
        model.generation_config = GenerationConfig(eos_token_id=VOCAB, _from_model_config=True)
        model.config.eos_token_id = VOCAB
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("ends")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HALOES_CACHE", str(folder / "cache"))
        made = config(
            base(folder / "base"), write_rows(folder / "thumbs.jsonl", thumbs()), samples={"prompts": 1},
            tokens={"chat_template_kwargs": {"enable_thinking": False}},
        )  # fmt: skip
        return align(made, folder / "run")


def ends_of(folder: Path) -> object:
    return json.loads((folder / "generation_config.json").read_text())["eos_token_id"]


def test_the_model_and_its_export_name_every_end_of_an_answer(run: Run, tmp_path: Path):
    out = export_model(run.run_dir, tmp_path / "out")

    for folder in (run.run_dir / "model", out):
        tokenizer = AutoTokenizer.from_pretrained(folder)
        assert ends_of(folder) == [IM_END_ID, VOCAB]
        assert not GenerationConfig.from_pretrained(folder)._from_model_config
        assert (tokenizer.eos_token, tokenizer.eos_token_id) == (IM_END, IM_END_ID)
        loaded = load_model(str(folder), dtype=torch.float32, device="cpu")
        assert end_of_turn_ids(loaded.tokenizer, loaded.model.generation_config) == {IM_END_ID, VOCAB}


@pytest.mark.parametrize("end", [IM_END_ID, VOCAB])
def test_generate_on_the_export_stops_where_an_answer_is_over(end: int, run: Run, tmp_path: Path):
    out = export_model(run.run_dir, tmp_path / "out")
    with quiet():
        model = AutoModelForCausalLM.from_pretrained(out)
        # Whatever comes in, this end is the likeliest next token.
        model.lm_head = torch.nn.Linear(model.config.hidden_size, VOCAB + 1)
        torch.nn.init.zeros_(model.lm_head.weight)
        model.lm_head.bias.data = torch.nn.functional.one_hot(torch.tensor(end), VOCAB + 1).float()
        ids = model.generate(torch.tensor([[5, 6]]), max_new_tokens=8, do_sample=False, pad_token_id=0)

    assert ids[0].tolist() == [5, 6, end]


def test_a_template_that_writes_the_end_of_text_keeps_it() -> None:
    tokenizer = byte_tokenizer(chat_template=CHATML + "{{ eos_token }}")
    tokenizer.eos_token = "a"

    assert with_end_of_text(tokenizer, IM_END) is tokenizer
    assert with_end_of_text(byte_tokenizer(), IM_END).eos_token == IM_END


def test_what_inference_sees_of_the_model_and_of_its_export_is_what_was_trained(run: Run, tmp_path: Path):
    out = export_model(run.run_dir, tmp_path / "out")
    turns = [{"role": "user", "content": "Is 3 it?"}]
    trained = run.run_dir / "data" / "train"

    for folder in (run.run_dir / "model", out):
        asked = AutoTokenizer.from_pretrained(folder).apply_chat_template(
            turns, tokenize=False, add_generation_prompt=True
        )
        assert asked == f"<|im_start|>user\nIs 3 it?<|im_end|>\n{NO_THINKING}"
        ids = load_tokenizer(str(folder))(asked, add_special_tokens=False)["input_ids"]
        assert torch.tensor(ids, dtype=torch.int32).numpy().tobytes() in (trained / "tokens.bin").read_bytes()


def test_a_caller_may_still_choose_otherwise(run: Run):
    tokenizer = AutoTokenizer.from_pretrained(run.run_dir / "model")
    turns = [{"role": "user", "content": "Hi"}]
    how = {"tokenize": False, "add_generation_prompt": True}

    assert tokenizer.apply_chat_template(turns, enable_thinking=True, **how).endswith("assistant\n")


@pytest.mark.parametrize("value", [False, True, None, 3, 0.5, 'a "b"\n', ["x", False], {"a": {"b": None}}])
def test_every_value_reaches_the_template_and_its_own_text_stays(value: object) -> None:
    shows = "\n  {% for m in messages %}\n  {{ m['content'] }}{% endfor %} {{ way | tojson }}\n"
    plain, set_ = byte_tokenizer(chat_template=shows), byte_tokenizer(chat_template=shows)
    changed = with_template_kwargs(set_, {"way": value})
    turns = [{"role": "user", "content": "Hi"}]

    wanted = plain.apply_chat_template(turns, tokenize=False, way=value)
    assert changed.apply_chat_template(turns, tokenize=False) == wanted
    assert with_template_kwargs(changed, {"way": value}).chat_template == changed.chat_template
    assert with_template_kwargs(changed, {"way": 7}).apply_chat_template(turns, tokenize=False, way=value) == wanted
    assert set_.chat_template == shows


@pytest.mark.parametrize(
    ("chat_template", "kwargs", "message"),
    [
        (CHATML, {"enable_thinkng": False}, "the chat template does not read 'enable_thinkng'"),
        (CHATML, {"messages": []}, "'messages' is not for you to set"),
        (CHATML, {"a b": 1}, "'a b' is not for you to set"),
        (None, {"enable_thinking": False}, "the tokenizer has no chat template"),
    ],
)
def test_a_variable_that_the_template_does_not_read_is_refused(
    chat_template: str | None, kwargs: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        with_template_kwargs(byte_tokenizer(chat_template=chat_template), kwargs)


def test_named_templates_all_state_the_value() -> None:
    named = with_template_kwargs(
        byte_tokenizer(chat_template={"default": CHATML, "tool_use": CHATML}),
        {"enable_thinking": False},  # type: ignore[arg-type]
    )

    assert make_encoder(named, max_length=99).template.prompt("Hi").endswith(NO_THINKING)
    assert make_encoder(named, max_length=99).template.prompt("Hi", ({"name": "t"},)).endswith(NO_THINKING)


def test_samples_of_a_base_are_asked_as_the_settings_say(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "p.txt").write_text("Hi\n")
    model, out = base(tmp_path / "base"), tmp_path / "a.jsonl"
    how = ["sample", str(model), str(tmp_path / "p.txt"), "--out", str(out), "--max-new-tokens", "2"]
    no_thinking = ["--set", "tokens.chat_template_kwargs.enable_thinking=false"]

    assert command([*how, *no_thinking]) == 0
    assert rows_of(out)[0]["sampling"]["chat_template_kwargs"] == {"enable_thinking": False}
    assert command(how) != 0
    assert "answers that were made otherwise (chat template kwargs" in capsys.readouterr().err.replace("\n", " ")


def test_csft_with_named_templates_trains_and_saves_both(tmp_path: Path):
    named = {"default": CHATML, "tool_use": "{{ tools | length }}" + CHATML}
    made = config(
        base(tmp_path / "base", named), write_rows(tmp_path / "t.jsonl", thumbs(8)),
        loss={"name": "csft"}, samples={"prompts": 1}, train={"epochs": 0.5},
    )  # fmt: skip
    run = align(made, tmp_path / "run")
    tokenizer = AutoTokenizer.from_pretrained(run.run_dir / "model")
    turns = [{"role": "user", "content": "Hi"}]

    for tools, head in ((None, ""), ([{"type": "function", "function": {"name": "f"}}], "1")):
        asked = tokenizer.apply_chat_template(turns, tools=tools, tokenize=False, add_generation_prompt=True)
        assert asked == f"{head}<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n<|good|>"


REFUSES = "{% if 'Is 1 it?' in messages[0]['content'] %}{{ raise_exception('never') }}{% endif %}" + CHATML


@pytest.mark.parametrize("skip", [False, True])
def test_doctor_and_train_agree_on_rows_that_cannot_be_encoded(skip: bool, tmp_path: Path):
    model, source = base(tmp_path / "base", REFUSES), write_rows(tmp_path / "t.jsonl", thumbs())
    more = ["--set", "feedback.skip_refused=true"] if skip else []
    how = flags(model, samples__prompts="0")

    examined = command(["doctor", str(source), "--model", str(model), *more])
    trained = command(["train", str(source), *how, "--out", str(tmp_path / "run"), *more])

    assert examined == trained == (0 if skip else 2)


@pytest.mark.parametrize(
    "chat_template", [CHATML.replace("m['content']", "m['text']"), {"tool_use": CHATML}, "{{ raise_exception('no') }}"]
)
def test_doctor_and_train_agree_on_templates_that_cannot_be_trained_by(chat_template: Any, tmp_path: Path):
    model, source = base(tmp_path / "base", chat_template), write_rows(tmp_path / "t.jsonl", thumbs(8))

    examined = command(["doctor", str(source), "--model", str(model)])
    trained = command(["train", str(source), *flags(model), "--out", str(tmp_path / "run")])

    assert examined == trained == 2
