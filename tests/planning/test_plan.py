"""Plans of runs that take a second, beside the runs themselves."""

import dataclasses
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from haloes.errors import DataError
from haloes.models.cache import cache_dir
from haloes.planning.plan import Plan, make_plan
from haloes.runs.align import align
from haloes.runs.config import RunConfig
from haloes.runs.drift import look_tokens
from haloes.tokens.store import TokenStore
from haloes.training.kl_limit import num_looks
from tiny_runs import config, metrics, pairs, save_model, thumbs, write_rows


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model and feedback in a folder that is the current one; what is temporary is in it too."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HALOES_CACHE", str(tmp_path / "cache"))
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    save_model(tmp_path / "model")
    write_rows(tmp_path / "thumbs.jsonl", thumbs())
    write_rows(tmp_path / "pairs.jsonl", pairs())
    return tmp_path


def settings(files: Path, source: str = "thumbs.jsonl", /, **sections: Mapping[str, Any] | None) -> RunConfig:
    return config(files / "model", files / source, **sections)


def test_a_plan_leaves_nothing_on_disk(files: Path):
    before = sorted(files.rglob("*"))
    make_plan(settings(files))

    assert sorted(files.rglob("*")) == before
    assert not (cache_dir() / "reference").exists()


def test_a_plan_that_fails_leaves_nothing_either(files: Path):
    (files / "thumbs.jsonl").write_text('{"prompt": "?", "completion": "!"}\n')
    before = sorted(files.rglob("*"))
    with pytest.raises(DataError):
        make_plan(settings(files))

    assert sorted(files.rglob("*")) == before


def test_the_numbers_are_those_of_the_run(files: Path):
    chosen = settings(files, train={"epochs": 2.0, "validate_every": 2})
    plan = make_plan(chosen)
    run = align(chosen, files / "run")

    assert plan.facts["steps"] == run.num_steps == 6
    assert plan.facts["rows"] == 24
    assert plan.tried == "all"
    assert plan.fits
    assert plan.changes == ()
    assert plan.step is not None
    assert plan.step.seconds > plan.step.floor > 0
    assert all(value >= 0 for value in plan.seconds.values())
    # A tiny model is next to nothing beside Python and torch, which the plan counts too.
    used = max(line["memory_gib"] for line in metrics(files / "run", timing=True)) * 2**30
    assert plan.training == pytest.approx(used, rel=0.2)
    on_disk = sum(path.stat().st_size for path in (files / "run" / "checkpoints").rglob("*.safetensors"))
    assert plan.disk > on_disk


def test_both_ends_of_a_change_that_may_be_taken_back_take_room_on_disk(files: Path):
    whole = {"lora": None, "dtype": "float32"}
    plans = [make_plan(settings(files, model=whole, train={"repeats_budget": budget})) for budget in (0.0, None)]

    # The weights before training in the model's dtype, and those after it in float32.
    weights = sum(path.stat().st_size for path in (files / "model").glob("*.safetensors"))
    assert plans[0].disk - plans[1].disk == pytest.approx(2 * weights, rel=0.05)


def test_looks_at_the_divergence_take_the_time_of_their_tokens_and_none_without_a_budget(files: Path):
    looking = settings(files, train={"epochs": 2.0, "kl_budget": 5.0})
    align(looking, files / "run")
    looks = [line for line in metrics(files / "run") if "kl" in line and line["split"] == "train"]
    held_out = TokenStore(files / "run" / "data" / "validation")

    # Its answers are all that are held out, which are no more than a look takes; policy and reference score them.
    assert len(held_out) <= 8
    assert look_tokens(held_out) == 2 * held_out.num_tokens
    assert num_looks(6) == len(looks) == 6
    assert make_plan(looking).seconds["looks at the divergence"] > 0
    assert make_plan(settings(files, train={"kl_budget": None})).seconds["looks at the divergence"] == 0


def test_full_tuning_on_a_cpu_holds_no_reference_beside_the_model(files: Path):
    alone = {"microbatch_examples": 1}
    plan = make_plan(
        settings(files, "pairs.jsonl", loss={"name": "dpo"}, model={"lora": None}, samples={"prompts": 0}, train=alone)
    )

    assert plan.memory["reference"] == 0
    assert plan.memory["gradients"] == plan.memory["weights"] > 0
    assert plan.memory["optimizer"] == 2 * plan.memory["weights"]
    assert plan.memory["keys and values while sampling"] == 0
    assert plan.seconds["answers (at most)"] == 0


def test_what_a_filled_cache_knows_takes_no_time(files: Path):
    chosen = settings(files, "pairs.jsonl", loss={"name": "dpo"}, samples={"prompts": 0})
    before = make_plan(chosen)
    align(chosen, files / "run")
    after = make_plan(chosen)

    assert before.seconds["reference"] > 0
    assert after.seconds["reference"] == 0


def test_what_does_not_fit_is_not_tried(files: Path):
    wide = save_model(files / "wide", hidden_size=256, intermediate_size=4096)
    plan = make_plan(settings(files, model={"name": str(wide), "lora": None}), limit=2**20)

    assert plan.tried == "nothing"
    assert not plan.fits
    assert plan.seconds == {}
    assert "model.lora={rank: 16}" in [change.setting for change in plan.changes]


def test_a_micro_batch_that_would_not_fit_is_computed_and_not_tried(files: Path):
    chosen = settings(files, train={"microbatch_tokens": 1024})
    full = make_plan(chosen)
    plan = make_plan(chosen, limit=int(full.training * 1.05))

    assert plan.tried == "not the largest micro-batch"
    assert plan.facts["tokens of the largest micro-batch"] == full.facts["tokens of the largest micro-batch"]
    assert plan.training == pytest.approx(full.training, rel=0.1)


def test_with_less_memory_the_micro_batches_are_smaller(files: Path):
    full = make_plan(settings(files))
    plan = make_plan(settings(files), limit=int(full.training * 1.05))

    tokens = "tokens of the largest micro-batch"
    assert plan.facts[tokens] < full.facts[tokens]


@pytest.mark.parametrize(("hours", "told"), [(1.25, True), (0.5, False)])
def test_a_run_of_hours_is_told_with_the_passes_that_take_half_of_one(
    hours: float, told: bool, files: Path, monkeypatch: pytest.MonkeyPatch
):
    # The reference is computed on the way: it counts as much as the steps.
    parts = {"reference": hours * 3600, "training steps": hours * 3600, "answers (at most)": 36_000.0}
    monkeypatch.setattr("haloes.planning.plan.seconds", lambda *_: parts)

    said = [note for note in make_plan(settings(files, train={"epochs": 2.0})).notes if "half an hour" in note]

    assert said == ["The steps take about 2 h 30 min: for a run of half an hour set train.epochs=0.4"] * told


def test_checkpointing_is_planned_with_and_comes_back_after_counting(files: Path):
    kept = {on: activations(make_plan(settings(files, train={"gradient_checkpointing": on}))) for on in (False, True)}

    assert kept[True] < 0.8 * kept[False]


def activations(plan: Plan) -> int:
    return plan.memory["activations"]


def test_a_plan_is_plain_data(files: Path):
    plan = make_plan(settings(files, samples={"prompts": 0}))

    assert dataclasses.asdict(plan)["memory"] == plan.memory


def test_a_plan_in_bfloat16_says_which_numbers_will_be_rounding(files: Path):
    plan = make_plan(settings(files, model={"dtype": "bfloat16"}))

    assert [note for note in plan.notes if note.startswith("Rounding: ") and "8 of them in two packings" in note]
    assert not [note for note in make_plan(settings(files)).notes if note.startswith("Rounding")]
