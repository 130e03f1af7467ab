"""The experiments run from a feedback file to their tables on the tiny model, and go on where they were stopped."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from haloes.errors import DataError, Interrupted
from haloes.recipes.reproduce.families import METHODS, Families, families
from haloes.recipes.reproduce.imbalance import imbalance, keep_desirable
from haloes.recipes.reproduce.sets import SetSizes, make_sets
from haloes.recipes.reproduce.trials import Ledger, experiment_config
from haloes.runs.config import FeedbackSettings, RunConfig
from haloes.store import read_jsonl
from tiny_runs import save_model

SIZES = SetSizes(train=16, tune=8, test=12, per_prompt=2)


def write_feedback(path: Path, prompts: int = 24) -> Path:
    rows = [
        {"prompt": f"Question {i}?", "completion": f"{'yes' if good else 'no'} {i}{k}", "label": good}
        for i in range(prompts)
        for k, good in enumerate((True, False, False))
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    folder = tmp_path_factory.mktemp("reproduce")
    source, model = write_feedback(folder / "feedback.jsonl"), save_model(folder / "model", seed=1)
    tiny: dict[str, Any] = {"model": {"name": str(model), "lora": {"rank": 4, "layers": None}, "dtype": "float32"}}
    return experiment_config(str(source), tiny, {"train": {"batch_size": 8}})


def run(config: RunConfig, folder: Path, *, stop: Callable[[], bool] = lambda: False, **given: Any) -> Families:
    asked: list[str] = []
    found = families(
        config, folder, sizes=SIZES, stop=stop, on_run=lambda name, done, total: asked.append(name), **given
    )
    assert len(asked) == len(set(asked)), "a run was asked for twice"
    return found


def test_every_method_of_the_comparison_gets_a_row(config: RunConfig, tmp_path: Path):
    found = run(config, tmp_path, lrs=[1e-3], seeds=[0, 1])

    assert [row.method for row in found.rows] == list(METHODS) == [item.method for item in found.chosen]
    assert (found.num_answers, found.num_prompts) == (12, 6)
    for row, item in zip(found.rows, found.chosen, strict=True):
        assert 0 <= row.low <= row.auc <= row.high <= 1
        method = METHODS[row.method]
        assert (item.settings == {}) if method.knob is None else (item.settings[method.knob] in method.values)
        # 16 answers in steps of 8; of the 8 desirable ones alone one step.
        assert item.num_steps == (1 if row.method == "sft" else 2)
    assert json.loads((tmp_path / "families.json").read_text())["num_prompts"] == 6


def test_a_comparison_that_was_stopped_goes_on_without_doing_a_run_again(config: RunConfig, tmp_path: Path):
    steps = iter(range(100))
    with pytest.raises(Interrupted):
        run(config, tmp_path, lrs=[1e-3], seeds=[0], methods=["kto", "dpo"], stop=lambda: next(steps) >= 2)
    done = len(list(read_jsonl(tmp_path / "runs.jsonl")))
    assert 0 < done < 4

    found = run(config, tmp_path, lrs=[1e-3], seeds=[0], methods=["kto", "dpo"])

    lines = [line["trial"] for _, line in read_jsonl(tmp_path / "runs.jsonl")]
    assert len(lines) == len(set(lines)) == 4
    assert found == run(config, tmp_path, lrs=[1e-3], seeds=[0], methods=["kto", "dpo"])
    assert len(list(read_jsonl(tmp_path / "runs.jsonl"))) == 4


def test_imbalance_keeps_shares_of_the_desirable_rows_and_weights_them(config: RunConfig, tmp_path: Path):
    found = imbalance(
        config,
        tmp_path,
        sizes=SIZES,
        lr=1e-3,
        shares=[1.0, 0.25],
        seeds=[0],
        stop=lambda: False,
        on_run=lambda name, done, total: None,
    )

    assert found.kept == {"100%": (8, 8), "25%": (2, 8)}
    assert [row.method for row in found.rows] == [
        "100% desirable, weights by the rule",
        "100% desirable, weights all 1",
        "25% desirable, weights by the rule",
        "25% desirable, weights all 1",
    ]
    lines = [line["trial"] for _, line in read_jsonl(tmp_path / "runs.jsonl")]
    assert len(lines) == 4


def test_sets_share_no_prompt_and_hold_both_labels_of_each(tmp_path: Path):
    source = FeedbackSettings(source=str(write_feedback(tmp_path / "feedback.jsonl")))
    sets = make_sets(source, SIZES, tmp_path / "sets")

    rows = {path.stem: [row for _, row in read_jsonl(path)] for path in (sets.train, sets.tune, sets.test)}
    prompts = {name: {row["prompt"] for row in part} for name, part in rows.items()}
    assert {name: len(part) for name, part in rows.items()} == {"train": 16, "tune": 8, "test": 12}
    assert not prompts["train"] & prompts["tune"]
    assert not (prompts["train"] | prompts["tune"]) & prompts["test"]
    assert all(sum(row["label"] for row in part) == len(part) // 2 for part in rows.values())


def test_too_little_feedback_is_refused_with_what_to_do(tmp_path: Path):
    source = FeedbackSettings(source=str(write_feedback(tmp_path / "feedback.jsonl", prompts=6)))

    with pytest.raises(DataError, match="too few prompts for tune rows of both labels"):
        make_sets(source, SIZES, tmp_path / "sets")


def test_a_kept_share_is_drawn_by_content_and_not_by_order(tmp_path: Path):
    source = write_feedback(tmp_path / "feedback.jsonl")
    turned = tmp_path / "turned.jsonl"
    turned.write_text("".join(reversed(source.read_text().splitlines(keepends=True))))

    kept = []
    for i, path in enumerate((source, turned)):
        assert keep_desirable(path, 0.5, tmp_path / f"kept{i}.jsonl") == (12, 48)
        kept.append({json.dumps(row, sort_keys=True) for _, row in read_jsonl(tmp_path / f"kept{i}.jsonl")})
    assert kept[0] == kept[1]


def finished(path: Path, trial: str, **settings: Any) -> None:
    Ledger(path, settings).add(trial, {"auc": 0.5})


def test_a_run_whose_line_a_kill_cut_off_is_done_again(tmp_path: Path):
    path = tmp_path / "runs.jsonl"
    finished(path, "a", beta=0.1)
    finished(path, "b", beta=0.1)
    path.write_bytes(path.read_bytes()[:-20])

    ledger = Ledger(path, {"beta": 0.1})

    assert ledger.get("a") == {"auc": 0.5}
    assert ledger.get("b") is None
    ledger.add("b", {"auc": 0.7})
    assert Ledger(path, {"beta": 0.1}).get("b") == {"auc": 0.7}


def test_runs_of_other_settings_stay_in_the_file_and_do_not_count(tmp_path: Path):
    path = tmp_path / "runs.jsonl"
    finished(path, "a", beta=0.1)

    assert Ledger(path, {"beta": 0.5}).get("a") is None
    assert Ledger(path, {"beta": 0.1}).get("a") == {"auc": 0.5}


def test_a_line_that_is_no_finished_run_is_named(tmp_path: Path):
    path = tmp_path / "runs.jsonl"
    path.write_text('{"trial": "a"}\n')

    with pytest.raises(DataError, match=r"runs\.jsonl:1: this is no finished run: it has no 'finding'"):
        Ledger(path, {})
