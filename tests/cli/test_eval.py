"""`haloes eval`: from records on disk to numbers, printed and kept."""

import json
from pathlib import Path
from typing import Any

import pytest

from haloes.cli.main import run
from tiny_runs import flags, rows_of, write_rows

Captured = pytest.CaptureFixture[str]


def answers(model: str, texts: list[str]) -> list[dict[str, Any]]:
    return [
        {"prompt_id": f"p{i}", "prompt": f"Q {i}", "completion": text, "model": model, "num_tokens": 3}
        for i, text in enumerate(texts)
    ]


@pytest.fixture(autouse=True)
def _files() -> None:
    write_rows(Path("kto.jsonl"), answers("kto", [f"a long answer {'x' * i}" for i in range(8)]))
    write_rows(Path("sft.jsonl"), answers("sft", [f"short {'x' * (3 * i % 20)}" for i in range(8)]))
    Path("rules.py").write_text(
        "def longer(prompt, first, second):\n"
        "    return 'first' if len(first) > len(second) else 'second'\n"
        "def first(prompt, first, second):\n"
        "    return 'first'\n"
    )


def judge(one: str, other: str, rule: str, *arguments: str) -> None:
    assert run(["judge", one, other, "--judge", "rule", "--rule", f"rules.py:{rule}", *arguments]) == 0


def test_judgements_are_evaluated_and_the_numbers_kept_beside_them(capsys: Captured):
    judge("kto.jsonl", "sft.jsonl", "longer", "--out", "j.jsonl", "--canaries", "3")
    capsys.readouterr()
    assert run(["eval", "j.jsonl"]) == 0
    out = capsys.readouterr().out
    kept = json.loads(Path("j.evaluation.json").read_text())

    assert "kto against sft, by rules.py:longer, 8 scored prompts" in out
    assert "sign test:" in out
    assert "win rate at equal length:" in out
    assert "of one model alone: where easy prompts" in " ".join(out.split())
    assert "preference for answers that only ask to be chosen: 100.0%" in out
    assert "Numbers: j.evaluation.json" in out
    (matchup,) = kept["judged"]["matchups"]
    assert f"win rate: {matchup['win_rate']['value']:.1%} (95% interval" in out
    assert matchup["win_rate"]["low"] < matchup["win_rate"]["value"]
    assert len(kept["judged"]["comparisons"]) == 8


def test_two_judges_of_the_same_answers(capsys: Captured):
    judge("kto.jsonl", "sft.jsonl", "longer", "--out", "a.jsonl")
    judge("kto.jsonl", "sft.jsonl", "first", "--out", "b.jsonl")
    capsys.readouterr()
    assert run(["eval", "a.jsonl", "b.jsonl", "--out", "numbers.json"]) == 0
    out = capsys.readouterr().out

    assert "Agreement of judges" in out
    assert "Cohen's kappa" in out
    assert "verdicts for the first place: 100.0%" in out
    assert Path("numbers.json").exists()


def test_several_models_are_rated(capsys: Captured):
    write_rows(Path("dpo.jsonl"), answers("dpo", ["mid length"] * 8))
    judge("kto.jsonl", "sft.jsonl", "longer", "--out", "a.jsonl")
    judge("dpo.jsonl", "sft.jsonl", "longer", "--out", "b.jsonl")
    capsys.readouterr()
    assert run(["eval", "a.jsonl", "b.jsonl"]) == 0
    out = capsys.readouterr().out

    assert "Bradley-Terry ratings" in out
    assert "kto – dpo" in out
    assert "p (Holm)" in out


def test_answers_alone_are_evaluated(capsys: Captured):
    assert run(["eval", "kto.jsonl"]) == 0
    out = capsys.readouterr().out

    assert "kto, without a judge" in out
    assert "Answers that refuse" in out
    assert "distinct-2" in out


def test_a_run_from_training_to_its_evaluation_and_report(model: Path, thumbs_file: Path, capsys: Captured):
    assert run(["train", str(thumbs_file), *flags(model), "--out", "run"]) == 0
    made = {path.name: path.read_bytes() for path in Path("run/model").iterdir()}
    judge_run = ["judge", "run", "--judge", "rule", "--rule", "rules.py:longer"]
    assert run(judge_run) == 0
    capsys.readouterr()
    card = Path("run/model/README.md")
    judged = card.read_text()
    assert "Win rate against before, by rules.py:longer" in judged
    card.write_text("")
    assert run(["eval", "run"]) == 0
    assert card.read_text() == judged
    assert {path.name: path.read_bytes() for path in Path("run/model").iterdir() if path != card} == {
        name: content for name, content in made.items() if name != card.name
    }
    out = capsys.readouterr().out

    assert "after against before" in out
    assert "AUC of the implied reward" in out
    assert "Brier score" in out
    assert "KL to the reference" in out
    assert "Report: run/report.html" in out
    assert Path("run/evaluation.json").exists()
    assert len(rows_of(Path("run/held_out.jsonl"))) == 8


def test_a_report_is_made_again_with_the_newest_judgements(capsys: Captured):
    Path("run").mkdir()
    both = [*answers("before", ["short"] * 4), *answers("after", ["a longer answer"] * 4)]
    write_rows(Path("run/samples.jsonl"), both)
    assert run(["judge", "run", "--judge", "rule", "--rule", "rules.py:longer"]) == 0
    assert run(["report", "run"]) == 0
    assert "4 won" in Path("run/report.html").read_text()

    Path("run/report.html").unlink()
    with Path("run/judgements.jsonl").open("a") as file:
        file.write("{}\n")
    capsys.readouterr()
    assert run(["report", "run"]) == 2
    assert "judgements.jsonl:9: this is not a judgement" in capsys.readouterr().err
    assert "4 won" in Path("run/report.html").read_text()


def test_alpaca_eval_files(capsys: Captured):
    rows = [{"generator": "m", "annotator": "a", "instruction_id": f"i{i}", "preference": 1 + i % 2} for i in range(8)]
    write_rows(Path("p.jsonl"), rows)
    assert run(["eval", "--alpaca-eval", "p.jsonl"]) == 0
    out = capsys.readouterr().out

    assert "AlpacaEval by a, in %" in out
    # The sample standard deviation of 4 zeros and 4 ones by the root of 8.
    assert "50.00     18.90" in out
    (row,) = json.loads(Path("p.evaluation.json").read_text())["alpaca_eval"]["rows"]
    assert row["leaderboard"]["win_rate"] == 50


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ([], "nothing to evaluate"),
        (["nope.jsonl"], "there is no such file"),
        (["rules.jsonl"], "expected judgements (`haloes judge`), answers"),
        (["empty"], "the folder has nothing to evaluate"),
        (["kto.jsonl", "--lc-weights", "w.jsonl"], "are for the preferences of --alpaca-eval"),
        (["broken.jsonl"], "broken.jsonl:2: this is not a judgement: it has no 'prompt_id'"),
    ],
)
def test_what_is_wrong_is_said(arguments: list[str], fault: str, capsys: Captured):
    Path("empty").mkdir()
    write_rows(Path("rules.jsonl"), [{"x": 1}])
    row = {"prompt_id": "p", "candidate": "a", "baseline": "b", "candidate_first": True, "judge": "j"}
    write_rows(Path("broken.jsonl"), [row, {key: row[key] for key in row if key != "prompt_id"}])

    assert run(["eval", *arguments]) == 2
    assert fault in capsys.readouterr().err
