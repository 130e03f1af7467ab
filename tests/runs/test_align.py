"""The main job on tiny models: it learns, leaves a complete folder, is refused where it must be, and can be resumed."""

import dataclasses
import errno
import json
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from haloes.errors import ConfigError, DataError, ModelError, RunError, UserError
from haloes.losses.kto import KTO
from haloes.models.load import load_model
from haloes.progress.contract import NullProgress
from haloes.report.numbers import rounding_sentence
from haloes.runs import auto_settings
from haloes.runs import write_rows as writing
from haloes.runs.align import Run, align
from haloes.runs.config import RunConfig, as_mapping
from haloes.runs.run_folder import read_config
from tiny_runs import (
    Crash,
    CrashAt,
    config,
    crash,
    metrics,
    pairs,
    rows_of,
    same_result,
    save_model,
    thumbs,
    warnings_of,
    write_rows,
)

FILES = {
    "checkpoints",
    "config.yaml",
    "data",
    "data.json",
    "environment.json",
    "held_out.jsonl",
    "logged_answers.jsonl",
    "manifest.json",
    "metrics.jsonl",
    "model",
    "report.html",
    "samples.jsonl",
    "scores.jsonl",
    "warnings.json",
}
LOSSES = {"kto": {}, "dpo": {}, "sft": {"lr": 3e-3}}


def value(run: Run, name: str, variant: str = "after") -> float:
    return next(score.value for score in run.scores if (score.name, score.variant) == (name, variant))


def logits(folder: Path) -> torch.Tensor:
    with torch.no_grad():
        return load_model(str(folder), dtype=torch.float32, device="cpu").model(torch.tensor([[5, 9, 30, 1]])).logits


# --- it learns


@pytest.mark.parametrize("loss", LOSSES)
def test_a_run_learns_and_shows_it_on_held_out_prompts(
    loss: str, model: Path, thumbs_file: Path, pairs_file: Path, tmp_path: Path
):
    source = pairs_file if loss == "dpo" else thumbs_file
    cfg = config(model, source, loss={"name": loss}, train={"epochs": 3, **LOSSES[loss]})
    run = align(cfg, tmp_path / "run")

    lines = metrics(run.run_dir)
    assert len(lines) == run.num_steps == 3 * (3 if loss == "kto" else 2)
    assert lines[-1]["loss"] < lines[0]["loss"] - 0.1
    assert lines[-1]["logp_per_token/desirable"] > lines[0]["logp_per_token/desirable"]
    if loss != "sft":
        assert lines[-1]["reward_margin"] > 1
        assert value(run, "auc") == 1
        assert value(run, "auc", "before") == 0.5
        assert value(run, "kl") > 0


def test_the_first_loss_is_half_of_the_class_weights_since_the_policy_is_the_reference(model: Path, tmp_path: Path):
    # 12 desirable, 4 undesirable: the ratio of 3 is brought to 3/2 with an undesirable weight of 2 (eq. 9).
    rows = [{**row, "label": i % 4 != 0} for i, row in enumerate(thumbs(8))]
    cfg = config(
        model,
        write_rows(tmp_path / "f.jsonl", rows),
        feedback={"validation_share": 0},
        train={"batch_size": 16},
        samples={"prompts": 0},
    )
    run = align(cfg, tmp_path / "run")

    assert metrics(run.run_dir)[0]["loss"] == pytest.approx((1 * 12 + 2 * 4) / (2 * 16), abs=1e-6)
    assert json.loads((run.run_dir / "data.json").read_text())["weights"] == {"desirable": 1, "undesirable": 2}
    assert read_config(run.run_dir).loss["undesirable_weight"] == "auto"


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("lora", [{"rank": 4}, None], ids=["lora", "full"])
def test_what_is_saved_is_what_was_trained(
    dtype: str, lora: dict[str, Any] | None, model: Path, thumbs_file: Path, tmp_path: Path
):
    cfg = config(model, thumbs_file, model={"dtype": dtype, "lora": lora}, samples={"prompts": 0})
    run = align(cfg, tmp_path / "run")

    names = {path.name for path in (run.run_dir / "model").iterdir()}
    assert ("adapter_model.safetensors" in names) == (lora is not None)
    assert ("model.safetensors" in names) == (lora is None)
    assert {"README.md", "tokenizer.json", "chat_template.jinja"} <= names
    saved = load_model(str(run.run_dir / "model"), dtype=torch.float32, device="cpu").model
    before = load_model(str(model), dtype=torch.float32, device="cpu").model
    moved = [name for name, weight in saved.state_dict().items() if not torch.equal(weight, before.state_dict()[name])]
    assert moved
    assert metrics(run.run_dir)[-1]["reward_margin"] > 0.3


def test_a_loss_of_the_users_own_is_trained_and_named_by_its_file(model: Path, thumbs_file: Path, tmp_path: Path):
    path = tmp_path / "mine.py"
    path.write_text(
        "from dataclasses import dataclass\nfrom typing import ClassVar\n"
        "from haloes.losses._contract import LossOutput, Needs\n\n"
        "@dataclass(frozen=True, kw_only=True)\nclass Mine:\n"
        "    needs: ClassVar[Needs] = Needs(reference=True)\n    slope: float = 1.0\n\n"
        "    def __call__(self, batch):\n"
        "        sign = batch.desirable_B.float() * 2 - 1\n"
        "        return LossOutput(-self.slope * sign * batch.completions.log_ratio())\n"
    )
    cfg = config(model, thumbs_file, loss={"name": f"{path}:Mine", "slope": 0.5}, samples={"prompts": 0})
    run = align(cfg, tmp_path / "run")

    assert read_config(run.run_dir).loss == {"name": f"{path}:Mine", "slope": 0.5}
    assert metrics(run.run_dir)[-1]["reward_margin"] > 1


def test_a_loss_that_is_passed_takes_the_place_of_the_configured_one(model: Path, thumbs_file: Path, tmp_path: Path):
    run = align(config(model, thumbs_file, samples={"prompts": 0}), tmp_path / "run", loss=KTO(beta=0.3))

    assert read_config(run.run_dir).loss == {
        "name": "kto",
        "beta": 0.3,
        "desirable_weight": 1.0,
        "undesirable_weight": 1.0,
    }


def test_a_mismatched_completion_is_cut_where_the_window_of_the_model_ends(tmp_path: Path):
    # Long prompts with short answers, and short prompts with long ones: a mismatch of both fits no learned position.
    rows = [
        {
            "prompt": f"{i} " + "p" * (150 if i % 2 else 5),
            "completion": "c" * (5 if i % 2 else 150),
            "label": i % 3 == 0,
        }
        for i in range(12)
    ]
    gpt2 = save_model(tmp_path / "gpt2", "gpt2", n_positions=224)
    cfg = config(
        gpt2, write_rows(tmp_path / "f.jsonl", rows), tokens={"max_length": 224}, feedback={"validation_share": 0}
    )

    assert align(cfg, tmp_path / "run").num_steps == 2


# --- what it leaves


def test_the_tokens_of_a_micro_batch_are_found_out_once(model: Path, thumbs_file: Path, tmp_path: Path):
    run = align(config(model, thumbs_file), tmp_path / "run")

    assert read_config(run.run_dir).train.microbatch_tokens == 1024  # there is memory for what pays on a CPU


def test_the_folder_holds_all_that_was_done_and_came_out(model: Path, thumbs_file: Path, tmp_path: Path):
    train = {"validate_every": 2, "microbatch_tokens": 300, "kl_budget": None}
    cfg = config(model, thumbs_file, train=train)
    run = align(cfg, tmp_path / "run")
    folder = run.run_dir

    assert FILES <= {path.name for path in folder.iterdir()} <= FILES | {"tensorboard"}
    assert as_mapping(read_config(folder)) == as_mapping(cfg) | {
        "loss": {"name": "kto", "beta": 0.1, "desirable_weight": "auto", "undesirable_weight": "auto"}
    }
    environment = json.loads((folder / "environment.json").read_text())
    assert set(environment["fingerprints"]) == {"data set", "tokenizer", "configuration", "reference model"}
    assert environment["torch"] == torch.__version__
    assert environment["attention"] == "one call a sequence (sdpa)"
    assert environment["seconds"] > 0
    assert [line["step"] for line in metrics(folder, "validation")] == [2, 3]
    assert {"auc", "auc/low", "auc/high", "loss", "reward_margin"} <= set(metrics(folder, "validation")[-1])
    answers = rows_of(folder / "samples.jsonl")
    assert [row["model"] for row in answers] == ["before"] * 2 + ["after"] * 2
    assert [row["prompt_id"] for row in answers[:2]] == [row["prompt_id"] for row in answers[2:]]
    assert {score.name for score in run.scores} == {
        "auc",
        "auc_length",
        "auc_per_token",
        "auc_within_prompts",
        "words",
        "tokens",
        "repetition",
        "repeats",
        "finished",
        "kl",
        "kl_per_token",
    }
    assert len(rows_of(folder / "scores.jsonl")) == len(run.scores)
    assert "</html>" in (folder / "report.html").read_text()
    assert (folder / "model" / "README.md").read_text().startswith("---")


def test_the_dtype_that_was_found_out_is_saved(
    model: Path, thumbs_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    asked: list[str] = []

    def choose(name: str, _: object) -> torch.dtype:
        asked.append(name)
        return torch.bfloat16 if name in {"auto", "bfloat16"} else torch.float32

    monkeypatch.setattr(auto_settings, "choose_dtype", choose)
    cfg = config(model, thumbs_file, model={"dtype": "auto"}, samples={"prompts": 0})
    align(cfg, tmp_path / "run")
    align(cfg, tmp_path / "run", resume=True)

    assert read_config(tmp_path / "run").model.dtype == "bfloat16"
    assert asked == ["auto", "bfloat16"]


class Notes(NullProgress):
    """The sentences that a user is told."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def note(self, text: str) -> None:
        self.texts.append(text)


def test_as_training_begins_it_is_said_what_is_computed_with_how_many_steps_and_at_which_rate(
    model: Path, thumbs_file: Path, tmp_path: Path
):
    train = {"threads": 1, "epochs": 2, "microbatch_tokens": 2048}
    cfg = config(model, thumbs_file, model={"dtype": "bfloat16"}, train=train, samples={"prompts": 0})
    whole, rest = Notes(), Notes()

    align(cfg, tmp_path / "whole", progress=whole)
    crash(cfg, tmp_path / "run", step=3)
    align(cfg, tmp_path / "run", resume=True, progress=rest)

    steps = "steps of up to 8 examples: 2 passes over 24 examples; micro-batches of up to 2,048 tokens"
    few = next(text for text in whole.texts if text.startswith("warning: the run has only 6 steps"))
    measured = json.loads((tmp_path / "whole" / "environment.json").read_text())["rounding"]
    assert measured["answers"] == 8
    rounding = f"rounding: {rounding_sentence(**measured)}"
    assert whole.texts == [few, f"bfloat16 on cpu, 1 thread; 6 {steps}", "learning rate 0.01", rounding]
    started = f"bfloat16 on cpu, 1 thread; 4 left of 6 {steps}"
    assert rest.texts == [few, started, "learning rate 0.01", rounding]


@pytest.mark.parametrize(
    ("loss", "dtype"), [("kto", "float32"), ("bradley-terry", "bfloat16")], ids=["float32", "no log-probabilities"]
)
def test_rounding_is_measured_only_where_numbers_show_it(
    loss: str, dtype: str, model: Path, pairs_file: Path, tmp_path: Path
):
    cfg = config(model, pairs_file, loss={"name": loss}, model={"dtype": dtype}, samples={"prompts": 0})

    told = Notes()
    run = align(cfg, tmp_path / "run", progress=told)

    assert "rounding" not in json.loads((run.run_dir / "environment.json").read_text())
    assert not [text for text in told.texts if text.startswith("rounding")]


def test_what_is_left_open_is_found_out_saved_and_the_same_in_every_part_of_the_run(
    model: Path, thumbs_file: Path, tmp_path: Path
):
    left_open = {"lr": "auto", "batch_size": "auto", "epochs": "auto"}
    cfg = config(model, thumbs_file, train=left_open)
    notes = Notes()
    whole = align(cfg, tmp_path / "whole", progress=notes)
    # The same configuration, which leaves them open; and the one that the folder holds.
    crash(cfg, tmp_path / "run", step=3)
    crash(cfg, tmp_path / "run", step=7, resume=True)
    rest = align(read_config(tmp_path / "run"), tmp_path / "run", resume=True)

    saved = read_config(tmp_path / "whole").train
    assert (saved.batch_size, saved.epochs, whole.num_steps) == (8, 5.0, 15)
    assert 1e-5 < saved.lr < 1e-2
    assert saved.kl_budget is not None
    assert 0.1 < saved.kl_budget < 5
    assert any(text.startswith(f"learning rate {saved.lr:g}: 5e-06 for all weights") for text in notes.texts)
    assert read_config(tmp_path / "run").train == saved
    assert same_result(whole, rest)


def test_a_run_that_goes_further_than_its_budget_ends_there_and_says_so(model: Path, thumbs_file: Path, tmp_path: Path):
    cfg = config(model, thumbs_file, train={"lr": 0.03, "kl_budget": 0.01, "microbatch_tokens": 512})
    run = align(cfg, tmp_path / "run")

    [told] = [text for text in warnings_of(run.run_dir).splitlines() if text.startswith("training ended after step ")]
    last = int(told.split()[4])
    assert 0 < last < run.num_steps
    assert "beyond train.kl_budget=0.01, which keeps answers from falling apart" in told
    assert f"of 3, before {24 - 8 * last} of the 24 examples were seen: held-out answers" in told
    assert told.endswith("a new run with a lower train.lr sees them all (`haloes plan --find-lr` proposes one)")
    assert [row["step"] for row in metrics(run.run_dir)][-1] == last
    assert align(cfg, tmp_path / "run", resume=True).was_finished

    # As the warning says: to the last step, and to the model of a run that had no budget.
    lifted = config(model, thumbs_file, train={"lr": 0.03, "kl_budget": None, "microbatch_tokens": 512})
    rest, whole = align(lifted, tmp_path / "run", resume=True), align(lifted, tmp_path / "whole")
    assert [row["step"] for row in metrics(run.run_dir)][-1] == run.num_steps
    # And to the answers of that model, not those of where the run ended before.
    for name in ("model/adapter_model.safetensors", "samples.jsonl", "scores.jsonl"):
        assert (rest.run_dir / name).read_bytes() == (whole.run_dir / name).read_bytes()


def test_a_rate_of_ones_own_has_no_budget_unless_one_is_given(model: Path, thumbs_file: Path, tmp_path: Path):
    align(config(model, thumbs_file, train={"lr": 0.03}), tmp_path / "run")

    assert read_config(tmp_path / "run").train.kl_budget is None
    assert not any("kl" in row for row in metrics(tmp_path / "run"))


def test_a_finished_run_whose_settings_were_left_open_is_finished_by_the_same_settings(
    model: Path, thumbs_file: Path, tmp_path: Path
):
    cfg = config(model, thumbs_file, train={"lr": "auto", "epochs": "auto", "microbatch_tokens": 512})
    align(cfg, tmp_path / "run")

    assert align(cfg, tmp_path / "run", resume=True).was_finished
    with pytest.raises(RunError, match="was started with another configuration"):
        align(config(model, thumbs_file, train={"lr": 5e-6, "epochs": "auto"}), tmp_path / "run", resume=True)


def test_the_raters_verdicts_are_kept_and_scored(model: Path, thumbs_file: Path, tmp_path: Path):
    (tmp_path / "rater.py").write_text(
        "def rate(prompt, completion, finished):\n    return bool(prompt), f'{type(completion).__name__} {finished}'\n"
    )
    run = align(config(model, thumbs_file, samples={"rater": f"{tmp_path / 'rater.py'}:rate"}), tmp_path / "run")

    assert [row["liked"] for row in rows_of(run.run_dir / "ratings.jsonl")] == [True] * 4
    assert rows_of(run.run_dir / "ratings.jsonl")[0]["reason"].startswith("str ")
    assert value(run, "liked") == 1


def test_tensorboard_gets_every_number_where_it_is_installed(model: Path, thumbs_file: Path, tmp_path: Path):
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run = align(config(model, thumbs_file, samples={"prompts": 0}), tmp_path / "run")
    events = event_accumulator.EventAccumulator(str(run.run_dir / "tensorboard")).Reload()

    logged = [event.value for event in events.Scalars("train/loss")]
    assert logged == pytest.approx([line["loss"] for line in metrics(run.run_dir)])
    assert "validation/auc" in events.Tags()["scalars"]


def test_cautions_of_the_data_reach_the_run(model: Path, tmp_path: Path):
    rows = [*thumbs(12), {"prompt": "p", "completion": "c", "label": None}]
    run = align(config(model, write_rows(tmp_path / "f.jsonl", rows), samples={"prompts": 0}), tmp_path / "run")

    assert "left out" not in warnings_of(run.run_dir)  # told as they were read, and in the report beside the rows
    assert "24 accepted. Left out: 1 for no label." in (run.run_dir / "report.html").read_text()
    assert "the run has only" in warnings_of(run.run_dir)


def test_one_label_only_is_trained_on_with_a_caution(model: Path, tmp_path: Path):
    rows = [row for row in thumbs() if row["label"]]
    run = align(config(model, write_rows(tmp_path / "f.jsonl", rows), samples={"prompts": 0}), tmp_path / "run")

    assert "all answers to train on are desirable" in warnings_of(run.run_dir)
    assert not [score for score in run.scores if score.name == "auc"]
    assert np.isfinite(metrics(run.run_dir)[-1]["loss"])


def test_a_run_without_validation_and_samples_is_complete(model: Path, thumbs_file: Path, tmp_path: Path):
    cfg = config(model, thumbs_file, feedback={"validation_share": 0}, samples={"prompts": 0})
    run = align(cfg, tmp_path / "run")

    assert run.scores == ()
    assert (run.run_dir / "report.html").exists()


# --- what is refused, and leaves nothing


def test_a_second_run_in_the_same_folder_is_refused_and_harms_nothing(model: Path, thumbs_file: Path, tmp_path: Path):
    cfg = config(model, thumbs_file, samples={"prompts": 0})
    run = align(cfg, tmp_path / "run")
    before = {path: path.read_bytes() for path in run.run_dir.rglob("*") if path.is_file()}

    with pytest.raises(RunError, match=r"holds a run already: resume it with `haloes resume "):
        align(cfg, tmp_path / "run")
    assert {path: path.read_bytes() for path in run.run_dir.rglob("*") if path.is_file()} == before


def test_a_folder_with_other_things_in_it_is_refused_and_harmed_as_little(
    model: Path, thumbs_file: Path, tmp_path: Path
):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")

    with pytest.raises(RunError, match="is not empty and holds no run"):
        align(config(model, thumbs_file), tmp_path / "mine")
    with pytest.raises(RunError, match=r"cannot be made \(File exists\)"):
        align(config(model, thumbs_file), tmp_path / "mine" / "thesis.txt")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


BAD: dict[str, tuple[dict[str, Any], type[UserError], str]] = {
    "no source": ({"feedback": {"source": ""}}, ConfigError, r"feedback\.source is missing"),
    "missing file": ({"feedback": {"source": "nope.jsonl"}}, DataError, "there is no such file"),
    "missing model": ({"model": {"name": "./nope"}}, ModelError, "no such folder"),
    "unknown loss": ({"loss": {"name": "ktoo"}}, ConfigError, 'Did you mean "kto"'),
    "no loss": ({"loss": {"name": None}}, ConfigError, r"there is no loss"),
    "bad beta": ({"loss": {"beta": -1}}, ConfigError, "beta must be positive"),
    "window": ({"tokens": {"max_length": 4}}, ConfigError, r"tokens\.max_length must be at least 8"),
    "device": ({"model": {"device": "gpu"}}, ConfigError, 'there is no device "gpu"'),
    "rater": ({"samples": {"rater": "no_such_module:f"}}, ConfigError, r"samples\.rater: no_such_module:f"),
    "rater that fails": ({"samples": {"rater": "json:loads"}}, ConfigError, r"samples\.rater: it failed on the answer"),
    "targets": ({"model": {"lora": {"targets": "nothing"}}}, ConfigError, r"model\.lora: no adapter could be added"),
    "score rule": ({"feedback": {"labels_from": {"rule": "x"}}}, ConfigError, "there is no rule 'x'"),
    "all validates": ({"feedback": {"validation": "SOURCE"}}, DataError, "nothing is held out"),
}


@pytest.mark.parametrize("fault", BAD)
def test_nothing_is_left_behind_where_a_run_cannot_begin(fault: str, model: Path, thumbs_file: Path, tmp_path: Path):
    sections, kind, message = BAD[fault]
    if sections.get("feedback", {}).get("validation") == "SOURCE":
        sections = {"feedback": {"validation": str(thumbs_file)}}

    with pytest.raises(kind, match=message):
        align(config(model, thumbs_file, **sections), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"train": {"optimizer": "adamw8bit"}}, r"train\.optimizer is adamw8bit, which needs bitsandbytes"),
        ({"model": {"quantize": "4bit"}}, r"model\.quantize is 4bit, which needs bitsandbytes"),
        ({"model": {"liger": True, "device": "cpu"}}, r"model\.liger: its kernels run on a GPU"),
        ({"model": {"device": "cpu"}, "train": {"activation_offload": True}}, r"train\.activation_offload moves"),
    ],
)
def test_what_this_machine_cannot_do_is_refused_before_anything_is_read(
    sections: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name in ("bitsandbytes", "bitsandbytes.nn", "bitsandbytes.optim"):
        monkeypatch.setitem(sys.modules, name, None)

    with pytest.raises(ConfigError, match=message):
        align(config(tmp_path / "no model", tmp_path / "no file", **sections), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_rows_beyond_the_models_window_are_refused_with_the_setting_that_helps(thumbs_file: Path, tmp_path: Path):
    small = save_model(tmp_path / "small", max_position_embeddings=64)

    with pytest.raises(ConfigError, match=r"window of .*small is 64: set tokens\.max_length=64"):
        align(config(small, thumbs_file), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), Crash()], ids=["Ctrl-C", "bug"])
@pytest.mark.parametrize("stage", ["encoding feedback", "loading the model", "answers before training"])
def test_nothing_is_left_behind_where_a_run_is_stopped_before_training(
    stage: str, error: BaseException, model: Path, thumbs_file: Path, tmp_path: Path
):
    with pytest.raises(type(error)):
        align(config(model, thumbs_file), tmp_path / "run", progress=CrashAt(stage=stage, error=error))
    assert not (tmp_path / "run").exists()


def test_a_full_disk_is_one_line_and_leaves_nothing(
    model: Path, thumbs_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(writing.TokenStoreWriter, "append", full)

    with pytest.raises(RunError, match=r"run cannot be written \(No space left on device\); free some space"):
        align(config(model, thumbs_file), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_memory_that_runs_out_while_answering_is_one_line(model: Path, thumbs_file: Path, tmp_path: Path):
    with pytest.raises(RunError, match=r"out of memory .* lower samples\.batch_size"):
        align(
            config(model, thumbs_file),
            tmp_path / "run",
            progress=CrashAt(stage="answers before training", error=torch.OutOfMemoryError("1 GiB")),
        )


# --- resuming


def resumed_after_crash(cfg: RunConfig, run_dir: Path, *, step: int) -> Run:
    crash(cfg, run_dir, step=step)
    return align(read_config(run_dir), run_dir, resume=True)


@pytest.mark.parametrize(
    ("loss", "sections"),
    [
        ("kto", {}),
        ("kto", {"model": {"dtype": "bfloat16"}}),
        ("kto", {"model": {"lora": None}, "train": {"lr": 1e-3, "dropout": 0.1, "optimizer": "rmsprop"}}),
        ("kto", {"model": {"lora": None, "dtype": "bfloat16"}, "train": {"lr": 1e-3, "reference_cache": False}}),
        ("dpo", {"train": {"dropout": 0.2}}),
        ("sft", {"samples": {"temperature": 1.0}}),
    ],
    ids=["kto", "kto-bf16", "kto-full-rmsprop-dropout", "kto-full-bf16", "dpo-dropout", "sft"],
)
def test_a_run_that_crashed_ends_as_if_it_had_not(
    loss: str, sections: Mapping[str, Any], model: Path, thumbs_file: Path, tmp_path: Path
):
    train = {"epochs": 2, "checkpoint_every": 2, "validate_every": 2, **sections.get("train", {})}
    cfg = config(model, thumbs_file, **{**sections, "train": train, "loss": {"name": loss}})
    straight = align(cfg, tmp_path / "straight")
    crashed = resumed_after_crash(cfg, tmp_path / "crashed", step=5 if loss == "kto" else 4)

    assert same_result(straight, crashed)


def test_a_run_that_crashed_before_its_first_checkpoint_begins_anew(model: Path, thumbs_file: Path, tmp_path: Path):
    cfg = config(model, thumbs_file, train={"checkpoint_every": 50})

    assert same_result(align(cfg, tmp_path / "a"), resumed_after_crash(cfg, tmp_path / "b", step=2))


def test_crashes_at_every_step_and_one_while_answering_change_nothing(model: Path, thumbs_file: Path, tmp_path: Path):
    cfg = config(model, thumbs_file, train={"epochs": 2})
    crash(cfg, tmp_path / "run", step=1)
    for step in (1, 2, 3, 4, 5, 6):
        crash(read_config(tmp_path / "run"), tmp_path / "run", step=step, resume=True)
    for stage in ("answers after training", "measuring"):
        with pytest.raises(Crash):
            align(read_config(tmp_path / "run"), tmp_path / "run", resume=True, progress=CrashAt(stage=stage))
    run = align(read_config(tmp_path / "run"), tmp_path / "run", resume=True)

    assert same_result(align(cfg, tmp_path / "straight"), run)


def test_what_is_done_is_not_done_again_on_resuming(model: Path, thumbs_file: Path, tmp_path: Path):
    cfg = config(model, thumbs_file)
    crash(cfg, tmp_path / "run", step=3)
    made = {name: (tmp_path / "run" / name).stat().st_mtime_ns for name in ("data/train", "data/prompts.jsonl")}
    progress = CrashAt()
    align(read_config(tmp_path / "run"), tmp_path / "run", resume=True, progress=progress)

    assert progress.stages == [
        "loading the model",
        "training from 2 of 3",
        "validation",
        "answers after training",
        "saving the model",
        "measuring",
        "divergence along the answers",
    ]
    assert {name: (tmp_path / "run" / name).stat().st_mtime_ns for name in made} == made
    assert [row["model"] for row in rows_of(tmp_path / "run" / "samples.jsonl")] == ["before"] * 2 + ["after"] * 2


def test_a_finished_run_can_be_resumed_and_stays_what_it_is(model: Path, thumbs_file: Path, tmp_path: Path):
    cfg = config(model, thumbs_file)
    run = align(cfg, tmp_path / "run")
    shutil.copytree(run.run_dir, tmp_path / "copy")
    again = align(read_config(run.run_dir), run.run_dir, resume=True)

    assert same_result(again, Run(tmp_path / "copy", (), 0))
    assert again == dataclasses.replace(run, was_finished=True)
    for path in run.run_dir.rglob("*"):
        other = tmp_path / "copy" / path.relative_to(run.run_dir)
        assert path.is_dir() or path.read_bytes() == other.read_bytes(), path


@pytest.mark.parametrize("gone", ["scores.jsonl", "report.html", "model"])
def test_what_is_missing_of_a_finished_run_is_made_again(gone: str, model: Path, thumbs_file: Path, tmp_path: Path):
    run = align(config(model, thumbs_file), tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / gone) if gone == "model" else (tmp_path / "run" / gone).unlink()
    again = align(read_config(run.run_dir), run.run_dir, resume=True)

    assert not again.was_finished
    assert again.scores == run.scores
    assert (tmp_path / "run" / gone).exists()


def test_a_finished_run_that_went_on_with_changes_and_crashed_is_not_finished(
    model: Path, thumbs_file: Path, tmp_path: Path
):
    run = align(config(model, thumbs_file), tmp_path / "run")
    more = read_config(run.run_dir, {"train": {"epochs": 2}})
    with pytest.raises(Crash):
        align(more, run.run_dir, resume=True, allow_changes=True, progress=CrashAt(step=5))
    again = align(read_config(run.run_dir), run.run_dir, resume=True)

    assert not again.was_finished
    assert again.num_steps == 6


def test_settings_of_memory_and_of_what_is_written_when_may_change(model: Path, thumbs_file: Path, tmp_path: Path):
    cfg = config(model, thumbs_file)
    crash(cfg, tmp_path / "run", step=2)
    changes = {
        "train": {
            "microbatch_tokens": 200,
            "microbatch_examples": 2,
            "gradient_checkpointing": True,
            "reference_cache": False,
            "validate_every": 1,
            "checkpoint_every": 7,
            "save_while_training": False,
            "keep_checkpoints": 1,
        }
    }
    run = align(read_config(tmp_path / "run", changes), tmp_path / "run", resume=True)

    straight = align(cfg, tmp_path / "straight")
    assert metrics(run.run_dir)[-1]["loss"] == pytest.approx(metrics(straight.run_dir)[-1]["loss"], abs=1e-4)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"train": {"lr": 2e-2}}, "configuration"),
        ({"train": {"batch_size": 4}}, "configuration"),
        ({"loss": {"beta": 0.2}}, "configuration"),
        ({"samples": {"max_new_tokens": 6}}, "configuration"),
        ({"tokens": {"max_length": 200}}, "configuration"),
        ({"feedback": {"validation_share": 0.3}}, "configuration"),
    ],
)
def test_changed_settings_are_refused_on_resuming_unless_allowed(
    changes: Mapping[str, Any], what: str, model: Path, thumbs_file: Path, tmp_path: Path
):
    crash(config(model, thumbs_file, train={"epochs": 2}), tmp_path / "run", step=3)
    changed = read_config(tmp_path / "run", changes)

    with pytest.raises(RunError, match=rf"was started with another {what}.*--allow-changes"):
        align(changed, tmp_path / "run", resume=True)
    assert (tmp_path / "run" / "checkpoints").is_dir()
    run = align(changed, tmp_path / "run", resume=True, allow_changes=True)
    assert read_config(run.run_dir) == changed
    assert run.scores


def test_changed_feedback_is_refused_on_resuming_unless_allowed(model: Path, thumbs_file: Path, tmp_path: Path):
    crash(config(model, thumbs_file), tmp_path / "run", step=2)
    write_rows(thumbs_file, thumbs(20)[::-1])

    with pytest.raises(RunError, match="was started with another data set"):
        align(read_config(tmp_path / "run"), tmp_path / "run", resume=True)
    run = align(read_config(tmp_path / "run"), tmp_path / "run", resume=True, allow_changes=True)
    assert json.loads((run.run_dir / "data.json").read_text())["rows"]["read"] == 40


def test_a_moved_feedback_file_is_the_same_feedback(model: Path, thumbs_file: Path, tmp_path: Path):
    crash(config(model, thumbs_file), tmp_path / "run", step=2)
    moved = thumbs_file.rename(tmp_path / "elsewhere.jsonl")

    assert align(
        read_config(tmp_path / "run", {"feedback": {"source": str(moved)}}), tmp_path / "run", resume=True
    ).scores


def test_a_changed_tokenizer_or_model_is_refused_on_resuming(thumbs_file: Path, tmp_path: Path):
    own = save_model(tmp_path / "own", seed=3)
    crash(config(own, thumbs_file), tmp_path / "run", step=2)
    template = (own / "chat_template.jinja").read_text()
    (own / "chat_template.jinja").write_text(template.replace("You are helpful.", "You are rude."))
    with pytest.raises(RunError, match="was started with another tokenizer"):
        align(read_config(tmp_path / "run"), tmp_path / "run", resume=True)

    save_model(own, seed=4)
    with pytest.raises(RunError, match="was started with another reference model"):
        align(read_config(tmp_path / "run"), tmp_path / "run", resume=True)


def test_answers_are_made_anew_where_changes_were_allowed(model: Path, thumbs_file: Path, tmp_path: Path):
    run = align(config(model, thumbs_file), tmp_path / "run")
    old = rows_of(run.run_dir / "samples.jsonl")
    more = read_config(run.run_dir, {"train": {"epochs": 4}, "samples": {"max_new_tokens": 6}})
    align(more, run.run_dir, resume=True, allow_changes=True)
    new = rows_of(run.run_dir / "samples.jsonl")

    assert [row["model"] for row in new] == ["before"] * 2 + ["after"] * 2
    assert [row["completion"][:3] for row in new[:2]] == [row["completion"][:3] for row in old[:2]]
    assert all(row["num_tokens"] == 6 or row["finished"] for row in new)


def test_without_a_validation_share_no_validation_rows_of_before_are_used(
    model: Path, thumbs_file: Path, tmp_path: Path
):
    crash(config(model, thumbs_file), tmp_path / "run", step=2)
    changed = read_config(tmp_path / "run", {"feedback": {"validation_share": 0}})
    run = align(changed, tmp_path / "run", resume=True, allow_changes=True)

    assert not (run.run_dir / "data" / "validation").exists()
    assert not [score for score in run.scores if score.name == "auc"]


def test_a_damaged_checkpoint_is_named_and_the_one_before_it_is_used(model: Path, thumbs_file: Path, tmp_path: Path):
    cfg = config(model, thumbs_file, train={"keep_checkpoints": 3})
    crash(cfg, tmp_path / "run", step=3)
    weights = tmp_path / "run" / "checkpoints" / "step-00000002" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0")
    progress = CrashAt()
    run = align(read_config(tmp_path / "run"), tmp_path / "run", resume=True, progress=progress)

    assert "training from 1 of 3" in progress.stages
    assert "step-00000002 is damaged and is passed over" in warnings_of(run.run_dir)
    assert same_result(align(cfg, tmp_path / "straight"), run)


def test_nothing_can_be_resumed_where_no_run_is(model: Path, thumbs_file: Path, tmp_path: Path):
    with pytest.raises(RunError, match=r"run holds no run \(no config\.yaml\)"):
        align(config(model, thumbs_file), tmp_path / "run", resume=True)
    assert not (tmp_path / "run").exists()


def test_the_helpers_know_a_different_result(model: Path, thumbs_file: Path, tmp_path: Path):
    one = align(config(model, thumbs_file), tmp_path / "a")
    other = align(config(model, thumbs_file, train={"seed": 1}), tmp_path / "b")

    assert not same_result(one, other)
    assert not torch.equal(logits(one.run_dir / "model"), logits(other.run_dir / "model"))
    assert len(pairs(2)) == 2


def test_that_there_are_few_steps_is_said_once(model: Path, thumbs_file: Path, tmp_path: Path):
    notes: list[str] = []
    told = CrashAt()
    told.note = notes.append  # type: ignore[method-assign]

    align(config(model, thumbs_file), tmp_path / "run", progress=told)

    assert sum("the run has only 3 steps" in note for note in notes) == 1


def test_how_likely_the_model_before_training_finds_the_logged_answers_is_told_by_who_gave_them(
    model: Path, tmp_path: Path
):
    rows = [{**row, "model": "loud" if row["label"] else "quiet"} for row in thumbs(16)]
    run = align(config(model, write_rows(tmp_path / "f.jsonl", rows), samples={"prompts": 0}), tmp_path / "run")

    held_out = [json.loads(line) for line in (run.run_dir / "held_out.jsonl").read_text().splitlines()]
    scores = [json.loads(line) for line in (run.run_dir / "logged_answers.jsonl").read_text().splitlines()]
    assert [score["label"] for score in scores] == ["all answers", "loud", "quiet"]
    for score, labels in zip(scores, ({True, False}, {True}, {False}), strict=True):
        own = [(row["logp"] - row["reward"]) / row["tokens"] for row in held_out if row["label"] in labels]
        assert score["value"] == pytest.approx(sum(own) / len(own), abs=1e-6)
        assert score["low"] < score["value"] < score["high"] <= 0
