"""Exports of other users and other versions, made from the tools' schemas: what each vote becomes, written by hand."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from haloes.feedback.importers.contract import Options
from haloes.feedback.read import FeedbackSource
from haloes.records import Feedback, Pair, Refusal, plain_text


def written(folder: Path, files: dict[str, Any]) -> str:
    """Write an export; one file is given as itself, several as their folder."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, str):
            path.write_text(content)
        elif name.endswith(".jsonl"):
            path.write_text("".join(json.dumps(row) + "\n" for row in content))
        else:
            path.write_text(json.dumps(content))
    return str(folder / next(iter(files)) if len(files) == 1 else folder)


def outcomes(path: str, **options: Any) -> list[Any]:
    """What became of each vote, in order: answer and label (or score), a pair's two answers, or why it is left out."""
    found: list[Any] = []
    for record in FeedbackSource(path, options=Options(**options)):
        if isinstance(record, Refusal):
            found.append(record.reason)
        elif isinstance(record, Pair):
            found.append((plain_text(record.chosen), plain_text(record.rejected)))
        else:
            assert isinstance(record, Feedback)
            said = record.score if record.label is None else record.label
            found.append((plain_text(record.completion), said))
    return found


# -- Names of faults ------------------------------------------------------------------------------------------------


def langfuse(scores: list[dict[str, Any]]) -> dict[str, Any]:
    call = {"type": "GENERATION", "input": "Time?", "output": "Noon.", "parent_observation_id": "", "trace_id": "t1"}
    base = {"trace_id": "t1", "observation_id": "o1", "source": "ANNOTATION", "data_type": "BOOLEAN", "value": 1}
    rows = [{"id": f"s{i}", "author_user_id": f"u{i}", **base, **score} for i, score in enumerate(scores)]
    return {"scores/a.jsonl": rows, "observations_v2/a.jsonl": [{"id": "o1", **call}]}


@pytest.mark.parametrize(
    "name",
    ["hallucination", "Is_Toxic", "thumbsDown", "thumbs-down", "HARMFUL", "needs fix: wrong", "Factual Errors", "bad"],
)
@pytest.mark.parametrize("score", [{"value": 1}, {"value": 0}, {"data_type": "NUMERIC", "value": 1.0}])
def test_a_yes_on_a_fault_is_no_thumb_up(tmp_path: Path, name: str, score: dict[str, Any]) -> None:
    path = written(tmp_path, langfuse([{"name": name, **score}]))

    assert outcomes(path) == ["not a verdict"]
    is_yes = score["value"] == 1
    # What it means is the user's word.
    assert outcomes(path, words={"true": False, "false": True}) == [("Noon.", not is_yes)]


@pytest.mark.parametrize(
    "name",
    ["no_errors", "thumbs_up_down", "Harmlessness", "up/down", "issue_resolved", "User Feedback", "NonToxic", None],
)
def test_a_yes_on_anything_else_is_a_thumb_up(tmp_path: Path, name: str | None) -> None:
    path = written(tmp_path, langfuse([{"name": name}, {"name": name, "value": 0}]))

    assert outcomes(path) == [("Noon.", True), ("Noon.", False)]


def test_a_word_that_is_good_or_bad_by_itself_counts_on_a_fault_too(tmp_path: Path) -> None:
    words = ["good", "BAD", "yes", "No", "👎", "none of it"]
    scores = [{"name": "toxicity", "data_type": "CATEGORICAL", "value": 0, "string_value": word} for word in words]

    path = written(tmp_path, langfuse(scores))

    unknown = "not a verdict"
    assert outcomes(path) == [("Noon.", True), ("Noon.", False), unknown, unknown, ("Noon.", False), unknown]


# -- Langfuse -------------------------------------------------------------------------------------------------------


def test_langfuse_votes_changed_by_several_people_in_milliseconds_and_as_text(tmp_path: Path) -> None:
    votes = [
        {"author_user_id": 1, "value": 0, "timestamp": 1767225700000, "name": "Thumb"},
        {"author_user_id": "2", "value": 1, "timestamp": "2026-01-01T00:00:00.000Z", "name": "Thumb"},
        {"author_user_id": 1, "value": 1, "timestamp": 1767225600000, "name": "Thumb"},
        {"author_user_id": "2", "value": 0, "timestamp": "2026-01-01 00:00:01", "name": "Thumb"},
        {"author_user_id": "2", "value": 1, "timestamp": "2026-01-01T00:00:02Z", "name": "thumb"},
    ]

    earlier = "earlier vote"
    assert outcomes(written(tmp_path, langfuse(votes))) == [
        ("Noon.", False),
        earlier,
        earlier,
        ("Noon.", False),
        ("Noon.", True),  # another score: names differ in their capitals
    ]


def test_thumbs_and_stars_of_langfuse_in_one_export_stay_apart(tmp_path: Path) -> None:
    stars = [{"name": "Stars", "data_type": "NUMERIC", "value": value} for value in (1, 5, 0)]
    thumbs = [{"name": "Thumb", "data_type": "NUMERIC", "value": value} for value in (1, 0, -1)]

    found = outcomes(written(tmp_path, langfuse([*stars, *thumbs])))

    assert found == [("Noon.", 1.0), ("Noon.", 5.0), ("Noon.", 0.0), ("Noon.", True), "no verdict", ("Noon.", False)]


# -- LangSmith ------------------------------------------------------------------------------------------------------


def langsmith(feedback: list[dict[str, Any]]) -> dict[str, Any]:
    run = {"id": "r1", "run_type": "llm", "inputs": {"question": "Time?"}, "outputs": {"answer": "Noon."}}
    rows = [
        {"id": f"f{i}", "run_id": "r1", "feedback_source": {"type": "app"}, **row} for i, row in enumerate(feedback)
    ]
    return {"feedback.jsonl": rows, "runs.jsonl": [run]}


def test_a_category_of_langsmith_that_says_the_opposite_of_its_number_is_not_used(tmp_path: Path) -> None:
    rows = [
        {"key": "quality", "score": 0, "value": "good", "feedback_source": {"type": "app", "user_id": "a"}},
        {"key": "quality", "score": 1, "value": {"label": "Bad"}, "feedback_source": {"type": "app", "user_id": "b"}},
        {"key": "quality", "score": 1, "value": "good", "feedback_source": {"type": "app", "user_id": "c"}},
        {"key": "quality", "score": True, "value": None, "feedback_source": {"type": "app", "user_id": "d"}},
    ]

    assert outcomes(written(tmp_path, langsmith(rows))) == ["label", "label", ("Noon.", True), ("Noon.", True)]


def test_a_fault_of_langsmith_counts_where_its_configuration_says_its_direction(tmp_path: Path) -> None:
    turned = {"is_lower_score_better": True}
    rows = [
        {"key": "Toxicity", "score": 1, "feedback_config": turned, "feedback_source": {"user_id": "a"}},
        {"key": "Toxicity", "score": False, "feedback_config": turned, "feedback_source": {"user_id": "b"}},
        {"key": "bias", "score": 1, "feedback_source": {"user_id": "a"}},
    ]

    assert outcomes(written(tmp_path, langsmith(rows))) == [("Noon.", False), ("Noon.", True), "not a verdict"]


# -- MLflow ---------------------------------------------------------------------------------------------------------


def mlflow(assessments: list[dict[str, Any]]) -> dict[str, Any]:
    def span(name: str, parent: str | None, kind: str, output: str) -> dict[str, Any]:
        spoken = {
            "mlflow.spanType": json.dumps(kind),
            "mlflow.spanInputs": '"Time?"',
            "mlflow.spanOutputs": json.dumps(output),
        }
        return {
            "span_id": base64.b64encode(bytes.fromhex(name)).decode(),
            "parent_span_id": parent,
            "attributes": spoken,
        }

    spans = [
        span("aa" * 8, None, "CHAIN", "It is noon."),
        span("bb" * 8, "qqqqqqqqqqo=", "CHAT_MODEL", "Noon."),
        span("cc" * 8, "qqqqqqqqqqo=", "RETRIEVER", "A page of clocks."),
    ]
    rows = [
        {
            "assessment_id": f"a{i}",
            "assessment_name": "ok",
            "source": {"source_type": "HUMAN", "source_id": f"u{i}"},
            **row,
        }
        for i, row in enumerate(assessments)
    ]
    info = {"trace_id": "tr-1", "state": "OK", "assessments": rows}
    return {"traces.jsonl": [{"info": info, "data": {"spans": spans}}]}


def test_an_assessment_of_mlflow_is_on_the_span_that_it_names(tmp_path: Path) -> None:
    up, down = {"feedback": {"value": True}}, {"feedback": {"value": False}}
    found = outcomes(
        written(
            tmp_path,
            mlflow(
                [
                    up,
                    {**down, "span_id": "aa" * 8},
                    {**down, "span_id": "bb" * 8},
                    {**up, "span_id": "cc" * 8},
                    {**up, "span_id": "dd" * 8},
                ]
            ),
        )
    )

    assert found == [
        ("It is noon.", True),
        ("It is noon.", False),
        ("Noon.", False),
        "not a verdict",  # of the pages that were found, and not of an answer
        "answer not in the export",
    ]


def test_guidelines_and_facts_of_mlflow_are_no_answers(tmp_path: Path) -> None:
    wanted = [
        {"assessment_name": "guidelines", "expectation": {"value": "Be polite."}},
        {"assessment_name": "expected_facts", "expectation": {"value": "Noon is at 12."}},
        {"assessment_name": "expected_response", "expectation": {"value": "It is 12 o'clock."}},
    ]

    found = outcomes(written(tmp_path, mlflow(wanted)))

    assert found == ["not a verdict", "not a verdict", ("It is 12 o'clock.", "It is noon.")]


# -- Phoenix, Opik, OpenTelemetry -----------------------------------------------------------------------------------


def test_a_label_of_phoenix_that_says_the_opposite_of_its_score_is_not_used(tmp_path: Path) -> None:
    results = [
        {"score": 0, "label": "thumbs-up"},
        {"score": 1.0, "label": "Good"},
        {"score": 0, "label": ""},
        {"score": None, "label": "BAD"},
        {"score": None, "label": None},
    ]
    rows = [
        {"id": i, "span_id": 7, "name": "User Feedback", "annotator_kind": "HUMAN", "user_id": i, "result": result}
        for i, result in enumerate(results)
    ]
    span = {
        "context": {"span_id": 7, "trace_id": 1},
        "attributes": {"input": {"value": "Time?"}, "output": {"value": "Noon."}},
    }

    path = written(tmp_path, {"annotations.json": {"data": rows, "next_cursor": None}, "spans.jsonl": [span]})

    assert outcomes(path) == ["label", ("Noon.", True), ("Noon.", False), ("Noon.", False), "no verdict"]


def test_a_category_of_opik_is_its_word_whatever_number_its_author_gave_it(tmp_path: Path) -> None:
    scores = [
        {"name": "Quality", "value": 0.0, "category_name": "Good", "source": "ui", "created_by": "ann"},
        {"name": "Quality", "value": 1.0, "category_name": "bad", "source": "ui", "created_by": "bob"},
        {"name": "User feedback", "value": 1.0, "category_name": "👍", "source": "ui", "created_by": "ann"},
        {"name": "User feedback", "value": 0.0, "category_name": "", "source": "sdk", "created_by": "bob"},
        {"name": "Hallucination", "value": 1.0, "source": "ui", "created_by": "ann"},
    ]
    trace = {"id": 5, "input": "Time?", "output": "Noon.", "feedback_scores": scores}

    found = outcomes(written(tmp_path, {"traces.json": [trace]}))

    assert found == [("Noon.", True), ("Noon.", False), ("Noon.", True), ("Noon.", False), "not a verdict"]


# -- Annotation tools -----------------------------------------------------------------------------------------------


def argilla(fields: dict[str, str], values: dict[str, Any]) -> dict[str, Any]:
    responses = [
        {"user_id": 1, "status": "submitted", "values": {name: {"value": said} for name, said in values.items()}}
    ]
    return {"records.json": [{"id": 1, "fields": fields, "responses": responses}]}


@pytest.mark.parametrize(
    ("question", "said", "becomes"),
    [
        ("needs_correction", "yes", "not a verdict"),
        ("Corrected?", "No", "not a verdict"),
        ("is_harmful", "no", "not a verdict"),
        ("is_harmful", True, "not a verdict"),
        ("is_helpful", "no", ("Noon.", False)),
        ("correction", "It is noon.", ("It is noon.", "Noon.")),
    ],
)
def test_yes_and_no_of_argilla_are_thumbs_where_a_yes_is_good(
    tmp_path: Path, question: str, said: object, becomes: object
) -> None:
    path = written(tmp_path, argilla({"prompt": "Time?", "response": "Noon."}, {question: said}))

    assert outcomes(path) == [becomes]


@pytest.mark.parametrize(
    ("first", "second", "becomes"),
    [
        ("response_a", "response_b", ("Noon.", "One.")),
        ("responseA", "responseB", ("Noon.", "One.")),
        ("answer1", "answer2", ("Noon.", "One.")),
        ("left_answer", "right_answer", ("Noon.", "One.")),
        ("output", "output_2", ("Noon.", "One.")),
        ("answera", "answerb", ("Noon.", "One.")),
        # In which order a page showed these is not in the export.
        ("new_answer", "old_answer", "preference"),
        ("answer_alice", "answer_bob", "preference"),
        ("answer_base", "answer_tuned", "preference"),
    ],
)
def test_left_is_an_answer_only_where_the_fields_say_their_sides(
    tmp_path: Path, first: str, second: str, becomes: object
) -> None:
    path = written(tmp_path, argilla({"prompt": "Time?", second: "One.", first: "Noon."}, {"better": "left"}))

    assert outcomes(path) == [becomes]


def test_a_question_of_label_studio_about_a_fault_is_no_thumb(tmp_path: Path) -> None:
    def result(name: str, said: str) -> dict[str, Any]:
        return {"from_name": name, "type": "choices", "value": {"choices": [said]}}

    results = [
        result("toxic", "Yes"),
        result("helpful", "Yes"),
        result("Unsafe", "no"),
        result("overall", "Thumbs down"),
    ]
    task = {
        "id": 3,
        "data": {"question": "Time?", "answer": "Noon."},
        "annotations": [{"completed_by": 4, "result": results}],
    }

    assert outcomes(written(tmp_path, {"tasks.json": [task]})) == [
        "not a verdict",
        ("Noon.", True),
        "not a verdict",
        ("Noon.", False),
    ]


# -- Chats ----------------------------------------------------------------------------------------------------------


def chainlit(values: list[Any]) -> dict[str, Any]:
    steps, votes = [], []
    for i, value in enumerate(values):
        shared = {"threadId": f"t{i}", "isError": "f"}
        steps.append(
            {"id": f"q{i}", "type": "user_message", "output": "Time?", "createdAt": "2026-01-01T00:00:00Z", **shared}
        )
        answer = {"id": f"a{i}", "type": "assistant_message", "output": f"Noon {i}."}
        steps.append({**answer, "createdAt": "2026-01-01T00:00:01Z", **shared})
        votes.append({"id": f"f{i}", "forId": f"a{i}", "value": value})
    return {"steps.jsonl": steps, "feedbacks.jsonl": votes}


def test_a_zero_of_chainlit_before_version_1_1_is_a_vote_taken_back(tmp_path: Path) -> None:
    path = written(tmp_path, chainlit([1, 0, -1, "1"]))

    assert outcomes(path) == [("Noon 0.", True), "no verdict", ("Noon 2.", False), ("Noon 3.", True)]


def test_a_zero_of_chainlit_is_a_thumb_down(tmp_path: Path) -> None:
    path = written(tmp_path, chainlit([1, 0, 0.0, "0", None]))

    down = [(f"Noon {i}.", False) for i in (1, 2, 3)]
    assert outcomes(path) == [("Noon 0.", True), *down, "no verdict"]


def test_an_answer_that_failed_is_marked_as_postgres_writes_it(tmp_path: Path) -> None:
    files = chainlit([1])
    files["steps.jsonl"][1]["isError"] = "t"

    assert outcomes(written(tmp_path, files)) == ["unfinished answer"]
