"""Layouts of older versions and of other ways out of a tool; each label is compared with the vote in the raw file."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from haloes.errors import DataError
from haloes.feedback.read import FeedbackSource
from haloes.records import Feedback, Record, Refusal
from open_webui_votes import last_votes, open_webui_votes
from tiny_runs import write_rows

ASKED = {"messages": [{"role": "user", "content": "Time?"}]}


def records(path: Path) -> list[Record]:
    return list(FeedbackSource(str(path)))


def labels(path: Path) -> dict[str | None, bool | None]:
    """The label of each row by its id; nothing else may be in the export."""
    found = {}
    for record in records(path):
        assert isinstance(record, Feedback)
        found[record.id] = record.label
    return found


def test_votes_of_open_webui_may_be_texts(tmp_path: Path):
    votes = open_webui_votes(60)
    (tmp_path / "votes.json").write_text(
        json.dumps([{**vote, "data": {**vote["data"], "rating": str(vote["data"]["rating"])}} for vote in votes])
    )

    found = [record for record in records(tmp_path / "votes.json") if isinstance(record, Feedback)]

    assert {record.id: record.label for record in found} == last_votes(votes)


def test_data_frames_of_phoenix_have_dotted_columns(tmp_path: Path):
    votes = {f"s{i}": i % 3 != 0 for i in range(9)}
    spans = [
        {
            "context.span_id": name,
            "parent_id": None,
            "attributes.llm.model_name": "m",
            "attributes.llm.input_messages": [{"message.role": "user", "message.content": f"Time {name}?"}],
            "attributes.llm.output_messages": [{"message.role": "assistant", "message.content": "Noon."}],
        }
        for name in votes
    ]
    annotations = [
        {
            "id": name,
            "span_id": name,
            "annotation_name": "thumb",
            "annotator_kind": "HUMAN",
            "result.label": None,
            "result.score": float(up),
        }
        for name, up in votes.items()
    ]
    pq.write_table(pa.Table.from_pylist(spans), tmp_path / "spans.parquet")
    pq.write_table(pa.Table.from_pylist(annotations), tmp_path / "annotations.parquet")

    assert labels(tmp_path) == votes


def langsmith(folder: Path, feedback: list[dict[str, Any]], runs: list[dict[str, Any]]) -> Path:
    write_rows(folder / "feedback.jsonl", feedback)
    write_rows(folder / "runs.jsonl", runs)
    return folder


def test_runs_of_langsmith_may_stand_inside_each_other(tmp_path: Path):
    votes = {"r1": 0, "r2": 1}
    inner = {"run_type": "llm", "inputs": ASKED, "outputs": {"output": "Noon."}}
    runs = [
        {"id": "r0", "run_type": "chain", "inputs": {}, "outputs": {}, "child_runs": [
            {"id": "r1", **inner, "child_runs": [{"id": "r2", **inner, "child_runs": []}]}
        ]}
    ]  # fmt: skip
    feedback = [{"id": run, "run_id": run, "key": "thumb", "score": score} for run, score in votes.items()]

    assert labels(langsmith(tmp_path, feedback, runs)) == {run: score == 1 for run, score in votes.items()}


def test_one_star_of_five_is_no_thumb_up_where_all_gave_one(tmp_path: Path):
    runs = [{"id": "r", "run_type": "llm", "inputs": ASKED, "outputs": {"output": "Noon."}}]
    config = {"type": "continuous", "min": 1, "max": 5}
    feedback = [{"id": "f", "run_id": "r", "key": "stars", "score": 1, "feedback_config": config}]

    [record] = records(langsmith(tmp_path, feedback, runs))

    assert isinstance(record, Feedback)
    assert (record.label, record.score) == (None, 1.0)


def test_a_low_score_that_is_good_is_turned_round_where_the_table_has_only_texts(tmp_path: Path):
    runs = [{"id": "r", "run_type": "llm", "inputs": json.dumps(ASKED), "outputs": '{"output": "Noon."}'}]
    feedback = [
        {"id": f"f{score}", "run_id": "r", "key": f"toxic {score}", "score": score,
         "feedback_config": '{"is_lower_score_better": true}'}
        for score in ("0", "1")
    ]  # fmt: skip

    assert labels(langsmith(tmp_path, feedback, runs)) == {"f0": True, "f1": False}


def test_a_comparison_of_langsmith_is_told_once_however_many_rows_have_its_id(tmp_path: Path):
    runs = [{"id": f"r{i}", "run_type": "llm", "inputs": ASKED, "outputs": {"output": f"{i}"}} for i in range(3)]
    feedback = [
        {"run_id": f"r{i}", "key": "better", "score": i, "feedback_group_id": "g"} for i in range(3)
    ]  # all without an id

    found = records(langsmith(tmp_path, feedback, runs))

    assert [str(record.chosen[0].content) for record in found if not isinstance(record, Feedback | Refusal)] == [
        "2", "1"
    ]  # fmt: skip


def test_feedbacks_of_dify_are_read_where_their_source_is_not_said(tmp_path: Path):
    votes = {"f1": "like", "f2": "dislike"}
    write_rows(
        tmp_path / "messages.jsonl",
        [{"id": f"m{i}", "conversation_id": f"c{i}", "query": "Time?", "answer": "Noon.", "created_at": i}
         for i in (1, 2)],
    )  # fmt: skip
    page = {"data": [{"id": name, "message_id": f"m{name[1:]}", "rating": said} for name, said in votes.items()]}
    (tmp_path / "feedbacks.json").write_text(json.dumps(page))

    assert labels(tmp_path) == {name: said == "like" for name, said in votes.items()}


def test_annotations_of_label_studio_were_called_completions(tmp_path: Path):
    votes = {1: "Good", 2: "Bad"}
    tasks = [
        {"id": number, "data": {"prompt": "Time?", "response": "Noon."},
         "completions": [{"id": 7, "result": [{"from_name": "t", "type": "choices", "value": {"choices": [said]}}]}]}
        for number, said in votes.items()
    ]  # fmt: skip
    (tmp_path / "tasks.json").write_text(json.dumps(tasks))

    assert labels(tmp_path / "tasks.json") == {str(number): said == "Good" for number, said in votes.items()}


def test_conversations_of_chatgpt_may_be_several_files(tmp_path: Path):
    votes = {"a0": "thumbs_up", "a1": "thumbs_down"}
    rows = [
        {"id": name, "conversation_id": f"c{name[1:]}", "rating": said, "create_time": "2026-01-01T00:00:00Z"}
        for name, said in votes.items()
    ]
    (tmp_path / "message_feedback.json").write_text(json.dumps(rows))
    for number, name in enumerate(votes):
        mapping = {
            "q": {"id": "q", "parent": None, "message": said("user", "Time?")},
            name: {"id": name, "parent": "q", "message": said("assistant", "Noon.")},
        }
        chat = {"id": f"c{number}", "current_node": name, "mapping": mapping}
        (tmp_path / f"conversations-{number:03d}.json").write_text(json.dumps([chat]))

    assert labels(tmp_path) == {name: word == "thumbs_up" for name, word in votes.items()}


def said(role: str, words: str) -> dict[str, Any]:
    return {"author": {"role": role}, "content": {"content_type": "text", "parts": [words]}}


def test_traces_of_mlflow_2_are_known_and_not_read(tmp_path: Path):
    trace = {"info": {"request_id": "t", "request_metadata": {}, "status": "OK"}, "data": {"spans": []}}
    write_rows(tmp_path / "traces.jsonl", [trace])

    with pytest.raises(DataError, match="traces of MLflow 2, which hold no assessments") as failed:
        records(tmp_path / "traces.jsonl")
    assert "\n" not in str(failed.value)


def test_feedback_of_portkey_counts_by_its_weight(tmp_path: Path):
    weights = {"p1": 1, "p2": 0.25, "p3": 0, "p4": 2, "p5": None}
    write_rows(
        tmp_path / "logs.jsonl",
        [{"trace_id": name, "request": ASKED, "response": {"choices": [{"message": {"role": "assistant",
         "content": "Noon."}}]}} for name in weights],
    )  # fmt: skip
    write_rows(
        tmp_path / "feedback.jsonl",
        [{"id": name, "trace_id": name, "value": -1, "weight": weight} for name, weight in weights.items()],
    )

    found = [
        record.reason if isinstance(record, Refusal) else (record.id, record.weight) for record in records(tmp_path)
    ]

    assert found == [("p1", 1.0), ("p2", 0.25), "no verdict", "weight", ("p5", 1.0)]


def test_the_prompt_of_a_vote_has_at_most_a_thousand_messages(tmp_path: Path):
    messages = [
        {"id": f"m{i}", "from": "assistant" if i % 2 else "user", "content": "x", "score": 1 if i in (999, 1005) else 0,
         "ancestors": [f"m{i - 1}"] if i else []}
        for i in range(1010)
    ]  # fmt: skip
    (tmp_path / "chats.json").write_text(json.dumps([{"_id": "c", "messages": messages}]))

    one, other = records(tmp_path / "chats.json")

    assert isinstance(one, Feedback)
    assert isinstance(other, Refusal)
    assert (len(one.prompt), other.reason) == (999, "long chat")


def test_each_vote_of_a_long_chat_has_the_turns_before_it_and_the_one_after_it(tmp_path: Path):
    messages = [
        {"id": f"m{i}", "from": "assistant" if i % 2 else "user", "content": f"words {i}",
         "score": (1 if i % 4 == 1 else -1) if i % 2 else None, "ancestors": [f"m{i - 1}"] if i else []}
        for i in range(40)
    ]  # fmt: skip
    (tmp_path / "chats.json").write_text(json.dumps([{"_id": "c", "messages": messages}]))
    raw = {each["id"]: each["score"] == 1 for each in messages if each["score"] is not None}

    found = [record for record in records(tmp_path / "chats.json") if isinstance(record, Feedback)]

    assert {record.id: record.label for record in found} == raw
    assert [record.hindsight for record in found] == [f"words {i}" for i in range(2, 40, 2)] + [None]
    assert [len(record.prompt) for record in found] == list(range(1, 40, 2))
