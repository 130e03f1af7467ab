"""The command line as a whole: exit codes, what goes where, and what a command may cost before it does anything."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from haloes.cli import main
from haloes.cli.help import joined
from haloes.cli.main import COMMANDS, run
from haloes.cli.views.output import UNREAD
from haloes.errors import UserError
from haloes.runs import align as align_module
from tiny_runs import flags


def failing(error: BaseException):
    def command(*_: object, **__: object) -> None:
        raise error

    return command


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]):
    assert run(["--help"]) == 0

    shown = capsys.readouterr().out
    assert all(command in shown for command in COMMANDS)


def test_help_lists_the_commands_in_the_order_of_their_use(capsys: pytest.CaptureFixture[str]):
    assert run(["--help"]) == 0

    listed = [line.split()[1] for line in capsys.readouterr().out.splitlines() if re.match(r"│ [a-z]", line)]
    assert listed == list(COMMANDS)


def test_a_commands_help_is_its_whole_text_and_shows_no_empty_defaults(capsys: pytest.CaptureFixture[str]):
    assert run(["plan", "--help"]) == 0

    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "Nothing stays on disk" in shown
    assert "the exit code is 2" in shown
    assert not re.search(r"\[default: (None|False|\(\))\]", shown)
    assert run(["sample", "--help"]) == 0
    assert "[default: 256]" in capsys.readouterr().out


def test_the_lines_of_a_paragraph_are_joined_and_sections_stay():
    text = "First.\n\nOne\ntwo.\n\nParameters\n----------\na\n    It is\n    so.\nb\n    Other.\n"

    assert joined(text) == "First.\n\nOne two.\n\nParameters\n----------\na\n    It is so.\nb\n    Other."
    assert joined(joined(text)) == joined(text)


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_explains_itself_and_every_argument(command: str, capsys: pytest.CaptureFixture[str]):
    assert run([command, "--help"]) == 0

    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert COMMANDS[command] in shown
    assert f"haloes {command}" in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trian"], 'Unknown command "trian"'),
        (["train", "f.jsonl", "--los", "dpo"], "Unknown option: --los. Did you mean --loss?"),
        (["train", "a", "b"], "See `haloes train --help`"),
        (["export"], "See `haloes export --help`"),
        (["doctor"], "FEEDBACK"),
        (["convert", "a", "b.jsonl", "--to", "triples"], "triples"),
        (["resume"], "RUN"),
    ],
)
def test_a_wrong_command_line_is_told_on_stderr_with_exit_code_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
):
    assert run(arguments) == 2

    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("haloes: ")
    assert message in err


@pytest.mark.parametrize("arguments", [["report", ""], ["train", "a.jsonl", "--out", ""], [""]])
def test_an_empty_argument_is_not_the_present_folder(arguments: list[str], capsys: pytest.CaptureFixture[str]):
    assert run(arguments) == 2

    said = capsys.readouterr().err
    assert said.startswith(f'haloes: "haloes {" ".join(arguments[:-1])}'.rstrip())
    assert "is followed by an empty argument; give a value" in said


def test_what_the_user_can_put_right_is_one_message_on_stderr_with_exit_code_2(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("haloes.runs.setting_texts.json_schema", failing(UserError("do [bold]this[/bold]")))

    assert run(["schema"]) == 2
    assert capsys.readouterr() == ("", "haloes: do [bold]this[/bold]\n")


def test_a_bug_shows_its_traceback(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("haloes.runs.setting_texts.json_schema", failing(ZeroDivisionError("a bug")))

    with pytest.raises(ZeroDivisionError, match="a bug"):
        run(["schema"])


@pytest.mark.parametrize(("error", "message"), [(KeyboardInterrupt(), "interrupted"), (KeyboardInterrupt("x"), "x")])
def test_ctrl_c_is_exit_code_130(
    error: KeyboardInterrupt, message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("haloes.runs.setting_texts.json_schema", failing(error))

    assert run(["schema"]) == 130
    assert capsys.readouterr().err == f"haloes: {message}\n"


def test_main_exits_with_the_code(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.argv", ["haloes", "nonsense"])

    with pytest.raises(SystemExit) as caught:
        main.main()
    assert caught.value.code == 2
    with pytest.raises(SystemExit) as caught:
        main.main(["--help"])
    assert caught.value.code == 0


def test_a_bug_in_the_middle_of_a_run_is_no_error_of_the_user(
    model: Path, thumbs_file: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(align_module, "prepare_data", failing(RuntimeError("a bug")))

    with pytest.raises(RuntimeError, match="a bug"):
        run(["train", str(thumbs_file), *flags(model), "--out", "run"])
    assert not Path("run").exists()


def test_output_that_nobody_reads_is_no_bug():
    command = f"{shlex.quote(sys.executable)} -m haloes schema | true; exit ${{PIPESTATUS[0]}}"
    environment = os.environ | {"PYTHONPATH": str(Path(main.__file__).parents[2]), "PYTHONUNBUFFERED": "1"}
    done = subprocess.run(
        ["bash", "-c", command], env=environment, capture_output=True, text=True, check=False, timeout=60
    )

    assert (done.returncode, done.stderr) == (UNREAD, "")


@pytest.mark.parametrize(
    ("command", "code", "stderr"),
    [
        ("haloes losses | true", UNREAD, ""),
        ("haloes words 2>&1 | true", UNREAD, ""),
        ("haloes --help | true", UNREAD, ""),
        ("haloes train --help | true", UNREAD, ""),
        ("haloes losses > /dev/full", 2, "haloes: the output cannot be written (No space left on device); free some"),
        ("haloes resume nowhere 2> /dev/full", 2, ""),
        ("PYTHONIOENCODING=ascii haloes losses > /dev/null", 0, ""),
        ("PYTHONIOENCODING=latin-1 haloes losses explain kto > /dev/null", 0, ""),
        ("LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 haloes words > /dev/null", 0, ""),
    ],
)
def test_odd_terminals_and_pipes_get_an_exit_code_and_no_traceback(command: str, code: int, stderr: str):
    command = command.replace("haloes ", f"{shlex.quote(sys.executable)} -m haloes ")
    environment = os.environ | {"PYTHONPATH": str(Path(main.__file__).parents[2]), "PYTHONUNBUFFERED": "1"}
    done = subprocess.run(
        ["bash", "-c", f"{command}; exit ${{PIPESTATUS[0]}}"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.returncode == code, done.stderr
    assert done.stderr.startswith(stderr)
    assert "Traceback" not in done.stderr
    assert bool(done.stderr) == bool(stderr)


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]):
    assert run(["--version"]) == 0
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*\n", capsys.readouterr().out)
