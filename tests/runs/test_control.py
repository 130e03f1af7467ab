"""A conditional model, from feedback to its chat template: control texts in training, in answers, and ever after."""

from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from fakes import SYSTEM, byte_tokenizer
from haloes.cli.main import run as main
from haloes.models import device as dtype
from haloes.models.load import load_tokenizer
from haloes.runs import measure_and_save as answers
from haloes.runs.align import Run, align
from haloes.runs.export import export_model
from haloes.tokens.encode import make_encoder
from haloes.tokens.store import TokenStore
from tiny_runs import config, metrics, rows_of, save_model, thumbs, write_rows

GOOD, BAD = "<|good|>", "<|bad|>"
ASKED = f"<|im_start|>system\n{SYSTEM}<|im_end|>\n<|im_start|>user\n{{}}<|im_end|>\n<|im_start|>assistant\n"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A short run, which the tests only look at."""
    folder = tmp_path_factory.mktemp("csft")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HALOES_CACHE", str(folder / "cache"))
        cfg = config(
            save_model(folder / "model", seed=1),
            write_rows(folder / "thumbs.jsonl", thumbs()),
            loss={"name": "csft"},
            train={"epochs": 2, "lr": 3e-3},
        )
        return align(cfg, folder / "run")


def prompts_of(run: Run, side: str) -> list[tuple[str, bool, str]]:
    """What stands before each completion, its label, and the completion."""
    store, tokenizer = TokenStore(run.run_dir / "data" / side), byte_tokenizer()
    rows = [store.read(i) for i in range(len(store))]
    return [
        (tokenizer.decode(row.prompt), bool(desirable), tokenizer.decode(row.completion))
        for row, desirable in zip(rows, store.desirable, strict=True)
    ]


def test_training_prompts_end_with_the_control_text_of_their_label(finished: Run):
    rows = prompts_of(finished, "train")

    assert {desirable for _, desirable, _ in rows} == {True, False}
    for prompt, desirable, completion in rows:
        assert prompt.endswith("<|im_start|>assistant\n" + (GOOD if desirable else BAD))
        assert completion.startswith("yes" if desirable else "no")
        assert completion.endswith("<|im_end|>")


def test_control_texts_are_not_trained(finished: Run):
    store = TokenStore(finished.run_dir / "data" / "train")

    assert all(store.read(i).trained.all() for i in range(len(store)))
    assert not any(GOOD in completion or BAD in completion for *_, completion in prompts_of(finished, "train"))


def test_validation_prompts_end_with_the_control_text_of_desirable_answers(finished: Run):
    rows = prompts_of(finished, "validation")

    assert {desirable for _, desirable, _ in rows} == {True, False}
    assert all(prompt.endswith("<|im_start|>assistant\n" + GOOD) for prompt, *_ in rows)


def test_it_learns_to_tell_good_answers_from_bad_ones_by_the_control_text(finished: Run):
    lines = metrics(finished.run_dir)

    assert lines[-1]["loss"] < lines[0]["loss"]
    assert "reward/desirable" in metrics(finished.run_dir, "validation")[-1]


def answered(run: Run, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """The control text with which `sample` was called, by variant."""
    seen: dict[str, list[str]] = {}
    original = answers.sample

    def spy(*arguments: Any, control: str, variant: str, **settings: Any) -> Any:
        seen.setdefault(variant, []).append(control)
        return original(*arguments, control=control, variant=variant, **settings)

    monkeypatch.setattr(answers, "sample", spy)
    cfg = config(
        run.run_dir.parent / "model",
        run.run_dir.parent / "thumbs.jsonl",
        loss={"name": "csft", "desirable_token": "<+>", "undesirable_token": "<->"},
        train={"epochs": 0.5},
    )
    align(cfg, run.run_dir.parent / "again")
    return seen


def test_answers_after_training_are_sampled_with_the_desirable_control_text_and_those_before_without(
    finished: Run, monkeypatch: pytest.MonkeyPatch
):
    assert answered(finished, monkeypatch) == {"before": [""], "after": ["<+>"]}


def saved_tokenizer(run: Run) -> Any:
    return AutoTokenizer.from_pretrained(run.run_dir / "model")


def test_the_saved_chat_template_writes_the_control_text_after_its_generation_prompt(finished: Run):
    turns = [{"role": "user", "content": "Is 3 it?"}]
    tokenizer = saved_tokenizer(finished)

    asked = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    told = tokenizer.apply_chat_template([*turns, {"role": "assistant", "content": "yes"}], tokenize=False)

    assert asked == ASKED.format("Is 3 it?") + GOOD
    assert GOOD not in told
    assert told == byte_tokenizer().apply_chat_template(
        [*turns, {"role": "assistant", "content": "yes"}], tokenize=False
    )


def test_the_models_own_tokenizer_is_left_as_it_was(finished: Run):
    before = AutoTokenizer.from_pretrained(finished.run_dir.parent / "model")

    assert before.chat_template == byte_tokenizer().chat_template


def test_without_a_control_text_the_saved_template_is_the_models(model: Path, thumbs_file: Path, tmp_path: Path):
    cfg = config(model, thumbs_file, loss={"name": "sft"}, samples={"prompts": 0}, train={"epochs": 0.5})
    run = align(cfg, tmp_path / "run")

    assert saved_tokenizer(run).chat_template == byte_tokenizer().chat_template
    assert not any(GOOD in prompt or BAD in prompt for prompt, *_ in prompts_of(run, "train"))


# --- without a chat template


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A short run on a model whose tokenizer has no chat template."""
    folder = tmp_path_factory.mktemp("plain")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HALOES_CACHE", str(folder / "cache"))
        base = save_model(folder / "model", seed=1)
        byte_tokenizer(chat_template=None).save_pretrained(base)
        (base / "chat_template.jinja").unlink(missing_ok=True)
        made = config(
            base, write_rows(folder / "thumbs.jsonl", thumbs()), loss={"name": "csft"}, train={"epochs": 2, "lr": 3e-3}
        )
        return align(made, folder / "run")


def asked(place: Path, prompt: str = "Is 3 it?") -> str:
    """What haloes gives the model of this folder to answer."""
    tokenizer = load_tokenizer(str(place))
    return str(tokenizer.decode(make_encoder(tokenizer, max_length=256).prompt_ids(prompt)))


def test_without_a_chat_template_the_saved_tokenizer_knows_the_control_text(plain: Run, tmp_path: Path):
    out = export_model(plain.run_dir, tmp_path / "merged")

    assert asked(plain.run_dir.parent / "model") == "Is 3 it?"
    assert asked(plain.run_dir / "model") == asked(out) == "Is 3 it?" + GOOD
    assert saved_tokenizer(plain).chat_template is None


@pytest.mark.parametrize("faster", [False, True], ids=["float32", "bfloat16"])
def test_what_haloes_samples_from_the_folder_is_what_the_run_sampled_whichever_dtype_auto_is(
    faster: bool, plain: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(dtype, "has_fast_bfloat16", lambda: faster)
    arguments = ["sample", str(plain.run_dir), str(plain.run_dir), "--out", str(tmp_path / "a.jsonl")]

    assert main([*arguments, "--max-new-tokens", "4"]) == 0
    of_run = [row for row in rows_of(plain.run_dir / "samples.jsonl") if row["model"] == "after"]
    texts = {row["prompt_id"]: row["completion"] for row in rows_of(tmp_path / "a.jsonl")}
    assert texts == {row["prompt_id"]: row["completion"] for row in of_run}


def test_the_card_says_to_add_the_control_text(plain: Run, finished: Run):
    without, chat = ((run.run_dir / "model" / "README.md").read_text() for run in (plain, finished))

    assert f"where `{GOOD}` stands right after the prompt. There is no chat template that would write it" in without
    assert f"where `{GOOD}` stands right after the prompt. The chat template of this folder's tokenizer writes" in chat
    assert all('AutoTokenizer.from_pretrained("path/to/this/folder")' in card for card in (without, chat))


def test_a_model_that_goes_on_from_one_with_a_control_text_keeps_it_before_the_new_one(plain: Run, tmp_path: Path):
    loss = {"name": "csft", "desirable_token": "<+>", "undesirable_token": "<->"}
    source = plain.run_dir.parent / "thumbs.jsonl"
    again = align(config(plain.run_dir / "model", source, loss=loss, train={"epochs": 0.5}), tmp_path / "run")

    assert asked(again.run_dir / "model") == "Is 3 it?" + GOOD + "<+>"
    assert all(prompt.endswith((GOOD + "<+>", GOOD + "<->")) for prompt, *_ in prompts_of(again, "train"))
