"""A reward model from pairs to verdicts: trained, measured, saved as any tool loads it, and asked to judge."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from fakes import VOCAB, byte_tokenizer
from haloes.errors import ConfigError, DataError, ModelError
from haloes.judging._contract import OrderedPair
from haloes.judging.reward_model import RewardModelJudge
from haloes.models.quiet import quiet
from haloes.online_rounds.labelers import RaterLabeler
from haloes.online_rounds.rounds import online
from haloes.online_rounds.settings import OnlineSettings
from haloes.progress.contract import NullProgress
from haloes.results import Score
from haloes.runs.align import Run, align
from haloes.runs.auto_settings import without_answers
from haloes.runs.config_layers import make_config
from haloes.runs.export import export_model
from haloes.runs.read_settings import read_yaml
from tiny_runs import config, crash, metrics, pairs, rows_of, same_result, save_model, warnings_of, write_rows

LOSS = {"name": "bradley-terry", "center": 0.01}
TRAIN = {"epochs": 3, "checkpoint_every": 2, "validate_every": 3}


def reward_config(model: Path, source: Path, /, **sections: Any) -> Any:
    sections = {"loss": LOSS, **sections}
    return config(model, source, **{**sections, "train": {**TRAIN, **sections.get("train", {})}})


@pytest.fixture(params=["lora", "full"])
def run(request: pytest.FixtureRequest, model: Path, pairs_file: Path, tmp_path: Path) -> Run:
    chosen = {"lora": None} if request.param == "full" else {}
    return align(reward_config(model, pairs_file, model=chosen), tmp_path / "run")


def own_rewards(folder: Path, answers: list[tuple[str, str]], *, padding_side: str = "right") -> list[float]:
    """What transformers alone makes of (prompt, answer), all in one padded batch."""
    with quiet():
        model = AutoModelForSequenceClassification.from_pretrained(folder)
        tokenizer = AutoTokenizer.from_pretrained(folder, padding_side=padding_side)
    turns = [[{"role": "user", "content": p}, {"role": "assistant", "content": a}] for p, a in answers]
    batch = tokenizer.apply_chat_template(turns, padding=True, return_tensors="pt", return_dict=True)
    with torch.no_grad():
        return model(**batch).logits[:, 0].tolist()


def held_out(run_dir: Path, source: Path) -> tuple[list[tuple[str, str]], list[float]]:
    """The held-out answers with their prompts, and the rewards that the run measured."""
    lines = rows_of(source)
    answers, rewards = [], []
    for row in rows_of(run_dir / "held_out.jsonl"):
        pair = lines[int(row["where"].rpartition(":")[2]) - 1]
        answers.append((pair["prompt"], pair["chosen" if row["label"] else "rejected"]))
        rewards.append(row["reward"])
    return answers, rewards


def by_name(scores: tuple[Score, ...]) -> dict[tuple[str, str], Score]:
    return {(score.name, score.variant): score for score in scores}


@pytest.mark.parametrize("padding_side", ["left", "right"])
def test_transformers_alone_loads_the_runs_model_and_scores_as_it_was_measured(
    run: Run, pairs_file: Path, padding_side: str
):
    answers, rewards = held_out(run.run_dir, pairs_file)

    assert len(rewards) == 8
    assert max(rewards) - min(rewards) > 0.5
    assert own_rewards(run.run_dir / "model", answers, padding_side=padding_side) == pytest.approx(rewards, abs=1e-4)


def test_the_exported_folder_is_the_same_with_a_card_of_its_own(run: Run, pairs_file: Path, tmp_path: Path):
    out = export_model(run.run_dir, tmp_path / "out")
    answers, rewards = held_out(run.run_dir, pairs_file)
    text = (out / "README.md").read_text()

    assert own_rewards(out, answers) == pytest.approx(rewards, abs=1e-4)
    assert "pipeline_tag: text-classification" in text
    assert "AutoModelForSequenceClassification.from_pretrained" in text
    assert "AutoModelForCausalLM" not in text


def test_the_code_of_the_card_gives_the_reward(run: Run, monkeypatch: pytest.MonkeyPatch):
    code = (run.run_dir / "model" / "README.md").read_text().split("```python\n")[1].split("```")[0]
    scope: dict[str, Any] = {}
    with quiet():
        exec(code.replace("path/to/this/folder", str(run.run_dir / "model")), scope)

    assert scope["reward"] == pytest.approx(own_rewards(run.run_dir / "model", [("Why?", "Because.")])[0], abs=1e-4)


def test_it_is_measured_on_held_out_pairs_and_answers_nothing(run: Run):
    found = by_name(run.scores)
    before, after = found["pair_accuracy", "before"], found["pair_accuracy", "after"]
    names = {path.name for path in run.run_dir.iterdir()}

    assert (before.value, before.low, before.high) == (0.5, 0.5, 0.5)
    assert "coin" in before.method
    assert after.value == 1.0  # yes against no is easy
    assert after.low < 1.0
    assert after.num_rows == 4
    assert {"reward_length", "longer_chosen", "calibration_slope", "pair_brier"} <= {name for name, _ in found}
    assert "samples.jsonl" not in names
    assert json.loads((run.run_dir / "calibration.json").read_text())["bins"]
    assert read_yaml(run.run_dir / "config.yaml")["samples"]["prompts"] == 0
    lines = metrics(run.run_dir)
    assert lines[0]["loss"] == pytest.approx(0.6931, abs=1e-3)
    assert not [name for name in lines[0] if "logp" in name or name.startswith("reward")]
    assert lines[-1]["model_reward_margin"] > 0.5


def test_its_report_is_that_of_a_reward_model(run: Run):
    page = (run.run_dir / "report.html").read_text()

    assert "How sure the reward model is, and how often it is right" in page
    assert "Pair accuracy by step" in page
    assert "Answers before and after" not in page
    assert "is missing from the run folder" not in page
    assert "log-ratio to the reference" not in page
    assert f"haloes judge RUN --judge reward --model {run.run_dir.name}" in page


def test_the_best_step_by_held_out_accuracy_is_kept(model: Path, pairs_file: Path, tmp_path: Path):
    found = align(
        reward_config(model, pairs_file, train={"keep_best": "accuracy", "validate_every": 1}), tmp_path / "run"
    )
    accuracies = [line["accuracy"] for line in metrics(found.run_dir, "validation")]

    first = accuracies.index(max(accuracies)) + 1
    assert first < len(accuracies)
    assert f"the model is that after step {first} of {len(accuracies)}, where accuracy was best" in warnings_of(
        found.run_dir
    )
    # Of other pairs than those that chose.
    assert by_name(found.scores)["pair_accuracy", "after"].num_rows == 2


@pytest.mark.parametrize("lora", [{"rank": 4, "alpha": 8.0}, None], ids=["lora", "full"])
def test_a_killed_run_goes_on_bit_for_bit(lora: dict[str, Any] | None, model: Path, pairs_file: Path, tmp_path: Path):
    cfg = reward_config(model, pairs_file, model={"lora": lora})
    straight = align(cfg, tmp_path / "straight")
    crash(cfg, tmp_path / "killed", step=3)
    resumed = align(make_config(read_yaml(tmp_path / "killed" / "config.yaml")), tmp_path / "killed", resume=True)

    (straight.run_dir / "samples.jsonl").touch()
    (resumed.run_dir / "samples.jsonl").touch()
    assert same_result(straight, resumed, files=["held_out.jsonl", "calibration.json"])


def test_a_run_or_its_model_judges_answers(run: Run):
    asked = [OrderedPair(prompt_id="p", prompt="Is 3 it?", first="yes yes 3", second="no no 3")]
    rewards = own_rewards(run.run_dir / "model", [("Is 3 it?", "yes yes 3"), ("Is 3 it?", "no no 3")])

    for folder in (run.run_dir, run.run_dir / "model"):
        judge = RewardModelJudge(model=str(folder), dtype="float32", device="cpu")
        [(_, opinion)] = judge.compare(asked)
        assert opinion.verdict == "first"
        assert [float(part) for part in opinion.reply.split(" and ")] == pytest.approx(rewards, abs=1e-4)


def test_margins_are_learnt_where_pairs_have_them_and_asked_for_where_they_have_not(model: Path, tmp_path: Path):
    rows = [{**row, "margin": 3.0 if i % 2 else 0.0} for i, row in enumerate(pairs(16))]
    source = write_rows(tmp_path / "margins.jsonl", rows)
    with_margins = reward_config(model, source, loss={"name": "bradley-terry", "margin": 1.0})
    found = align(with_margins, tmp_path / "run")
    plain = align(reward_config(model, source), tmp_path / "plain")

    # -log sigmoid(0 - m) is log 2 for m = 0, and 3.05 for m = 3.
    assert metrics(found.run_dir)[0]["loss"] > 1.2 > metrics(plain.run_dir)[0]["loss"]
    source = write_rows(tmp_path / "one without.jsonl", [*rows, pairs(20)[-1]])
    with pytest.raises(DataError, match=r"one without.jsonl:17: the loss wants to know by how much"):
        align(reward_config(model, source, loss={"name": "bradley-terry", "margin": 1.0}), tmp_path / "refused")
    assert not (tmp_path / "refused").exists()


def test_an_architecture_that_nobody_could_load_is_refused_before_the_training(pairs_file: Path, tmp_path: Path):
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 4}
    made = CONFIG_MAPPING["granite"](vocab_size=VOCAB, num_key_value_heads=2, pad_token_id=1, **sizes)
    with torch.random.fork_rng(devices=[]), quiet():
        AutoModelForCausalLM.from_config(made).save_pretrained(tmp_path / "granite")
        byte_tokenizer().save_pretrained(tmp_path / "granite")

    with pytest.raises(ModelError, match="GraniteForCausalLM cannot become a reward model: transformers has no"):
        align(reward_config(tmp_path / "granite", pairs_file), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "sections",
    [{"samples": {"rater": "a:b"}}, {"watch": {"prompts": 2}}],
    ids=["rater", "watch"],
)
def test_settings_about_answers_are_refused(sections: dict[str, Any], model: Path, pairs_file: Path, tmp_path: Path):
    with pytest.raises(ConfigError, match="are about a model's answers, and a reward model gives none"):
        align(reward_config(model, pairs_file, **sections), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_base_in_four_bits_is_refused_for_its_adapter_cannot_be_merged(pairs_file: Path):
    made = make_config({"model": {"quantize": "4bit"}, "loss": LOSS, "feedback": {"source": str(pairs_file)}})

    with pytest.raises(ConfigError, match="saved with its adapter merged, and that cannot be done in four bits"):
        without_answers(made)


def test_a_tokenizer_without_a_chat_template_gets_one_that_writes_what_was_trained(pairs_file: Path, tmp_path: Path):
    base = save_model(tmp_path / "base")
    for file in base.glob("*.jinja"):
        file.unlink()
    byte_tokenizer(chat_template=None).save_pretrained(base)
    found = align(reward_config(base, pairs_file), tmp_path / "run")
    answers, rewards = held_out(found.run_dir, pairs_file)

    assert own_rewards(found.run_dir / "model", answers) == pytest.approx(rewards, abs=1e-4)


def test_a_reward_model_is_no_language_model(run: Run, model: Path, pairs_file: Path, tmp_path: Path):
    with pytest.raises(ModelError, match="this is a reward model"):
        align(config(run.run_dir / "model", pairs_file, loss={"name": "dpo"}), tmp_path / "next")


def test_it_is_no_loss_for_online_rounds():
    chosen = make_config({"loss": {"name": "bradley-terry"}})
    with pytest.raises(ConfigError, match="trains a reward model, which gives no answers to learn from"):
        online(
            chosen,
            OnlineSettings(),
            RaterLabeler("a:b"),
            prompts={},
            held_out={},
            out=Path("no"),
            progress=NullProgress(),
        )
