"""Calls in traces that nobody rated: those that are like rated ones were shown, and of the others nobody knows."""

import json
from pathlib import Path
from typing import Any

import pytest

from haloes.feedback.importers.contract import Unrated
from haloes.feedback.importers.reader import ExportReader
from haloes.feedback.read import FeedbackSource
from haloes.report.shown import UNRATED, rated

Row = dict[str, Any]


def unrated(folder: Path, files: dict[str, list[Row]]) -> tuple[list[str], int]:
    """The answers that count as shown and not rated, and how many other calls there are."""
    for name, rows in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    reader = FeedbackSource(str(folder)).reader
    assert isinstance(reader, ExportReader)
    assert reader.importer.unrated is not None
    found = list(reader.importer.unrated(reader.export))
    return [each.completion[0].content for each in found if isinstance(each, Unrated)], sum(
        not isinstance(each, Unrated) for each in found
    )


# Of each tool: rated is the answer "rated" of calls named "chat"; "same" is like it, and the rest is not: "titles" has
# another name, "inside" stands in another call, "nobody's" names neither user nor conversation.


def test_langfuse_scores_on_calls(tmp_path: Path) -> None:
    def call(name: str, output: str, parent: str = "", user: str | None = "ann") -> Row:
        base = {"id": output, "trace_id": f"t {output}", "type": "GENERATION", "input": "Hi?", "trace_name": "chatbot"}
        return {**base, "name": name, "output": output, "parent_observation_id": parent, "user_id": user}

    observations = [
        call("chat", "rated"),
        call("chat", "same"),
        call("titles", "title"),
        call("chat", "inside", parent="x"),
        call("chat", "nobody's", user=None),
        call("chat", "judged"),
    ]
    scores = [
        {
            "id": on,
            "trace_id": f"t {on}",
            "observation_id": on,
            "source": source,
            "name": "thumb",
            "value": 1,
            "data_type": "BOOLEAN",
        }
        for on, source in (("rated", "API"), ("judged", "EVAL"))
    ]

    # Three calls, and the traces of four that begin one; that of the rated call is none, since its answer is rated.
    assert unrated(tmp_path, {"scores/a.jsonl": scores, "observations_v2/a.jsonl": observations}) == (
        ["same", "judged"],
        3 + 4,
    )


def test_langfuse_scores_on_traces(tmp_path: Path) -> None:
    def step(trace: str, name: str, user: str | None = "ann") -> list[Row]:
        root = {"id": f"r {trace}", "trace_id": trace, "type": "SPAN", "parent_observation_id": "", "trace_name": name}
        call = {
            "id": f"g {trace}",
            "trace_id": trace,
            "type": "GENERATION",
            "parent_observation_id": f"r {trace}",
            "name": "llm",
        }
        said = {"output": trace, "user_id": user}
        return [
            {**root, **said, "name": "root", "input": "Hi?"},
            {**call, **said, "input": [{"role": "user", "content": "Hi?"}]},
        ]

    rows = [*step("rated", "chat"), *step("same", "chat"), *step("title", "titles"), *step("nobody's", "chat", None)]
    score = {"id": "s", "trace_id": "rated", "source": "API", "name": "thumb", "value": 0, "data_type": "BOOLEAN"}

    # Left out are two traces, and the calls in the three that are not rated.
    assert unrated(tmp_path, {"scores/a.jsonl": [score], "observations_v2/a.jsonl": rows}) == (["same"], 2 + 3)


def test_langsmith(tmp_path: Path) -> None:
    def run(name: str, output: str, parent: str | None = None, thread: str | None = "c1") -> Row:
        base = {"id": output, "run_type": "chain", "inputs": {"question": "Hi?"}, "outputs": {"answer": output}}
        return {**base, "name": name, "parent_run_id": parent, "extra": {"metadata": {"thread_id": thread}}}

    runs = [
        run("chat", "rated"),
        run("chat", "same"),
        run("titles", "title"),
        run("chat", "inside", parent="x"),
        run("chat", "nobody's", thread=None),
    ]
    votes = [
        {"id": "f1", "run_id": "rated", "key": "thumb", "score": 1},
        {"id": "f2", "run_id": "title", "key": "judge", "score": 1, "feedback_source": {"type": "model"}},
    ]

    assert unrated(tmp_path, {"feedback.jsonl": votes, "runs.jsonl": runs}) == (["same"], 3)


def test_phoenix(tmp_path: Path) -> None:
    def span(name: str, output: str, parent: str | None = None, session: str | None = "c1") -> Row:
        said = {"input.value": "Hi?", "output.value": output, "session.id": session}
        return {"name": name, "context": {"span_id": output, "trace_id": "t"}, "parent_id": parent, "attributes": said}

    spans = [
        span("chat", "rated"),
        span("chat", "same"),
        span("titles", "title"),
        span("chat", "inside", parent="x"),
        span("chat", "nobody's", session=None),
    ]
    votes = [
        {"id": "1", "span_id": "rated", "name": "thumb", "annotator_kind": "HUMAN", "result": {"score": 1}},
        {"id": "2", "span_id": "title", "name": "ok", "annotator_kind": "LLM", "result": {"score": 1}},
    ]

    assert unrated(tmp_path, {"annotations.jsonl": votes, "spans.jsonl": spans}) == (["same"], 3)


def test_opentelemetry(tmp_path: Path) -> None:
    def span(operation: str, output: str, parent: str | None = None, chat: str | None = "c1") -> Row:
        said = [
            {"role": role, "parts": [{"type": "text", "content": words}]}
            for role, words in (("user", "Hi?"), ("assistant", output))
        ]
        given = {"gen_ai.operation.name": operation, "gen_ai.conversation.id": chat, "gen_ai.response.id": output}
        given |= {"gen_ai.input.messages": said[:1], "gen_ai.output.messages": said[1:]}
        return {
            "name": f"{operation} {output}",
            "span_id": output,
            "trace_id": "t",
            "parent_span_id": parent,
            "attributes": given,
        }

    spans = [
        span("chat", "rated"),
        span("chat", "same"),
        span("text_completion", "title"),
        span("chat", "inside", parent="x"),
        span("chat", "nobody's", chat=None),
    ]
    events = [
        {
            "event_name": "gen_ai.evaluation.result",
            "attributes": {
                "gen_ai.response.id": on,
                "gen_ai.evaluation.name": name,
                "gen_ai.evaluation.score.value": 1,
            },
        }
        for on, name in (("rated", "user_feedback"), ("title", "Relevance"))
    ]

    assert unrated(tmp_path, {"events.jsonl": events, "spans.jsonl": spans}) == (["same"], 3)


def test_mlflow(tmp_path: Path) -> None:
    def trace(name: str, output: str, source: str | None = None, user: str | None = "ann") -> Row:
        vote = {
            "assessment_name": "ok",
            "source": {"source_type": source, "source_id": "x"},
            "feedback": {"value": True},
        }
        said = {"mlflow.spanInputs": '"Hi?"', "mlflow.spanOutputs": json.dumps(output)}
        info = {
            "trace_id": output,
            "state": "OK",
            "tags": {"mlflow.traceName": name},
            "assessments": [vote] if source else [],
        }
        spans = [{"name": "root", "span_id": "r", "parent_span_id": None, "attributes": said}]
        return {"info": {**info, "trace_metadata": {"mlflow.trace.user": user}}, "data": {"spans": spans}}

    traces = [
        trace("chat", "rated", "HUMAN"),
        trace("chat", "same"),
        trace("chat", "judged", "LLM_JUDGE"),
        trace("titles", "title"),
        trace("chat", "nobody's", user=None),
    ]

    assert unrated(tmp_path, {"traces.jsonl": traces}) == (["same", "judged"], 2)


def test_opik(tmp_path: Path) -> None:
    def trace(name: str | None, output: str, source: str | None = None, thread: str | None = "c1") -> Row:
        scores = [{"name": "thumb", "value": 0.0, "source": source}] if source else []
        said = {"id": output, "name": name, "input": "Hi?", "output": output, "thread_id": thread}
        return {**said, "feedback_scores": scores}

    traces = [
        trace("chat", "rated", "ui"),
        trace("chat", "same"),
        trace("chat", "judged", "online_scoring"),
        trace("titles", "title"),
        trace("chat", "nobody's", thread=None),
        trace(None, "nameless"),
    ]

    assert unrated(tmp_path, {"traces.jsonl": traces}) == (["same", "judged"], 3)


def test_weave(tmp_path: Path) -> None:
    def call(name: str, output: str, parent: str | None = None) -> Row:
        said = {"id": output, "inputs": {"question": "Hi?"}, "output": {"answer": output}, "parent_id": parent}
        return {"op_name": f"weave:///firm/p/op/{name}:{len(output)}", **said}

    calls = [call("chat", "rated"), call("chat", "same"), call("titles", "title"), call("chat", "inside", parent="x")]
    vote = {
        "id": "f",
        "feedback_type": "wandb.reaction.1",
        "payload": {"emoji": "👍"},
        "weave_ref": "weave:///firm/p/call/rated",
    }

    # No call names a conversation, the rated one neither: what is like it is its name and place.
    assert unrated(tmp_path, {"feedback.jsonl": [vote], "calls.jsonl": calls}) == (["same"], 2)


def test_helicone(tmp_path: Path) -> None:
    def request(prompt: str | None, output: str, rating: bool | None = None, user: str | None = "ann") -> Row:
        reply = {"choices": [{"message": {"role": "assistant", "content": output}}]}
        asked = {"messages": [{"role": "user", "content": "Hi?"}]}
        given = {"request_id": output, "request_body": asked, "response_body": reply, "request_user_id": user}
        return {**given, "request_properties": {"Helicone-Prompt-Id": prompt}, "feedback": {"rating": rating}}

    requests = [
        request("chat", "rated", True),
        request("chat", "same"),
        request("titles", "title"),
        request("chat", "nobody's", user=None),
        request(None, "nameless"),
    ]

    assert unrated(tmp_path, {"requests.jsonl": requests}) == (["same"], 3)


@pytest.mark.parametrize("num_same", [0, 40])
def test_the_rule_and_what_is_left_out_are_said(tmp_path: Path, num_same: int) -> None:
    def trace(name: str, number: int, *, scored: bool) -> Row:
        scores = (
            [{"name": "thumb", "value": float(number % 2), "source": "ui", "created_by": f"u{number}"}]
            if scored
            else []
        )
        said = {
            "id": f"{name}{number}",
            "name": name,
            "input": "Hi?",
            "output": "word " * (number + 1),
            "thread_id": f"c{number}",
        }
        return {**said, "feedback_scores": scores}

    rows = [trace("chat", number, scored=True) for number in range(30)]
    rows += [trace("chat", 100 + number, scored=False) for number in range(num_same)]
    rows += [trace("titles", number, scored=False) for number in range(7)]
    (tmp_path / "traces.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    said = rated(FeedbackSource(str(tmp_path)).shown())

    if num_same:
        assert said[0].startswith("30 of 70 answers that people were shown are rated")
        assert said[1].startswith("as shown count calls of the names that people rated")
        assert said[1].endswith("7 other calls without a vote may have been seen by nobody, and are left out")
    else:
        assert said == [UNRATED]
