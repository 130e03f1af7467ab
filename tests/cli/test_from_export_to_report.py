"""The way of a newcomer who has an export of Open WebUI: doctor, plan, convert, train, report."""

import json
from pathlib import Path

import pytest

from haloes.cli.main import run
from open_webui_votes import last_votes, open_webui_votes, write_open_webui_votes
from tiny_runs import flags, rows_of

LAYOUT = "Open WebUI feedback export (0.12 layout)"
LEFT_OUT = "10 left out: 6 x earlier vote, 4 x no verdict (`haloes doctor` says which and why)"


def test_three_commands_lead_from_an_export_to_a_report(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    write_open_webui_votes(tmp_path / "votes.json", 48)

    assert run(["doctor", "votes.json"]) == 0
    seen = capsys.readouterr().out
    assert LAYOUT in seen
    assert "give it: --system FILE" in " ".join(seen.split())

    assert run(["train", "votes.json", *flags(model), "--out", "run"]) == 0
    seen = capsys.readouterr()
    told = [line for line in seen.err.splitlines() if line.startswith("votes.json: ")]
    assert told == [f"votes.json: {LAYOUT}; 44 rows used, {LEFT_OUT}"]
    Path("run/report.html").unlink()
    assert run(["report", "run"]) == 0
    assert f"54 rows of the {LAYOUT} were read" in Path("run/report.html").read_text()


def test_plan_and_convert_name_the_export_and_count_what_is_left_out(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    write_open_webui_votes(tmp_path / "votes.json", 48)

    assert run(["convert", "votes.json", "rows.jsonl"]) == 0
    seen = capsys.readouterr().out
    assert seen.startswith(f"votes.json: {LAYOUT}\n44 records written to rows.jsonl, ")
    assert LEFT_OUT in seen
    rows = {row["id"]: row for row in rows_of(Path("rows.jsonl"))}
    assert {name: row["label"] for name, row in rows.items()} == last_votes(open_webui_votes(48))
    assert all([turn["role"] for turn in row["prompt"]] == ["user", "assistant", "user"] for row in rows.values())

    assert run(["plan", "votes.json", *flags(model), "--json"]) == 0
    seen = capsys.readouterr()
    json.loads(seen.out)
    assert f"votes.json: {LAYOUT}; 44 rows used, {LEFT_OUT}" in seen.err
