"""A run that goes on from another one: where it starts, what its reference is, what it leaves, and what is refused."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

import haloes
from haloes.errors import ConfigError, ModelError, RunError, UserError
from haloes.evaluation.bench.variants import load, variants
from haloes.models.load import load_model
from haloes.models.quiet import quiet
from haloes.report.facts import trained_on
from haloes.report.load import load_run
from haloes.runs.run_folder import read_config
from tiny_runs import CrashAt, metrics, rows_of, save_model, settings, thumbs, write_rows

IDS = torch.tensor([[5, 9, 200, 30, 1]])
STILL = {"lr": 1e-30, "batch_size": 24}
"""One step that moves nothing."""


def logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(IDS).logits.float()


def of_name(name: Path) -> torch.Tensor:
    return logits(load_model(str(name), dtype=torch.float32, device="cpu").model)


def on_base(base: Path, adapter: Path) -> torch.Tensor:
    """What an adapter says beside a base, as PEFT alone puts them together."""
    with quiet():
        return logits(PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), str(adapter)))


@pytest.fixture
def first(model: Path, thumbs_file: Path, tmp_path: Path) -> Path:
    out = tmp_path / "first"
    haloes.train(config=settings(model, thumbs_file), out=out, progress=None)
    return out


def go_on(first: Path, source: Path, out: Path, *, progress: Any = None, **sections: Any) -> Path:
    """A run that names nothing of its model but the run that it goes on from."""
    given = settings(Path(), source, **sections)
    given["model"] = {"dtype": "float32", **sections.get("model", {})}
    haloes.train(init=first, config=given, out=out, progress=progress)
    return out


def answers(run: Path, variant: str) -> dict[str, str]:
    return {row["prompt_id"]: row["completion"] for row in rows_of(run / "samples.jsonl") if row["model"] == variant}


@pytest.mark.parametrize("loss", ["kto", "dpo"])
def test_the_log_ratio_at_the_start_is_exactly_nothing(
    first: Path, thumbs_file: Path, pairs_file: Path, tmp_path: Path, loss: str
):
    source = pairs_file if loss == "dpo" else thumbs_file
    second = go_on(first, source, tmp_path / "second", loss={"name": loss}, train=STILL)

    lines = [*metrics(second), *metrics(second, "validation")]
    rewards = [value for line in lines for name, value in line.items() if name.startswith("reward/")]
    assert rewards
    assert set(rewards) == {0}


def test_the_model_before_is_the_one_that_the_first_run_ended_with(first: Path, thumbs_file: Path, tmp_path: Path):
    second = go_on(first, thumbs_file, tmp_path / "second")

    assert answers(second, "before") == answers(first, "after")
    _, (before, after) = variants(str(second))
    torch.testing.assert_close(logits(load(before).model), of_name(first), atol=1e-4, rtol=1e-4)
    assert before.digest == variants(str(first))[1][1].digest != after.digest


def test_what_is_left_is_one_adapter_of_the_same_rank_on_the_first_base(
    first: Path, model: Path, thumbs_file: Path, tmp_path: Path
):
    still = go_on(first, thumbs_file, tmp_path / "still", train=STILL)
    second = go_on(first, thumbs_file, tmp_path / "second")
    haloes.export(second, tmp_path / "adapter", to="adapter", progress=None)
    haloes.export(second, tmp_path / "merged", progress=None)

    named = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert (named["base_model_name_or_path"], named["r"]) == (str(model), 4)
    # What the first run learnt is in it, and what the second one did: without a step it is the first, and then not.
    assert torch.equal(on_base(model, still / "model"), on_base(model, first / "model"))
    both = on_base(model, tmp_path / "adapter")
    torch.testing.assert_close(both, of_name(tmp_path / "merged"), atol=1e-4, rtol=1e-4)
    assert (both - on_base(model, first / "model")).abs().max() > 0.01
    assert (both - of_name(model)).abs().max() > 0.1


def test_all_weights_go_on_as_well(model: Path, thumbs_file: Path, tmp_path: Path):
    given = settings(model, thumbs_file, train={"lr": 1e-3})
    given["model"]["lora"] = None
    haloes.train(config=given, out=tmp_path / "first", progress=None)
    second = go_on(tmp_path / "first", thumbs_file, tmp_path / "second", train=STILL)

    assert read_config(second).model.lora is None
    assert torch.equal(of_name(second), of_name(tmp_path / "first"))
    assert answers(second, "before") == answers(tmp_path / "first", "after")


def test_an_adapter_beside_a_base_in_four_bits_goes_on_beside_it(thumbs_file: Path, tmp_path: Path):
    pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed")
    base = save_model(tmp_path / "base", hidden_size=64, intermediate_size=64, head_dim=16)
    four = {"dtype": "bfloat16", "quantize": "4bit"}
    haloes.train(config=settings(base, thumbs_file, model=four), out=tmp_path / "first", progress=None)

    second = go_on(tmp_path / "first", thumbs_file, tmp_path / "second", train=STILL, model={"dtype": "bfloat16"})

    assert read_config(second).model.quantize == "4bit"
    rewards = [value for line in metrics(second) for name, value in line.items() if name.startswith("reward/")]
    assert set(rewards) == {0}


def test_a_run_that_was_stopped_is_resumed_as_if_it_had_not_been(first: Path, thumbs_file: Path, tmp_path: Path):
    whole = go_on(first, thumbs_file, tmp_path / "whole")
    crash = CrashAt(step=2, error=KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        go_on(first, thumbs_file, tmp_path / "stopped", progress=crash)
    haloes.resume(tmp_path / "stopped", progress=None)

    assert metrics(tmp_path / "stopped") == metrics(whole)
    assert torch.equal(of_name(tmp_path / "stopped"), of_name(whole))


def test_a_run_is_not_resumed_from_another_start(first: Path, model: Path, thumbs_file: Path, tmp_path: Path):
    with pytest.raises(KeyboardInterrupt):
        go_on(first, thumbs_file, tmp_path / "second", progress=CrashAt(step=2, error=KeyboardInterrupt()))
    shutil.rmtree(first)
    haloes.train(config=settings(model, thumbs_file, train={"lr": 2e-2}), out=first, progress=None)

    with pytest.raises(RunError, match="another reference model"):
        haloes.resume(tmp_path / "second", progress=None)


def test_another_reference_may_stand_beside_it(first: Path, model: Path, thumbs_file: Path, tmp_path: Path):
    second = go_on(first, thumbs_file, tmp_path / "second", train=STILL, model={"reference": str(model)})

    (step,) = metrics(second)
    assert abs(step["reward/desirable"]) > 0.01
    known = json.loads((second / "environment.json").read_text())["fingerprints"]
    assert known["base model"] == known["reference model"] != known["model"]


def test_the_report_tells_where_a_run_comes_from(first: Path, thumbs_file: Path, tmp_path: Path):
    second = go_on(first, thumbs_file, tmp_path / "second")
    third = go_on(second, thumbs_file, tmp_path / "third", loss={"name": "kto-no-reference-point"})

    assert "It goes on from first (KTO, 3 steps on thumbs.jsonl)" in trained_on(load_run(second))
    told = trained_on(load_run(third))
    assert "It goes on from second (KTO, 3 steps on thumbs.jsonl)" in told
    assert "That went on from first (KTO, 3 steps on thumbs.jsonl)." in told
    assert "goes on from second" in (third / "report.html").read_text()

    # What it left needs neither of them.
    shutil.rmtree(first)
    shutil.rmtree(second)
    haloes.export(third, tmp_path / "merged", progress=None)
    assert haloes.resume(third, progress=None).was_finished


def test_a_plan_takes_the_run_and_counts_the_reference(first: Path, thumbs_file: Path):
    given = settings(Path(), thumbs_file)
    given["model"] = {"dtype": "float32"}
    plan = haloes.plan(init=first, config=given, progress=None)

    assert plan.fits
    assert plan.facts["model"] == str(first / "model")
    assert plan.facts["trained"] == "LoRA, rank 4"


def test_what_does_not_belong_to_the_run_is_refused_before_anything_is_read(
    first: Path, model: Path, thumbs_file: Path, tmp_path: Path
):
    def refused(kind: type[UserError], match: str, init: Path = first, **given: Any) -> None:
        with pytest.raises(kind, match=match):
            haloes.train(tmp_path / "none.jsonl", init=init, out=tmp_path / "second", progress=None, **given)
        assert not (tmp_path / "second").exists()

    write_rows(tmp_path / "none.jsonl", thumbs())
    other = save_model(tmp_path / "other", seed=7)
    refused(ConfigError, "model.name is .*other.*leave it out", model=other)
    refused(ConfigError, "rank 8.*rank 4.*--model", settings={"model": {"lora": {"rank": 8}}})
    refused(ConfigError, r"all weights \(null\)", settings={"model": {"lora": None}})
    refused(RunError, "holds no run.*--model", init=model)
    refused(RunError, "holds no run", init=tmp_path / "nothing")
    (first / "report.html").unlink()
    refused(RunError, "not finished: haloes resume", init=first)
    refused(RunError, "not finished: haloes resume", init=first / "model")


def test_a_reward_model_is_nothing_to_go_on_from(model: Path, pairs_file: Path, tmp_path: Path):
    reward = settings(model, pairs_file, loss={"name": "bradley-terry"}, samples={"prompts": 0})
    haloes.train(config=reward, out=tmp_path / "reward", progress=None)

    with pytest.raises(RunError, match="trained a reward model"):
        go_on(tmp_path / "reward", pairs_file, tmp_path / "second")


def test_a_base_that_was_replaced_is_noticed(thumbs_file: Path, tmp_path: Path):
    base = save_model(tmp_path / "base", seed=1)
    haloes.train(config=settings(base, thumbs_file), out=tmp_path / "first", progress=None)
    save_model(base, seed=2)

    with pytest.raises(ModelError, match=r"no longer the model that .*first was trained on"):
        go_on(tmp_path / "first", thumbs_file, tmp_path / "second")


def test_an_adapter_of_other_layers_is_noticed(first: Path, thumbs_file: Path, tmp_path: Path):
    path = first / "model" / "adapter_config.json"
    changed = json.loads(path.read_text())
    changed["target_modules"] = changed["target_modules"][:1]
    path.write_text(json.dumps(changed))

    with pytest.raises(ModelError, match="does not belong to this model"):
        go_on(first, thumbs_file, tmp_path / "second")


def test_rounds_begin_with_a_model(first: Path, tmp_path: Path):
    prompts = write_rows(tmp_path / "prompts.jsonl", [{"prompt": f"Is {i} it?"} for i in range(8)])

    with pytest.raises(ConfigError, match=r"model\.init has no effect on haloes online"):
        haloes.online(prompts, rater="rater.py:rate", settings={"model": {"init": str(first)}}, progress=None)
