"""What a server of Langfuse answers: its newest API, or the one before, over scores and calls that are made up here."""

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from fake_server import Reply, Request

PUBLIC, SECRET = "pk-lf-0123456789", "sk-lf-secret-9876543210"
TOKEN = base64.b64encode(f"{PUBLIC}:{SECRET}".encode()).decode()


def thumb(number: int, **more: Any) -> dict[str, Any]:
    """The score of trace `number`, as version 3 has it: odd ones are down."""
    time = f"2026-03-01T10:{number // 60 % 60:02}:{number % 60:02}.000Z"
    return {
        "id": f"s{number}", "projectId": "p", "name": "user-feedback", "value": number % 2 == 0, "source": "API",
        "timestamp": time, "environment": "default", "createdAt": time, "updatedAt": time, "dataType": "BOOLEAN",
        "comment": None, "subject": {"kind": "trace", "id": f"t{number}"}, **more,
    }  # fmt: skip


def call(trace: str) -> dict[str, Any]:
    """The call in a trace, as version 2 of the observations has it."""
    return {
        "id": f"g-{trace}", "traceId": trace, "startTime": "2026-03-01T09:59:00.000Z", "projectId": "p",
        "parentObservationId": None, "type": "GENERATION", "isRootObservation": True, "level": "DEFAULT",
        "userId": f"u-{trace}", "sessionId": None, "providedModelName": "qwen3",
        "input": json.dumps([{"role": "user", "content": f"Question {trace}?"}]), "output": f"Answer {trace}.",
    }  # fmt: skip


@dataclass
class Langfuse:
    """Answers requests; `fault` may answer first, or spoil what is answered."""

    scores: list[dict[str, Any]]
    newest: bool = True
    size: int = 3
    """Rows of a page, whatever is asked for."""
    fault: Callable[[int, str, dict[str, Any]], Reply | None] = lambda *_: None
    """Is given the request's number, its path and its query."""
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def __call__(self, number: int, request: Request) -> Reply:
        parts = urlsplit(request.path)
        path, query = parts.path, {name: values[0] for name, values in parse_qs(parts.query).items()}
        self.asked.append((path, query))
        if request.headers.get("authorization") != f"Basic {TOKEN}":
            return Reply(401, b'{"message": "Invalid credentials"}')
        if (spoilt := self.fault(number, path, query)) is not None:
            return spoilt
        reply = self._reply(path, query)
        return Reply(404, b"not here") if reply is None else Reply(body=json.dumps(reply).encode())

    def _reply(self, path: str, query: dict[str, Any]) -> dict[str, Any] | None:
        wanted = [score for score in self.scores if score["source"] == query.get("source")]
        if self.newest and path == "/api/public/v3/scores":
            return self._by_cursor(wanted, query)
        if self.newest and path == "/api/public/v2/observations":
            [one] = json.loads(query["filter"])
            assert (one["column"], one["operator"]) == ("traceId", "any of")
            return self._by_cursor([call(trace) for trace in one["value"]], query)
        if not self.newest and path == "/api/public/v2/scores":
            start = (int(query["page"]) - 1) * self.size
            meta = {"page": int(query["page"]), "totalItems": len(wanted), "totalPages": -(-len(wanted) // self.size)}
            return {"data": [older(score) for score in wanted[start : start + self.size]], "meta": meta}
        if not self.newest and path.startswith("/api/public/traces/"):
            trace = path.rpartition("/")[2]
            one = {"id": f"g-{trace}", "traceId": trace, "type": "GENERATION", "startTime": "2026-03-01T09:59:00.000Z"}
            asked = [{"role": "user", "content": f"Question {trace}?"}]
            said = {"input": asked, "output": f"Answer {trace}.", "model": "qwen3"}
            user = {"userId": f"u-{trace}", "sessionId": None, "bookmarked": False}
            return {"id": trace, **user, "input": None, "output": None, "observations": [one | said], "scores": []}
        return None

    def _by_cursor(self, rows: list[dict[str, Any]], query: dict[str, Any]) -> dict[str, Any]:
        start = int(query.get("cursor", "at-0").removeprefix("at-"))
        end = start + self.size
        return {
            "data": rows[start:end],
            "meta": {"limit": self.size} | ({"cursor": f"at-{end}"} if end < len(rows) else {}),
        }


def older(score: dict[str, Any]) -> dict[str, Any]:
    """A score as version 2 has it."""
    subject, value = score["subject"], score["value"]
    more = {"traceId": subject.get("traceId", subject["id"]), "observationId": None}
    text = {"stringValue": value if isinstance(value, str) else str(value)}
    number = 0 if isinstance(value, str) else int(value)
    return {name: score[name] for name in score.keys() - {"subject", "projectId"}} | more | text | {"value": number}
