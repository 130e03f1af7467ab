"""The end of a run is tried before its first step, and what was trained is saved before anything else."""

from pathlib import Path
from typing import Any

import pytest
import torch

from fakes import byte_tokenizer, tiny_model
from haloes.errors import ModelError
from haloes.models.quiet import quiet
from haloes.runs import measure_and_save, rehearse
from haloes.runs.align import align
from haloes.runs.engines import make_engine
from haloes.runs.export import export_model
from haloes.sampling._contract import Ask, Decoding
from tiny_architectures import tiny_architecture
from tiny_runs import Crash, config, metrics


def save(kind: str, folder: Path) -> Path:
    with quiet():
        tiny_architecture(kind).save_pretrained(folder)
        byte_tokenizer().save_pretrained(folder)
    return folder


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["gpt_oss", "mamba"])
@pytest.mark.parametrize("lora", [{"rank": 4}, None], ids=["lora", "full"])
def test_an_architecture_without_sdpa_ends_with_a_model_that_answers(
    kind: str, lora: dict[str, Any] | None, thumbs_file: Path, tmp_path: Path
):
    base = save(kind, tmp_path / "base")

    run = align(config(base, thumbs_file, model={"lora": lora}, samples={"prompts": 1}), tmp_path / "run")

    assert metrics(run.run_dir)[0]["loss"] == pytest.approx(0.5, abs=1e-6)
    asked = [Ask("a", "Is 1 it?", 0)]
    out = export_model(run.run_dir, tmp_path / "out")
    answers = [
        [answer.completion for answer in make_engine(str(folder)).answer(asked, Decoding(max_new_tokens=4))]
        for folder in (run.run_dir, out)
    ]
    assert answers[0] == answers[1]


def failing(*_: object, **__: object) -> None:
    raise ValueError("cannot do that")


STEPS = {"save_model": "saved", "load_model": "loaded again", "sample": "sampled from"}


@pytest.mark.parametrize("step", STEPS)
def test_what_would_fail_after_the_training_is_told_before_it(
    step: str, model: Path, thumbs_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    says = STEPS[step]
    monkeypatch.setattr(rehearse, step, failing)

    with pytest.raises(ModelError, match=rf"LlamaForCausalLM could not be {says}, so nothing was trained .*do that"):
        align(config(model, thumbs_file), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("lora", [{"rank": 4}, None], ids=["lora", "full"])
def test_of_a_large_model_only_what_is_cheap_is_rehearsed(
    lora: dict[str, Any] | None, model: Path, thumbs_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(rehearse, "_SMALL", 0)
    monkeypatch.setattr(rehearse, "load_model", failing)

    run = align(config(model, thumbs_file, model={"lora": lora}), tmp_path / "run")

    assert (run.run_dir / "model").is_dir()
    assert sorted(path.name for path in run.run_dir.glob("tmp*")) == []


def test_the_rehearsal_leaves_chance_and_the_model_as_they_were(model: Path, thumbs_file: Path, tmp_path: Path):
    from haloes.models.adapters import LoRA
    from haloes.models.fingerprint import weights_fingerprint
    from haloes.models.policy import make_policy
    from haloes.tokens.template import make_template

    policy = make_policy(tiny_model(), lora=LoRA(rank=2), reference=True, seed=0)
    policy.scorer.model.config.name_or_path = str(model)
    policy.model.peft_config["default"].base_model_name_or_path = str(model)
    before, state = weights_fingerprint(policy.model), torch.random.get_rng_state()

    rehearse.rehearse(policy, make_template(byte_tokenizer()), tmp_path, whole=policy)

    assert weights_fingerprint(policy.model) == before
    assert torch.equal(torch.random.get_rng_state(), state)
    assert policy.scorer.packs


def test_the_model_is_saved_before_it_answers_and_the_run_can_be_resumed(
    model: Path, thumbs_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    answer = measure_and_save.answer_held_out

    def crashing(context: Any, variant: str) -> Any:
        if variant == "after":
            raise Crash
        return answer(context, variant)

    settings = config(model, thumbs_file)
    monkeypatch.setattr(measure_and_save, "answer_held_out", crashing)
    with pytest.raises(Crash):
        align(settings, tmp_path / "run")
    saved = (tmp_path / "run" / "model" / "adapter_model.safetensors").read_bytes()
    assert not (tmp_path / "run" / "scores.jsonl").exists()

    monkeypatch.setattr(measure_and_save, "answer_held_out", answer)
    run = align(settings, tmp_path / "run", resume=True)

    assert run.scores
    assert (run.run_dir / "model" / "adapter_model.safetensors").read_bytes() == saved
