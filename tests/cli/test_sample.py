"""`haloes sample`: which prompts are answered, and by whom."""

import gzip
import json
import re
from pathlib import Path

import pytest

from haloes.cli.main import run
from haloes.errors import DataError
from haloes.records import Message
from haloes.runs.config import FeedbackSettings
from haloes.runs.prompts import EVERYDAY, load_prompts
from haloes.sampling.run import read_completions
from tiny_runs import flags, write_rows

Captured = pytest.CaptureFixture[str]


def test_a_runs_model_answers_the_runs_held_out_prompts(model: Path, thumbs_file: Path, capsys: Captured):
    assert run(["train", str(thumbs_file), *flags(model, samples__prompts="3"), "--out", "run"]) == 0
    assert run(["sample", "run", "run", "--out", "answers.jsonl", "--max-new-tokens", "4", "--name", "after"]) == 0

    answers = read_completions(Path("answers.jsonl"))
    held_out = [json.loads(line)["id"] for line in Path("run/data/prompts.jsonl").read_text().splitlines()]
    assert sorted(answer.prompt_id for answer in answers) == sorted(held_out)
    assert {answer.model for answer in answers} == {"after"}
    known = [json.loads(line) for line in Path("run/samples.jsonl").read_text().splitlines()]
    after = {row["prompt_id"]: row["completion"] for row in known if row["model"] == "after"}
    assert {answer.prompt_id: answer.completion for answer in answers} == after
    assert "3 answers to 3 prompts in answers.jsonl, 3 of them new" in capsys.readouterr().out

    assert run(["sample", "run", "run", "--out", "answers.jsonl", "--max-new-tokens", "4", "--name", "after"]) == 0
    assert "0 of them new" in capsys.readouterr().out


def test_the_prompts_of_a_feedback_file_are_those_that_training_would_hold_out(model: Path, thumbs_file: Path):
    assert run(["train", str(thumbs_file), *flags(model, samples__prompts="100"), "--out", "run"]) == 0
    settings = FeedbackSettings(source=str(thumbs_file), validation_share=0.25)

    held_out = load_prompts(str(thumbs_file), settings)

    trained = {json.loads(line)["id"] for line in Path("run/data/prompts.jsonl").read_text().splitlines()}
    assert set(held_out) == trained
    assert set(held_out) < set(load_prompts(str(thumbs_file), settings, everything=True))
    assert len(load_prompts(str(thumbs_file), settings, most=2)) == 2


def test_prompts_come_from_text_and_jsonl_files_and_the_built_in_list(tmp_path: Path):
    settings = FeedbackSettings()
    (tmp_path / "prompts.txt").write_text("Is it?\n\nWhy?\n")
    (tmp_path / "prompts.jsonl").write_text('{"id": "x", "prompt": "Is it?"}\n{"prompt": "Why?"}\n')

    assert list(load_prompts(str(tmp_path / "prompts.txt"), settings).values()) == ["Is it?", "Why?"]
    named = load_prompts(str(tmp_path / "prompts.jsonl"), settings)
    assert list(named.values()) == ["Is it?", "Why?"]
    assert next(iter(named)) == "x"
    assert len(load_prompts(EVERYDAY, settings)) == 100


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--n", "2"], "sample.n is 2 and sample.temperature is 0"),
        (["--engine", "http"], "sample.base_url is missing"),
        (["--base-url", "http://localhost:1/v1"], "are for --engine http"),
        (["--max-new-tokens", "0"], "max_new_tokens must be at least 1"),
        (["--n", "0"], "sample.n must be at least 1"),
        (["--batch-size", "0"], "sample.batch_size must be at least 1"),
        (["--most", "-1"], "sample.most must be at least 1"),
    ],
)
def test_what_does_not_fit_together_is_refused(
    model: Path, thumbs_file: Path, extra: list[str], message: str, capsys: Captured
):
    assert run(["sample", str(model), str(thumbs_file), "--out", "answers.jsonl", *extra]) == 2
    assert message in capsys.readouterr().err
    assert not Path("answers.jsonl").exists()


@pytest.mark.parametrize(
    ("out", "extra", "message"),
    [
        ("answers.txt", [], "answers.txt: give a name that ends in .jsonl"),
        ("folder.jsonl", [], "folder.jsonl cannot be written (it is a folder)"),
        ("answers.jsonl", ["--n", "2"], "sample.n is 2 and sample.temperature is 0"),
        ("answers.jsonl", ["--top-p", "2"], "sample.top_p must be above 0 and at most 1"),
    ],
)
def test_a_file_or_settings_that_cannot_be_are_refused_before_a_model_is_looked_for(
    thumbs_file: Path, out: str, extra: list[str], message: str, capsys: Captured
):
    Path("folder.jsonl").mkdir()

    assert run(["sample", "nowhere/model", str(thumbs_file), "--out", out, *extra]) == 2
    told = capsys.readouterr().err
    assert message in told
    assert "nowhere" not in told


def test_the_advice_to_name_the_columns_works_as_it_stands(model: Path, tmp_path: Path, capsys: Captured):
    rows = [{"question": f"Is {i} it?", "answer": "yes", "thumb": i % 2 == 0} for i in range(4)]
    source = write_rows(tmp_path / "rows.jsonl", rows)
    asked = ["sample", str(model), str(source), "--out", "answers.jsonl", "--max-new-tokens", "2"]

    assert run(asked) == 2
    advice = re.search(r"(--columns) (\S+)", capsys.readouterr().err)
    assert advice is not None
    assert run([*asked, *advice.groups(), "--everything"]) == 0
    assert len(read_completions(Path("answers.jsonl"))) == 4


def test_a_file_without_prompts_is_refused(model: Path, tmp_path: Path, capsys: Captured):
    (tmp_path / "empty.txt").write_text("\n")
    assert run(["sample", str(model), str(tmp_path / "empty.txt"), "--out", str(tmp_path / "a.jsonl")]) == 2
    assert "there are no prompts in it" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("p.txt", "café".encode("latin-1"), "p.txt:1: invalid UTF-8 at byte 3"),
        ("p.jsonl", b'{"prompt": "Why?"}\n{"prompt": 5}', "p.jsonl:2: `prompt` must be text or messages"),
        ("p.jsonl", b'{"prompt": [{"role": "user"}]}', "p.jsonl:1: `prompt` must be text or messages"),
    ],
)
def test_a_prompt_that_cannot_be_read_is_named(tmp_path: Path, name: str, content: bytes, message: str):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=re.escape(message)):
        load_prompts(str(tmp_path / name), FeedbackSettings())


def test_prompts_of_scored_and_of_compressed_feedback_are_found(tmp_path: Path):
    settings = FeedbackSettings(validation_share=0)
    write_rows(tmp_path / "s.jsonl", [{"prompt": f"Is {i} it?", "completion": "yes", "score": i} for i in range(3)])
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(b"prompt,completion,label\nWhy?,so,1\nWhen?,now,0\n"))

    assert len(load_prompts(str(tmp_path / "s.jsonl"), settings)) == 3
    assert set(load_prompts(str(tmp_path / "t.csv.gz"), settings).values()) == {"Why?", "When?"}


def test_a_prompt_that_spells_a_chat_is_one_and_a_broken_one_is_named(tmp_path: Path):
    chat = '[{"role": "user", "content": "Why?"}]'
    write_rows(tmp_path / "p.jsonl", [{"id": "a", "prompt": chat}, {"id": "b", "prompt": "So?"}])
    write_rows(tmp_path / "q.jsonl", [{"id": "a", "prompt": chat[:-1]}])

    assert load_prompts(str(tmp_path / "p.jsonl"), FeedbackSettings()) == {"a": (Message("user", "Why?"),), "b": "So?"}
    with pytest.raises(DataError, match=r"q\.jsonl:1: the text .* looks like the turns of a chat"):
        load_prompts(str(tmp_path / "q.jsonl"), FeedbackSettings())
