"""`haloes eval --bench`: what is asked, printed, kept and refused."""

import json
from pathlib import Path
from typing import Any

import pytest

import haloes.evaluation.bench.lm_eval as bridge
from fake_harness import FakeHarness
from haloes.cli.main import run
from tiny_runs import flags

Captured = pytest.CaptureFixture[str]


def says(name: str, question: Any) -> str:
    """Right on the first three of ten before, and on the first eight after."""
    return str(question.number if question.number < (8 if name.endswith("model") and "run" in name else 3) else -1)


@pytest.fixture
def harness(monkeypatch: pytest.MonkeyPatch) -> FakeHarness:
    fake = FakeHarness(says=says)
    monkeypatch.setattr(bridge, "LmEval", lambda: fake)
    return fake


def trained(model: Path, thumbs_file: Path) -> None:
    assert run(["train", str(thumbs_file), "--out", "run", *flags(model)]) == 0


@pytest.mark.usefixtures("harness")
def test_a_run_is_asked_before_and_after_with_a_table_and_a_report(model: Path, thumbs_file: Path, capsys: Captured):
    trained(model, thumbs_file)
    capsys.readouterr()
    assert run(["eval", "run", "--bench", "gsm8k,mmlu", "--bench-limit", "8"]) == 0
    out = capsys.readouterr().out
    words = " ".join(out.split())

    assert "Benchmarks, in %, with 95% intervals" in out
    assert "8 of 10 questions, drawn with seed 0" in words
    assert "with Holm's correction" in words
    assert "Numbers: run/evaluation.json" in words
    assert "Report: run/report.html" in words
    results = json.loads(Path("run/evaluation.json").read_text())["benchmarks"]["results"]
    assert [result["name"] for result in results] == ["gsm8k", "mmlu"]
    change = results[0]["change"]["score"]
    assert f"{100 * change['value']:+.1f}" in out
    assert f"{100 * change['low']:+.1f} to {100 * change['high']:+.1f}" in out
    assert 'id="benchmarks"' in Path("run/report.html").read_text()

    assert run(["eval", "run"]) == 0  # the numbers stay, without lm-eval
    assert json.loads(Path("run/evaluation.json").read_text())["benchmarks"]["results"] == results


@pytest.mark.usefixtures("harness")
def test_a_plain_model_has_a_score_and_no_difference(model: Path, capsys: Captured):
    assert run(["eval", str(model), "--bench", "gsm8k", "--bench-out", "answers"]) == 0
    out = capsys.readouterr().out
    (result,) = json.loads(Path("answers/evaluation.json").read_text())["benchmarks"]["results"]
    assert result["change"] is None
    assert [score["variant"] for score in result["scores"]] == ["model"]
    assert "model: 30.0%" in out
    assert "Report" not in out


@pytest.mark.usefixtures("harness")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["m", "--bench", "humaneval"], "--run-generated-code"),
        (["m", "--bench", "gsm9k"], "did you mean gsm8k?"),
        (["m", "--bench-limit", "3"], "--bench-limit is for benchmarks, and none is named"),
        (["m", "--run-generated-code"], "--run-generated-code is for benchmarks"),
        (["m", "--no-bench-chat"], "--no-bench-chat is for benchmarks"),
        (["m", "n", "--bench", "gsm8k"], "--bench asks one run or one model, got 2"),
        (["--bench", "gsm8k"], "--bench asks one run or one model, got 0"),
        (["no/such/model", "--bench", "gsm8k"], "no such folder"),
    ],
)
def test_what_cannot_be_asked_is_refused_with_what_to_do(arguments: list[str], message: str, capsys: Captured):
    assert run(["eval", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not Path("benchmarks").exists()


def test_without_lm_eval_the_command_says_what_to_install(model: Path, capsys: Captured, monkeypatch: Any):
    from importlib.metadata import PackageNotFoundError

    def missing(_: str) -> str:
        raise PackageNotFoundError

    monkeypatch.setattr(bridge, "version", missing)
    assert run(["eval", str(model), "--bench", "gsm8k"]) == 2
    assert 'Run: pip install "haloes[bench]"' in capsys.readouterr().err
    assert not Path("benchmarks").exists()
