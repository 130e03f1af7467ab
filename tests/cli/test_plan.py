"""`haloes plan` as a user calls it."""

import json
import re
from pathlib import Path

import pytest

from haloes.cli.main import run
from tiny_runs import flags, save_model, thumbs, write_rows


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save_model(Path("model"))
    write_rows(Path("thumbs.jsonl"), thumbs())


def test_memory_time_and_speed_are_shown(capsys: pytest.CaptureFixture[str]):
    assert run(["plan", "thumbs.jsonl", *flags(Path("model"))]) == 0
    shown = capsys.readouterr().out

    assert "0.00 GiB" not in shown
    assert re.search(r"optimizer +29\.0 KiB", shown)  # 3,712 trained numbers of eight bytes
    for text in ("while training, in all", "optimizer", "training steps", "in all", "times the floor", "LoRA, rank 4"):
        assert text in shown
    assert sorted(path.name for path in Path().iterdir()) == ["model", "thumbs.jsonl"]


def test_a_yaml_file_is_taken_for_settings_and_json_is_json(capsys: pytest.CaptureFixture[str]):
    Path("run.yaml").write_text("feedback: {source: thumbs.jsonl, validation_share: 0.25}\ntrain: {batch_size: 8}\n")
    assert run(["plan", "run.yaml", "--json", *flags(Path("model"))]) == 0
    plan = json.loads(capsys.readouterr().out)

    assert plan["fits"] is True
    assert plan["facts"]["steps"] == 3
    assert plan["memory"]["weights"] > 0
    assert plan["seconds in all"] == pytest.approx(sum(plan["seconds"].values()))


def test_what_does_not_fit_is_said_with_what_to_change(capsys: pytest.CaptureFixture[str]):
    assert run(["plan", "thumbs.jsonl", "--memory", "0.001", *flags(Path("model"))]) == 2
    shown = capsys.readouterr()

    assert "the run does not fit" in shown.err
    assert "No setting makes it fit" in shown.out
    assert "Tried: nothing" in shown.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["plan", "nothing.jsonl"], "nothing.jsonl"),
        (["plan", "nothing.yaml"], "nothing.yaml"),
        (["plan"], "feedback.source is missing"),
        (["plan", "thumbs.jsonl", "--memory", "-1"], "--memory must be positive, got -1"),
        (["plan", "run.yaml", "--config", "other.yaml"], "give one of them"),
        (["plan", "thumbs.jsonl", "--set", "train.bach_size=4"], 'Did you mean "train.batch_size"'),
        (["plan", "thumbs.jsonl", "--model", "nowhere"], "nowhere"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_wrong_is_said(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]):
    assert run(arguments) == 2
    assert message in capsys.readouterr().err


def test_rates_are_tried_on_demand_and_one_is_proposed(capsys: pytest.CaptureFixture[str]):
    assert run(["plan", "thumbs.jsonl", "--find-lr", *flags(Path("model"), train__lr="auto")]) == 0
    shown = capsys.readouterr()

    assert "Learning rates that were tried" in shown.out
    assert re.search(r"Proposed for train\.kl_budget=[\d.]+: --lr [\d.e-]+ \(", shown.out)
    assert "trying learning rates" in shown.err
    assert "train.lr=" in shown.err
