"""The routes, put together."""

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from haloes.serving import queries
from haloes.serving.backend import Backend
from haloes.serving.chat import Chat
from haloes.serving.comparing import Comparing, Contest
from haloes.serving.records import UnknownError
from haloes.serving.requests import RefusedError, as_json, refusal
from haloes.serving.safety import Guard
from haloes.serving.store import Store
from haloes.serving.tally import tally
from haloes.serving.voting import Voting

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

_MOST_LISTED = 200
_RATINGS = {"": None, "all": None, "up": 1, "down": -1, "none": 0}
_KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What is served."""

    store: Store
    backend: Backend
    contest: Contest | None = None
    run: str | None = None
    """The run's folder, for the page."""
    secret: str = ""
    """The upstream's key, which is kept nowhere."""
    beside: Callable[[], Coroutine[Any, Any, None]] | None = None
    """What goes on beside the requests until the server ends."""


def make_app(site: Site, *, token: str = "", names: tuple[str, ...] = ()) -> Any:
    """
    Return the ASGI application; it opens what the backend has to open when it starts.

    Args:
        site: what is served.
        token: what each request must bring; empty for none.
        names: names of the server beside localhost and addresses.
    """
    from starlette.applications import Starlette
    from starlette.routing import Route

    reading = _Reading(site, passes_key=not token)
    comparing = Comparing(site.store, site.backend, site.contest, secret=site.secret, passes_key=not token)
    # Where clients bring our token, theirs is no key of the upstream.
    chat = Chat(site.backend, site.store, secret=site.secret, passes_key=not token)
    voting = Voting(site.store, chat.until_over)

    def route(path: str, answer: "Callable[[Request], Awaitable[Response]]", method: str = "GET") -> Route:
        return Route(path, _guarded(answer), methods=[method])

    @asynccontextmanager
    async def lifespan(_: object) -> AsyncIterator[None]:
        async with site.backend.opened(), anyio.create_task_group() as tasks:
            if site.beside is not None:
                tasks.start_soon(site.beside)
            if site.contest is not None:  # so that who compares first does not wait for imports
                tasks.start_soon(anyio.to_thread.run_sync, tally, ())
            yield
            tasks.cancel_scope.cancel()

    routes = [
        Route("/v1/chat/completions", chat, methods=["POST"]),
        route("/v1/models", reading.models),
        route("/v1/feedback", voting.rate, "POST"),
        route("/api/info", reading.info),
        route("/api/answers", reading.answers),
        route("/api/answers/{name}", reading.answer),
        route("/api/queue", reading.queue),
        route("/api/comparisons", comparing.begin, "POST"),
        route("/api/comparisons/tally", comparing.count),
        route("/api/comparisons/{name}/vote", comparing.vote, "POST"),
        *(route(path, answer) for path, answer in _page().items()),
    ]
    handlers = dict.fromkeys((404, 405), _no_route)
    return Guard(Starlette(routes=routes, exception_handlers=handlers, lifespan=lifespan), token, names)


class _Reading:
    """The routes that only read."""

    def __init__(self, site: Site, *, passes_key: bool) -> None:
        self._site, self._passes_key = site, passes_key

    async def models(self, request: "Request") -> "Response":
        data = [
            {"id": name, "object": "model", "created": 0, "owned_by": "haloes"} for name in await self._names(request)
        ]
        return as_json({"object": "list", "data": data})

    async def info(self, request: "Request") -> "Response":
        contest, loading = self._site.contest, self._site.backend.loading()
        names, problem = list[str](), None
        try:
            names = await self._names(request)
        except RefusedError as error:  # what was logged is there all the same
            problem = error.message
        return as_json(
            {
                "models": names,
                "problem": problem,
                "compared": None if contest is None else list(contest.models),
                "prompts": 0 if contest is None else len(contest.prompts),
                "run": self._site.run,
                "loading": None if loading is None else asdict(loading),
                **await self._read(queries.counts),
            }
        )

    async def answers(self, request: "Request") -> "Response":
        given = request.query_params
        rating = given.get("rating", "all")
        if rating not in _RATINGS:
            raise RefusedError(400, "rating must be up, down, none or all", param="rating")
        wanted = queries.Listing(
            search=given.get("search", "")[:500],
            rating=_RATINGS[rating],
            model=given.get("model") or None,
            before=_whole(request, "before", None),
            limit=_whole(request, "limit", 50) or 1,
        )
        return as_json(await self._read(lambda connection: queries.listed(connection, wanted)))

    async def answer(self, request: "Request") -> "Response":
        try:
            found = await self._read(lambda connection: queries.answer(connection, request.path_params["name"]))
        except UnknownError as error:
            raise RefusedError(404, str(error), "unknown_completion") from error
        return as_json(found)

    async def queue(self, request: "Request") -> "Response":
        limit = _whole(request, "limit", 20) or 1
        return as_json(await self._read(lambda connection: queries.waiting(connection, limit)))

    async def _names(self, request: "Request") -> list[str]:
        given = request.headers.get("authorization") if self._passes_key else None
        return await self._site.backend.models(given.encode("latin-1") if given else None)

    async def _read(self, work: Any) -> Any:
        return await anyio.to_thread.run_sync(self._site.store.read, work)


def _guarded(answer: "Callable[[Request], Awaitable[Response]]") -> "Callable[[Request], Awaitable[Response]]":
    async def answered(request: "Request") -> "Response":
        try:
            return await answer(request)
        except RefusedError as error:
            return refusal(error)

    return answered


def _page() -> "dict[str, Callable[[Request], Awaitable[Response]]]":
    """Return the page's own files by their paths."""
    own = [Path(str(file)) for file in files("haloes.serving").joinpath("page").iterdir()]
    return {"/" if path.name == "index.html" else f"/{path.name}": _file(path) for path in own if path.suffix in _KINDS}


def _file(path: Path) -> "Callable[[Request], Awaitable[Response]]":
    content, kind = path.read_bytes(), f"{_KINDS[path.suffix]}; charset=utf-8"

    async def sent(_: "Request") -> "Response":
        from starlette.responses import Response

        return Response(content, headers={"content-type": kind})

    return sent


async def _no_route(request: "Request", error: Any) -> "Response":
    return refusal(RefusedError(error.status_code, f"{request.method} {request.url.path} is no route of this server"))


def _whole(request: "Request", name: str, default: int | None) -> int | None:
    value = request.query_params.get(name)
    if value is None:
        return default
    if not (value.isascii() and value.isdigit() and len(value) < 16):  # noqa: PLR2004 - digits that fit
        raise RefusedError(400, f"{name} must be a whole number", param=name)
    number = int(value)
    return min(number, _MOST_LISTED) if name == "limit" else number
