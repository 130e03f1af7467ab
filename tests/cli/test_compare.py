"""`haloes compare`: trained runs in the terminal and on one page."""

import re
from pathlib import Path

import pytest

from haloes.cli.main import run
from tiny_runs import flags

Captured = pytest.CaptureFixture[str]


def test_two_trained_runs_are_compared(model: Path, thumbs_file: Path, capsys: Captured):
    for name, beta in (("one", "0.1"), ("two", "0.5")):
        assert run(["train", str(thumbs_file), *flags(model, loss__beta=beta), "--out", name]) == 0
    capsys.readouterr()
    assert run(["compare", "one", "two", "--out", "page.html"]) == 0
    out = capsys.readouterr().out
    page = Path("page.html").read_text()

    assert re.search(r"^loss\.beta +0\.1 +0\.5 *$", out, re.MULTILINE)
    assert "KL to the reference, " in out
    assert "train.lr" not in out
    assert "AUC of the implied reward" in out
    assert "one – two" in out
    assert "Page: page.html" in out
    assert "All runs held out the same 8 rows." in page
    assert "Held-out AUC by step" in page


def test_one_run_alone_is_refused(capsys: Captured):
    Path("one").mkdir()
    assert run(["compare", "one"]) == 2
    assert "two or more different runs" in capsys.readouterr().err
    assert run(["compare", "one", "nope"]) == 2
    assert "one holds no run" in capsys.readouterr().err
    (Path("one") / "config.yaml").write_text("")
    assert run(["compare", "one", "nope"]) == 2
    assert "nope: no such run folder" in capsys.readouterr().err


def test_a_model_folder_is_no_run_and_gets_no_page(model: Path, capsys: Captured):
    before = sorted(model.iterdir())
    for command in (["compare", str(model), str(model.parent)], ["report", str(model)]):
        assert run(command) == 2
        assert f"{model} holds no run" in capsys.readouterr().err
    assert sorted(model.iterdir()) == before
    assert not Path("compare.html").exists()
