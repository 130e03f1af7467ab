"""`haloes online`: from prompts and a rule to a table."""

import json
import shutil
from pathlib import Path

import pytest

from haloes.cli.main import run
from tiny_runs import flags

Captured = pytest.CaptureFixture[str]
SMALL = ["--rounds", "1", "--per-prompt", "3", "--prompts-per-round", "4", "--max-new-tokens", "4"]


@pytest.fixture(autouse=True)
def _files(monkeypatch: pytest.MonkeyPatch) -> None:
    # So that no cell of a table takes two lines.
    monkeypatch.setenv("COLUMNS", "160")
    Path("prompts.txt").write_text("".join(f"Say {i}\n" for i in range(9)))
    Path("rules.py").write_text(
        "def rate(prompt, completion, finished):\n"
        "    return ord((completion + ' ')[0]) < 100, 'first letter'\n"
        "def earlier(prompt, first, second):\n"
        "    one, two = (ord((text + ' ')[0]) % 7 for text in (first, second))\n"
        "    return 'tie' if one == two else 'first' if one < two else 'second'\n"
    )


def online(model: Path, *arguments: str, held_out: int = 4) -> int:
    return run(["online", "prompts.txt", *flags(model), *SMALL, "--held-out", str(held_out), *arguments])


def test_thumbs_are_learnt_from_and_the_curve_is_shown(model: Path, capsys: Captured):
    assert online(model, "--rater", "rules.py:rate") == 0
    out, err = capsys.readouterr()

    assert "4 held-out prompts; reference of a round: previous" in out
    assert "Rating: share of answers that the rater likes." in out
    assert "0.00 (no spread: all equal)" in out
    told = [line for line in err.splitlines() if line.startswith("round ") and line.endswith(" ...")]
    assert {"round 0: held-out answers ...", "round 1: answers ...", "round 1: held-out answers ..."} < set(told)
    assert sorted(told) == sorted(set(told))
    assert "haloes export runs/online-prompts/round-1/run FOLDER" in out
    assert [line["round"] for line in json.loads(Path("runs/online-prompts/curve.json").read_text())] == [0, 1]


def test_a_judge_gives_pairs(model: Path, capsys: Captured):
    judge = ["--judge", "rule", "--rule", "rules.py:earlier", "--loss", "dpo", "--reference", "fixed", "--out", "o"]
    assert online(model, *judge) == 0
    out = capsys.readouterr().out

    assert "Rating: win rate against the first model." in out
    assert " pairs" in out
    assert (Path("o") / "round-1" / "judgements.jsonl").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give either --rater module:function, or --judge"),
        (["--rater", "rules.py:rate", "--judge", "rule"], "give either --rater"),
        (["--rater", "rules.py:rate", "--template", "mt-bench"], "template is a setting of a judge"),
        (["--rater", "rules.py:nothing"], "cannot be loaded"),
        (["--rater", "rules.py:rate", "--temperature", "0"], "online.temperature must be positive"),
        (["--rater", "rules.py:rate", "--engine", "vllm"], "an adapter that this process goes on to train"),
        (["--rater", "rules.py:rate", "--engine", "http"], "a server answers with the model that it was started with"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_loaded(
    arguments: list[str], message: str, model: Path, capsys: Captured
):
    assert online(model, *arguments) == 2
    assert message in capsys.readouterr().err
    assert not Path("runs").exists()


def test_a_model_that_cannot_be_loaded_leaves_no_folder(model: Path, capsys: Captured):
    broken = Path(shutil.copytree(model, "broken"))
    (broken / "model.safetensors").unlink()
    assert online(broken, "--rater", "rules.py:rate", "--out", "o") == 2
    assert "haloes: broken" in capsys.readouterr().err
    assert not Path("o").exists()


def test_too_few_prompts_are_refused(model: Path, capsys: Captured):
    assert online(model, "--rater", "rules.py:rate", held_out=8) == 2
    assert "there are 9 prompts, and 8 are to be held out" in capsys.readouterr().err


def test_ctrl_c_says_how_to_go_on(model: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch):
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("haloes.online_rounds.stages.load_model", interrupted)
    assert online(model, "--rater", "rules.py:rate") == 130
    assert "the same command goes on with what is in runs/online-prompts" in capsys.readouterr().err
