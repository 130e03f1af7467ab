"""Controlled sentiment on the tiny model: from openings and reviews to points, stopped and gone on with."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from haloes.errors import DataError, Interrupted, RunError
from haloes.recipes.reproduce.scorer import fit_scorer, read_reviews
from haloes.recipes.reproduce.sentiment import Sentiment, SentimentSizes, openings, sentiment
from haloes.recipes.reproduce.trials import experiment_config
from haloes.runs.config import RunConfig
from haloes.sampling.run import read_completions
from tiny_runs import rows_of, save_model, write_rows

SIZES = SentimentSizes(prompts=8, per_prompt=4, test_prompts=6, max_new_tokens=6)
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789!?"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sentiment")
    for name, count in (("train", 10), ("test", 7)):
        write_rows(folder / f"{name}.jsonl", [{"id": f"{name}{i}", "prompt": f"{name} film {i}"} for i in range(count)])
    # A tiny model writes letters at random: half of them are praise.
    reviews = [{"text": one, "label": i % 2 == 0} for i, one in enumerate(LETTERS)]
    write_rows(folder / "reviews.jsonl", reviews * 2)
    save_model(folder / "model", seed=1)
    return folder


def config(place: Path) -> RunConfig:
    tiny: dict[str, Any] = {
        "model": {"name": str(place / "model"), "lora": {"rank": 4, "layers": None}, "dtype": "float32"}
    }
    return experiment_config(str(place / "train.jsonl"), tiny, {"train": {"batch_size": 8}})


def go(
    place: Path, folder: Path, *, sizes: SentimentSizes = SIZES, stop: Callable[[], bool] = lambda: False, **given: Any
) -> Sentiment:
    asked = openings(place / "train.jsonl", place / "test.jsonl", sizes, wording="Go on: {}")
    known = {"lrs": [1e-2], "betas": [0.1], "reviews": [place / "reviews.jsonl"]} | given
    return sentiment(
        config(place),
        folder,
        test_reviews=[place / "reviews.jsonl"],
        asked=asked,
        sizes=sizes,
        stop=stop,
        on_run=lambda name, done, total: None,
        **known,
    )


def test_every_method_gets_a_point_and_everything_is_kept(place: Path, tmp_path: Path):
    found = go(place, tmp_path / "out", seeds=[0, 1])

    assert [p.name for p in found.points] == [
        "before",
        "kto(beta=0.1) lr=0.01",
        "dpo(beta=0.1) lr=0.01",
        "sft() lr=0.01",
    ]
    assert found.points[0].kl.value == 0
    assert all(p.kl.low > 0 for p in found.points[1:])
    assert all((p.liked.num_rows, p.liked.num_clusters) == (12, 6) for p in found.points)
    assert found.points[0].on_frontier
    rows = rows_of(tmp_path / "out" / "feedback.jsonl")
    assert (found.rated, found.liked) == (len(rows), sum(row["label"] for row in rows))
    assert rows[0]["prompt"].startswith("Go on: train film ")
    saved = json.loads((tmp_path / "out" / "sentiment.json").read_text())
    assert [p["name"] for p in saved["points"]] == [p.name for p in found.points]


def test_thumbs_are_the_scorers_verdicts_and_cut_answers_stay_open(place: Path, tmp_path: Path):
    go(place, tmp_path / "out", methods=["sft"])
    scorer = fit_scorer(read_reviews([place / "reviews.jsonl"]))
    answers = {f"{a.prompt_id}/{a.seed}": a for a in read_completions(tmp_path / "out" / "answers.jsonl")}

    for row in rows_of(tmp_path / "out" / "feedback.jsonl"):
        (chance,) = scorer([row["completion"]])
        assert row["label"] == (chance > 0.5)
        assert row.get("finished", True) == answers[row["id"]].finished
    (run,) = rows_of(tmp_path / "out" / "runs.jsonl")
    kept = read_completions(tmp_path / "out" / "runs" / run["trial"] / "answers.jsonl")
    measured = dict(zip(run["finding"]["prompt_id"], run["finding"]["positive"], strict=True))
    assert {a.prompt_id: pytest.approx(float(scorer([a.completion])[0])) for a in kept} == measured


@pytest.mark.parametrize("after", [0, 10, 40, 47])
def test_an_experiment_that_was_stopped_comes_to_the_same_end(
    after: int, place: Path, tmp_path: Path, whole: Sentiment
):
    asked = iter(range(1000))
    with pytest.raises(Interrupted):
        go(place, tmp_path / "out", stop=lambda: next(asked) >= after)

    assert go(place, tmp_path / "out") == whole


@pytest.fixture(scope="module")
def whole(place: Path, tmp_path_factory: pytest.TempPathFactory) -> Sentiment:
    return go(place, tmp_path_factory.mktemp("whole") / "out")


def test_what_is_there_is_not_done_again(place: Path, tmp_path: Path, whole: Sentiment):
    go(place, tmp_path / "out", methods=["kto"])
    assert go(place, tmp_path / "out") == whole
    lines = rows_of(tmp_path / "out" / "runs.jsonl")

    assert go(place, tmp_path / "out") == whole
    assert rows_of(tmp_path / "out" / "runs.jsonl") == lines
    assert len(lines) == 3


def test_continuations_of_other_settings_are_not_taken(place: Path, tmp_path: Path):
    go(place, tmp_path / "out", methods=["sft"])
    other = write_rows(tmp_path / "other.jsonl", [{"text": "a b", "label": True}, {"text": "c d", "label": False}])

    with pytest.raises(RunError, match="started with another max_new_tokens"):
        go(place, tmp_path / "out", sizes=SentimentSizes(prompts=8, per_prompt=4, test_prompts=6, max_new_tokens=7))
    with pytest.raises(RunError, match="started with another reviews"):
        go(place, tmp_path / "out", reviews=[other])


def test_a_scorer_that_likes_all_or_nothing_is_refused(place: Path, tmp_path: Path):
    reviews = [{"text": "x y", "label": True}] * 9 + [{"text": "never seen", "label": False}] * 2
    other = write_rows(tmp_path / "other.jsonl", reviews)

    with pytest.raises(DataError, match=r"the scorer likes \d+ of \d+ continuations"):
        go(place, tmp_path / "out", reviews=[other])


def test_openings_are_worded_drawn_and_kept_apart(place: Path, tmp_path: Path):
    found = openings(place / "train.jsonl", place / "test.jsonl", SIZES, wording="Go on: {}")
    assert (len(found.train), len(found.test)) == (8, 6)
    assert all(str(text).startswith("Go on: train film") for text in found.train.values())

    with pytest.raises(DataError, match="the opening 'train film 0' is also in"):
        openings(
            place / "train.jsonl", place / "train.jsonl", SentimentSizes(prompts=10, test_prompts=10), wording="{}"
        )
    with pytest.raises(DataError, match=r"has no \{\} where the opening goes"):
        openings(place / "train.jsonl", place / "test.jsonl", SIZES, wording="Go on")
