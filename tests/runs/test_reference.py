"""Another model as the reference of a run: what is compared with it, and what is still compared with the start."""

import json
import math
from pathlib import Path

import pytest

from fakes import byte_tokenizer
from haloes.errors import ConfigError, RunError
from haloes.models.quiet import quiet
from haloes.runs.align import align
from tiny_runs import config, metrics, save_model


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("other") / "model", seed=7)


STILL = {"lr": 1e-12, "batch_size": 24}


def test_the_loss_sees_the_reference_and_the_validation_the_start(
    model: Path, other: Path, thumbs_file: Path, tmp_path: Path
):
    common = {"loss": {"name": "kto-no-reference-point", "beta": 1.0}, "train": STILL}
    run = align(config(model, thumbs_file, model={"reference": str(other)}, **common), tmp_path / "apart")
    plain = align(config(model, thumbs_file, **common), tmp_path / "plain")

    # The weights do not move, so that nothing but the reference is in the training's rewards.
    (step,), (held_out,) = metrics(run.run_dir), metrics(run.run_dir, "validation")
    (same,) = metrics(plain.run_dir)
    assert abs(step["reward/desirable"]) > 1
    assert math.isclose(same["reward/desirable"], 0, abs_tol=1e-3)
    assert math.isclose(held_out["reward/desirable"], 0, abs_tol=1e-3)
    # Answers are the same as before; what differs is the divergence, which is to the reference.
    kl = {score.name: score.value for score in run.scores if score.variant == "after"}
    assert kl["kl"] > 0.1


def test_values_of_another_reference_in_the_cache_are_not_taken_for_the_start(
    model: Path, other: Path, thumbs_file: Path, tmp_path: Path
):
    cfg = config(model, thumbs_file, model={"reference": str(other)}, train=STILL)
    first, second = (align(cfg, tmp_path / name) for name in ("first", "second"))

    assert metrics(first.run_dir, "validation") == metrics(second.run_dir, "validation")


def test_a_run_knows_both_models_again(model: Path, other: Path, thumbs_file: Path, tmp_path: Path):
    reference = save_model(tmp_path / "reference", seed=7)
    cfg = config(model, thumbs_file, model={"reference": str(reference)}, samples={"prompts": 0})
    run = align(cfg, tmp_path / "run")
    known = json.loads((run.run_dir / "environment.json").read_text())["fingerprints"]
    assert known["model"] != known["reference model"]

    save_model(reference, seed=8)
    with pytest.raises(RunError, match="another reference model"):
        align(cfg, run.run_dir, resume=True)


def test_a_reference_with_other_tokens_is_refused(model: Path, thumbs_file: Path, tmp_path: Path):
    other = save_model(tmp_path / "other", seed=7, vocab=260)
    tokenizer = byte_tokenizer()
    tokenizer.add_tokens(["<new>"])
    with quiet():
        tokenizer.save_pretrained(other)

    with pytest.raises(ConfigError, match="has another tokenizer"):
        align(config(model, thumbs_file, model={"reference": str(other)}), tmp_path / "run")
