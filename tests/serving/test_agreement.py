"""People's votes on a run that a judge saw too: `haloes eval` tells how far they agree beyond chance."""

import json
from collections import Counter
from pathlib import Path

import pytest

pytest.importorskip("uvicorn", reason="the extra web is not installed")

import haloes
from haloes.cli.main import run
from haloes.runs.align import align
from haloes.serving.of_run import site_of_run
from haloes.serving.store import Store
from served import Served, served_site
from tiny_runs import config, save_model, thumbs, write_rows

RULE = """
def order(prompt, first, second):
    return "tie" if first == second else "first" if first < second else "second"
"""


def vote(client: Served, odd: bool) -> tuple[str, str] | None:
    """One person's vote on the next prompt, as the rule would give it unless odd; both verdicts for the model after."""
    status, pair = client.json("POST", "/api/comparisons", {"user": "ann"})
    if status == 404:
        return None
    left, right = pair["left"]["content"], pair["right"]["content"]
    ruled = "tie" if left == right else "left" if left < right else "right"
    said = {"left": "right", "right": "left", "tie": "tie"}[ruled] if odd else ruled
    _, told = client.json("POST", f"/api/comparisons/{pair['id']}/vote", {"verdict": said, "user": "ann"})
    after = next(side for side in ("left", "right") if told[side]["model"] == "after")
    of_after = {"tie": "tie", after: "win"}
    return of_after.get(ruled, "loss"), of_after.get(said, "loss")


def kappa(verdicts: list[tuple[str, str]]) -> float:
    """Cohen's kappa by its definition."""
    n = len(verdicts)
    agreed = sum(a == b for a, b in verdicts) / n
    ones, others = Counter(a for a, _ in verdicts), Counter(b for _, b in verdicts)
    chance = sum(ones[kind] * others[kind] for kind in ones) / n**2
    return (agreed - chance) / (1 - chance)


def test_eval_shows_the_agreement_of_people_and_a_judge(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder, rules = tmp_path / "run", tmp_path / "rules.py"
    rules.write_text(RULE)
    rows = write_rows(tmp_path / "thumbs.jsonl", thumbs())
    samples = {"prompts": 8, "max_new_tokens": 6}
    align(config(save_model(tmp_path / "model"), rows, samples=samples, feedback={"validation_share": 0.5}), folder)
    haloes.judge(folder, judge="rule", rule=f"{rules}:order", progress=None)
    verdicts = []
    with Store(folder / "collected.db") as store, served_site(site_of_run(folder, store, prompts=None)) as client:
        while (given := vote(client, odd=len(verdicts) % 3 == 2)) is not None:
            verdicts.append(given)
    assert len(verdicts) == 8
    assert 0 < sum(ruled != said for ruled, said in verdicts) < 8

    assert run(["eval", str(folder)]) == 0

    shown = " ".join(capsys.readouterr().out.split())
    assert "Agreement of judges, beyond chance" in shown
    assert "and people" in shown
    judged = json.loads((folder / "evaluation.json").read_text())["judged"]
    (agreement,) = judged["agreement"]
    assert agreement["label"].startswith("Cohen's kappa of ")
    assert agreement["value"] == pytest.approx(kappa(verdicts))
    assert agreement["low"] <= agreement["value"] <= agreement["high"]
    assert {matchup["judge"] for matchup in judged["matchups"]} >= {"people"}
