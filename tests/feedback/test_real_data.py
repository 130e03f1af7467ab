"""Real feedback files, where they are at hand (HALOES_DATA_DIR names their folder)."""

import gzip
import json
import os
from collections import Counter
from pathlib import Path

import pytest

from haloes.errors import DataError
from haloes.feedback.read import FeedbackSource
from haloes.records import Feedback, Pair, Refusal, plain_text

DATA = Path(os.environ.get("HALOES_DATA_DIR") or Path(__file__).parents[3] / "shared" / "data")
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"there is no data folder at {DATA} (set HALOES_DATA_DIR)")

YES_NO = {"prompt": "question", "chosen": "answer_matching_behavior", "rejected": "answer_not_matching_behavior"}
TURBO = {"label": "label_vs_gpt4_turbo", "group": "instruction_id"}


def source(name: str, **columns: str | None) -> FeedbackSource:
    return FeedbackSource(str(DATA / name), columns=columns)


def counts(read: FeedbackSource) -> dict[str, int]:
    """How many records of which kind; refusals by their reason."""
    kinds = Counter(record.reason if isinstance(record, Refusal) else type(record).__name__ for record in read)
    return dict(kinds)


def lines(name: str) -> list[dict[str, object]]:
    path = DATA / name
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as stream:
        return [json.loads(line) for line in stream]


@pytest.mark.parametrize(
    ("name", "columns", "format_name", "expected"),
    [
        ("truthfulqa/truthful_train.jsonl.gz", {}, "unpaired", {"Feedback": 11265, "empty completion": 20}),
        ("truthfulqa/truthful_validation.jsonl.gz", {}, "unpaired", {"Feedback": 1557, "empty completion": 3}),
        ("truthfulqa/informative_train.jsonl.gz", {}, "unpaired", {"Feedback": 11265, "empty completion": 20}),
        ("truthfulqa/informative_validation.jsonl.gz", {}, "unpaired", {"Feedback": 1557, "empty completion": 3}),
        ("ultrafeedback/pairs_train.jsonl.gz", {}, "paired", {"Pair": 993, "empty completion": 2}),
        ("ultrafeedback/pairs_validation.jsonl.gz", {}, "paired", {"Pair": 199}),
        ("hh_rlhf/harmless_train.jsonl.gz", {}, "paired", {"Pair": 1121, "empty completion": 1}),
        ("hh_rlhf/harmless_validation.jsonl.gz", {}, "paired", {"Pair": 242, "empty completion": 1}),
        ("persona/yes_no_train.jsonl.gz", YES_NO, "paired", {"Pair": 3541}),
        ("persona/yes_no_validation.jsonl.gz", YES_NO, "paired", {"Pair": 617}),
        ("formats/hh_rlhf_raw_sample.jsonl", {}, "hh", {"Pair": 60}),
        ("formats/llamafactory_kto_en_demo.jsonl.gz", {}, "messages", {"Feedback": 300}),
        ("formats/llamafactory_dpo_en_demo.jsonl.gz", {}, "llamafactory-dpo", {"Pair": 300}),
    ],
)
def test_every_file_is_read(name: str, columns: dict[str, str], format_name: str, expected: dict[str, int]) -> None:
    read = source(name, **columns)
    assert read.format_name == format_name
    assert counts(read) == expected


def test_labels_are_those_of_the_file() -> None:
    name = "truthfulqa/truthful_validation.jsonl.gz"
    rows = lines(name)
    for record in source(name):
        assert record.where is not None
        row = rows[record.where.line - 1]
        if isinstance(record, Feedback):
            assert (record.prompt, record.completion, record.label) == (row["prompt"], row["completion"], row["label"])
        else:
            assert not str(row["completion"]).strip()


def test_rows_without_a_verdict_are_counted_and_not_guessed() -> None:
    name = "alpaca_eval/feedback_validation.jsonl.gz"
    rows = lines(name)
    found = list(source(name, **TURBO))
    unrated = [record for record in found if isinstance(record, Refusal) and record.reason == "no label"]
    assert len(unrated) == sum(row["label_vs_gpt4_turbo"] is None for row in rows) > 0
    rated = [record for record in found if isinstance(record, Feedback)]
    assert all(record.group == rows[record.where.line - 1]["instruction_id"] for record in rated if record.where)
    assert all(record.label is rows[record.where.line - 1]["label_vs_gpt4_turbo"] for record in rated if record.where)


def test_a_label_column_under_another_name_is_suggested() -> None:
    with pytest.raises(DataError, match=r"--columns label=label_vs_"):
        source("alpaca_eval/feedback_validation.jsonl.gz")


def test_transcripts_lose_no_words() -> None:
    name = "formats/hh_rlhf_raw_sample.jsonl"
    rows = lines(name)
    for record, row in zip(source(name), rows, strict=True):
        assert isinstance(record, Pair)
        marks = {"user": "\n\nHuman: ", "assistant": "\n\nAssistant: "}
        for column, text in (("chosen", record.chosen), ("rejected", record.rejected)):
            turns = (*record.prompt, *text)
            rebuilt = "".join(marks[turn.role] + turn.content for turn in turns if not isinstance(turn, str))
            assert rebuilt.split() == str(row[column]).split()
        assert plain_text(record.chosen) != plain_text(record.rejected)


def test_the_scores_of_langfuse_are_the_labels_of_the_answers_that_they_are_on() -> None:
    traces = {row["id"]: row for row in lines("formats/langfuse_export/traces.jsonl")}
    scores = lines("formats/langfuse_export/scores.jsonl")
    wanted = [
        (row["id"], json.loads(str(traces[row["trace_id"]]["output"]))["content"], bool(row["value"])) for row in scores
    ]
    rows = [row for row in source("formats/langfuse_export") if isinstance(row, Feedback)]
    assert [(row.id, plain_text(row.completion), row.label) for row in rows] == wanted
    assert len(wanted) == 10


def test_scores_of_langfuse_without_their_answers_say_what_is_missing() -> None:
    with pytest.raises(DataError, match="scores of Langfuse without the observations or traces"):
        source("formats/langfuse_api_scores.json")


@pytest.mark.parametrize("name", ["argilla_records.json", "argilla_records_flat.json"])
def test_every_annotator_of_argilla_has_the_vote_that_stands_there(name: str) -> None:
    records = json.loads((DATA / "formats" / name).read_text())
    given = [
        (record["id"], vote["user_id"], vote["value"] == "up")
        for record in records
        if "responses" in record
        for vote in record["responses"]["thumbs"]
    ] or [
        (record["id"], user, value == "up")
        for record in records
        for user, value in zip(record["thumbs.responses.users"], record["thumbs.responses"], strict=True)
    ]
    rows = [row for row in source(f"formats/{name}") if isinstance(row, Feedback)]
    assert [(str(row.id).split("/")[0], row.user, row.label) for row in rows] == given


def test_the_scores_of_a_langsmith_export_are_its_labels() -> None:
    given = [json.loads(line) for line in (DATA / "formats/langsmith/feedback.jsonl").read_text().splitlines()]
    rows = [row for row in source("formats/langsmith") if isinstance(row, Feedback)]
    assert {row.id: row.label for row in rows} == {each["id"]: bool(each["score"]) for each in given}


def test_the_thumbs_of_a_chatgpt_export_are_its_labels() -> None:
    votes = json.loads((DATA / "formats/chatgpt_export/message_feedback.json").read_text())
    rows = [row for row in source("formats/chatgpt_export") if isinstance(row, Feedback)]
    assert {row.id: row.label for row in rows} == {vote["id"]: vote["rating"] == "thumbsUp" for vote in votes}


def test_an_open_assistant_tree_prefers_the_answer_of_the_lower_rank() -> None:
    path = DATA / "formats/oasst_export_trees_sample.jsonl"
    ranks: dict[str, float] = {}
    waiting = [json.loads(line)["prompt"] for line in path.read_text().splitlines()]
    while waiting:
        node = waiting.pop()
        ranks[node["text"]] = node.get("rank")
        waiting += node["replies"]
    pairs = [row for row in source("formats/oasst_export_trees_sample.jsonl") if isinstance(row, Pair)]
    assert len(pairs) > 5
    for pair in pairs:
        assert ranks[plain_text(pair.chosen)] < ranks[plain_text(pair.rejected)]


def test_the_votes_of_an_open_webui_export_are_its_labels() -> None:
    votes = {
        row["id"]: row["data"]["rating"]
        for row in json.loads((DATA / "formats/open_webui_feedback_export.json").read_text())
    }
    rows = [row for row in source("formats/open_webui_feedback_export.json") if isinstance(row, Feedback)]
    assert {row.id: 1 if row.label else -1 for row in rows} == votes
