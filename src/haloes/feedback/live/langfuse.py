"""
Langfuse over its public API: the scores of a time, and the observations of the traces that they are on.

Newest first, and what a server does not have (404) is asked for in the older way:

    scores        GET /api/public/v3/scores (cursor), else /api/public/v2/scores, else /api/public/scores (page numbers)
    observations  GET /api/public/v2/observations (cursor; 50 traces at a time), else /api/public/traces/{id}
"""

import json
import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from haloes.errors import ConfigError
from haloes.feedback.importers.langfuse_rows import read_score
from haloes.feedback.importers.values import as_id
from haloes.feedback.live.contract import LiveSource
from haloes.feedback.live.fetching import Fetching, Server
from haloes.feedback.live.pages import Page, Query
from haloes.records import Where
from haloes.remote.client import Endpoint, NotFoundError, TooLongError

_SCORES, _ANSWERS = "scores", "answers"
_BY_CURSOR = "/api/public/v3/scores"
_BY_PAGE = ("/api/public/v2/scores", "/api/public/scores")
_OBSERVATIONS, _TRACES = "/api/public/v2/observations", "/api/public/traces/"
_SOURCES = {"human": ("API", "ANNOTATION"), "model": ("EVAL",), "code": ()}
_MOST = 100
"""Rows of a page."""
_TRACES_AT_ONCE = 50
_KEYS = ("LANGFUSE_PUBLIC_KEY", "LANGFUSE_SECRET_KEY")
_CLOUD = "https://cloud.langfuse.com"


def _endpoint() -> Endpoint:
    missing = [name for name in _KEYS if not os.environ.get(name, "").strip()]
    if missing:
        raise ConfigError(
            f"{' and '.join(missing)} must be set in the environment (in Langfuse: Settings › API Keys); LANGFUSE_HOST "
            f"or LANGFUSE_BASE_URL is the server, {_CLOUD} without one"
        )
    given = [os.environ.get(name, "").strip() for name in ("LANGFUSE_HOST", "LANGFUSE_BASE_URL")]
    server = next(filter(None, given), _CLOUD).rstrip("/")
    return Endpoint(base_url=server, user_env=_KEYS[0], key_env=_KEYS[1], attempts=8)


def _fetch(fetching: Fetching) -> None:
    _fetch_scores(fetching)
    traces = sorted(_traces_of(fetching) - _traces_there(fetching))
    if not traces:
        return
    begun = next((str(kept.query["path"]) for kept in fetching.pages.read(_ANSWERS)), None)
    if begun in (None, _OBSERVATIONS):
        starts = range(0, len(traces), _TRACES_AT_ONCE)
        several = ({"path": _OBSERVATIONS, "traces": traces[start : start + _TRACES_AT_ONCE]} for start in starts)
        try:
            fetching.all_pages(_ANSWERS, several, _ask_observations, noun="answers")
        except NotFoundError:
            if begun is not None:
                raise
        else:
            return
    each = ({"path": _TRACES, "traces": [trace]} for trace in traces)
    fetching.all_pages(_ANSWERS, each, _ask_trace, noun="answers", total=len(traces))


# --- scores


def _fetch_scores(fetching: Fetching) -> None:
    """Fetch the scores, by the newest path that the server has; a fetch that was begun keeps to its path."""
    begun = next((str(kept.query["path"]) for kept in fetching.pages.read(_SCORES)), None)
    paths = (_BY_CURSOR, *_BY_PAGE) if begun is None else (begun,)
    for path in paths:
        try:
            fetching.all_pages(_SCORES, _score_queries(fetching, path), _ask_scores, noun="scores")
        except NotFoundError:
            if path == paths[-1]:
                raise
        else:
            break
    _tell_missing(fetching)


def _tell_missing(fetching: Fetching) -> None:
    """Tell where rows were lost between pages that have numbers: what is added or deleted meanwhile moves them."""
    ids: dict[str, set[object]] = {}
    totals: dict[str, int] = {}
    for kept in fetching.pages.read(_SCORES):
        source, total = str(kept.query["source"]), kept.meta.get("totalItems")
        ids.setdefault(source, set()).update(as_id(row.get("id")) for row in kept.rows if isinstance(row, Mapping))
        if isinstance(total, int):
            totals[source] = total
    missing = sum(max(0, total - len(ids[source])) for source, total in totals.items())
    if missing:
        fetching.progress.note(
            f"{missing} score(s) are counted by the server and were on none of its pages, which moved meanwhile; "
            f"delete {fetching.pages.folder} to fetch them anew"
        )


def _score_queries(fetching: Fetching, path: str) -> Iterator[Query]:
    # One source a query: the older API takes no more, and a judge's scores may be asked for later.
    for source in (source for voter in sorted(fetching.voters) for source in _SOURCES[voter]):
        yield {
            "path": path,
            "source": source,
            "fromTimestamp": _iso(fetching.since),
            "toTimestamp": _iso(fetching.until),
        }


def _ask_scores(server: Server, query: Query, cursor: str | None) -> Page:
    asked = {name: query[name] for name in ("source", "fromTimestamp", "toTimestamp")}
    if query["path"] == _BY_CURSOR:
        more = {"limit": _MOST, "fields": "details,subject,annotation", "cursor": cursor}
        return server.get(query["path"], asked | more, _cursor_page)
    number = int(cursor or 1)
    return server.get(query["path"], asked | {"limit": _MOST, "page": number}, lambda reply: _page(reply, number))


# --- what they are on


def _traces_of(fetching: Fetching) -> set[str]:
    """Return the traces that the scores are on."""
    rows = (row for kept in fetching.pages.read(_SCORES) for row in kept.rows if isinstance(row, Mapping))
    return {trace for row in rows if (trace := read_score(row, Where("", 0)).trace) is not None}


def _traces_there(fetching: Fetching) -> set[str]:
    return {trace for query in fetching.finished(_ANSWERS) for trace in query["traces"]}


def _ask_observations(server: Server, query: Query, cursor: str | None) -> Page:
    wanted = {"type": "stringOptions", "column": "traceId", "operator": "any of", "value": query["traces"]}
    asked = {"fields": "core,basic,io,model", "filter": json.dumps([wanted]), "cursor": cursor}
    limit = _MOST
    while True:
        try:
            return server.get(query["path"], asked | {"limit": limit}, _cursor_page)
        except TooLongError:
            if limit == 1:
                raise
            limit = max(1, limit // 4)


def _ask_trace(server: Server, query: Query, _: str | None) -> Page:
    [trace] = query["traces"]
    try:
        return server.get(f"{query['path']}{quote(trace, safe='')}", {}, lambda reply: Page([_object(reply)], None, {}))
    except NotFoundError:
        return Page([], None, {"error": "the trace is not there"})  # deleted since


# --- replies


def _cursor_page(reply: Any) -> Page:
    meta = _object(reply).get("meta") or {}
    cursor = _object(meta).get("cursor")
    if cursor is not None and not isinstance(cursor, str):
        raise ValueError(f"its cursor is {cursor!r}")
    return Page(_rows(reply), cursor or None, meta)


def _page(reply: Any, number: int) -> Page:
    """Return a page by its number; the last one is empty, or is that of `totalPages`."""
    rows, meta = _rows(reply), _object(_object(reply).get("meta") or {})
    if meta.get("page") not in (None, number):
        raise ValueError(f"it is page {meta['page']!r}, and {number} was asked for")
    most = meta.get("totalPages")
    is_last = not rows or (isinstance(most, int) and number >= most)
    return Page(rows, None if is_last else str(number + 1), meta)


def _rows(reply: Any) -> list[Any]:
    rows = _object(reply).get("data")
    if not isinstance(rows, list):
        raise ValueError("it holds no rows under data")  # noqa: TRY004 - of the reply, not of the argument
    return rows


def _object(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError("it is no JSON object")  # noqa: TRY004 - of the reply, not of the argument
    return value


def _iso(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


LANGFUSE = LiveSource(name="langfuse", product="Langfuse", importer="langfuse", endpoint=_endpoint, fetch=_fetch)
