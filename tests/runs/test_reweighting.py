"""Rows that weigh by how likely such an answer is rated, from an export to what training and the report say."""

import json
from pathlib import Path

import pytest

import haloes
from haloes.errors import DataError
from haloes.feedback.doctor.render import render
from haloes.feedback.read import FeedbackSource
from haloes.losses._contract import Needs
from haloes.progress.contract import NullProgress
from haloes.records import Feedback
from haloes.report.taste import taste_section
from haloes.results import Taste
from haloes.results_json import from_json
from haloes.runs.align import align
from haloes.runs.config import FeedbackSettings, RunConfig
from haloes.runs.feedback_rows import open_rows
from haloes.runs.file_doctor import examine_file
from haloes.runs.row_index import index_feedback
from haloes.serving.records import Answer, Rating
from haloes.serving.store import Store
from haloes.serving.writes import add_answers, add_rating
from open_webui_votes import open_webui_chats, open_webui_votes
from tiny_runs import config


@pytest.fixture
def chats(tmp_path: Path) -> Path:
    path = tmp_path / "all-chats.json"
    path.write_text(json.dumps(open_webui_chats(180)))
    return path


def weights(path: Path, **settings: str) -> list[tuple[bool | None, float]]:
    rows = open_rows(str(path), FeedbackSettings(**settings), pairs=False)  # type: ignore[arg-type]
    return [(row.label, row.weight) for row in rows if isinstance(row, Feedback)]


def test_rows_weigh_alike_until_it_is_asked_for(chats: Path) -> None:
    assert {weight for _, weight in weights(chats)} == {1.0}

    weighed = weights(chats, reweight="rated")

    # A third of the long answers are rated (all up) and a sixth of the short ones (all down): 60 and 30 rows.
    ups, downs = ([weight for label, weight in weighed if label is up] for up in (True, False))
    assert (len(ups), len(downs)) == (60, 30)
    assert sum(ups) + sum(downs) == pytest.approx(90)
    assert sum(downs) == pytest.approx(sum(ups), rel=0.05)


def test_training_says_what_rows_weigh_by_and_the_report_what_is_rated(chats: Path) -> None:
    settings = FeedbackSettings(source=str(chats), reweight="rated")

    index = index_feedback(settings, Needs(reference=True, mismatched=True), progress=NullProgress())

    [note] = index.source.notes()
    assert note.startswith("rows weigh by 1 / P(rated) (feedback.reweight=rated): up to ")
    assert "90 rows then say as much as 8" in note
    section = taste_section(from_json(Taste, index.taste), [])
    assert section is not None
    said = " ".join(section.sentences)
    assert "90 of 360 answers that people were shown are rated: 25%" in said
    assert "Rows weigh by 1 / P(rated)" in said
    titles = [table.title for table in section.tables]
    assert "Answers that are rated, by its place in the conversation" in titles


def test_a_run_trains_on_the_weights_and_its_report_says_so(chats: Path, model: Path, tmp_path: Path) -> None:
    found = {}
    for name in ("alike", "weighed"):
        feedback = {"reweight": "rated"} if name == "weighed" else {}
        align(config(model, chats, feedback=feedback, train={"epochs": 0.1}, samples={"prompts": 0}), tmp_path / name)
        found[name] = json.loads((tmp_path / name / "data.json").read_text())

    alike, weighed = (found[name]["train"] for name in ("alike", "weighed"))
    counts = {label: alike[label] for label in ("desirable", "undesirable")}
    assert alike["weight"] == counts == {label: weighed[label] for label in counts}
    # An answer of the kind that is liked is rated twice as often, so that each stands for half as many.
    ratio = weighed["weight"]["desirable"] / weighed["weight"]["undesirable"]
    assert ratio == pytest.approx(counts["desirable"] / counts["undesirable"] / 2, rel=0.05)
    # The loss's own weights balance what is left of the imbalance, and do not undo the other.
    assert found["weighed"]["weights"] != found["alike"]["weights"]
    assert "Rows weigh by 1 / P(rated)" in (tmp_path / "weighed" / "report.html").read_text()
    assert "Rows weigh by 1 / P(rated)" not in (tmp_path / "alike" / "report.html").read_text()


def test_the_doctor_compares_rated_and_unrated_answers(chats: Path) -> None:
    found = examine_file(RunConfig(feedback=FeedbackSettings(source=str(chats))), progress=NullProgress())

    lines = render(found.findings, found.advice)

    start = next(number for number, line in enumerate(lines) if line.startswith("unrated"))
    assert "90 of 360 answers that people were shown are rated: 25%" in lines[start]
    assert "of all that were shown it would be 5" in lines[start + 1]
    assert "on request rows weigh by 1 / P(rated)" in lines[start + 2]
    table = [line.split() for line in lines[start:]]
    assert ["1st", "answer", "180", "17%"] in [row[:4] for row in table]
    assert ["2nd", "answer", "180", "33%"] in [row[:4] for row in table]


def test_a_file_without_unrated_answers_cannot_be_reweighted_and_says_why(tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"prompt": "q", "completion": "a", "label": true}\n')
    with pytest.raises(DataError, match=r"rows\.jsonl: feedback\.reweight=rated .*the rows of this file are all rated"):
        weights(rows, reweight="rated")

    history = tmp_path / "history.json"
    history.write_text(json.dumps(open_webui_votes(30)))
    with pytest.raises(DataError, match="it holds no answer that nobody rated"):
        weights(history, reweight="rated")

    log = tmp_path / "log.csv"
    log.write_text("conversation,index,value,flag,timestamp\n\"[['q', 'a']]\",0,Like,2026-01-01\n".replace("'", '""'))
    with pytest.raises(DataError, match="exports of Gradio do not show which other answers people saw"):
        weights(log, reweight="rated")


def test_rows_are_written_with_their_weights(chats: Path, tmp_path: Path) -> None:
    haloes.convert(str(chats), str(tmp_path / "out.jsonl"), settings={"feedback": {"reweight": "rated"}})

    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert len({row["weight"] for row in rows}) > 1


def test_a_store_of_haloes_serve_knows_the_answers_that_nobody_voted_on(tmp_path: Path) -> None:
    path = tmp_path / "collected.db"
    with Store(path) as store:
        for i in range(60):
            said = {"role": "assistant", "content": f"yes {i}"}
            turns = [{"role": "user", "content": f"Question {i}?"}]
            one = Answer(
                completion_id=f"h{i}", messages=turns, message=said, model="m", finish_reason="stop", created_at=1e9
            )
            hidden = Answer(
                completion_id=f"c{i}", messages=turns, message=said, model="m", created_at=1e9, purpose="comparison"
            )
            store.write(lambda c, new=(one, hidden): add_answers(c, list(new))).result(20)
            if i % 2:
                rating = Rating(completion_id=f"h{i}", rating=1 if i % 4 == 1 else -1)
                store.write(lambda c, vote=rating: add_rating(c, vote)).result(20)

    shown = FeedbackSource(str(path)).shown()

    assert shown is not None
    assert (shown.num_shown, shown.num_rated) == (60, 30)
    assert not shown.too_little
