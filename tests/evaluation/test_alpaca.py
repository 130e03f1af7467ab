"""AlpacaEval's table from its files, as published."""

import os
from pathlib import Path

import pytest

from haloes.errors import ConfigError, DataError
from haloes.evaluation.alpaca import ALPACA_EVAL_2, alpaca_eval, read_weights
from haloes.store import read_jsonl, write_jsonl

DATA = Path(os.environ.get("HALOES_DATA_DIR", Path(__file__).parents[2].parent / "shared" / "data"))
REFERENCE = DATA / "alpaca_eval_reference"


def write_preferences(
    path: Path, generator: str, preferences: list[float], *, annotator: str = "a", every: int = 1000
) -> Path:
    """Write a model's preferences; its answers get longer up to each `every`-th instruction, and then start again."""
    rows = [
        {"annotator": annotator, "generator": generator, "instruction_id": f"i{i}", "preference": p}
        | {"len_output": 10 * (i % every), "len_baseline": 35}
        for i, p in enumerate(preferences)
    ]
    write_jsonl(path, rows)
    return path


@pytest.mark.skipif(not REFERENCE.is_dir(), reason=f"no published AlpacaEval data in {REFERENCE}")
def test_published_numbers_come_out_of_two_published_models(tmp_path: Path):
    chosen = {"claude", "minotaur-13b"}
    rows = [
        row
        for _, row in read_jsonl(REFERENCE / "preferences.jsonl.gz")
        if row["generator"] in chosen and row["annotator"] == ALPACA_EVAL_2
    ]
    files = []
    for name in chosen:
        files.append(tmp_path / f"{name}.jsonl")
        write_jsonl(files[-1], (row for row in rows if row["generator"] == name))
    published = {
        row["generator"]: row
        for _, row in read_jsonl(REFERENCE / "leaderboard.jsonl")
        if row["annotator"] == ALPACA_EVAL_2
    }
    found = alpaca_eval(files, read_weights(REFERENCE / "lc_weights.jsonl", None))

    assert [row.generator for row in found.rows] == ["claude", "minotaur-13b"]
    for row in found.rows:
        known = published[row.generator]
        assert row.leaderboard.win_rate == pytest.approx(known["win_rate"], abs=1e-6)
        assert row.leaderboard.standard_error == pytest.approx(known["standard_error"], abs=1e-6)
        assert row.length_controlled == pytest.approx(known["length_controlled_winrate"], abs=0.02)
    (difference,) = found.differences
    assert {difference.model, difference.other} == chosen


def test_two_files_are_a_table_best_first_with_their_difference(tmp_path: Path):
    low = write_preferences(tmp_path / "low.jsonl", "low", [1, 1, 1, 2, 1, 1.5])
    high = write_preferences(tmp_path / "high.jsonl", "high", [2, 2, 1, 2, 2, 1.5])
    found = alpaca_eval([low, high], None)

    assert [(row.generator, round(row.leaderboard.win_rate, 6)) for row in found.rows] == [("high", 75), ("low", 25)]
    assert [row.average_length for row in found.rows] == [25, 25]
    assert all(0 < row.fitted.low < row.fitted.high < 1 for row in found.rows)
    (difference,) = found.differences
    assert (difference.model, difference.score.value) == ("low", -0.5)


def test_weights_are_for_the_annotator_that_they_were_fitted_to(tmp_path: Path):
    weights = tmp_path / "w.jsonl"
    write_jsonl(weights, [{"generator": "m", "theta": 0.0, "psi_difficulty": 1.0}])
    write_jsonl(tmp_path / "d.jsonl", [{"instruction_id": "i0", "difficulty": d} for d in (0.0,)])
    read = read_weights(weights, tmp_path / "d.jsonl")
    files = [
        write_preferences(tmp_path / "one.jsonl", "m", [1, 2], annotator=ALPACA_EVAL_2),
        write_preferences(tmp_path / "two.jsonl", "m", [1, 2], annotator="alpaca_eval_gpt4"),
    ]
    found = {row.annotator: row for row in alpaca_eval(files, read).rows}

    assert found[ALPACA_EVAL_2].length_controlled == 50
    assert found["alpaca_eval_gpt4"].length_controlled is None
    assert found[ALPACA_EVAL_2].fitted is None


def test_what_is_missing_is_said(tmp_path: Path):
    weights = tmp_path / "w.jsonl"
    write_jsonl(weights, [{"generator": "m", "theta": "x", "psi_difficulty": 1.0}])
    with pytest.raises(ConfigError, match=r"instruction_difficulty\.jsonl does not exist; --difficulties"):
        read_weights(weights, None)
    write_jsonl(tmp_path / "instruction_difficulty.jsonl", [{"instruction_id": "i", "difficulty": 0}])
    with pytest.raises(DataError, match=r"w\.jsonl:1: theta must be a number, got 'x'"):
        read_weights(weights, None)
    empty = tmp_path / "e.jsonl"
    write_jsonl(empty, [{"generator": "m", "preference": None}])
    with pytest.raises(DataError, match="there is no preference in it"):
        alpaca_eval([empty], None)


def test_difficulties_come_from_all_models_together_or_from_a_file(tmp_path: Path):
    files = [
        write_preferences(tmp_path / "low.jsonl", "low", [1, 1, 1, 2, 1, 1.5] * 10, every=7),
        write_preferences(tmp_path / "high.jsonl", "high", [2, 2, 1, 2, 2, 1.5] * 10, every=4),
        write_preferences(tmp_path / "baseline.jsonl", "baseline", [1.5] * 60),
    ]
    together = {row.generator: row for row in alpaca_eval(files, None).rows}
    assert together["low"].fitted_with_difficulty
    assert "fitted to 2 systems" in together["low"].fitted.method
    # The baseline against itself says nothing of what is difficult.
    assert together["baseline"].fitted is None
    (alone,) = alpaca_eval(files[:1], None).rows
    assert not alone.fitted_with_difficulty

    alike = [
        write_preferences(tmp_path / f"{name}.jsonl", name, [1, 2, 1.5] * 20, every=7) for name in ("one", "other")
    ]
    assert not any(row.fitted_with_difficulty for row in alpaca_eval(alike, None).rows)

    known = {f"i{i}": float(i) for i in range(60)}
    given = {row.generator: row for row in alpaca_eval(files, None, difficulties=known).rows}
    assert given["low"].fitted_with_difficulty
    assert "systems" not in given["low"].fitted.method
    with pytest.raises(DataError, match="--difficulties: there is none of instruction 'i5'"):
        alpaca_eval(files, None, difficulties={name: 0.0 for name in known if name != "i5"})


@pytest.mark.skipif(not REFERENCE.is_dir(), reason=f"no published AlpacaEval data in {REFERENCE}")
def test_without_difficulties_many_published_models_together_come_near_to_the_published_rates(tmp_path: Path):
    rows = [row for _, row in read_jsonl(REFERENCE / "preferences.jsonl.gz") if row["annotator"] == ALPACA_EVAL_2]
    write_jsonl(tmp_path / "all.jsonl", rows)
    published = {
        row["generator"]: row["length_controlled_winrate"]
        for _, row in read_jsonl(REFERENCE / "leaderboard.jsonl")
        if row["annotator"] == ALPACA_EVAL_2
    }
    found = {row.generator: row.fitted for row in alpaca_eval([tmp_path / "all.jsonl"], None).rows}
    errors = [100 * score.value - published[name] for name, score in found.items() if score and published.get(name)]
    assert len(errors) > 15
    # All a little below: AlpacaEval shrinks difficulties, and length takes what that leaves.
    assert -3 < sum(errors) / len(errors) < 0
    assert max(errors) < 0.5
