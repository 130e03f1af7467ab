"""Open WebUI: what does not fit into a file of expectations (see `open_webui/`)."""

import json
from pathlib import Path
from typing import Any

import pytest

import haloes
from haloes.errors import DataError
from haloes.feedback.convert import pair
from haloes.feedback.importers.contract import Options
from haloes.feedback.read import FeedbackSource
from haloes.records import Feedback, Record, Refusal


def message(name: str, parent: str | None, content: object, **more: Any) -> dict[str, Any]:
    return {
        "id": name,
        "parentId": parent,
        "role": "user" if name.startswith("u") else "assistant",
        "content": content,
    } | more


def vote(*messages: dict[str, Any], rated: str = "a1", rating: object = 1, **more: Any) -> dict[str, Any]:
    chat = {"history": {"messages": {each["id"]: each for each in messages}}}
    return {
        "id": "f1", "user_id": "ann", "type": "rating", "data": {"rating": rating, "model_id": "m"},
        "meta": {"message_id": rated, "chat_id": "c1"}, "snapshot": {"chat": {"id": "c1", "chat": chat}},
        "created_at": 1704067200,
    } | more  # fmt: skip


def read(folder: Path, *rows: dict[str, Any]) -> list[Record]:
    (folder / "f.json").write_text(json.dumps(rows))
    return list(FeedbackSource(str(folder / "f.json")))


ASKED = message("u1", None, "Name a colour.")


def test_answers_to_one_message_with_opposite_thumbs_make_a_pair(tmp_path: Path):
    tree = (ASKED, message("a1", "u1", "Red."), message("a2", "u1", "Seven."))
    rows = read(tmp_path, vote(*tree), vote(*tree, rated="a2", rating=-1, id="f2"))
    [paired] = pair(rows, seed=0).pairs
    assert [turn.content for turn in (*paired.chosen, *paired.rejected)] == ["Red.", "Seven."]


def test_two_exports_put_together_count_each_vote_once(tmp_path: Path):
    row = vote(ASKED, message("a1", "u1", "Red."))
    first, second = read(tmp_path, row, row)
    assert isinstance(first, Refusal)
    assert first.reason == "earlier vote"
    assert isinstance(second, Feedback)


def test_a_message_of_ten_megabytes_is_read(tmp_path: Path):
    [row] = read(tmp_path, vote(ASKED, message("a1", "u1", "<details " * 1_200_000)))
    assert isinstance(row, Feedback)
    assert len(row.completion[0].content) == 10_800_000  # type: ignore[union-attr]


@pytest.mark.parametrize("levels", [50, 400])
def test_content_nested_deeply_is_refused(tmp_path: Path, levels: int):
    content: Any = "x"
    for _ in range(levels):
        content = [{"type": "message", "content": content}]
    [row] = read(tmp_path, vote(ASKED, message("a1", "u1", content)))
    assert isinstance(row, Feedback | Refusal)


def test_a_long_chat_is_walked_to_its_root_and_a_circle_is_not(tmp_path: Path):
    way = [message("u0", None, "Go.")]
    for n in range(1, 1000):
        way.append(message(f"{'a' if n % 2 else 'u'}{n}", way[-1]["id"], f"{n}"))
    [row] = read(tmp_path, vote(*way, rated="a999"))
    assert isinstance(row, Feedback)
    assert len(row.prompt) == 999
    [refused] = read(tmp_path, vote(message("u1", "u1", "Go."), message("a1", "u1", "Yes.")))
    assert isinstance(refused, Refusal)
    assert refused.reason == "broken chat tree"


@pytest.mark.parametrize("rating", [float("nan"), "up", 2, [1], {"rating": 1}])
def test_a_rating_that_is_none_is_refused_and_no_vote(tmp_path: Path, rating: object):
    [row] = read(tmp_path, vote(ASKED, message("a1", "u1", "Red."), rating=rating))
    assert isinstance(row, Refusal)
    assert row.reason == "label"


@pytest.mark.parametrize("rating", [True, "1", 1.0, "+1"])
def test_a_thumb_up_may_be_spelt_in_other_ways(tmp_path: Path, rating: object):
    [row] = read(tmp_path, vote(ASKED, message("a1", "u1", "Red."), rating=rating))
    assert isinstance(row, Feedback)
    assert row.label is True


def test_the_doctor_names_the_layout_and_what_is_left_out_and_trains_nothing_on_guesses(tmp_path: Path):
    (tmp_path / "f.json").write_text(json.dumps([vote(ASKED, message("a1", "u1", "Red.")), vote(ASKED, rated="a9")]))
    found = haloes.doctor(str(tmp_path / "f.json"), progress=None)
    assert found.reading == ("format    Open WebUI feedback export (0.12 layout)",)
    assert found.findings.refusals["answer not in the export"].num == 1
    assert "no system prompt" in {advice.name for advice in found.advice}
    assert not any("--columns" in advice.action for advice in found.advice)


def test_settings_that_do_not_fit_an_export_are_refused(tmp_path: Path):
    (tmp_path / "f.json").write_text(json.dumps([vote(ASKED, message("a1", "u1", "Red."))]))
    with pytest.raises(DataError, match=r"feedback\.sessions is set, and this is read as Open WebUI"):
        FeedbackSource(str(tmp_path / "f.json"), sessions="created_at")
    (tmp_path / "g.jsonl").write_text('{"prompt": "q", "completion": "a", "label": true}\n')
    with pytest.raises(DataError, match=r"feedback\.voters and feedback\.metric are for exports"):
        FeedbackSource(str(tmp_path / "g.jsonl"), options=Options(metric="tone"))
