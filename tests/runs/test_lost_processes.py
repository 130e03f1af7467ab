"""One of two processes that share the weights fails or is killed outside of the steps: both end with one line."""

import json
from pathlib import Path

import pytest

import lost_ranks_script
from lost_ranks_script import CASES
from started_scripts import carry_out

FAILURES = [name for name in CASES if "fails" in name]
KILLS = [name for name in CASES if "killed" in name]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the runs are."""
    return carry_out(lost_ranks_script, tmp_path_factory.mktemp("lost ranks"), seconds=900)


def codes(name: str, folder: Path) -> list[int]:
    """The exit codes of the processes."""
    found: dict[str, list[int]] = json.loads((folder / "codes.json").read_text())
    return found[name]


def line(name: str, folder: Path) -> str:
    """The one line that they end with."""
    said = (folder / f"{name}.txt").read_text()
    assert "Traceback" not in said, said
    (found,) = (each for each in said.splitlines() if each.startswith("haloes: "))
    return found


@pytest.mark.parametrize("name", FAILURES)
def test_who_fails_in_a_layer_that_all_walk_through_together_ends_all_with_its_message(name: str, folder: Path):
    assert codes(name, folder) == [2, 2]
    said = line(name, folder)
    assert "LlamaForCausalLM failed while it answered or was measured" in said
    assert "(RuntimeError: no such kernel): set train.shard=off" in said


def test_who_has_no_memory_to_answer_ends_all_and_says_what_to_set(folder: Path):
    assert codes("has no memory to answer", folder) == [2, 2]
    assert "out of memory while the model was loaded, answered or was measured" in line(
        "has no memory to answer", folder
    )


@pytest.mark.parametrize("name", KILLS)
def test_the_others_of_one_that_is_killed_say_so_and_how_to_go_on(name: str, folder: Path):
    assert codes(name, folder) == [2, -9]
    said = line(name, folder)
    assert "another of the 2 processes was killed, or cannot be reached any more" in said
    begun = (folder / name / "metrics.jsonl").exists()
    go_on = f"haloes resume {folder / name}" if begun else "before the first step, and the same command starts anew"
    assert go_on in said


def test_some_are_killed_before_the_first_step_and_some_after_it(folder: Path):
    begun = [name for name in KILLS if (folder / name / "metrics.jsonl").exists()]

    assert begun == ["killed while it validates", "killed while the model is saved", KILLS[-1]]
