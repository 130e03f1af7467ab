"""The loop: what it writes, how it stops, and that going on is as if it had never stopped."""

import dataclasses
import json
import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from fakes import tiny_model
from haloes.errors import ConfigError, DataError, Interrupted, RunError
from haloes.losses._contract import Loss
from haloes.losses.dpo import DPO
from haloes.losses.kto import KTO
from haloes.models.adapters import LoRA
from haloes.models.policy import Policy, make_policy
from haloes.models.reference_cache import ReferenceCache
from haloes.tokens.encode import make_encoder
from haloes.tokens.store import TokenStore
from haloes.training import trainer
from haloes.training.job import TrainJob, TrainResult
from haloes.training.loss_state import LossState
from haloes.training.metrics_log import read_metrics
from haloes.training.settings import TrainSettings
from haloes.training.step import Stepper
from haloes.training.trainer import train
from haloes.training.validation import Validation
from training_jobs import (
    EVERY,
    LOSSES,
    Row,
    disturb,
    let_layouts_round,
    make_job,
    make_store,
    policy_for,
    thumbs,
    write_store,
)

TIMES = ("tokens_per_second", "memory_gib")
EIGHT_STEPS: dict[str, Any] = {"lr": 3e-3, "batch_size": 4, "epochs": 2, "checkpoint_every": 2}
"""Over 16 examples."""


class Recorder:
    """Looks on, and may end the process when a step's line is written."""

    def __init__(self, *, kill_at: int | None = None) -> None:
        self.began: tuple[int, int] | None = None
        self.lines: list[Mapping[str, Any]] = []
        self.kill_at = kill_at

    def on_start(self, *, step: int, num_steps: int) -> None:
        self.began = step, num_steps

    def on_metrics(self, numbers: Mapping[str, Any]) -> None:
        self.lines.append(numbers)
        if numbers["step"] == self.kill_at:
            raise Killed


class Killed(BaseException):
    """The process ends here."""


def stop_after(steps: int) -> Callable[[], bool]:
    asked = iter([False] * (steps - 1) + [True])
    return lambda: next(asked)


def steady(path: Path) -> list[dict[str, Any]]:
    """The metrics, without what a clock or the operating system says."""
    return [{k: v for k, v in line.items() if k not in TIMES} for line in read_metrics(path / "metrics.jsonl")]


def newest_files(run_dir: Path) -> dict[str, bytes]:
    newest = max((run_dir / "checkpoints").iterdir())
    # Not the log in it, which has the speed of each step, nor its hash: `steady` compares the log.
    names = [path for path in newest.iterdir() if path.name not in {"metrics.jsonl", "manifest.json"}]
    return {"name": newest.name.encode()} | {path.name: path.read_bytes() for path in names}


def weights(policy: Policy) -> dict[str, Tensor]:
    return {name: weight.detach().clone() for name, weight in policy.trainable().items()}


def same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


# -- going on --------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Way:
    """A way to train."""

    loss: str = "kto"
    lora: LoRA | None = None
    kind: str = "llama"
    dtype: torch.dtype = torch.float32
    cache: bool = False
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def job(self, folder: Path, name: str, **fields: Any) -> TrainJob:
        """The same job each time it is asked for, as a new process would make it."""
        loss = EVERY[self.loss]
        store = folder / "data"
        return make_job(
            folder / name,
            loss,
            train=TokenStore(store) if store.exists() else make_store(store, loss, 16),
            policy=policy_for(loss, lora=self.lora, kind=self.kind, dtype=self.dtype),
            settings=TrainSettings(**EIGHT_STEPS | dict(self.settings)),
            cache=ReferenceCache(folder / f"cache of {name}") if self.cache else None,
            **fields,
        )


WAYS = {
    "full adamw": Way(),
    "full rmsprop bfloat16 cached": Way(dtype=torch.bfloat16, cache=True, settings={"optimizer": "rmsprop"}),
    "lora adamw dropout cached": Way(lora=LoRA(rank=4), kind="gpt2", cache=True, settings={"dropout": 0.2}),
    "lora rmsprop bfloat16 dropout": Way(
        lora=LoRA(rank=4), dtype=torch.bfloat16, settings={"dropout": 0.2, "optimizer": "rmsprop"}
    ),
    "dpo dropout micro-batches": Way(
        loss="dpo", kind="gpt2", cache=True, settings={"dropout": 0.2, "microbatch_tokens": 60}
    ),
    "humanline lora": Way(loss="humanline", lora=LoRA(rank=4)),
    "humanline full bfloat16": Way(loss="humanline", dtype=torch.bfloat16),
    "bco cached": Way(loss="bco", cache=True),
    "ppo-value lora": Way(loss="ppo-value", lora=LoRA(rank=4)),
    "sft cosine checkpointing": Way(loss="sft", settings={"schedule": "cosine", "gradient_checkpointing": True}),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=list(WAYS))
def test_a_run_that_is_killed_and_resumed_is_one_that_never_stopped_to_the_byte(way: Way, tmp_path: Path):
    whole = way.job(tmp_path, "whole")
    train(whole)
    with pytest.raises(Killed):
        train(way.job(tmp_path, "resumed"), [Recorder(kill_at=6)])  # the last checkpoint is that of step 4

    resumed, recorder = way.job(tmp_path, "resumed"), Recorder()
    train(resumed, [recorder])

    assert recorder.began == (4, 8)
    assert newest_files(tmp_path / "resumed") == newest_files(tmp_path / "whole")
    assert steady(tmp_path / "resumed") == steady(tmp_path / "whole")
    assert same(weights(resumed.policy), weights(whole.policy))


@pytest.mark.parametrize("name", ["humanline", "bco"])
def test_what_is_remembered_between_steps_matters(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    # Otherwise the test above would not notice that it was forgotten.
    train(Way(loss=name).job(tmp_path, "whole"))
    with pytest.raises(Killed):
        train(Way(loss=name).job(tmp_path, "forgetful"), [Recorder(kill_at=6)])
    monkeypatch.setattr(LossState, "restore", lambda *_: None)

    train(Way(loss=name).job(tmp_path, "forgetful"))

    whole, forgetful = (steady(tmp_path / run) for run in ("whole", "forgetful"))
    assert forgetful[:4] == whole[:4]
    assert forgetful[4]["loss"] != whole[4]["loss"]


def test_a_validation_after_going_on_is_that_of_a_run_that_never_stopped(tmp_path: Path):
    # The reference has moved; rewards are of the model before training all the same.
    held_out = make_store(tmp_path / "held out", EVERY["humanline"], 6, seed=1)
    way = Way(loss="humanline", settings={"validate_every": 2})
    whole = train(way.job(tmp_path, "whole", validation=held_out)).validation
    with pytest.raises(Killed):
        train(way.job(tmp_path, "resumed", validation=held_out), [Recorder(kill_at=7)])

    resumed = train(way.job(tmp_path, "resumed", validation=held_out)).validation

    assert steady(tmp_path / "resumed") == steady(tmp_path / "whole")
    assert whole is not None
    assert resumed is not None
    assert resumed.log_ratio.tolist() == whole.log_ratio.tolist()


@pytest.mark.parametrize("cut", [0, 1, 2, 3])
def test_a_validation_that_is_cut_short_is_done_again(cut: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    held_out = make_store(tmp_path / "held out", EVERY["kto"], 6, seed=1)
    way = Way(settings={"validate_every": 3, "keep_best": "loss", "checkpoint_every": 2})
    job = partial(way.job, tmp_path, validation=held_out, selection=held_out)
    whole = train(job("whole")).validation
    original, begun = Stepper.run, []

    def interrupted(self: Stepper, step: Any, *, backward: bool, **more: Any) -> Any:
        if not backward:
            begun.append(step.index)
            if begun.count(0) > cut and step.index == 1:
                raise KeyboardInterrupt
        return original(self, step, backward=backward, **more)

    with monkeypatch.context() as patch:
        patch.setattr(Stepper, "run", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train(job("resumed"))
    missing = len(validations(tmp_path / "whole")) - len(validations(tmp_path / "resumed"))
    resumed = train(job("resumed")).validation

    # After the steps 3, 6 and 8, and once more with the best weights.
    assert missing == max(0, 3 - cut)
    assert steady(tmp_path / "resumed") == steady(tmp_path / "whole")
    assert whole is not None
    assert resumed is not None
    assert resumed.metrics() == whole.metrics()


def validations(run_dir: Path) -> list[dict[str, Any]]:
    return [line for line in steady(run_dir) if line["split"] == "validation"]


def test_a_stopped_run_is_saved_at_once_and_goes_on_from_there(tmp_path: Path):
    way = Way(settings={"checkpoint_every": 100})
    train(way.job(tmp_path, "whole"))

    with pytest.raises(Interrupted, match="stopped after step 3 of 8") as stopped:
        train(way.job(tmp_path, "resumed", stop=stop_after(3)))

    assert (stopped.value.step, stopped.value.num_steps) == (3, 8)
    assert newest_files(tmp_path / "resumed")["name"] == b"step-00000003"
    recorder = Recorder()
    train(way.job(tmp_path, "resumed"), [recorder])
    assert recorder.began == (3, 8)
    assert newest_files(tmp_path / "resumed") == newest_files(tmp_path / "whole")
    assert steady(tmp_path / "resumed") == steady(tmp_path / "whole")


def test_a_run_that_is_stopped_at_its_end_is_finished(tmp_path: Path):
    outcome = train(Way().job(tmp_path, "run", stop=stop_after(8)))

    assert outcome.num_steps == 8


def test_a_damaged_checkpoint_is_named_and_the_one_before_it_is_gone_on_from(tmp_path: Path):
    way = Way()
    train(way.job(tmp_path, "whole"))
    with pytest.raises(Killed):
        train(way.job(tmp_path, "resumed"), [Recorder(kill_at=7)])
    damaged = tmp_path / "resumed" / "checkpoints" / "step-00000006"
    (damaged / "weights.safetensors").write_bytes(b"")

    recorder = Recorder()
    outcome = train(way.job(tmp_path, "resumed"), [recorder])

    assert recorder.began == (4, 8)
    assert outcome.damaged == (
        f"checkpoint {damaged} is damaged and is passed over: weights.safetensors is not what was written",
    )
    assert newest_files(tmp_path / "resumed") == newest_files(tmp_path / "whole")


def test_a_finished_run_is_not_trained_again(tmp_path: Path):
    way = Way()
    loss = LOSSES["kto"]
    held_out = make_store(tmp_path / "held out", loss, 6, seed=1)
    first = train(way.job(tmp_path, "run", validation=held_out))
    before = steady(tmp_path / "run")

    job, recorder = way.job(tmp_path, "run", validation=held_out), Recorder()
    again = train(job, [recorder])

    assert recorder.began == (8, 8)
    assert recorder.lines == []
    assert steady(tmp_path / "run") == before
    assert first.validation is not None
    assert again.validation is not None
    assert again.validation.loss == first.validation.loss


def test_a_changed_run_is_not_resumed(tmp_path: Path):
    way = Way()
    identity = {"data": "1", "tokenizer": "2", "configuration": "3"}
    with pytest.raises(Interrupted):
        train(way.job(tmp_path, "run", identity=identity, stop=stop_after(2)))
    before = newest_files(tmp_path / "run")

    changed = identity | {"data": "other", "configuration": "other"}
    with pytest.raises(RunError, match="step-00000002 was written by a run with another data and configuration; rest"):
        train(way.job(tmp_path, "run", identity=changed))

    assert newest_files(tmp_path / "run") == before
    recorder = Recorder()
    train(way.job(tmp_path, "run", identity=changed, allow_changes=True), [recorder])
    assert recorder.began == (2, 8)


def test_another_model_is_not_resumed(tmp_path: Path):
    with pytest.raises(Interrupted):
        train(Way(lora=LoRA(rank=4)).job(tmp_path, "run", stop=stop_after(2)))

    with pytest.raises(RunError, match="holds other weights than this run trains"):
        train(Way(lora=LoRA(rank=8)).job(tmp_path, "run"))


# -- what losses ask for ---------------------------------------------------------------------------------------------


def test_a_reference_that_moves_is_not_cached(tmp_path: Path):
    recorder = Recorder()

    with pytest.raises(ConfigError, match=r"would be of an older one: set train\.reference_cache=false"):
        train(Way(loss="humanline", cache=True).job(tmp_path, "run"), [recorder])

    assert recorder.began is None
    assert list((tmp_path / "run").iterdir()) == []


def test_a_reference_that_moves_is_the_policy_again_after_every_so_many_steps(tmp_path: Path):
    way = Way(loss="humanline")  # every 4 steps
    train(way.job(tmp_path, "run"))
    rewards = [abs(line["reward/desirable"]) for line in steady(tmp_path / "run")]

    # The steps after a sync compare the policy with itself.
    assert [reward < 1e-4 for reward in rewards] == [True, False, False, False] * 2


def test_the_mean_reward_of_earlier_steps_is_what_bco_subtracts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    given: list[float] = []
    found: list[Any] = []
    original = Stepper.run

    def spy(self: Stepper, step: Any, *, backward: bool, running_reward: float) -> Any:
        given.append(running_reward)
        found.append(original(self, step, backward=backward, running_reward=running_reward))
        return found[-1]

    monkeypatch.setattr(Stepper, "run", spy)
    train(Way(loss="bco").job(tmp_path, "run"))

    before = [np.concatenate([np.zeros(0), *(table.log_ratio for table in found[:i])]) for i in range(8)]
    assert given == pytest.approx([float(ratios.mean()) if len(ratios) else 0.0 for ratios in before], rel=1e-12)
    assert abs(given[-1]) > 0.01


@pytest.mark.parametrize("lora", [LoRA(rank=4), None], ids=["lora", "full"])
@pytest.mark.parametrize("name", ["ppo-value", "dro-value"])
def test_a_value_head_is_trained_with_the_policy_and_saved_with_its_weights(
    name: str, lora: LoRA | None, tmp_path: Path
):
    job = Way(loss=name, lora=lora, settings={"epochs": 6}).job(tmp_path, "run")
    before = weights(job.policy)
    train(job)

    after = weights(job.policy)
    saved = load_file(max((job.run_dir / "checkpoints").iterdir()) / "weights.safetensors")
    head = {name for name in after if name.startswith("value_head.")}
    assert len(head) == 6
    assert all(bool((after[name] != before[name]).any()) for name in after)
    assert same(saved, after)
    if name == "ppo-value":
        errors = [line["critic_error"] for line in steady(job.run_dir)]
        assert np.mean(errors[-4:]) < np.mean(errors[:4])


# -- what goes wrong -------------------------------------------------------------------------------------------------


def poisoned(loss: Loss[Any], row: Row, folder: Path, **fields: Any) -> TrainJob:
    """A job in which the letter ~ is not a number to the model, and the row of line 6 has it."""
    rows = thumbs(8, per_prompt=2 if loss.needs.pairs else 1)
    rows[5] = dataclasses.replace(rows[5], prompt=row.prompt or rows[5].prompt, completion=row.completion)
    model = tiny_model("llama", tied=False)
    (letter,) = make_encoder_ids("~")
    with torch.no_grad():
        model.model.embed_tokens.weight[letter] = float("nan")
    policy = make_policy(model, lora=None, reference=loss.needs.reference, seed=0)
    store = write_store(folder / "data", rows, paired=loss.needs.pairs)
    settings = TrainSettings(lr=1e-3, batch_size=4, epochs=3, checkpoint_every=1)
    return make_job(folder / "run", loss, train=store, policy=policy, settings=settings, **fields)


def make_encoder_ids(text: str) -> list[int]:
    from fakes import byte_tokenizer

    return make_encoder(byte_tokenizer(chat_template=None), max_length=64).prompt_ids(text)


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("kto", Row("", "a~b")),
        ("kto", Row("a~b", "c")),
        ("sft", Row("", "a~b")),
        ("sft", Row("a~b", "c")),
        ("dpo", Row("", "a~b")),
    ],
    ids=["kto completion", "kto prompt", "sft completion", "sft prompt", "dpo completion"],
)
def test_a_row_that_is_not_a_number_is_named_and_nothing_is_changed(name: str, row: Row, tmp_path: Path):
    job = poisoned(LOSSES[name], row, tmp_path)
    recorder, before = Recorder(), {0: weights(job.policy)}
    recorder.on_metrics = lambda line: before.update({line["step"]: weights(job.policy)})  # type: ignore[method-assign]

    with pytest.raises(RunError) as error:
        train(job, [recorder])

    done = max(before)
    message = str(error.value)
    assert re.match(
        rf"step {done + 1}: the loss or a log-probability is not finite for 1 row\(s\): feedback\.jsonl:6\.", message
    )
    known = "those of the last checkpoint are finite. That does not make them good" if done else "nothing was trained"
    assert known in message
    assert all(
        torch.equal(a.nan_to_num(), b.nan_to_num())
        for a, b in zip(before[done].values(), weights(job.policy).values(), strict=True)
    )
    if done:
        assert newest_files(job.run_dir)["name"] == f"step-{done:08d}".encode()


def test_a_gradient_that_is_not_finite_stops_the_run_before_the_weights_change(tmp_path: Path):
    job = Way().job(tmp_path, "run")
    before = weights(job.policy)
    next(iter(job.policy.trainable().values())).register_hook(lambda grad: grad * float("inf"))

    with pytest.raises(RunError, match=r"step 1: the gradient is not finite \(norm (nan|inf)\) though every loss is"):
        train(job)

    assert same(weights(job.policy), before)
    assert not (job.run_dir / "checkpoints").exists()


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory: you tried ..."),
        MemoryError(),
    ],
    ids=["cuda", "cpu", "python"],
)
@pytest.mark.parametrize("checkpointing", [False, True])
def test_out_of_memory_is_one_line_of_what_to_do(
    error: Exception, checkpointing: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def run(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(Stepper, "run", run)
    settings = {"microbatch_tokens": 600, "gradient_checkpointing": checkpointing}

    with pytest.raises(RunError, match=r"^out of memory with 600 tokens in a micro-batch: set") as found:
        train(Way(settings=settings).job(tmp_path, "run"))

    assert "train.microbatch_tokens=300" in str(found.value)
    assert ("train.gradient_checkpointing=true" in str(found.value)) == (not checkpointing)
    assert "\n" not in str(found.value)


def test_another_error_stays_what_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def run(*_: Any, **__: Any) -> None:
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(Stepper, "run", run)

    with pytest.raises(RuntimeError, match="shapes do not match") as found:
        train(Way().job(tmp_path, "run"))

    assert found.value.__cause__ is None


def test_validation_data_without_a_reference_point_is_refused_before_training(tmp_path: Path):
    held_out = write_store(tmp_path / "held out", thumbs(4, per_prompt=4))
    recorder = Recorder()

    with pytest.raises(DataError, match="all rows answer the same prompt"):
        train(Way().job(tmp_path, "run", validation=held_out), [recorder])

    assert recorder.began is None
    assert list((tmp_path / "run").iterdir()) == []


# -- what it does ----------------------------------------------------------------------------------------------------


def test_watchers_see_what_the_file_holds(tmp_path: Path):
    recorder = Recorder()
    train(Way().job(tmp_path, "run"), [recorder])

    assert recorder.began == (0, 8)
    assert recorder.lines == read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert [line["step"] for line in recorder.lines] == list(range(1, 9))
    assert {line["split"] for line in recorder.lines} == {"train"}


def test_a_line_holds_what_the_step_was(tmp_path: Path):
    job = Way(settings={"warmup": 0.25, "lr": 0.008}).job(tmp_path, "run")
    train(job)
    lines = read_metrics(job.run_dir / "metrics.jsonl")

    assert [line["epoch"] for line in lines] == [i / 4 for i in range(1, 9)]
    # Two steps rise to the peak, from which six fall.
    assert [line["learning_rate"] for line in lines] == pytest.approx(
        [0.004, 0.008, 0.008, *(0.008 * k / 6 for k in (5, 4, 3, 2, 1))]
    )
    needed = {"loss", "value", "reward/desirable", "reward/undesirable", "reward_margin", "grad_norm"}
    needed |= {"reference_point", "reference_point/raw", "reference_point/standard_error", "reference_point/clamped"}
    needed |= {"completion_tokens/desirable", "logp_per_token/undesirable", *TIMES}
    assert all(needed <= line.keys() for line in lines)
    assert all(np.isfinite(value) for line in lines for value in line.values() if not isinstance(value, str))


def test_training_separates_the_rewards_of_what_it_was_trained_on(tmp_path: Path):
    train(Way(settings={"epochs": 8}).job(tmp_path, "run"))
    margins = [line["reward_margin"] for line in read_metrics(tmp_path / "run" / "metrics.jsonl")]

    assert margins[0] == pytest.approx(0, abs=1e-4)
    assert np.mean(margins[-4:]) > 5


def test_validation_comes_every_so_many_steps_and_at_the_end_with_what_is_measured(tmp_path: Path):
    seen: list[Validation] = []

    def measure(_: int, validation: Validation) -> dict[str, float]:
        seen.append(validation)
        return {"extra": float(len(seen))}

    held_out = make_store(tmp_path / "held out", LOSSES["kto"], 6, seed=1)
    job = Way(settings={"validate_every": 3}).job(tmp_path, "run", validation=held_out, measure=measure)

    outcome = train(job)

    lines = [line for line in read_metrics(job.run_dir / "metrics.jsonl") if line["split"] == "validation"]
    assert [(line["step"], line["extra"]) for line in lines] == [(3, 1.0), (6, 2.0), (8, 3.0)]
    assert outcome.validation is seen[-1]
    assert [line["loss"] for line in lines] == [validation.loss for validation in seen]
    assert {"reward/desirable", "reward_margin", "reference_point/raw"} <= lines[0].keys()


@pytest.mark.parametrize("name", ["kto", "dpo", "sft", "humanline"])
def test_before_anything_is_learnt_held_out_answers_have_the_reward_zero_however_the_layout_rounds(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    loss = EVERY[name]
    let_layouts_round(monkeypatch)
    cache = None if loss.needs.sync_every else ReferenceCache(tmp_path / "cache")
    # So small a step that no weight in bfloat16 moves.
    settings = TrainSettings(lr=1e-30, batch_size=6, epochs=1, microbatch_tokens=60, validate_every=1)
    rows, held_out = make_store(tmp_path / "train", loss, 12), make_store(tmp_path / "held out", loss, 9, seed=1)
    policy = policy_for(loss, dtype=torch.bfloat16)
    job = make_job(
        tmp_path / "run", loss, train=rows, validation=held_out, settings=settings, policy=policy, cache=cache
    )

    validation = train(job).validation

    assert validation is not None
    assert validation.log_ratio is not None
    assert not validation.log_ratio.any()
    lines = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert len(lines) == 4
    assert {line.get("reward_margin", 0.0) for line in lines} == {0.0}
    assert {line.get("reference_point/raw", 0.0) for line in lines} == {0.0}


def test_validation_changes_nothing_in_the_training(tmp_path: Path):
    way = Way(kind="gpt2", settings={"dropout": 0.2, "validate_every": 1})
    train(way.job(tmp_path, "without"))
    train(way.job(tmp_path, "with", validation=make_store(tmp_path / "held out", LOSSES["kto"], 6, seed=1)))

    assert newest_files(tmp_path / "with") == newest_files(tmp_path / "without")


def test_gradients_are_clipped_to_the_norm_and_logged_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(
        trainer, "make_optimizer", lambda masters, settings: torch.optim.SGD(masters.weights.values(), lr=settings.lr)
    )
    settings = {"max_grad_norm": 0.001, "lr": 0.5, "warmup": 0, "epochs": 0.25}
    job = Way(settings=settings).job(tmp_path, "run")
    before = weights(job.policy)

    train(job)

    (line,) = read_metrics(job.run_dir / "metrics.jsonl")
    moved = [weight - before[name] for name, weight in weights(job.policy).items()]
    assert line["grad_norm"] > 0.01
    assert float(torch.cat([m.flatten() for m in moved]).norm()) == pytest.approx(0.5 * 0.001, rel=1e-3)


def test_gradient_checkpointing_computes_layers_again_and_changes_no_number(tmp_path: Path):
    calls = {}
    for name, on in (("without", False), ("with", True)):
        job = Way(settings={"gradient_checkpointing": on, "epochs": 0.5}).job(tmp_path, name)
        counted: list[int] = []
        job.policy.model.model.layers[0].mlp.register_forward_pre_hook(lambda *_, counted=counted: counted.append(1))
        train(job)
        calls[name] = len(counted)

    # Two steps; in each the policy's one micro-batch runs through the layer once more.
    assert calls["with"] == calls["without"] + 2
    for a, b in zip(steady(tmp_path / "without"), steady(tmp_path / "with"), strict=True):
        assert a.pop("split") == b.pop("split")
        assert a == pytest.approx(b, rel=1e-4, abs=1e-6)


def test_the_reference_cache_serves_runs_with_other_beta_and_learning_rate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    asked = []
    original = Policy.reference_logps
    monkeypatch.setattr(
        Policy,
        "reference_logps",
        lambda self, packed, *more: asked.append(len(packed.trained)) or original(self, packed, *more),
    )
    store = make_store(tmp_path / "data", LOSSES["kto"], 16)

    def run(name: str, loss: Loss[Any], **settings: Any) -> tuple[TrainResult, int]:
        asked.clear()
        fields = EIGHT_STEPS | settings
        job = make_job(
            tmp_path / name,
            loss,
            train=store,
            settings=TrainSettings(**fields),
            cache=ReferenceCache(tmp_path / "cache"),
        )
        return train(job), sum(asked)

    _, first = run("first", KTO(beta=0.1))
    # 16 matched once, and 16 mismatched of each of two epochs (a few of which may come twice).
    assert 40 <= first <= 48
    _, second = run("second", KTO(beta=0.5, desirable_weight=2.0), lr=1e-3, optimizer="rmsprop", microbatch_tokens=40)
    # Of the first step alone, whose log-ratios are to be 0: its four answers, each with its own and another prompt.
    assert second == 8


def test_a_changed_reference_is_not_served_from_the_cache(tmp_path: Path):
    # The folder is named by the reference's fingerprint; the two must differ.
    one, other = policy_for(DPO()), make_policy(tiny_model(seed=1), lora=None, reference=True, seed=0)

    assert one.reference_fingerprint != other.reference_fingerprint


def test_a_model_is_left_ready_to_answer(tmp_path: Path):
    job = Way(kind="gpt2", settings={"dropout": 0.5}).job(tmp_path, "run")
    train(job)

    assert not job.policy.model.training
    assert all(weight.grad is None for weight in job.policy.trainable().values())


def test_a_model_can_be_trained_twice_in_one_process(tmp_path: Path):
    loss = LOSSES["kto"]
    store = make_store(tmp_path / "data", loss, 16)
    policy = policy_for(loss, dtype=torch.bfloat16)
    settings = TrainSettings(**EIGHT_STEPS)
    train(make_job(tmp_path / "first", loss, train=store, policy=policy, settings=settings))
    before = weights(policy)

    train(make_job(tmp_path / "second", loss, train=store, policy=policy, settings=settings))

    assert not same(weights(policy), before)


def test_bfloat16_training_keeps_float32_weights_in_its_checkpoints(tmp_path: Path):
    job = Way(dtype=torch.bfloat16).job(tmp_path, "run")
    train(job)

    saved = load_file(max((job.run_dir / "checkpoints").iterdir()) / "weights.safetensors")
    assert {weight.dtype for weight in saved.values()} == {torch.float32}
    assert any(not torch.equal(weight, weight.bfloat16().float()) for weight in saved.values())
    for name, weight in weights(job.policy).items():
        assert torch.equal(weight, saved[name].bfloat16())


def test_a_disturbed_policy_still_trains_against_what_it_was_made_from(tmp_path: Path):
    loss = LOSSES["kto"]
    policy = disturb(policy_for(loss), by=0.05)
    job = make_job(tmp_path / "run", loss, train=make_store(tmp_path / "data", loss, 16), policy=policy)

    train(job)

    (first, *_) = read_metrics(job.run_dir / "metrics.jsonl")
    assert abs(first["reward/desirable"]) > 0.01


def test_the_metrics_are_plain_json(tmp_path: Path):
    job = Way().job(tmp_path, "run")
    train(job)

    for line in (job.run_dir / "metrics.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
