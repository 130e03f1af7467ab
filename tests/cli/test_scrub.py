"""`--scrub`: what the doctor says, and what `convert` writes."""

import json
from pathlib import Path

import pytest

from haloes.cli.main import main
from tiny_runs import write_rows

ROWS = [
    {"prompt": f"Question {n}: mail ann@firm.de or call +49 30 901820", "completion": "Done.", "label": n % 2 == 0}
    for n in range(4)
]


def run(*words: str) -> None:
    with pytest.raises(SystemExit) as left:
        main(list(words))
    assert left.value.code == 0


def test_the_doctor_counts_rows_with_personal_data_and_shows_none_of_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_rows(tmp_path / "f.jsonl", ROWS)
    run("doctor", str(path))
    said = capsys.readouterr().out

    assert "rows that hold e-mail addresses: 4" in said
    assert "rows that hold phone numbers: 4" in said
    assert "--scrub" in said
    assert "firm.de" not in said


def test_with_scrub_the_doctor_says_what_was_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_rows(tmp_path / "f.jsonl", ROWS)
    run("doctor", str(path), "--scrub")
    said = " ".join(capsys.readouterr().out.split())

    assert "private replaced by placeholders: 4 e-mail addresses, 4 phone numbers" in said
    assert "rows that hold" not in said


def test_convert_writes_placeholders_and_counts_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = write_rows(tmp_path / "f.jsonl", ROWS), tmp_path / "out.jsonl"
    run("convert", str(path), str(out), "--scrub")

    assert "replaced: 4 x e-mail address" in capsys.readouterr().out
    prompts = [json.loads(line)["prompt"] for line in out.read_text().splitlines()]
    assert prompts[0] == "Question 0: mail [EMAIL] or call [PHONE]"
