"""Text from outside reaches a terminal, a page and a card, and controls none of them."""

import io
import json
from pathlib import Path
from typing import Any

import pytest

from haloes.cli.main import run
from haloes.cli.views import output
from haloes.cli.views.tables import table
from haloes.errors import DataError
from haloes.progress.console import SafeConsole
from haloes.progress.display import Display
from haloes.readable import readable
from haloes.report.card import card
from haloes.report.load import load_run
from haloes.report.page import write_report
from tiny_runs import thumbs, write_rows

CLIPBOARD, CLEAR, REVERSED, C1 = "\x1b]52;c;cm0gLXJm\x07", "\x1b[2J", "\u202e", "\x9b2J"
EVIL = f"evil{CLIPBOARD}{CLEAR}{REVERSED}{C1}\u2066\u200b\x00\rname"
CONTROLS = set("\x1b\x07\x9b\x00\r\u202e\u2066\u200b")


def test_what_controls_is_shown_and_what_scripts_need_stays():
    assert readable(EVIL).startswith("evil\N{REPLACEMENT CHARACTER}]52;c;cm0gLXJm\N{REPLACEMENT CHARACTER}")
    assert not CONTROLS & set(readable(EVIL))
    kept = "a\n\tb 👩‍🚀 \u200fשלום \u00adé"
    assert readable(kept) == kept
    assert readable("one\r\ntwo \ud83d") == "one\ntwo \N{REPLACEMENT CHARACTER}"


def test_lines_and_errors_are_printed_without_control(capsys: pytest.CaptureFixture[str]):
    output.say(EVIL)
    output.say_lines([EVIL])
    output.fail(EVIL)
    shown = capsys.readouterr()

    assert not CONTROLS & set(shown.out + shown.err)
    assert shown.out.count("name") == 2
    assert not CONTROLS & set(str(DataError(EVIL)))


def test_tables_are_drawn_without_control_and_keep_their_colours():
    file = io.StringIO()
    console = SafeConsole(file=file, width=200, force_terminal=True, color_system="standard", _environ={})
    console.print(table(EVIL, (EVIL,), [[EVIL]]), "[red]ours[/]")
    shown = file.getvalue()

    assert shown.count("cm0gLXJm") == 3
    assert not [part for part in (CLIPBOARD, CLEAR, REVERSED, C1, "\x00") if part in shown]
    assert "\x1b[31mours" in shown


def test_what_is_shown_of_rich_goes_through_the_safe_console(capsys: pytest.CaptureFixture[str]):
    output.show([table(EVIL, (EVIL,), [[EVIL]])])

    assert not CONTROLS & set(capsys.readouterr().out)


def test_the_name_of_a_stage_moves_no_cursor(capsys: pytest.CaptureFixture[str]):
    with Display() as progress:
        progress.stage(f"reading {EVIL}", 1)
        progress.note(EVIL)
    shown = capsys.readouterr().err

    assert "cm0gLXJm" in shown
    assert not CONTROLS & set(shown)


def evil_rows() -> list[dict[str, Any]]:
    return [{f"{EVIL} prompt": "p", EVIL: "c"} for _ in range(3)]


@pytest.mark.parametrize("rows", [evil_rows(), [*thumbs(4), {"prompt": "p", "completion": "c", "label": EVIL}]])
def test_the_columns_values_and_name_of_a_feedback_file_control_nothing(
    rows: list[dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    path = write_rows(tmp_path / f"{EVIL.replace(chr(0), '')}.jsonl", rows)
    run(["doctor", str(path)])
    run(["doctor", str(path), "--columns", f"prompt={EVIL.replace(chr(0), '')}x"])
    run(["report", f"{tmp_path}/{CLEAR}"])
    run(["doctor", f"{CLEAR}.jsonl", f"--{CLEAR}", CLIPBOARD])
    shown = capsys.readouterr()

    assert "cm0gLXJm" in shown.out + shown.err
    assert not CONTROLS & set(shown.out + shown.err)


def test_a_runs_report_summary_and_card_control_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder = tmp_path / f"run{CLEAR}{REVERSED}"
    folder.mkdir()
    score = {"name": EVIL, "value": 1, "low": 0, "high": 2, "variant": EVIL, "label": EVIL, "method": EVIL}
    (folder / "scores.jsonl").write_text(json.dumps(score) + "\n", encoding="utf-8")
    (folder / "warnings.json").write_text(json.dumps([{"severity": EVIL, "message": EVIL}]), encoding="utf-8")
    (folder / "data.json").write_text(json.dumps({"sources": [EVIL], EVIL: EVIL}), encoding="utf-8")
    (folder / "config.yaml").write_text(
        json.dumps({"model": {"name": EVIL}, "loss": {"name": EVIL, EVIL: EVIL}}), encoding="utf-8"
    )

    assert run(["report", str(folder)]) == 0

    shown = capsys.readouterr().out
    page = write_report(folder).read_text(encoding="utf-8")
    markdown = card(load_run(folder), base=EVIL)
    for text in (shown, page, markdown):
        assert "cm0gLXJm" in text
        assert not CONTROLS & set(text)
