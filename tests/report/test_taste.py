"""The report's section on whose verdicts were trained on, and how likely the model found the answers."""

import json
from pathlib import Path

from haloes.feedback.raters.taste import taste
from haloes.feedback.raters.votes import Votes
from haloes.records import Feedback
from haloes.report.load import load_run
from haloes.report.page import write_report
from haloes.report.taste import taste_section
from haloes.results import Score
from haloes.results_json import numbers_to_json, write_scores
from haloes.run_files import DATA, LOGGED_ANSWERS


def write_taste(run_dir: Path) -> None:
    votes = Votes()
    for n in range(60):
        votes.add(
            Feedback(
                prompt=f"q {n % 20}",
                completion="word " * (n % 9 + 1),
                label=n % 5 > 0,
                user=f"secret-name-{n % 7}",
                model="<b>gpt" if n % 3 else None,
                rated_at=f"2026-0{n % 3 + 1}-11T0{n % 9}:00:00Z",
            )
        )
    found = taste(votes)
    assert found is not None
    data = json.loads((run_dir / DATA).read_text())
    (run_dir / DATA).write_text(json.dumps({**data, "taste": numbers_to_json(found)}))


def likely(label: str, value: float) -> Score:
    return Score(
        name="logged_logp",
        value=value,
        low=value - 0.2,
        high=value + 0.2,
        variant="before",
        num_rows=40,
        num_clusters=20,
        method="t",
        label=label,
    )


def test_the_report_tells_whose_taste_it_is_and_names_nobody(run_dir: Path) -> None:
    write_taste(run_dir)
    write_scores(run_dir / LOGGED_ANSWERS, [likely("all answers", -1.2), likely("gpt-4o", -2.1)])

    html = write_report(run_dir).read_text(encoding="utf-8")

    assert load_run(run_dir).gaps == ()
    assert "Whose taste?" in html
    assert "7 people gave 60 verdicts" in html
    assert "Up votes by the model that answered" in html
    assert "&lt;b&gt;gpt" in html
    assert "−2.1" in html
    assert "40 answers, 20 prompts" in html
    assert "off-policy" in html
    assert "secret-name" not in html


def test_a_run_of_before_has_no_such_section(run_dir: Path) -> None:
    assert "Whose taste?" not in write_report(run_dir).read_text(encoding="utf-8")
    assert taste_section(None, ()) is None


def test_a_damaged_count_is_a_gap_and_no_failure(run_dir: Path) -> None:
    data = json.loads((run_dir / DATA).read_text())
    (run_dir / DATA).write_text(json.dumps({**data, "taste": {"num_votes": "many"}}))

    run = load_run(run_dir)

    assert run.taste is None
    assert any(gap.startswith(DATA) for gap in run.gaps)
