"""`/v1/chat/completions`: an answer on its way from who gives it to who asked, and into the store."""

import sys
import time
from asyncio import wrap_future
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from sqlite3 import Connection
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from haloes.readable import readable
from haloes.serving.backend import Ask, Backend, Reply
from haloes.serving.records import Answer, NotKeptError
from haloes.serving.replies import read_reply
from haloes.serving.requests import RefusedError, body_of, messages_of, refusal
from haloes.serving.store import Store
from haloes.serving.writes import add_answers, new_id

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope, Send

_MOST_KEPT = 32 << 20
"""Bytes of a reply that are kept for reading; what comes after goes to the client alone."""
_NO_SETTINGS = frozenset({"messages", "tools", "model", "user", "metadata", "chat_template_kwargs", "stream_options"})
_DONE, _END = b"[DONE]", 16
"""The last event, and where its mark stands."""
_SETTING = (bool, int, float, str)
_SHORTEST_SECRET = 8
_PATIENCE = 10.0
"""Seconds that a vote waits for the end of its answer."""


@dataclass(slots=True)
class Passed:
    """What is known of a reply while it passes."""

    ask: Ask
    completion_id: str
    began: float
    """`time.perf_counter` when the request was there."""
    at: float
    """Seconds since 1970."""
    raw: bytearray
    first: float | None = None
    """Seconds to the first byte."""
    took: float = 0.0
    """Seconds to the last one."""
    reply: Reply | None = None
    size: int = 0
    """Bytes that came."""
    ended: bool = False
    kept: bool = False
    over: anyio.Event = field(default_factory=anyio.Event)
    """Set when nothing of it comes any more, and what came is kept."""

    @classmethod
    def of(cls, ask: Ask) -> "Passed":
        """Begin."""
        return cls(ask, new_id("haloes"), time.perf_counter(), time.time(), bytearray())

    def add(self, part: bytes) -> None:
        """Keep a part."""
        if self.first is None:
            self.first = time.perf_counter() - self.began
        self.size += len(part)
        if len(self.raw) < _MOST_KEPT:
            self.raw += part

    def is_whole(self) -> bool:
        """Return whether the last part that is read came: the last byte that was announced, or the last event."""
        if self.reply is None:
            return False
        return self.reply.size == self.size or self.raw[-_END:].rstrip().endswith(_DONE)

    def is_answered(self) -> bool:
        """Return whether there is a reply, and no error."""
        return self.reply is not None and self.reply.status == 200  # noqa: PLR2004 - HTTP

    def answers(self, *, purpose: Any = "chat", secret: str = "") -> list[Answer]:
        """Return what is to be kept: nothing where the reply is an error, or no word came."""
        if self.reply is None or not self.is_answered():
            return []
        read = read_reply(_without(bytes(self.raw), secret))
        body: Mapping[str, Any] = self.ask.body
        metadata = body.get("metadata")
        conversation = metadata.get("conversation") if isinstance(metadata, Mapping) else None
        return [
            Answer(
                completion_id=self.completion_id,
                choice=number,
                upstream_id=read.id,
                purpose=purpose,
                created_at=self.at,
                model=read.model or str(body.get("model", "")),
                user=_text(body.get("user")),
                conversation=_text(conversation),
                messages=body["messages"],
                tools=body.get("tools") or (),
                chat_template_kwargs=body.get("chat_template_kwargs") or {},
                settings=_settings(body),
                message=choice.message(),
                finish_reason=choice.finish_reason or (None if self.ended or self.is_whole() else "stopped"),
                first_token_ms=None if self.first is None else 1000 * self.first,
                total_ms=1000 * self.took,
                prompt_tokens=read.prompt_tokens,
                completion_tokens=read.completion_tokens,
                logprobs=choice.logprobs or self.reply.logprobs,
            )
            for number, choice in sorted(read.choices.items())
        ]


class Chat:
    """The route, as an ASGI application."""

    def __init__(self, backend: Backend, store: Store, *, secret: str = "", passes_key: bool = True) -> None:
        """Take who answers, where it is kept, what is blotted out there, and whether clients' keys are passed on."""
        self._backend, self._store, self._secret, self._passes_key = backend, store, secret, passes_key
        self._passing: dict[str, Passed] = {}

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Answer a request; who hangs up stops the answer."""
        from starlette.requests import Request

        request = Request(scope, receive)
        try:
            raw, body = await body_of(request)
            messages_of(body)
        except RefusedError as error:
            await refusal(error)(scope, receive, send)
            return
        given = request.headers.get("authorization") if self._passes_key else None
        passed = Passed.of(Ask(raw, body, given.encode("latin-1") if given else None))
        self._passing[passed.completion_id] = passed
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_cancel_at_hang_up, receive, tasks.cancel_scope)
                await self._pass_on(passed, _Sender(send, scope, receive))
                tasks.cancel_scope.cancel()
        finally:
            # Who hung up has seen what came so far.
            if not passed.kept:
                with anyio.CancelScope(shield=True):
                    await self._keep(passed)
            del self._passing[passed.completion_id]
            passed.over.set()

    async def until_over(self, completion_id: str) -> None:
        """Wait until an answer that is on its way is kept: a vote may come sooner than the news that it was stopped."""
        passed = self._passing.get(completion_id)
        if passed is not None:
            with anyio.move_on_after(_PATIENCE):
                await passed.over.wait()

    async def _pass_on(self, passed: Passed, sender: "_Sender") -> None:
        try:
            async with self._backend.answer(passed.ask) as reply:
                passed.reply = reply
                await sender.begin(reply, passed.completion_id)
                async for part in reply.parts:
                    passed.add(part)
                    # Kept before the client learns that it is over: a vote that follows finds the answer.
                    if passed.is_whole():
                        await self._keep(passed)
                    await sender.part(part)
            passed.ended = True
            await self._keep(passed)
            await sender.end()
        except RefusedError as error:
            await sender.fail(error)

    async def _keep(self, passed: Passed) -> None:
        if passed.kept or not passed.is_answered():
            return
        passed.kept = True
        passed.took = time.perf_counter() - passed.began
        # Read by the thread that writes: no chat waits while megabytes are read, and a vote that comes next finds it.
        work = partial(_add, passed, self._secret)
        try:
            await wrap_future(self._store.write(work, again=True))
        except NotKeptError as error:  # the client has its answer; who votes on it is told
            sys.stderr.write(readable(f"haloes serve: an answer waits to be kept: {error}") + "\n")


class _Sender:
    """What goes to the client."""

    def __init__(self, send: "Send", scope: "Scope", receive: "Receive") -> None:
        self._send, self._scope, self._receive = send, scope, receive
        self._begun = False

    async def begin(self, reply: Reply, completion_id: str) -> None:
        headers = [*reply.headers, (b"x-haloes-completion-id", completion_id.encode())]
        await self._send({"type": "http.response.start", "status": reply.status, "headers": headers})
        self._begun = True

    async def part(self, part: bytes) -> None:
        await self._send({"type": "http.response.body", "body": part, "more_body": True})

    async def end(self) -> None:
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def fail(self, error: RefusedError) -> None:
        if not self._begun:
            await refusal(error)(self._scope, self._receive, self._send)
        # Else the connection is cut: a reply that broke off must not look like one that ended.


async def collected(backend: Backend, ask: Ask, *, model: str, secret: str = "") -> Answer:
    """
    Have one answer of a comparison given, and return it for the store, under the model's name in the comparison.

    Raises:
        RefusedError: there is none.
    """
    passed = Passed.of(ask)
    async with backend.answer(ask) as reply:
        passed.reply = reply
        async for part in reply.parts:
            passed.add(part)
    passed.ended = True
    passed.took = time.perf_counter() - passed.began
    answers = await anyio.to_thread.run_sync(partial(passed.answers, purpose="comparison", secret=secret))
    if not answers:
        raise RefusedError(502, f"there is no answer (HTTP {reply.status})", code="upstream")
    return replace(answers[0], model=model)


def _add(passed: Passed, secret: str, connection: Connection) -> None:
    add_answers(connection, passed.answers(secret=secret))


async def _cancel_at_hang_up(receive: "Receive", scope: anyio.CancelScope) -> None:
    message: Message = {"type": ""}
    while message["type"] != "http.disconnect":
        message = await receive()
    scope.cancel()


def _settings(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the plain settings of a request: what may hold texts of its own is left out."""
    return {name: value for name, value in body.items() if name not in _NO_SETTINGS and isinstance(value, _SETTING)}


def _text(value: object) -> str | None:
    from haloes.serving.writes import storable

    return storable(value)[:1000] if isinstance(value, str) and value.strip() else None


def _without(raw: bytes, secret: str) -> bytes:
    return raw.replace(secret.encode(), b"[key]") if len(secret) >= _SHORTEST_SECRET else raw
