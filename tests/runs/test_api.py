"""`haloes.train`: the power of the command line from Python."""

from pathlib import Path
from typing import Any

import pytest

import haloes
from haloes.runs.run_folder import read_config
from tiny_runs import CrashAt, metrics, same_result, settings, thumbs, write_rows


def quick(model: Path) -> dict[str, Any]:
    made = settings(model, Path())
    del made["feedback"]["source"]
    return made | {"samples": {"prompts": 0}}


def records() -> list[haloes.Feedback]:
    return [
        haloes.Feedback(
            prompt=(haloes.Message("user", row["prompt"]),), completion=row["completion"], label=row["label"]
        )
        for row in thumbs()
    ]


def test_a_file_a_loss_and_settings_give_a_run(model: Path, thumbs_file: Path, tmp_path: Path):
    run = haloes.train(feedback=thumbs_file, loss=haloes.KTO(beta=0.3), out=tmp_path / "run", config=quick(model))

    assert isinstance(run, haloes.Run)
    assert {score.name for score in run.scores} == {"auc"}
    saved = read_config(run.run_dir)
    assert saved.loss == {"name": "kto", "beta": 0.3, "desirable_weight": 1.0, "undesirable_weight": 1.0}
    assert (saved.model.name, saved.train.lr) == (str(model), 1e-2)


def test_arguments_go_before_the_settings(model: Path, thumbs_file: Path, tmp_path: Path):
    further = quick(model) | {"loss": {"name": "sft"}, "model": {"name": "nowhere", "dtype": "float32", "lora": None}}
    run = haloes.train(
        feedback=str(thumbs_file), model=str(model), loss="dpo", out=str(tmp_path / "run"), config=further
    )

    assert read_config(run.run_dir).loss["name"] == "dpo"
    assert read_config(run.run_dir).model.name == str(model)


def test_settings_may_come_from_a_file(model: Path, thumbs_file: Path, tmp_path: Path):
    path = tmp_path / "run.yaml"
    path.write_text(
        "train: {lr: 1e-3, batch_size: 16}\nsamples: {prompts: 0}\nmodel: {dtype: float32}\n"
        "feedback: {validation_share: 0.25}\n"
    )
    run = haloes.train(feedback=thumbs_file, model=str(model), out=tmp_path / "run", config=path)

    assert (read_config(run.run_dir).train.lr, run.num_steps) == (1e-3, 2)
    assert read_config(run.run_dir).loss["desirable_weight"] == "auto"


def test_records_in_memory_train_as_the_same_records_in_a_file(model: Path, tmp_path: Path):
    rows = [{**row, "prompt": [{"role": "user", "content": row["prompt"]}]} for row in thumbs()]
    from_file = haloes.train(
        feedback=write_rows(tmp_path / "f.jsonl", rows), out=tmp_path / "a", config=quick(model), loss="kto"
    )
    from_memory = haloes.train(feedback=records(), out=tmp_path / "b", config=quick(model), loss="kto")

    assert metrics(from_file.run_dir) == metrics(from_memory.run_dir)


def test_pairs_and_held_out_records_may_be_given(model: Path, tmp_path: Path):
    pairs = [haloes.Pair(prompt=f"Is {i} it?", chosen=f"yes {i}", rejected=f"no {i}") for i in range(12)]
    run = haloes.train(
        feedback=iter(pairs[:8]), validation=pairs[8:], loss=haloes.DPO(), out=tmp_path / "run", config=quick(model)
    )

    assert len(metrics(run.run_dir, "validation")) == 1
    assert next(score for score in run.scores if score.name == "auc").num_rows == 8


def test_a_run_is_resumed_with_the_same_records(model: Path, tmp_path: Path):
    further = quick(model) | {"samples": {"prompts": 2, "max_new_tokens": 4}}
    straight = haloes.train(feedback=records(), out=tmp_path / "a", config=further)
    with pytest.raises(KeyboardInterrupt):
        haloes.train(
            feedback=records(),
            out=tmp_path / "b",
            config=further,
            display=CrashAt(step=2, error=KeyboardInterrupt()),
        )
    with pytest.raises(haloes.RunError, match="holds a run already"):
        haloes.train(feedback=records(), out=tmp_path / "b", config=further)
    resumed = haloes.train(feedback=records(), out=tmp_path / "b", config=further, resume=True)

    assert same_result(straight, resumed)


def test_another_loss_is_refused_on_resuming_unless_allowed(model: Path, thumbs_file: Path, tmp_path: Path):
    haloes.train(feedback=thumbs_file, loss="kto", out=tmp_path / "run", config=quick(model))

    with pytest.raises(haloes.RunError, match="another configuration"):
        haloes.train(feedback=thumbs_file, loss="sft", out=tmp_path / "run", config=quick(model), resume=True)
    assert haloes.train(
        feedback=thumbs_file,
        loss=haloes.KTO(beta=0.2),
        out=tmp_path / "run",
        config=quick(model),
        resume=True,
        allow_changes=True,
    ).scores


def test_faults_are_errors_of_the_user(model: Path, thumbs_file: Path, tmp_path: Path):
    with pytest.raises(haloes.ConfigError, match=r'Did you mean "train\.lr"'):
        haloes.train(feedback=thumbs_file, out=tmp_path / "run", config={"train": {"lrr": 1}})
    with pytest.raises(haloes.DataError, match="the file is empty"):
        haloes.train(feedback=[], out=tmp_path / "run", config=quick(model))
    with pytest.raises(haloes.UserError):
        haloes.train(feedback=thumbs_file, loss="nope", out=tmp_path / "run", config=quick(model))
    assert not (tmp_path / "run").exists()


def test_a_stopped_run_raises_what_can_be_caught_by_name():
    assert issubclass(haloes.Interrupted, Exception)
    assert not issubclass(haloes.Interrupted, haloes.UserError)
