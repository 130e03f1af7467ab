"""Learning rates that are tried: how far each moves the answers, and which one is proposed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from haloes.errors import ConfigError, RunError
from haloes.planning import find_rate
from haloes.planning.find_rate import RateSearch, RateTrial, propose_rate
from haloes.planning.plan import make_plan
from haloes.progress.contract import NullProgress
from tiny_runs import config, pairs, save_model, thumbs, write_rows

AUTO = {"lr": "auto", "batch_size": "auto", "epochs": "auto"}


@pytest.fixture
def files(tmp_path: Path) -> Path:
    save_model(tmp_path / "model")
    write_rows(tmp_path / "thumbs.jsonl", thumbs())
    write_rows(tmp_path / "pairs.jsonl", pairs())
    return tmp_path


class Told(NullProgress):
    """What is told of the trials."""

    def __init__(self) -> None:
        self.stages: list[tuple[str, int | None]] = []
        self.notes: list[str] = []
        self.done = 0.0

    def stage(self, name: str, total: int | None = None) -> None:
        self.stages.append((name, total))
        self.done = 0

    def advance(self, count: float) -> None:
        self.done += count

    def note(self, text: str) -> None:
        self.notes.append(text)


def search(
    files: Path, told: Told | None = None, source: str = "thumbs.jsonl", **sections: Mapping[str, Any] | None
) -> RateSearch:
    base: dict[str, Any] = {"train": AUTO, "samples": {"prompts": 0}}
    cfg = config(files / "model", files / source, **{**base, **sections})
    found = make_plan(cfg, find_lr=True, progress=told).rates
    assert found is not None
    return found


def test_a_higher_rate_moves_the_answers_further_and_the_trials_are_counted(files: Path):
    told = Told()
    found = search(files, told, train={**AUTO, "kl_budget": 1e9})

    divergences = [trial.kl or 0.0 for trial in found.tried]
    assert len(divergences) == 5
    assert divergences == sorted(divergences)
    assert divergences[0] > 0
    # The weights start from where they were: twice the rate is about four times the divergence, not more and more.
    assert divergences[1] / divergences[0] == pytest.approx(4, rel=0.5)
    assert found.tried[-1].lr == pytest.approx(16 * found.tried[0].lr, rel=0.1)
    assert found.lr == found.tried[-1].lr
    assert told.stages[-1] == ("trying learning rates", 40)
    assert told.done == 40
    first = found.tried[0]
    assert first.kl is not None
    assert first.interval is not None
    low, high = first.interval
    assert low < first.kl < high
    said = next(note for note in told.notes if note.startswith("train.lr="))
    assert said.endswith(f"KL in nats an answer {first.kl:.3g} ({low:.3g} to {high:.3g})")


def test_the_search_ends_where_the_budget_is_passed(files: Path):
    found = search(files, train={**AUTO, "kl_budget": 1e-6})

    assert len(found.tried) == 1
    assert found.lr < found.tried[0].lr


def test_the_same_search_finds_the_same(files: Path):
    assert search(files) == search(files)


@pytest.mark.parametrize(("loss", "lora"), [("sft", {"rank": 4}), ("sft", None), ("bco", {"rank": 4})])
def test_a_loss_without_a_reference_is_measured_too(loss: str, lora: dict[str, Any] | None, files: Path):
    found = search(files, loss={"name": loss}, model={"lora": lora}, train={**AUTO, "kl_budget": 1e-6})

    assert (found.tried[0].kl or 0) > 0


def test_a_rate_that_comes_to_no_number_ends_the_search(files: Path, monkeypatch: pytest.MonkeyPatch):
    real = find_rate.update

    def fails(*arguments: Any, **named: Any) -> float:
        if arguments[2] > 5e-3:
            raise RunError("the gradient is not finite")
        return real(*arguments, **named)

    monkeypatch.setattr(find_rate, "update", fails)
    found = search(files, train={**AUTO, "lr": 8e-3, "kl_budget": 1e9})

    assert [trial.kl is None for trial in found.tried] == [False, False, True]
    assert found.lr == found.tried[1].lr


def test_where_the_run_does_not_fit_nothing_is_tried_and_that_is_said(files: Path):
    plan = make_plan(config(files / "model", files / "thumbs.jsonl"), find_lr=True, limit=2**20)

    assert plan.rates is None
    assert "no learning rate was tried, since the run does not fit" in plan.warnings


def test_it_is_refused_where_no_divergence_of_answers_can_be_measured(files: Path):
    with pytest.raises(ConfigError, match="a reward model gives none"):
        search(files, source="pairs.jsonl", loss={"name": "bradley-terry"})
    with pytest.raises(ConfigError, match="leave one of them out"):
        search(files, model={"reference": str(files / "model")})


@pytest.mark.parametrize(
    ("tried", "lr"),
    [
        ([(1e-5, 0.1), (2e-5, 0.4), (4e-5, 1.6)], 3.2e-5),  # sqrt(1 / 0.4) times 2e-5
        ([(1e-5, 0.1), (2e-5, 0.4)], 2e-5),
        ([(1e-5, 4.0)], 5e-6),
        ([(1e-5, 0.1), (2e-5, None)], 1e-5),
        ([(1e-5, None)], 2.5e-6),
        ([(1e-5, 0.0), (2e-5, 2.0)], 1e-5),
    ],
)
def test_the_rate_that_is_proposed_is_the_one_of_the_budget(tried: list[tuple[float, float | None]], lr: float):
    found, why = propose_rate([RateTrial(*trial) for trial in tried], 1.0)

    assert found == pytest.approx(lr)
    assert why
