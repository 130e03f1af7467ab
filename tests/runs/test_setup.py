"""The set-up in its three steps: what each finds out, and that none changes what it was given."""

import dataclasses
from pathlib import Path

import pytest

import haloes
from haloes.errors import ConfigError, RunError
from haloes.models.load import load_tokenizer
from haloes.progress.contract import NullProgress
from haloes.runs.align import align
from haloes.runs.config import RunConfig
from haloes.runs.prepared_run import PreparedData
from haloes.runs.run_folder import write_config, write_environment
from haloes.runs.setup import prepare_data, prepare_run, resolve_run
from haloes.runs.warnings import data_warnings
from haloes.store import read_json
from haloes.tokens.encode import tokenizer_fingerprint
from haloes.training.distributed import Ranks
from haloes.training.microbatch_size import bytes_in_use
from tiny_runs import config, thumbs, write_rows

AUTO = {"name": "kto", "desirable_weight": "auto", "undesirable_weight": "auto"}


def prepared_data(cfg: RunConfig, run_dir: Path) -> PreparedData:
    return prepare_data(resolve_run(cfg, run_dir, ranks=Ranks(0, 1)), progress=NullProgress())


def test_settings_are_resolved_before_anything_is_read(model: Path, tmp_path: Path):
    cfg = config(model, tmp_path / "nowhere.jsonl", loss={"name": "kto", "beta": 0.3}, model={"dtype": "auto"})

    run = resolve_run(cfg, tmp_path / "run")

    assert run.config.model.dtype == str(run.dtype).removeprefix("torch.")
    assert run.config.loss["beta"] == 0.3
    assert set(run.config.loss) > {"name", "beta"}
    assert run.config.train == cfg.train
    assert not (tmp_path / "run").exists()


def test_a_resumed_run_computes_in_the_dtype_that_it_began_with(model: Path, thumbs_file: Path, tmp_path: Path):
    began = config(model, thumbs_file, model={"dtype": "bfloat16"})
    (tmp_path / "run").mkdir()
    write_config(tmp_path / "run", began)

    run = resolve_run(config(model, thumbs_file, model={"dtype": "auto"}), tmp_path / "run", resume=True)

    assert run.config.model.dtype == "bfloat16"
    assert run.same_run
    with pytest.raises(RunError, match="holds no run"):
        resolve_run(config(model, thumbs_file, model={"dtype": "auto"}), tmp_path / "other", resume=True)


def test_class_weights_follow_from_the_rows_and_the_named_loss_stays_what_it_was(model: Path, tmp_path: Path):
    rows = [row for i, row in enumerate(thumbs(40)) if row["label"] or i % 4 == 1]  # two desirable to one undesirable
    cfg = config(model, write_rows(tmp_path / "rows.jsonl", rows), loss=AUTO, feedback={"validation_share": 0.0})

    data = prepared_data(cfg, tmp_path / "run")

    assert data.run.loss.desirable_weight == data.run.loss.undesirable_weight == "auto"
    weights = read_json(tmp_path / "run" / "data.json")["weights"]
    assert (data.loss.desirable_weight, data.loss.undesirable_weight) == (weights["desirable"], weights["undesirable"])
    assert data.loss.desirable_weight < data.loss.undesirable_weight


def test_class_weights_count_rows_as_the_loss_does_and_agree_with_the_doctor(model: Path, tmp_path: Path):
    # As many of both; the liked ones weigh 9 times as much.
    rows = [{**row, "weight": 9 if row["label"] else 1} for row in thumbs(10)]
    file = write_rows(tmp_path / "rows.jsonl", rows)
    cfg = config(model, file, loss=AUTO, feedback={"validation_share": 0.0})

    data = prepared_data(cfg, tmp_path / "run")

    assert (data.loss.desirable_weight, data.loss.undesirable_weight) == (1.0, pytest.approx(6.0))
    advised = haloes.doctor(file).findings.balance.weights
    assert (advised.desirable, advised.undesirable) == (1.0, pytest.approx(6.0))
    assert not [text for text in data_warnings(data.inputs.facts, data.loss) if "undesirable_weight" in text]


def test_without_feedback_nothing_is_prepared(model: Path, tmp_path: Path):
    with pytest.raises(ConfigError, match=r"feedback\.source is missing"):
        prepared_data(config(model, tmp_path, feedback={"source": ""}), tmp_path / "run")


def test_the_model_adds_to_the_identity_and_changes_nothing_before_it(model: Path, thumbs_file: Path, tmp_path: Path):
    data = prepared_data(config(model, thumbs_file), tmp_path / "run")
    before, settings = dict(data.identity), data.run.config

    prepared = prepare_run(data, progress=NullProgress())

    assert data.identity == before
    assert data.run.config == settings
    assert before["tokenizer"] == tokenizer_fingerprint(load_tokenizer(str(model)))
    assert prepared.identity == before | {"reference model": prepared.policy.reference_fingerprint}
    tokens = prepared.config.train.microbatch_tokens
    assert tokens is not None
    assert prepared.rate is None
    assert prepared.steps.num_steps == 3
    assert prepared.config == dataclasses.replace(
        settings, train=dataclasses.replace(settings.train, microbatch_tokens=tokens, kl_budget=None)
    )


def test_rate_and_steps_that_are_left_open_are_found_out_with_the_model_and_count_in_the_identity(
    model: Path, thumbs_file: Path, tmp_path: Path
):
    cfg = config(model, thumbs_file, train={"lr": "auto", "batch_size": "auto", "epochs": "auto"})
    data = prepared_data(cfg, tmp_path / "run")
    prepared = prepare_run(data, progress=NullProgress())
    by_number = prepare_run(prepared_data(prepared.config, tmp_path / "run"), progress=NullProgress())

    assert prepared.rate is not None
    assert prepared.config.train.lr == prepared.rate.value
    assert prepared.steps.num_steps == 15
    assert not any("the run has only" in text for text in prepared.warnings)
    assert prepared.identity["configuration"] != data.identity["configuration"]
    assert by_number.identity == prepared.identity
    assert by_number.rate is None


def test_with_less_memory_the_micro_batches_are_smaller(model: Path, thumbs_file: Path, tmp_path: Path):
    data = prepared_data(config(model, thumbs_file), tmp_path / "run")

    full = prepare_run(data, progress=NullProgress())
    little = prepare_run(data, progress=NullProgress(), limit=bytes_in_use(data.run.device))

    assert (little.config.train.microbatch_tokens or 0) < (full.config.train.microbatch_tokens or 0)


def test_a_run_that_is_resumed_as_it_was_is_refused_with_other_rows(model: Path, thumbs_file: Path, tmp_path: Path):
    run_dir, cfg = tmp_path / "run", config(model, thumbs_file)
    write_environment(run_dir, prepared_data(cfg, run_dir).identity)
    write_config(run_dir, cfg)
    other = config(model, write_rows(tmp_path / "other.jsonl", thumbs(20)[::-1]))

    same, changed = resolve_run(cfg, run_dir, resume=True), resolve_run(other, run_dir, resume=True)
    allowed = resolve_run(other, run_dir, resume=True, allow_changes=True)

    before = prepare_data(same, progress=NullProgress()).identity
    with pytest.raises(RunError, match="was started with another data set"):
        prepare_data(changed, progress=NullProgress())
    assert prepare_data(allowed, progress=NullProgress()).identity["data set"] != before["data set"]


def test_a_run_s_folder_stands_for_its_model_and_is_saved_as_that_model_s_folder(
    model: Path, thumbs_file: Path, tmp_path: Path
):
    first = align(config(model, thumbs_file, samples={"prompts": 0}), tmp_path / "first").run_dir
    second = resolve_run(config(first, thumbs_file, model={"reference": str(first)}), tmp_path / "second")

    assert second.config.model.name == second.config.model.reference == str(first / "model")
    prepared = prepare_run(prepare_data(second, progress=NullProgress()), progress=NullProgress())
    assert prepared.policy.model.peft_config["default"].base_model_name_or_path == str(first / "model")


@pytest.mark.parametrize("loss", ["kto", "dpo"])
def test_runs_with_other_seeds_of_training_hold_out_the_same_answers(model: Path, tmp_path: Path, loss: str):
    # Several answers of each label a prompt: matched as pairs they could be matched otherwise.
    rows = [
        {"prompt": f"Is {i} it?", "completion": f"{word} {i} {k}", "label": word == "yes"}
        for i in range(16)
        for word in ("yes", "no")
        for k in range(3)
    ]
    file = write_rows(tmp_path / "rows.jsonl", rows)

    def held_out(seed: int, split_seed: int = 0) -> str:
        cfg = config(model, file, loss={"name": loss}, train={"seed": seed}, feedback={"split_seed": split_seed})
        store = prepared_data(cfg, tmp_path / f"run-{seed}-{split_seed}").inputs.validation
        assert store is not None
        return store.fingerprint

    assert held_out(0) == held_out(1) == held_out(2)
    assert held_out(0) != held_out(0, split_seed=1)
