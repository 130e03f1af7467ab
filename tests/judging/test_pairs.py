"""Which answers are compared."""

from pathlib import Path
from typing import Any

import pytest

from haloes.errors import ConfigError, DataError
from haloes.judging.pairs import first_prompts, pair_answers, read_pairs
from haloes.records import Completion
from tiny_runs import write_rows


def row(prompt_id: str, model: str, text: str = "", **fields: Any) -> dict[str, Any]:
    known = {"prompt_id": prompt_id, "prompt": f"Prompt {prompt_id}", "completion": text or f"{model} {prompt_id}"}
    return known | {"model": model, "num_tokens": 3, "finished": True} | fields


def answer(prompt_id: str, model: str, text: str = "", **fields: Any) -> Completion:
    return Completion(**row(prompt_id, model, text, **fields))


def test_a_run_is_compared_after_against_before(tmp_path: Path):
    write_rows(tmp_path / "samples.jsonl", [row(p, m) for m in ("before", "after") for p in "ab"])
    paired = read_pairs(tmp_path)

    assert (paired.candidate, paired.baseline, paired.left_over) == ("after", "before", 0)
    found = [(pair.candidate.completion, pair.baseline.completion) for pair in paired.pairs]
    assert found == [("after a", "before a"), ("after b", "before b")]


def test_two_files_are_joined_on_the_prompts(tmp_path: Path):
    one = write_rows(tmp_path / "one.jsonl", [row("b", "x"), row("a", "x"), row("c", "x")])
    two = write_rows(tmp_path / "two.jsonl", [row("a", "y"), row("b", "y"), row("d", "y")])
    paired = read_pairs(one, two)

    assert (paired.candidate, paired.baseline) == ("x", "y")
    assert [pair.prompt_id for pair in paired.pairs] == ["b", "a"]
    assert all(pair.candidate.prompt_id == pair.baseline.prompt_id for pair in paired.pairs)
    assert paired.left_over == 2


def test_two_runs_are_compared_after_training_under_their_own_names(tmp_path: Path):
    for name in ("kto", "dpo"):
        (tmp_path / name).mkdir()
        write_rows(tmp_path / name / "samples.jsonl", [row("a", "before"), row("a", "after", f"after {name}")])
    paired = read_pairs(tmp_path / "kto", tmp_path / "dpo")

    assert (paired.candidate, paired.baseline) == ("kto", "dpo")
    assert [pair.candidate.completion for pair in paired.pairs] == ["after kto"]


def test_models_of_one_name_in_files_of_one_name_go_by_their_paths(tmp_path: Path):
    for name in ("kto", "dpo"):
        (tmp_path / name).mkdir()
        write_rows(tmp_path / name / "answers.jsonl", [row("a", "m", name)])
    paired = read_pairs(tmp_path / "kto" / "answers.jsonl", tmp_path / "dpo" / "answers.jsonl")

    assert paired.candidate == str(tmp_path / "kto" / "answers.jsonl")


def test_models_can_be_named(tmp_path: Path):
    write_rows(tmp_path / "all.jsonl", [row("a", m) for m in ("x", "y", "z")])
    paired = read_pairs(tmp_path / "all.jsonl", candidate="z", baseline="x")

    assert (paired.candidate, paired.baseline) == ("z", "x")
    write_rows(tmp_path / "two.jsonl", [row("a", m) for m in ("x", "y")])
    assert read_pairs(tmp_path / "two.jsonl", baseline="y").candidate == "x"
    assert read_pairs(tmp_path / "two.jsonl", candidate="y").baseline == "x"


@pytest.mark.parametrize(
    ("models", "names", "fault"),
    [
        (["x", "y"], {}, "has answers of x, y; give a second file"),
        (["x"], {}, "has answers of x; give a second file"),
        (["x", "y", "z"], {"candidate": "x"}, "which two of them"),
        (["x", "y"], {"candidate": "q", "baseline": "x"}, "no answers of 'q'; it has those of x, y"),
    ],
)
def test_where_it_is_not_plain_who_is_meant_it_is_asked(
    models: list[str], names: dict[str, str], fault: str, tmp_path: Path
):
    write_rows(tmp_path / "all.jsonl", [row("a", model) for model in models])

    with pytest.raises(DataError, match=fault):
        read_pairs(tmp_path / "all.jsonl", **names)


def test_a_second_file_with_several_models_must_say_which(tmp_path: Path):
    one = write_rows(tmp_path / "one.jsonl", [row("a", "x")])
    two = write_rows(tmp_path / "two.jsonl", [row("a", "y"), row("a", "z")])

    with pytest.raises(DataError, match="say which are meant: --baseline"):
        read_pairs(one, two)
    assert read_pairs(one, two, baseline="z").baseline == "z"


def test_several_answers_are_paired_by_their_seeds():
    mine = [answer("a", "x", f"x{seed}", seed=seed) for seed in (2, 0, 1)]
    theirs = [answer("a", "y", f"y{seed}", seed=seed) for seed in (10, 11)]
    paired = pair_answers(mine, theirs)

    found = [(pair.draw, pair.candidate.completion, pair.baseline.completion) for pair in paired.pairs]
    assert found == [(0, "x0", "y10"), (1, "x1", "y11")]
    assert paired.left_over == 1
    assert paired.num_prompts == 1


def test_answers_without_seeds_are_paired_in_their_order():
    paired = pair_answers([answer("a", "x", t) for t in "12"], [answer("a", "y", t) for t in "34"])

    assert [(pair.candidate.completion, pair.baseline.completion) for pair in paired.pairs] == [("1", "3"), ("2", "4")]


def test_an_id_that_means_two_prompts_is_refused():
    with pytest.raises(DataError, match="prompt 'a' is not the same text"):
        pair_answers([answer("a", "x")], [answer("a", "y", prompt="Another")])


def test_nothing_in_common_is_refused():
    with pytest.raises(DataError, match=r"no prompt is answered by both models \(1 prompts on one side, 2"):
        pair_answers([answer("a", "x")], [answer("b", "y"), answer("c", "y")])


def test_the_first_prompts_keep_all_their_answers():
    paired = pair_answers([answer(p, "x") for p in "aab"], [answer(p, "y") for p in "aab"])

    assert [pair.prompt_id for pair in first_prompts(paired, 1).pairs] == ["a", "a"]
    assert first_prompts(paired, 9).pairs == paired.pairs
    assert first_prompts(paired, None) == paired
    with pytest.raises(ConfigError, match="--most"):
        first_prompts(paired, 0)
