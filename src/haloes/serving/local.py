"""The models of a run, answered by transformers in this process, one answer at a time."""

import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

import anyio
import anyio.from_thread
from anyio.streams.memory import MemoryObjectSendStream

from haloes.errors import UserError
from haloes.feedback.messages import check_prompt, parse_messages
from haloes.feedback.refusals import RefusalError
from haloes.records import Asked, Completion, Prompt, as_asked
from haloes.sampling._contract import Decoding
from haloes.sampling.stream import Growing, stream
from haloes.sampling.transformers_engine import TransformersEngine
from haloes.serving.backend import Ask, Loading, Reply
from haloes.serving.models import Models
from haloes.serving.requests import RefusedError, messages_of
from haloes.serving.writes import new_id, words_of

_KNOWN = frozenset(
    [
        "model",
        "messages",
        "tools",
        "temperature",
        "top_p",
        "max_tokens",
        "max_completion_tokens",
        "seed",
        "stream",
        "stream_options",
        "logprobs",
        "user",
        "metadata",
        "chat_template_kwargs",
        "n",
        "store",
    ]
)
Result = TypeVar("Result")

_MOST_TOKENS = 256
_IDLE = 0.2
"""Seconds until it is looked again whether somebody waits."""
_EVENTS = (b"content-type", b"text/event-stream; charset=utf-8")


class _HungUpError(Exception):
    """Nobody waits for the answer any more."""


class Local:
    """Answers with models in this process."""

    def __init__(self, models: Models) -> None:
        """Take the models."""
        self._models = models
        self._turn = anyio.Lock()
        self._seeds = 0

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Begin to load the models."""
        self._models.load()
        yield

    async def models(self, authorization: bytes | None = None) -> list[str]:  # noqa: ARG002 - of the interface
        """Return the names of the models."""
        return self._models.names

    async def model(self, name: str) -> TransformersEngine:
        """Return a model once all are there. Raises what kept it from being loaded."""
        return await self._models.get(name)

    async def when_idle(self, work: Callable[[], Result]) -> Result:
        """Return what work with a model comes to, begun when nobody waits for an answer; who asks meanwhile waits."""
        while self._turn.locked():  # noqa: ASYNC110 - an event would be set when the next in line begins
            await anyio.sleep(_IDLE)
        async with self._turn:
            return await anyio.to_thread.run_sync(work)

    def loading(self) -> Loading | None:
        """Return how far the loading is."""
        return self._models.loading()

    def failure(self) -> Exception | None:
        """Return why there is a model that cannot be loaded."""
        return self._models.failure

    @asynccontextmanager
    async def answer(self, ask: Ask) -> AsyncIterator[Reply]:
        """Answer once the models are there, and those who asked before have their answers."""
        try:
            async with self._answered(ask) as reply:
                yield reply
        except BaseExceptionGroup as group:
            # A task group wraps what is raised inside it.
            raise _refusal_in(group) or group from None

    @asynccontextmanager
    async def _answered(self, ask: Ask) -> AsyncIterator[Reply]:
        wanted = _Wanted(ask.body, self._models.names)
        try:
            engine = await self._models.get(wanted.model)
        except Exception as error:  # whatever it is, the server is about to end with it
            raise RefusedError(503, f"the model {wanted.model} cannot be loaded", "not_loaded") from error
        if wanted.seed is None:
            self._seeds += 1
        seed = self._seeds if wanted.seed is None else wanted.seed
        async with self._turn, anyio.create_task_group() as tasks:
            stopped = threading.Event()
            give, take = anyio.create_memory_object_stream[dict[str, Any]](1 << 20)

            def put(item: dict[str, Any]) -> None:
                try:
                    anyio.from_thread.run_sync(give.send_nowait, item)
                except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                    raise _HungUpError from None

            def work() -> None:
                def tell(new: dict[str, str], growing: Growing) -> None:
                    if stopped.is_set():
                        raise _HungUpError
                    logprobs.extend(growing.logprobs[len(logprobs) :])
                    put({"new": new, "growing": growing})

                try:
                    done = stream(
                        engine.model,
                        engine.tokenizer,
                        wanted.prompt,
                        decoding=wanted.decoding,
                        seed=seed,
                        tell=tell,
                    )
                    put({"done": done})
                except UserError as error:
                    put({"error": RefusedError(400, str(error))})

            logprobs: list[float] = []
            tasks.start_soon(_in_thread, work, give)
            try:
                # What is wrong with the prompt shows before the first word, and so before the status is sent.
                first = await take.receive()
                if "error" in first:
                    raise first["error"]
                whole = _as_events if wanted.streams else _as_one
                headers = [_EVENTS if wanted.streams else (b"content-type", b"application/json")]
                yield Reply(200, headers, whole(wanted, _and(first, take)), logprobs=logprobs)
            finally:
                stopped.set()
                take.close()


def _refusal_in(error: BaseException) -> RefusedError | None:
    """Return the refusal that an error is or holds."""
    if isinstance(error, BaseExceptionGroup):
        return next(filter(None, map(_refusal_in, error.exceptions)), None)
    return error if isinstance(error, RefusedError) else None


async def _in_thread(work: Any, give: MemoryObjectSendStream[Any]) -> None:
    with give, suppress(_HungUpError):
        await anyio.to_thread.run_sync(work)


class _Wanted:
    """A request, checked."""

    def __init__(self, body: Mapping[str, Any], models: Collection[str]) -> None:
        """Raise RefusedError where the request cannot be answered as it is."""
        odd = next((name for name, value in body.items() if name not in _KNOWN and value not in (None, [], {})), None)
        if odd is not None:
            raise RefusedError(400, f"{odd!r:.80} is not supported by this server", "unsupported_parameter", odd)
        self.model = str(body.get("model"))
        if self.model not in models:
            known = ", ".join(models)
            raise RefusedError(404, f"there is no model {self.model!r:.80}, only {known}", "model_not_found", "model")
        self.streams = body.get("stream") is True
        options = body.get("stream_options")
        self.counts = not self.streams or (isinstance(options, Mapping) and options.get("include_usage") is True)
        self.logprobs = body.get("logprobs") is True
        if body.get("n") not in (None, 1):
            raise RefusedError(400, "n must be 1", "unsupported_parameter", "n")
        most = _number(body, "max_completion_tokens", None) or _number(body, "max_tokens", _MOST_TOKENS)
        self.seed = None if body.get("seed") is None else int(_number(body, "seed", 0)) & 0xFFFFFFFF
        try:
            self.decoding = Decoding(
                max_new_tokens=int(most),
                temperature=float(_number(body, "temperature", 0.0)),
                top_p=float(_number(body, "top_p", 1.0)),
            )
            self.prompt = _prompt(body)
        except UserError as error:
            raise RefusedError(400, str(error)) from error
        except RefusalError as error:
            raise RefusedError(400, error.message, param="messages") from error
        self.id, self.created = new_id("chatcmpl"), int(time.time())

    def part(self, kind: str, **more: Any) -> dict[str, Any]:
        """Return an object of a reply."""
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model, **more}


def _prompt(body: Mapping[str, Any]) -> Asked:
    turns = [
        {**turn, "content": words_of(turn["content"])}
        if isinstance(turn.get("content"), list) and all(part.get("type") == "text" for part in turn["content"])
        else turn
        for turn in messages_of(body)
    ]
    tools, values = body.get("tools") or [], body.get("chat_template_kwargs") or {}
    if not isinstance(tools, list) or not isinstance(values, Mapping):
        raise RefusedError(400, "tools must be a list, and chat_template_kwargs an object")
    return as_asked(Prompt(check_prompt(parse_messages(turns, column="messages")), tuple(tools), values or None))


def _number(body: Mapping[str, Any], name: str, default: float | None) -> Any:
    value = body.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise RefusedError(400, f"{name} must be a number", param=name)
    return value


async def _and(first: dict[str, Any], rest: AsyncIterator[dict[str, Any]]) -> AsyncIterator[dict[str, Any]]:
    yield first
    async for each in rest:
        yield each


async def _as_events(wanted: _Wanted, items: AsyncIterator[dict[str, Any]]) -> AsyncIterator[bytes]:
    begun = False
    told = 0
    growing: Growing | None = None
    async for item in items:
        if "error" in item:
            raise item["error"]
        if "done" in item:
            for event in _last_events(wanted, item["done"], growing):
                yield event
            continue
        growing = item["growing"]
        delta = _named(item["new"])
        if delta or not begun:
            new = growing.logprobs[told:]
            told = len(growing.logprobs)
            yield _event(wanted, {} if begun else {"role": "assistant"}, delta, new if wanted.logprobs else None)
            begun = True


def _last_events(wanted: _Wanted, done: Completion, growing: Growing | None) -> list[bytes]:
    choice = {"index": 0, "delta": {}, "finish_reason": "stop" if done.finished else "length"}
    events = [wanted.part("chat.completion.chunk", choices=[choice])]
    if wanted.counts:
        events.append(wanted.part("chat.completion.chunk", choices=[], usage=_usage(done, growing)))
    return [*(_data(event) for event in events), b"data: [DONE]\n\n"]


def _event(wanted: _Wanted, start: dict[str, str], delta: dict[str, str], logprobs: list[float] | None) -> bytes:
    choice: dict[str, Any] = {"index": 0, "delta": {**start, **delta}, "finish_reason": None}
    if logprobs is not None:
        choice["logprobs"] = _logprobs(logprobs)
    return _data(wanted.part("chat.completion.chunk", choices=[choice]))


async def _as_one(wanted: _Wanted, items: AsyncIterator[dict[str, Any]]) -> AsyncIterator[bytes]:
    growing: Growing | None = None
    async for item in items:
        if "error" in item:
            raise item["error"]
        if "done" not in item:
            growing = item["growing"]
            continue
        done: Completion = item["done"]
        message = {"role": "assistant", "content": done.completion}
        if done.reasoning:
            message["reasoning_content"] = done.reasoning
        choice = {"index": 0, "message": message, "finish_reason": "stop" if done.finished else "length"}
        if wanted.logprobs and growing is not None:
            choice["logprobs"] = _logprobs(growing.logprobs)
        yield json.dumps(wanted.part("chat.completion", choices=[choice], usage=_usage(done, growing))).encode()


def _named(new: Mapping[str, str]) -> dict[str, str]:
    names = {"words": "content", "reasoning": "reasoning_content"}
    return {names[name]: text for name, text in new.items()}


def _logprobs(values: list[float]) -> dict[str, Any]:
    return {"content": [{"token": "", "logprob": value, "bytes": None, "top_logprobs": []} for value in values]}


def _usage(done: Completion, growing: Growing | None) -> dict[str, int]:
    asked = 0 if growing is None else growing.num_prompt
    return {
        "prompt_tokens": asked,
        "completion_tokens": done.num_tokens,
        "total_tokens": asked + done.num_tokens,
    }


def _data(value: object) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"
