"""The doctor's look at tokens: lengths and cuts for one model, and previews that show what is trained."""

from pathlib import Path

import pytest
from rich.console import Console

from haloes.errors import ModelError
from haloes.runs.config import FeedbackSettings, TokenSettings
from haloes.runs.feedback_rows import open_for_doctor
from haloes.runs.token_doctor import TokenReport, examine_tokens
from tiny_runs import pairs, thumbs, write_rows


def examine(model: Path, source: Path, *, max_length: int = 256, previews: int = 3) -> TokenReport:
    rows = open_for_doctor(FeedbackSettings(source=str(source)))
    return examine_tokens(str(model), rows, TokenSettings(max_length=max_length), previews=previews)


def drawn(report: TokenReport, *, colour: bool = False) -> str:
    console = Console(width=200, force_terminal=colour, color_system="standard" if colour else None)
    with console.capture() as captured:
        for shown in report.previews:
            console.print(shown)
    return captured.get()


def test_lengths_and_cuts_are_those_of_the_model(model: Path, tmp_path: Path):
    rows = [*thumbs(4), {"prompt": "long", "completion": "c" * 300, "label": True}]
    report = examine(model, write_rows(tmp_path / "f.jsonl", rows), max_length=128)
    text = "\n".join(report.lines)

    assert "tokens    9 rows, 9 encoded, 0 refused" in text
    assert f"completion cut in 1: {tmp_path / 'f.jsonl'}:9" in text
    assert report.errors == []


def test_a_preview_marks_what_is_trained_with_and_without_colours(model: Path, thumbs_file: Path):
    report = examine(model, thumbs_file)
    lines = drawn(report).splitlines()

    assert lines[:7] == [
        f"{thumbs_file}:1, desirable",
        "    | <|im_start|>system",
        "    | You are helpful.<|im_end|>",
        "    | <|im_start|>user",
        "    | Is 0 it?<|im_end|>",
        "    | <|im_start|>assistant",
        "    + yes yes 0<|im_end|>",
    ]
    assert len(report.previews) == 3
    coloured = drawn(report, colour=True).splitlines()
    assert "\x1b[32m" in coloured[6]
    assert not any("\x1b[32m" in line for line in coloured[:6])


def test_both_answers_of_a_pair_are_shown(model: Path, tmp_path: Path):
    report = examine(model, write_rows(tmp_path / "p.jsonl", pairs(2)), previews=1)

    assert [line for line in drawn(report).splitlines() if line.startswith("    +")] == [
        "    + yes yes 0<|im_end|>",
        "    + no no 0<|im_end|>",
    ]


def test_text_of_the_data_is_neither_markup_nor_an_escape_sequence(model: Path, tmp_path: Path):
    rows = [{"prompt": "[bold]p[/bold] \x1b[2J", "completion": "[red]c[/] [/nope]\nsecond line", "label": True}]
    shown = drawn(examine(model, write_rows(tmp_path / "f.jsonl", rows)))

    assert "[bold]p[/bold] \N{REPLACEMENT CHARACTER}[2J" in shown
    assert "    + [red]c[/] [/nope]\n    + second line<|im_end|>" in shown
    assert "\x1b" not in shown


def test_no_weights_are_needed_but_a_tokenizer_is(model: Path, thumbs_file: Path, tmp_path: Path):
    for path in model.iterdir():
        if "token" in path.name or path.suffix == ".jinja":
            (tmp_path / path.name).write_bytes(path.read_bytes())

    assert examine(tmp_path, thumbs_file).errors == []
    with pytest.raises(ModelError, match="no such folder"):
        examine(tmp_path / "nope", thumbs_file)


def test_rows_that_the_template_refuses_altogether_are_an_error(tmp_path: Path, model: Path):
    for path in model.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "chat_template.jinja").write_text(
        "{% for m in messages %}{% if m['content'][:2] == 'Is' %}{{ raise_exception('never') }}{% endif %}"
        "{{ m['content'] }}<|im_end|>{% endfor %}"
    )
    report = examine(tmp_path, write_rows(tmp_path / "f.jsonl", thumbs(2)))

    assert len(report.errors) == 1
    assert "cannot be turned into tokens" in report.errors[0]
