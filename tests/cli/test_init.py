"""`haloes init` and the README's commands on the files that it writes."""

import re
import shlex
from pathlib import Path

import pytest

from haloes.cli.main import run
from tiny_runs import flags

README = Path(__file__).parents[2] / "README.md"


def commands_on_examples() -> list[list[str]]:
    text = README.read_text(encoding="utf-8") if README.exists() else ""
    return [shlex.split(words) for words in re.findall(r"`haloes (doctor examples/[^`]+)`", text)]


def test_init_says_what_it_wrote_and_how_to_begin(capsys: pytest.CaptureFixture[str]):
    assert run(["init", "mine"]) == 0

    out = capsys.readouterr().out
    assert "mine/run.yaml" in out
    assert "haloes train mine/examples/thumbs.jsonl --config mine/run.yaml" in out
    assert run(["init", "mine"]) == 2
    assert "mine/run.yaml (and 6 more of its files) is there already" in capsys.readouterr().err


def test_the_readme_shows_a_command_for_each_example():
    assert run(["init"]) == 0

    shown = {Path(words[1]).name for words in commands_on_examples()}
    assert not README.exists() or shown == {path.name for path in Path("examples").iterdir()}


@pytest.mark.parametrize("words", commands_on_examples(), ids=" ".join)
def test_the_readmes_commands_on_the_examples_work_as_printed(
    words: list[str], model: Path, capsys: pytest.CaptureFixture[str]
):
    assert run(["init"]) == 0
    assert run(words) == 0
    assert "0 refused" in capsys.readouterr().out

    tiny = flags(model, feedback__validation_share="auto")
    assert run(["train", *words[1:], "--config", "run.yaml", *tiny, "--out", "run"]) == 0
    assert Path("run/report.html").exists()
