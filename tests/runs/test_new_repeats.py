"""After training the answers are asked for: where they go in circles part of the change is taken back."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from haloes.progress.contract import NullProgress
from haloes.records import Completion
from haloes.report.load import load_run
from haloes.runs import new_repeats
from haloes.runs.align import align
from haloes.runs.new_repeats import NewRepeats
from haloes.stats.text_stats import repeats_itself
from tiny_runs import config, rows_of, save_model, warnings_of, write_rows

SOUND, ROUND = "It floats.", "no no no no"
FOUR = ["a", "b", "c", "d"]


def answers(texts: Mapping[str, str], model: str = "after") -> list[Completion]:
    return [
        Completion(prompt_id=name, prompt="Why?", completion=text, model=model, num_tokens=4, finished=True)
        for name, text in texts.items()
    ]


class Asked:
    """A policy that answers these prompts in circles, other ones each time that it is asked; it notes what it was."""

    def __init__(self, patch: pytest.MonkeyPatch, *in_circles: Sequence[str]) -> None:
        self.left, self.asked = list(in_circles), []
        self.kept: list[str] | None = None
        patch.setattr(new_repeats, "answer_again", self.answer)
        patch.setattr(new_repeats, "keep_answers", self.keep)

    def answer(self, context: Any, variant: str, prompts: Mapping[str, Any]) -> list[Completion]:
        self.asked.append("".join(prompts))
        bad = self.left.pop(0)
        return answers({name: ROUND if name in bad else SOUND for name in prompts})

    def keep(self, context: Any, variant: str, found: Sequence[Completion]) -> None:
        self.kept = [answer.completion for answer in found]


class Notes(NullProgress):
    def __init__(self) -> None:
        self.texts: list[str] = []

    def note(self, text: str) -> None:
        self.texts.append(text)


def repeats(budget: float = 0.0, *, before: Sequence[str] = (), notes: Notes | None = None) -> NewRepeats:
    """What asks four prompts, of which these were answered in circles before training."""
    inputs = SimpleNamespace(prompts=dict.fromkeys(FOUR, "Why?"))
    context: Any = SimpleNamespace(inputs=inputs, run_dir=Path("runs/1"), progress=notes or NullProgress())
    said = {name: ROUND if name in before else SOUND for name in FOUR}
    return NewRepeats(context, answers(said, "before"), budget)


def test_sound_answers_are_asked_for_once_and_kept(monkeypatch: pytest.MonkeyPatch):
    policy, found, notes = Asked(monkeypatch, []), None, Notes()
    found = repeats(notes=notes)

    assert not found()
    assert policy.asked == ["abcd"]
    assert policy.kept == [SOUND] * 4
    assert (found.told(1.0), notes.texts) == ([], [])


def test_those_that_went_in_circles_are_asked_first_and_the_others_only_where_they_pass(
    monkeypatch: pytest.MonkeyPatch,
):
    # All of the change: b fails. Then b alone again, and alone it passes but d fails. Then d passes, and so do all.
    policy, notes = Asked(monkeypatch, ["b"], ["b"], [], ["d"], [], []), Notes()
    found = repeats(notes=notes)

    assert [found(), found(), found(), found()] == [True, True, True, False]
    assert policy.asked == ["abcd", "b", "b", "abcd", "d", "abcd"]
    assert policy.kept == [SOUND] * 4
    assert notes.texts == [
        "1 of 4 answers go in circles that did not before training: less of what training changed is tried"
    ]


def test_where_no_part_of_the_change_is_better_the_answers_with_all_of_it_are_kept(monkeypatch: pytest.MonkeyPatch):
    policy = Asked(monkeypatch, ["b"], ["b"], ["b"])
    found = repeats(before=["a"])

    assert [found(), found(), found()] == [True, True, True]
    assert policy.kept == [SOUND, ROUND, SOUND, SOUND]
    [said] = found.told(1.0)
    assert "1 of 4 answers to held-out prompts go in circles that did not before (train.repeats_budget=0)" in said
    assert (
        "; before training 1 did, and so they do, these or others, with any part of it, so that it was all kept" in said
    )


def test_an_answer_that_went_in_circles_before_training_does_not_count(monkeypatch: pytest.MonkeyPatch):
    Asked(monkeypatch, ["b"])

    assert not repeats(before=["b"])()


@pytest.mark.parametrize(("budget", "too_many"), [(0.2, True), (0.25, False), (0.3, False)])
def test_the_budget_is_a_share_of_the_answers(budget: float, too_many: bool, monkeypatch: pytest.MonkeyPatch):
    Asked(monkeypatch, ["b"])

    assert repeats(budget)() == too_many


@pytest.mark.parametrize(
    ("kept", "text"),
    [
        (0.625, "so the model has 62% of the change, with which no more than that do"),
        (1.0, "and so they do, these or others, with any part of it, so that it was all kept: read them"),
    ],
)
def test_what_was_taken_back_is_told_with_the_reason(kept: float, text: str, monkeypatch: pytest.MonkeyPatch):
    Asked(monkeypatch, ["b", "c"])
    found = repeats()
    found()

    [said] = found.told(kept)
    assert said.startswith("with all that training changed 2 of 4 answers to held-out prompts go in circles")
    assert text in said
    assert ("haloes resume --set train.repeats_budget=null runs/1" in said) == (kept < 1)


# --- whole runs of a tiny model that learns to go in circles


@pytest.fixture(scope="module")
def circles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("circles")
    rows = [{"prompt": f"Is {i} it?", "completion": "no no no no", "label": True} for i in range(16)]
    return {"model": save_model(folder / "model"), "rows": write_rows(folder / "rows.jsonl", rows)}


Adapters = dict[str, float] | None
ADAPTERS, ALL = {"rank": 4, "alpha": 8.0}, None


def run(
    circles: dict[str, Path],
    run_dir: Path,
    budget: float | None,
    *,
    lora: Adapters = ADAPTERS,
    **how: Any,
) -> Any:
    cfg = config(
        circles["model"],
        circles["rows"],
        model={"lora": lora},
        loss={"name": "sft"},
        train={
            "lr": 3e-2 if lora else 3e-3,
            "epochs": 12.0,
            "repeats_budget": budget,
            "microbatch_tokens": 512,
            "checkpoint_every": 50,
        },
        samples={"max_new_tokens": 12},
    )
    return align(cfg, run_dir, **how)


def in_circles(run_dir: Path) -> dict[str, bool]:
    found = {"before": False, "after": False}
    for row in rows_of(run_dir / "samples.jsonl"):
        found[row["model"]] |= repeats_itself(row["completion"])
    return found


@pytest.mark.parametrize(
    ("lora", "weights"), [(ADAPTERS, "adapter_model"), (ALL, "model")], ids=["adapters", "all weights"]
)
def test_a_run_whose_answers_go_in_circles_takes_back_what_it_must_and_says_so(
    circles: dict[str, Path], tmp_path: Path, lora: Adapters, weights: str
):
    all_of_it = run(circles, tmp_path / "all", None, lora=lora)
    part = run(circles, tmp_path / "part", 0.0, lora=lora)

    assert in_circles(tmp_path / "all") == {"before": False, "after": True}
    assert in_circles(tmp_path / "part") == {"before": False, "after": False}
    [kept] = [score.value for score in part.scores if score.name == "kept_share"]
    assert 0 < kept < 1
    assert not [score for score in all_of_it.scores if score.name == "kept_share"]
    assert f"so the model has {kept:.0%} of the change" in warnings_of(tmp_path / "part")
    assert "go in circles" not in warnings_of(tmp_path / "all")
    assert any(score.name == "kept_share" for score in load_run(tmp_path / "part").scores)
    assert f"{kept:.0%}" in (tmp_path / "part" / "report.html").read_text()

    # As the warning says: all of the change, and the answers of the model that has it.
    run(circles, tmp_path / "part", None, lora=lora, resume=True)
    for name in ("samples.jsonl", f"model/{weights}.safetensors"):
        assert (tmp_path / "part" / name).read_bytes() == (tmp_path / "all" / name).read_bytes()
