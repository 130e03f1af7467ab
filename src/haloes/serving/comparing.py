"""Blind comparisons: two models' answers to one prompt, side by side, and who wrote which only after the vote."""

import json
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from sqlite3 import Connection
from typing import TYPE_CHECKING, Any

import anyio.to_thread

from haloes.records import Asked, Completion
from haloes.records_json import asked_to_json
from haloes.serving import queries
from haloes.serving.backend import Ask, Backend
from haloes.serving.chat import collected
from haloes.serving.records import Answer, Preference, Verdict
from haloes.serving.requests import RefusedError, as_json, body_of, messages_of, text
from haloes.serving.store import Store
from haloes.serving.tally import tally
from haloes.serving.voting import written
from haloes.serving.writes import NewComparison, add_answers, add_comparison, add_preference, new_id

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

_VERDICTS: tuple[Verdict, ...] = ("left", "right", "tie", "both_bad")


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """What is compared, and on what."""

    candidate: str
    """The model under test."""
    baseline: str
    prompts: Mapping[str, Asked] = field(default_factory=dict)
    """Prompts by id, in the order in which they are shown."""
    ready: Mapping[tuple[str, str], Completion] = field(default_factory=dict)
    """Answers that are there already, by prompt id and model: those that judges saw as well."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Sampling settings of the answers that are made."""

    @property
    def models(self) -> tuple[str, str]:
        """Return both names, the candidate's first."""
        return self.candidate, self.baseline


class Comparing:
    """The routes."""

    def __init__(
        self, store: Store, backend: Backend, contest: Contest | None, *, secret: str, passes_key: bool
    ) -> None:
        """Take where votes are kept, who answers, what is compared, what is blotted out, and whether keys pass on."""
        self._store, self._backend, self._contest = store, backend, contest
        self._secret, self._passes_key = secret, passes_key
        self._places = random.SystemRandom()

    async def begin(self, request: "Request") -> "Response":
        """Show two answers."""
        contest = self._known()
        _, body = await body_of(request)
        user = text(body, "user")
        if "messages" in body:
            prompt_id, asked = None, {"messages": messages_of(body)}
        else:
            prompt_id = await self._next(contest, user)
            asked = _as_body(contest.prompts[prompt_id])
        answers = await self._answers(contest, prompt_id, asked, request)
        swapped = self._places.random() < 0.5  # noqa: PLR2004 - a fair coin

        def begun(connection: Connection) -> tuple[str, int, int]:
            # In the transaction that writes it, so that who asks twice at a time has one pair that waits.
            if prompt_id is not None:
                waiting = queries.waiting_pair(connection, prompt_id, contest.models, user)
                if waiting is not None:
                    return waiting
            numbers = _shown_before(connection, contest, prompt_id) or _added(connection, contest, answers)
            left, right = numbers[::-1] if swapped else numbers
            new = NewComparison(
                prompt_id=prompt_id,
                candidate=contest.candidate,
                baseline=contest.baseline,
                left=left,
                right=right,
                user=user,
            )
            return add_comparison(connection, new), left, right

        name, *numbers = await written(self._store, begun)
        turns = await self._read(lambda connection: queries.messages_of(connection, numbers))
        shown = dict(zip(("left", "right"), map(_shown, turns), strict=True))
        return as_json({"id": name, "prompt_id": prompt_id, "messages": asked["messages"], **shown})

    async def vote(self, request: "Request") -> "Response":
        """Keep a verdict, and say who wrote which."""
        contest = self._known()
        _, body = await body_of(request)
        verdict = body.get("verdict")
        if verdict not in _VERDICTS:
            raise RefusedError(400, f"verdict must be one of {', '.join(_VERDICTS)}", param="verdict")
        vote = Preference(
            comparison_id=request.path_params["name"],
            verdict=verdict,
            comment=text(body, "comment"),
            user=text(body, "user"),
        )
        kept = await written(self._store, lambda connection: add_preference(connection, vote))
        return as_json({**kept, "tally": await self._tally(contest, vote.user)})

    async def count(self, request: "Request") -> "Response":
        """Say how it stands, and how many prompts a user has left."""
        return as_json(await self._tally(self._known(), request.query_params.get("user")))

    def _known(self) -> Contest:
        if self._contest is None:
            raise RefusedError(404, "there are no two models to compare; start with --compare A,B", "no_comparison")
        return self._contest

    async def _tally(self, contest: Contest, user: str | None) -> dict[str, Any]:
        verdicts = await self._read(lambda connection: queries.verdicts(connection, *contest.models))
        left = await self._left(contest, user)
        return {
            "candidate": contest.candidate,
            "baseline": contest.baseline,
            **tally(verdicts),
            "prompts_left": len(left),
        }

    async def _left(self, contest: Contest, user: str | None) -> list[str]:
        """Return the prompts that a person has not voted on, in their order."""
        seen = await self._read(lambda connection: queries.voted_prompts(connection, user))
        return [name for name in contest.prompts if name not in seen]

    async def _next(self, contest: Contest, user: str | None) -> str:
        left = await self._left(contest, user)
        if left:
            return left[0]
        raise RefusedError(404, "no prompt is left that you have not voted on; give one of your own", "no_prompt_left")

    async def _answers(
        self, contest: Contest, prompt_id: str | None, asked: Mapping[str, Any], request: "Request"
    ) -> list[Answer]:
        """
        Return both models' answers, made if need be; none where a comparison of this prompt showed them before.

        They are made in an order that is drawn: their numbers and times tell nobody who wrote which.
        """
        if await self._read(lambda connection: _shown_before(connection, contest, prompt_id)) is not None:
            return []
        given = request.headers.get("authorization") if self._passes_key else None
        return [
            self._ready(contest, prompt_id, asked, model) or await self._made(contest, asked, model, given)
            for model in self._places.sample(contest.models, 2)
        ]

    @staticmethod
    def _ready(contest: Contest, prompt_id: str | None, asked: Mapping[str, Any], model: str) -> Answer | None:
        there = contest.ready.get((prompt_id or "", model))
        if there is None:
            return None
        turn: dict[str, Any] = {"role": "assistant", "content": there.completion}
        if there.reasoning:
            turn["reasoning_content"] = there.reasoning
        made = there.sampling
        settings = {} if made is None else {"max_tokens": made.max_new_tokens, "temperature": made.temperature}
        return Answer(
            completion_id=new_id("haloes"),
            purpose="comparison",
            created_at=time.time(),
            model=model,
            messages=asked["messages"],
            tools=asked.get("tools", ()),
            chat_template_kwargs=asked.get("chat_template_kwargs", {}),
            settings=settings,
            message=turn,
            finish_reason="stop" if there.finished else "length",
            completion_tokens=there.num_tokens,
        )

    async def _made(self, contest: Contest, asked: Mapping[str, Any], model: str, given: str | None) -> Answer:
        body = {**contest.settings, **asked, "model": model}
        ask = Ask(json.dumps(body).encode(), body, given.encode("latin-1") if given else None)
        return await collected(self._backend, ask, model=model, secret=self._secret)

    async def _read(self, work: Any) -> Any:
        return await anyio.to_thread.run_sync(self._store.read, work)


def _shown_before(connection: Connection, contest: Contest, prompt_id: str | None) -> tuple[int, int] | None:
    return None if prompt_id is None else queries.answers_shown(connection, prompt_id, contest.models)


def _added(connection: Connection, contest: Contest, answers: Sequence[Answer]) -> tuple[int, int]:
    """Add both models' answers in the order given, and return their numbers, the candidate's first."""
    numbers = dict(zip((answer.model for answer in answers), add_answers(connection, answers), strict=True))
    return numbers[contest.candidate], numbers[contest.baseline]


def _as_body(prompt: Asked) -> dict[str, Any]:
    """Return a prompt as fields of a request."""
    row = asked_to_json(prompt)
    given = row.pop("prompt")
    return {"messages": [{"role": "user", "content": given}] if isinstance(given, str) else given, **row}


def _shown(turn: Mapping[str, Any]) -> dict[str, str]:
    return {"content": turn.get("content") or "", "reasoning": turn.get("reasoning_content") or ""}
