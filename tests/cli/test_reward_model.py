"""A reward model as a user makes and uses one: trained, exported, asked to judge; and what is refused."""

from pathlib import Path
from typing import Any

import pytest

from haloes.cli.main import run
from tiny_runs import flags, pairs, rows_of, save_model, thumbs, write_rows

Captured = pytest.CaptureFixture[str]


def answers(model: str, word: str, count: int = 6) -> list[dict[str, Any]]:
    return [
        {"prompt_id": f"p{i}", "prompt": f"Is {i} it?", "completion": f"{word} {word} {i}", "model": model}
        for i in range(count)
    ]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reward")
    model = save_model(folder / "model", seed=1)
    source = write_rows(folder / "pairs.jsonl", pairs(24))
    settings = flags(model, train__epochs="3")
    assert run(["train", str(source), "--loss", "bradley-terry", "--out", str(folder / "run"), *settings]) == 0
    return folder


def test_it_is_trained_and_says_what_it_can(trained: Path, tmp_path: Path, capsys: Captured):
    settings = flags(trained / "model", train__epochs="3")
    assert run(["train", str(trained / "pairs.jsonl"), "--loss", "bradley-terry", "--out", "mine", *settings]) == 0
    out = capsys.readouterr().out

    assert "The reward model ranks unseen answers as people did" in out
    assert "Held-out pairs ranked as people did" in out
    assert "The reward model is in mine/model. Let it judge: haloes judge ANSWERS --judge reward --model mine" in out
    assert "Missing from the run folder" not in out


@pytest.mark.parametrize("name", ["reward", "reward-model"])
def test_a_run_and_an_exported_folder_judge_answers_alike(trained: Path, name: str, capsys: Captured):
    write_rows(Path("good.jsonl"), answers("good", "yes"))
    write_rows(Path("bad.jsonl"), answers("bad", "no"))
    assert run(["export", str(trained / "run"), "exported"]) == 0
    found = []
    for number, model in enumerate((str(trained / "run"), "exported")):
        arguments = ["judge", "good.jsonl", "bad.jsonl", "--judge", name, "--model", model, "--out", f"{number}.jsonl"]
        assert run(arguments) == 0
        found.append([(row["verdict"], row["preference"], row["reply"]) for row in rows_of(Path(f"{number}.jsonl"))])

    assert "6 wins, 0 ties, 0 losses, 0 unscored" in capsys.readouterr().out
    assert found[0] == found[1]
    assert len(found[0]) == 12


def test_it_answers_nothing(trained: Path, capsys: Captured):
    assert run(["sample", str(trained / "run"), "everyday", "--out", "answers.jsonl"]) == 2
    assert (
        "this is a reward model (a sequence classifier), which scores answers and gives none" in capsys.readouterr().err
    )
    assert not Path("answers.jsonl").exists()


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        (["--set", "loss.margin=-1"], "margin must be a finite number of at least 0, got -1"),
        (["--set", "loss.centre=1"], 'bradley-terry has no hyperparameter "centre". Did you mean "center"?'),
        (["--set", "loss.margin=1"], "give each pair a margin, or chosen_score and rejected_score"),
        (["--set", "samples.rater=haloes.recipes.demo.rule:rate"], "a reward model gives none"),
        (["--set", "train.keep_best=acuracy"], "no number 'acuracy'"),
    ],
)
def test_what_cannot_be_is_refused_and_leaves_nothing(trained: Path, settings: list[str], fault: str, capsys: Captured):
    arguments = ["train", str(trained / "pairs.jsonl"), "--loss", "bradley-terry", "--out", "no"]
    assert run([*arguments, *flags(trained / "model"), *settings]) == 2

    assert fault in " ".join(capsys.readouterr().err.split())
    assert not (Path("no") / "model").exists()


def test_single_answers_of_one_label_make_no_pairs(trained: Path, capsys: Captured):
    source = write_rows(Path("good.jsonl"), [row for row in thumbs() if row["label"]])

    assert run(["train", str(source), "--loss", "bradley-terry", "--out", "no", *flags(trained / "model")]) == 2
    assert "no row can be used" in capsys.readouterr().err
    assert not Path("no").exists()
