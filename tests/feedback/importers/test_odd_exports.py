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


# -- Chat tools of other versions -----------------------------------------------------------------------------------


def open_webui(votes: list[dict[str, Any]], messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    history = {"messages": {str(each["id"]): each for each in messages}, "currentId": messages[-1]["id"]}
    chat = {"chat": {"id": "c", "chat": {"title": "t", "history": history}}}
    rows = []
    for i, vote in enumerate(votes):
        meta = {"message_id": vote.pop("on"), "chat_id": "c"}
        row = {"id": f"v{i}", "user_id": vote.pop("by", "u"), "type": "rating", "created_at": 1700000000 + i}
        rows.append({**row, **vote.pop("row", {}), "meta": meta, "data": vote, "snapshot": chat})
    return rows


OPEN_WEBUI_CHAT = [
    {"id": 1, "parentId": None, "childrenIds": [2, 3], "role": "user", "content": "Time?"},
    {"id": 2, "parentId": 1, "childrenIds": [], "role": "assistant", "content": "Noon.", "model": "m", "done": True},
    {"id": 3, "parentId": 1, "childrenIds": [], "role": "assistant", "content": "One.", "model": "n", "done": True},
]


def test_open_webui_with_numbers_as_ids_and_votes_changed_by_several_people(tmp_path: Path) -> None:
    votes = [
        {"by": "ann", "on": 2, "rating": 1},
        {"by": "bob", "on": 2, "rating": -1, "row": {"updated_at": 1800000000}},
        {"by": "ann", "on": 2, "rating": "-1", "details": {"rating": 9}},  # thumbs and stars: the thumb counts
        {"by": "bob", "on": 2, "rating": 1, "row": {"updated_at": 1700000001000}},  # in milliseconds, and earlier
        {"by": "ann", "on": "3", "rating": 1.0},
    ]

    found = outcomes(written(tmp_path, {"feedback.json": open_webui(votes, OPEN_WEBUI_CHAT)}))

    assert found == ["earlier vote", ("Noon.", False), ("Noon.", False), "earlier vote", ("One.", True)]


def test_open_webui_without_a_verdict(tmp_path: Path) -> None:
    votes = [
        {"on": 2, "rating": 0},
        {"on": 2, "rating": None, "by": "b"},
        {"on": 2, "rating": "", "by": "c"},
        {"on": 9, "rating": 1},
        {"on": 1, "rating": 1},
    ]

    found = outcomes(written(tmp_path, {"feedback.json": open_webui(votes, OPEN_WEBUI_CHAT)}))

    assert found == [
        "no verdict", "no verdict", "no verdict", "answer not in the export", "last turn not assistant"
    ]  # fmt: skip


def librechat(messages: list[dict[str, Any]]) -> dict[str, Any]:
    asked = {"messageId": "q", "parentMessageId": "", "isCreatedByUser": True, "text": "Time?", "sender": "User"}
    shared = {"conversationId": "c", "isCreatedByUser": False, "parentMessageId": "q", "sender": "AI"}
    rows = [{**shared, "messageId": f"a{i}", "text": f"Noon {i}.", **each} for i, each in enumerate(messages)]
    return {"messages.json": [{**shared, **asked}, *rows]}


def test_votes_of_librechat(tmp_path: Path) -> None:
    found = outcomes(
        written(
            tmp_path,
            librechat(
                [
                    {"feedback": {"rating": "thumbsDown", "tag": {"key": "not_helpful"}, "text": ""}},
                    {"feedback": {"rating": "ThumbsUp"}},
                    {"feedback": None},
                    {"feedback": {}},
                    {
                        "feedback": {"rating": "thumbsUp"},
                        "text": "",
                        "content": [{"type": "text", "text": {"value": "Five."}}],
                    },
                    {"feedback": {"rating": "thumbsUp"}, "unfinished": "true"},
                ]
            ),
        )
    )

    assert found == [("Noon 0.", False), ("Noon 1.", True), ("Five.", True), "unfinished answer"]


def test_votes_of_chat_ui_as_mongodb_and_other_versions_write_them(tmp_path: Path) -> None:
    chats = [
        {
            "_id": {"$oid": f"{number:024x}"},
            "model": "m",
            "messages": [
                {"id": "q", "from": "user", "content": "Time?"},
                {
                    "id": "a",
                    "from": "assistant",
                    "content": "Noon.",
                    "score": score,
                    "updatedAt": {"$date": "2026-01-01T00:00:00Z"},
                },
            ],
        }
        for number, score in enumerate([1, -1, 0, "-1", {"$numberInt": "1"}, 1.0])
    ]

    found = outcomes(written(tmp_path, {"conversations.json": chats}))

    assert found == [("Noon.", True), ("Noon.", False), ("Noon.", False), "label", ("Noon.", True)]


def test_votes_of_dify_by_an_admin_and_by_users_on_one_answer(tmp_path: Path) -> None:
    def vote(rating: str | None, time: object, **who: str) -> dict[str, Any]:
        return {"app_id": "x", "message_id": "m", "rating": rating, "from_source": "user", "created_at": time, **who}

    message = {"id": "m", "conversation_id": "c", "query": "Time?", "answer": "Noon.", "created_at": 1767225600}
    votes = [
        vote("like", 1767225601, from_end_user_id="e1"),
        vote("dislike", 1767225602, from_account_id="admin"),
        vote("Dislike", "2026-01-02T00:00:00", from_end_user_id="e1"),
        vote(None, 1, from_end_user_id="e2"),
    ]
    pages = {"feedbacks.json": {"data": votes}, "messages.json": {"data": [message], "has_more": False, "limit": 20}}

    found = outcomes(written(tmp_path, pages))

    assert found == ["earlier vote", ("Noon.", False), ("Noon.", False), "no verdict"]


def test_votes_of_vercels_chatbot_from_postgres(tmp_path: Path) -> None:
    def said(name: str, role: str, words: str, time: str) -> str:
        parts = json.dumps(
            [{"type": "step-start"}, {"type": "reasoning", "text": "Hm."}, {"type": "text", "text": words}]
        )
        return f'{name},c,{role},"{parts.replace(chr(34), chr(34) * 2)}",[],2026-01-01 00:00:{time}+00\n'

    turns = [
        said("q", "user", "Time?", "00"),
        said("a", "assistant", "Noon.", "00.5"),
        said("r", "user", "And now?", "00.7"),
        said("b", "assistant", "One.", "01"),
    ]
    messages = "id,chatId,role,parts,attachments,createdAt\n" + "".join(turns)
    votes = "chatId,messageId,isUpvoted\nc,a,f\nc,b,t\nc,q,t\nc,zz,f\n"

    found = outcomes(written(tmp_path, {"votes.csv": votes, "messages.csv": messages}))

    assert found == [("Noon.", False), ("One.", True), "empty prompt", "answer not in the export"]


def test_votes_of_chatgpt_on_one_answer_and_on_a_hidden_one(tmp_path: Path) -> None:
    def node(name: str, role: str, words: str, parent: str | None) -> dict[str, Any]:
        content = {"content_type": "text", "parts": [words]}
        return {
            "id": name,
            "parent": parent,
            "children": [],
            "message": {"id": name, "author": {"role": role}, "content": content},
        }

    chain = [
        node("q", "user", "Time?", None),
        node("a", "assistant", "Noon.", "q"),
        node("b", "assistant", "One.", "q"),
    ]
    chats = [
        {
            "id": "c",
            "title": "t",
            "create_time": 1.5e9,
            "current_node": "b",
            "mapping": {each["id"]: each for each in chain},
        }
    ]
    votes = [
        {
            "id": "a",
            "conversation_id": "c",
            "rating": "thumbs_down",
            "create_time": "2026-01-01T00:00:00Z",
            "content": "{}",
        },
        {"id": "b", "conversation_id": "c", "rating": "THUMBS_UP", "create_time": 1.7e9, "content": "{}"},
        {"id": "zz", "conversation_id": "c", "rating": "thumbs_up", "create_time": 1.7e9, "content": "{}"},
    ]

    found = outcomes(written(tmp_path, {"message_feedback.json": votes, "conversations.json": chats}))

    assert found == [("Noon.", False), ("One.", True), "answer not in the export"]


def test_a_log_of_gradio_of_another_version(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "Time?"}, {"role": "assistant", "content": "Noon."}]
    chat = json.dumps(turns).replace('"', '""')
    pairs = json.dumps([["Time?", "Noon."]]).replace('"', '""')
    rows = [
        f'"{chat}",1,Dislike,,2026-01-01',
        f'"{chat}","[1]",like,,2026-01-01',
        f'"{pairs}","[0, 1]",False,,2026-01-01',
        f'"{chat}",0,Like,,2026-01-01',
        f'"{chat}",1,Inappropriate,,2026-01-01',
        f'"{chat}",,Like,,2026-01-01',
    ]

    found = outcomes(
        written(tmp_path, {"log.csv": "conversation,index,value,flag,timestamp\n" + "\n".join(rows) + "\n"})
    )

    assert found == [
        ("Noon.", False),
        ("Noon.", True),
        ("Noon.", False),
        "last turn not assistant",
        "not a verdict",
        "answer not in the export",
    ]


# -- Tracing tools of other users -----------------------------------------------------------------------------------


def test_ratings_of_helicone_in_every_spelling(tmp_path: Path) -> None:
    reply = {"choices": [{"message": {"role": "assistant", "content": "Noon."}, "finish_reason": "stop"}]}
    given = {"request_body": {"messages": [{"role": "user", "content": "Time?"}]}, "response_body": reply}
    said = [
        {"feedback": {"rating": False}},
        {"feedback": '{"rating": true}'},
        {"feedback_rating": "false"},
        {"feedback": 0},
        {"rating": 5},
    ]

    found = outcomes(
        written(tmp_path, {"requests.jsonl": [{"request_id": i, **given, **each} for i, each in enumerate(said)]})
    )

    assert found == [("Noon.", False), ("Noon.", True), ("Noon.", False), ("Noon.", False), "label"]


@pytest.mark.parametrize(
    ("values", "becomes"),
    [
        ([1, 0, "1", "0.0"], [True, False, True, False]),
        ([1, -1, 0], [True, False, None]),
        ([-10, 10, 0, 1], [-10.0, 10.0, 0.0, 1.0]),
        ([5, -5, -1], [5.0, -5.0, -1.0]),
    ],
)
def test_values_of_portkey_by_their_scale(tmp_path: Path, values: list[Any], becomes: list[Any]) -> None:
    request = {"body": {"messages": [{"role": "user", "content": "Time?"}]}}
    response = {"body": {"choices": [{"message": {"role": "assistant", "content": "Noon."}}]}}
    logs = [{"trace_id": i, "request": request, "response": json.dumps(response)} for i, _ in enumerate(values)]
    votes = [{"id": f"f{i}", "trace_id": i, "value": value, "weight": None} for i, value in enumerate(values)]

    found = outcomes(written(tmp_path, {"feedback.jsonl": votes, "logs.jsonl": logs}))

    assert found == ["no verdict" if said is None else ("Noon.", said) for said in becomes]


def test_reactions_of_weave_by_several_people(tmp_path: Path) -> None:
    call = {
        "id": "c1",
        "op_name": "weave:///f/p/op/chat:1",
        "inputs": {"messages": [{"role": "user", "content": "Time?"}]},
        "output": "Noon.",
    }
    said = [
        ("ann", "👎🏽", "weave:///f/p/call/c1"),
        ("bob", "👍", "weave:///f/p/call/c1/"),
        ("ann", "👀", "weave:///f/p/call/c1"),
        ("ann", "👍", "c1"),
    ]
    rows = [
        {
            "id": i,
            "feedback_type": "wandb.reaction.1",
            "payload": {"emoji": emoji},
            "weave_ref": on,
            "creator": who,
            "created_at": f"2026-01-0{i + 1}T00:00:00Z",
        }
        for i, (who, emoji, on) in enumerate(said)
    ]
    rows.append(
        {"id": 9, "feedback_type": "wandb.note.1", "payload": {"note": "good"}, "weave_ref": "c1", "creator": "bob"}
    )

    found = outcomes(written(tmp_path, {"feedback.jsonl": rows, "calls.jsonl": [call]}))

    assert found == ["earlier vote", ("Noon.", True), "not a verdict", ("Noon.", True), "not a verdict"]


def test_evaluations_of_opentelemetry_with_scores_turned_round(tmp_path: Path) -> None:
    span: dict[str, Any] = {
        "name": "chat m",
        "span_id": "s",
        "trace_id": "t",
        "attributes": {"gen_ai.response.id": "r"},
    }
    said = [
        {"gen_ai.evaluation.score": -1.0, "user.id": "a"},
        {"gen_ai.evaluation.score": 1, "user.id": "b"},
        {"gen_ai.evaluation.score": -1, "gen_ai.evaluation.score.label": "Thumbs_Up", "user.id": "c"},
        {"gen_ai.evaluation.score": 0, "user.id": "d"},
    ]
    events = [
        {"id": i, "name": "gen_ai.evaluation.user_feedback", "attributes": {"gen_ai.response.id": "r", **each}}
        for i, each in enumerate(said)
    ]
    given: dict[str, Any] = span["attributes"]
    given["gen_ai.input.messages"] = [{"role": "user", "parts": [{"type": "text", "content": "Time?"}]}]
    given["gen_ai.output.messages"] = [{"role": "assistant", "parts": [{"type": "text", "content": "Noon."}]}]

    found = outcomes(written(tmp_path, {"spans.jsonl": [span], "events.jsonl": events}))

    assert found == [("Noon.", False), ("Noon.", True), "label", "no verdict"]


def test_ranks_of_openassistant_as_texts_with_ties_and_deleted_answers(tmp_path: Path) -> None:
    asked = {
        "message_id": "q",
        "parent_id": None,
        "text": "Time?",
        "role": "prompter",
        "rank": None,
        "message_tree_id": "q",
    }
    ranks = [("Two", "2"), ("None", None), ("Zero", 0.0), ("One", 1), ("Also one", "1")]
    rows = [
        {"message_id": name, "parent_id": "q", "text": name, "role": "assistant", "rank": rank, "message_tree_id": "q"}
        for name, rank in ranks
    ]

    found = outcomes(written(tmp_path, {"messages.jsonl": [asked, *rows]}))

    assert found == ["not a verdict", ("Zero", "One"), "no verdict", ("Also one", "Two")]


def test_stars_and_thumbs_of_label_studio_by_several_people(tmp_path: Path) -> None:
    def annotation(who: object, *results: dict[str, Any]) -> dict[str, Any]:
        return {"id": 1, "completed_by": who, "result": list(results), "updated_at": "2026-01-01T00:00:00Z"}

    stars = [{"from_name": "Stars", "type": "rating", "value": {"rating": value}} for value in (1, 5)]
    thumb = {"from_name": "Thumb", "type": "choices", "value": {"choices": ["👎"]}}
    both = {"from_name": "Thumb", "type": "choices", "value": {"choices": ["Good", "Bad"]}}
    task = {
        "id": 1,
        "data": {"Question": "Time?", "Answer": "Noon."},
        "annotations": [annotation({"id": 1}, stars[0], thumb), annotation(2, stars[1], both), {"was_cancelled": True}],
    }

    found = outcomes(written(tmp_path, {"tasks.json": [task]}))

    assert found == [("Noon.", 1.0), ("Noon.", False), ("Noon.", 5.0), "not a verdict", "no verdict"]


# -- Numbers that are texts -----------------------------------------------------------------------------------------


def test_one_star_of_argilla_in_a_text_is_no_thumb_up(tmp_path: Path) -> None:
    def record(number: int, **said: str) -> dict[str, Any]:
        values = {name: {"value": value} for name, value in said.items()}
        response = {"user_id": 1, "status": "submitted", "values": values}
        return {"id": number, "fields": {"prompt": "Time?", "response": "Noon."}, "responses": [response]}

    records = [record(1, rating="1", thumb="1"), record(2, rating="5", thumb="0"), record(3, rating="0", thumb="1")]

    found = outcomes(written(tmp_path, {"records.json": records}))

    assert found == [(("Noon."), said) for said in (1.0, True, 5.0, False, 0.0, True)]


def test_stars_of_label_studio_in_a_csv_are_scores(tmp_path: Path) -> None:
    rows = "".join(f"{i},{i},ann,1.5,Time?,Noon.,{stars}\n" for i, stars in enumerate([1, 5, 0, 3]))
    header = "id,annotation_id,annotator,lead_time,question,answer,rating\n"

    found = outcomes(written(tmp_path, {"min.csv": header + rows}))

    assert found == [("Noon.", 1.0), ("Noon.", 5.0), ("Noon.", 0.0), ("Noon.", 3.0)]


@pytest.mark.parametrize(
    ("name", "said"),
    [("Stars", 1.0), ("five_star", 1.0), ("NPS", 1.0), ("csat", 1.0), ("started", True), ("user-feedback", True)],
)
def test_one_star_that_nobody_exceeded_is_no_thumb_up(tmp_path: Path, name: str, said: float | bool) -> None:
    path = written(tmp_path, langfuse([{"name": name, "data_type": "NUMERIC", "value": 1.0}]))

    [(answer, found)] = outcomes(path)

    assert (answer, found, type(found)) == ("Noon.", said, type(said))


def test_a_ranking_of_argilla_may_be_a_list_of_names(tmp_path: Path) -> None:
    fields = {"prompt": "Time?", "response-1": "Noon.", "response-2": "One.", "response-3": "Two."}
    path = written(
        tmp_path, argilla(fields, {"ranking": ["response-2", "response-3", "response-1"], "tags": ["a", "b"]})
    )

    assert outcomes(path) == [("One.", "Two."), ("Two.", "Noon."), "not a verdict"]
