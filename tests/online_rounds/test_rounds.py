"""Rounds on the tiny model: what is kept, what is gone on with, and what each is compared to."""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from fakes import byte_tokenizer
from haloes.errors import ConfigError, RunError
from haloes.judging.rule import RuleJudge
from haloes.models.load import load_model
from haloes.online_rounds import stages
from haloes.online_rounds.labelers import JudgeLabeler, Labeler, RaterLabeler
from haloes.online_rounds.rounds import CurvePoint, online
from haloes.online_rounds.settings import OnlineSettings
from haloes.runs.config import RunConfig
from haloes.runs.config_layers import make_config
from haloes.sampling._contract import Decoding
from haloes.sampling.run import read_completions
from haloes.tokens.encode import make_encoder
from haloes.training.metrics_log import read_metrics
from tiny_runs import Crash, CrashAt, rows_of

PROMPTS = {f"p{i}": f"Say {i}" for i in range(6)}
HELD_OUT = {f"h{i}": f"Tell {i}" for i in range(5)}
SETTINGS = OnlineSettings(
    rounds=2, per_prompt=3, prompts_per_round=4, decoding=Decoding(max_new_tokens=6, temperature=1.0)
)
FIRST_LETTERS = """
def rate(prompt, completion, finished):
    return ord((completion + " ")[0]) < 100, "first letter"

def earlier(prompt, first, second):
    one, two = ((text + " ")[0] for text in (first, second))
    return "tie" if one == two else "first" if one < two else "second"
"""


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "rules.py"
    path.write_text(FIRST_LETTERS)
    return path


@pytest.fixture
def thumbs(rules: Path) -> Labeler:
    return RaterLabeler(f"{rules}:rate")


def config(model: Path, **sections: Mapping[str, Any]) -> RunConfig:
    base: dict[str, Any] = {
        "model": {"name": str(model), "dtype": "float32", "lora": {"rank": 4, "alpha": 8.0}},
        "train": {"lr": 1e-2, "batch_size": 4, "checkpoint_every": 1},
        "tokens": {"max_length": 128},
    }
    return make_config(base, sections)


def go(cfg: RunConfig, critic: Labeler, out: Path, *, settings: OnlineSettings = SETTINGS, **given: Any) -> Any:
    given = {"progress": CrashAt(), "prompts": PROMPTS, "held_out": HELD_OUT} | given
    return online(cfg, settings, critic, out=out, **given)


def base_of(round_dir: Path) -> str:
    return json.loads((round_dir / "run" / "model" / "adapter_config.json").read_text())["base_model_name_or_path"]


def tree(folder: Path) -> dict[str, bytes]:
    """The records of an experiment: answers, verdicts, feedback, divergences, the curve, and the adapters."""
    names = ("*.jsonl", "curve.json", "adapter_model.safetensors")
    found = {str(path.relative_to(folder)): path for name in names for path in folder.rglob(name)}
    return {name: path.read_bytes() for name, path in found.items() if "metrics" not in name}


class Noting(CrashAt):
    """A progress that keeps what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def test_what_is_wrong_with_a_round_s_feedback_is_told_before_it_is_learnt(model: Path, tmp_path: Path):
    (tmp_path / "never.py").write_text("def rate(prompt, completion, finished):\n    return False, 'never'\n")
    progress = Noting()
    settings = replace(SETTINGS, rounds=1)
    go(
        config(model),
        RaterLabeler(f"{tmp_path / 'never.py'}:rate"),
        tmp_path / "out",
        settings=settings,
        progress=progress,
    )

    begins, warned, started = progress.notes[:3]
    assert re.search(r"reference: previous, feedback: 0 desirable, \d+ undesirable$", begins)
    assert warned.startswith(
        "warning: all answers to train on are undesirable: the model is only pushed away from them"
    )
    assert "steps of up to" in started


def test_each_round_starts_from_the_one_before_and_keeps_everything(model: Path, thumbs: Labeler, tmp_path: Path):
    points: tuple[CurvePoint, ...] = go(config(model), thumbs, tmp_path / "out")
    one, two = tmp_path / "out" / "round-1", tmp_path / "out" / "round-2"

    assert base_of(one) == str(model)
    assert base_of(two) == str(one / "run" / "model")
    assert [row["id"] for row in rows_of(one / "prompts.jsonl")] == ["p0", "p1", "p2", "p3"]
    assert [row["id"] for row in rows_of(two / "prompts.jsonl")] == ["p4", "p5", "p0", "p1"]
    answers = read_completions(two / "answers.jsonl")
    assert {(a.prompt_id, a.seed) for a in answers} == {(p, s) for p in ("p4", "p5", "p0", "p1") for s in (6, 7, 8)}
    assert {a.model for a in answers} == {"round-1"}
    feedback = rows_of(two / "feedback.jsonl")
    assert {row["id"] for row in feedback} <= {f"{a.prompt_id}/{a.seed}" for a in answers}
    ratings = {(row["prompt_id"], row["seed"]): row["liked"] for row in rows_of(two / "ratings.jsonl")}
    assert all(ratings[row["id"].split("/")[0], int(row["id"].split("/")[1])] == row["label"] for row in feedback)
    # Random bytes rarely end a turn: what was cut off is not trained to end there.
    cut = {f"{a.prompt_id}/{a.seed}" for a in answers if not a.finished}
    assert {row["id"] for row in feedback if row.get("finished") is False} == cut & {row["id"] for row in feedback}
    assert [point.round for point in points] == [0, 1, 2]
    assert points[2].feedback["desirable"] + points[2].feedback["undesirable"] == len(feedback)


def test_the_curve_is_of_records_and_begins_at_zero_divergence(model: Path, thumbs: Labeler, tmp_path: Path):
    points = go(config(model), thumbs, tmp_path / "out")
    curve = json.loads((tmp_path / "out" / "curve.json").read_text())

    assert (points[0].kl.value, points[0].kl.low, points[0].kl.high) == (0, 0, 0)
    assert 0 < points[1].kl.low < points[1].kl.value < points[1].kl.high
    for point, line in zip(points, curve, strict=True):
        place = tmp_path / "out" / f"round-{point.round}" / "held_out"
        liked = [row["liked"] for row in rows_of(place / "ratings.jsonl")]
        nats = [row["nats"] for row in rows_of(place / "kl.jsonl")]
        assert len(liked) == len(nats) == len(HELD_OUT)
        assert point.rating.value == line["rating"]["value"] == pytest.approx(sum(liked) / 5)
        assert point.kl.value == line["kl"]["value"] == pytest.approx(sum(nats) / 5)
        assert point.words.variant == f"round-{point.round}"


def test_the_divergence_is_to_the_very_first_model(model: Path, thumbs: Labeler, tmp_path: Path):
    go(config(model), thumbs, tmp_path / "out")
    place = tmp_path / "out" / "round-2" / "held_out"
    answer = read_completions(place / "answers.jsonl")[0]
    (row,) = (row for row in rows_of(place / "kl.jsonl") if row["prompt_id"] == answer.prompt_id)

    # By hand, from the logits of the two models.
    (encoded,) = make_encoder(byte_tokenizer(), max_length=128).encode(
        [(answer.prompt, answer.completion, ())], finished=[answer.finished]
    )
    ids = torch.tensor([[*encoded.prompt, *encoded.completion]])  # type: ignore[union-attr]
    start = len(encoded.prompt) - 1  # type: ignore[union-attr]
    logs = []
    for name in (str(tmp_path / "out" / "round-2" / "run" / "model"), str(model)):
        loaded = load_model(name, dtype=torch.float32, device="cpu").model
        with torch.no_grad():
            logs.append(loaded(ids).logits[0, start:-1].double().log_softmax(-1))
    expected = (logs[0].exp() * (logs[0] - logs[1])).sum()
    assert row["nats"] == pytest.approx(float(expected), rel=1e-3)


def test_rounds_learn_what_is_liked(model: Path, thumbs: Labeler, tmp_path: Path):
    held_out = {f"h{i}": f"Tell {i}" for i in range(64)}
    prompts = {f"p{i}": f"Say {i}" for i in range(12)}
    decoding = Decoding(max_new_tokens=1, temperature=0.3)
    settings = replace(SETTINGS, per_prompt=8, prompts_per_round=12, decoding=decoding)
    cfg = config(model, train={"lr": 1e-2, "epochs": 2, "batch_size": 12})
    points = go(cfg, thumbs, tmp_path / "out", settings=settings, prompts=prompts, held_out=held_out)

    first, second, third = (point.rating for point in points)
    assert first.high < second.low
    assert second.value < third.value


@pytest.mark.parametrize(("reference", "expected"), [("fixed", "first"), ("previous", "round before")])
def test_the_reference_of_a_round_is_what_was_asked_for(
    reference: Any, expected: str, model: Path, thumbs: Labeler, tmp_path: Path
):
    loss = {"name": "kto-no-reference-point", "beta": 1.0}
    cfg = config(model, loss=loss, train={"lr": 1e-2, "batch_size": 64})
    go(cfg, thumbs, tmp_path / "out", settings=replace(SETTINGS, reference=reference))

    second = tmp_path / "out" / "round-2"
    known = json.loads((second / "round.json").read_text())
    before = str(tmp_path / "out" / "round-1" / "run" / "model")
    assert known["start"] == before
    assert known["reference"] == (str(model) if expected == "first" else before)
    # In the first step the policy still is what it started from: only a reference apart from that is a distance away.
    reward = abs(read_metrics(second / "run" / "metrics.jsonl")[0]["reward/undesirable"])
    assert reward > 0.01 if expected == "first" else reward < 1e-4


@pytest.mark.parametrize(
    "crash",
    [
        {"stage": "round 0: held-out verdicts"},
        {"stage": "round 1: verdicts"},
        {"stage": "loading the model"},
        {"step": 2},
        {"stage": "round 1: held-out answers"},
        {"stage": "round 2: answers"},
        {"stage": "round 2: held-out divergence"},
    ],
    ids=str,
)
def test_rounds_that_were_killed_come_to_the_same_end(
    crash: dict[str, Any], model: Path, thumbs: Labeler, tmp_path: Path, whole: dict[str, bytes]
):
    out = tmp_path / "rounds" / "out"
    with pytest.raises(Crash):
        go(config(model), thumbs, out, progress=CrashAt(**crash))
    go(config(model), thumbs, out)

    found = tree(out)
    assert found.keys() == whole.keys()
    assert [name for name in whole if found[name] != whole[name]] == []


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, model: Path) -> dict[str, bytes]:
    """What rounds leave that nobody killed."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "rules.py").write_text(FIRST_LETTERS)
    go(config(model), RaterLabeler(f"{folder / 'rules.py'}:rate"), folder / "out")
    return tree(folder / "out")


def test_finished_stages_are_not_done_again_and_more_rounds_can_follow(
    model: Path, thumbs: Labeler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    first = go(config(model), thumbs, tmp_path / "out", settings=replace(SETTINGS, rounds=1))
    second = go(config(model), thumbs, tmp_path / "out")
    assert second[:2] == first

    monkeypatch.setattr(stages, "load_model", lambda *_, **__: pytest.fail("a model was loaded"))
    assert go(config(model), thumbs, tmp_path / "out") == second


def test_another_experiment_in_the_folder_is_refused_by_what_differs(
    model: Path, thumbs: Labeler, rules: Path, tmp_path: Path
):
    out = tmp_path / "out"
    with pytest.raises(Crash):
        go(config(model), thumbs, out, progress=CrashAt(stage="round 0: held-out verdicts"))

    with pytest.raises(RunError, match="another configuration; restore the original"):
        go(config(model, train={"lr": 0.5}), thumbs, out)
    with pytest.raises(RunError, match="another per_prompt and reference"):
        go(config(model), thumbs, out, settings=replace(SETTINGS, per_prompt=2, reference="fixed"))
    with pytest.raises(RunError, match="another held-out prompts"):
        go(config(model), thumbs, out, held_out={"h": "x", "i": "y"})
    with pytest.raises(RunError, match="another critic"):
        go(config(model), JudgeLabeler(RuleJudge(rule=f"{rules}:earlier"), 0), out)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("dear")
    with pytest.raises(RunError, match="is not empty and holds no such experiment"):
        go(config(model), thumbs, tmp_path / "full")


@pytest.mark.parametrize("loss", ["kto", "dpo"])
def test_a_judge_that_compares_trains_losses_on_answers_and_on_pairs(
    loss: str, model: Path, rules: Path, tmp_path: Path
):
    critic = JudgeLabeler(RuleJudge(rule=f"{rules}:earlier"), 0)
    points = go(config(model, loss={"name": loss}), critic, tmp_path / "out", settings=replace(SETTINGS, rounds=1))

    assert points[0].rating.value == 0.5
    assert points[1].rating.label == "Win rate against the first model"
    counts = points[1].feedback
    assert (counts["pairs"] > 0) == (loss == "dpo")
    assert (counts["desirable"] > 0 and counts["undesirable"] > 0) == (loss == "kto")


def test_thumbs_train_a_loss_on_pairs(model: Path, thumbs: Labeler, tmp_path: Path):
    points = go(config(model, loss={"name": "dpo"}), thumbs, tmp_path / "out", settings=replace(SETTINGS, rounds=1))

    facts = json.loads((tmp_path / "out" / "round-1" / "run" / "data.json").read_text())
    assert facts["train"]["pairs"] > 0
    assert points[1].kl.value > 0


def test_a_loss_with_control_texts_is_refused(model: Path, thumbs: Labeler, tmp_path: Path):
    with pytest.raises(ConfigError, match="control texts, which would pile up"):
        go(config(model, loss={"name": "csft"}), thumbs, tmp_path / "out")
    assert not (tmp_path / "out").exists()
