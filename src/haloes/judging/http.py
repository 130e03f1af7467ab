"""A judge behind an OpenAI-compatible server (chat completions): vLLM, Ollama, llama.cpp, hosted APIs."""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import exp, inf
from typing import Any, ClassVar

from haloes.errors import ConfigError
from haloes.judging._contract import Identity, JudgeReply, NoReply, OrderedPair, number_verdict
from haloes.judging.template import JudgeTemplate, load_template
from haloes.records import Verdict
from haloes.remote.chat import ChatReply, Logprobs, read_chat
from haloes.remote.client import Client, Endpoint, NoReplyError
from haloes.remote.parallel import in_parallel

_PATH = "/chat/completions"


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpJudge:
    """
    Asks a chat model which of two answers is better.

    A reply without a verdict is unscored, with its reason: one odd reply ends nothing. No reply (server down, limit
    reached, no chat completion) is not an opinion at all, and is asked again by a rerun.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}
    FREE_SETTINGS: ClassVar[frozenset[str]] = frozenset(
        {
            "key_env",
            "price_prompt",
            "price_completion",
            "concurrency",
            "requests_per_minute",
            "timeout",
            "attempts",
            "backoff",
            "longest_wait",
        }
    )
    """Settings that do not decide verdicts: a run that watches by this judge may change them when it is resumed."""

    model: str
    """The model's name on the server."""
    base_url: str
    """The server's address, such as https://host/v1 or http://localhost:8000/v1."""
    key_env: str | None = None
    """The NAME of the environment variable that holds the key; None sends none."""
    template: str = "kto-paper"
    """kto-paper, alpaca-eval, mt-bench, or the path of a template file."""
    temperature: float = 0.0
    """0 takes the likeliest token each time."""
    max_tokens: int | None = None
    """Most tokens of a reply; None for what the template says. Models that think aloud need more."""
    top_logprobs: int = 0
    """Above 0, the preference is a number from the log-probabilities of this many likeliest first tokens (AlpacaEval 2
    takes 5), for templates whose reply is a label alone."""
    body: dict[str, Any] = field(default_factory=dict)
    """Further fields of the request; null takes a field out (some servers want max_completion_tokens)."""
    price_prompt: float | None = None
    """Price of a million prompt tokens."""
    price_completion: float | None = None
    """Price of a million tokens of replies."""
    concurrency: int = 4
    """Requests at once."""
    requests_per_minute: float | None = None
    """Most requests a minute; None for no limit."""
    timeout: float = 60.0
    """Seconds for a request, from beginning to end."""
    attempts: int = 5
    """Most attempts at a request."""
    backoff: float = 1.0
    """Seconds before the second attempt; doubled before each further one."""
    longest_wait: float = 120.0
    """Seconds: a request is given up where the server asks to wait longer."""

    def __post_init__(self) -> None:
        if self.concurrency < 1:
            raise ConfigError(f"judge.concurrency must be at least 1, got {self.concurrency}")
        if not 0 <= self.top_logprobs <= 20:  # noqa: PLR2004 - the API's own limit
            raise ConfigError(f"judge.top_logprobs must be from 0 to 20, got {self.top_logprobs}")
        if (self.price_prompt is None) != (self.price_completion is None):
            raise ConfigError("judge.price_prompt and judge.price_completion must be given together")
        self._endpoint()
        template = load_template(self.template)
        if self.top_logprobs and template.rule != "whole":
            raise ConfigError(
                "judge.top_logprobs needs a template whose reply is a label alone, such as alpaca-eval; "
                f"{self.template} asks for more"
            )

    @property
    def identity(self) -> Identity:
        """Return the model's name on the server, and the settings of its prompt and replies."""
        template = load_template(self.template)
        settings = {
            "base_url": self.base_url,
            "template": template.digest,
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
            "top_logprobs": self.top_logprobs,
            "body": self.body,
        }
        return Identity(self.model, template.name, settings)

    def compare(self, comparisons: Sequence[OrderedPair]) -> Generator[tuple[int, JudgeReply | NoReply], None, None]:
        """Ask for several at once. Raises ConfigError or RunError where no request can succeed."""
        template = load_template(self.template)
        with Client(self._endpoint()) as client:
            yield from in_parallel(partial(self._ask, client, template), comparisons, workers=self.concurrency)

    def _ask(self, client: Client, template: JudgeTemplate, comparison: OrderedPair) -> JudgeReply | NoReply:
        try:
            reply = client.post(_PATH, self._body(template, comparison), read_chat)
        except NoReplyError as error:
            return NoReply(str(error))
        return self._opinion(template, reply)

    def _body(self, template: JudgeTemplate, comparison: OrderedPair) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self.model,
            "messages": template.messages(comparison),
            "temperature": self.temperature,
            "max_tokens": self._max_tokens(template),
            "seed": comparison.seed,
        }
        # Only where it is wanted: many servers refuse the field.
        if self.top_logprobs:
            body |= {"logprobs": True, "top_logprobs": self.top_logprobs}
        return {name: value for name, value in (body | self.body).items() if value is not None}

    def _opinion(self, template: JudgeTemplate, reply: ChatReply) -> JudgeReply:
        preference = None
        if self.top_logprobs:
            preference, reason = _preference(template.labels, reply)
            verdict = None if preference is None else number_verdict(preference)
        elif reply.silence:
            verdict, reason = None, reply.silence
        else:
            verdict, reason = template.verdict(reply.text)
        if verdict is None and reply.finish_reason not in {"", "stop"}:
            limit = f", judge.max_tokens is {self._max_tokens(template)}" if reply.finish_reason == "length" else ""
            reason += f" (the reply ended with {reply.finish_reason!r}{limit})"
        return JudgeReply(
            verdict=verdict,
            reason=reason,
            reply=reply.text,
            preference=preference,
            prompt_tokens=reply.prompt_tokens,
            completion_tokens=reply.completion_tokens,
            cost=self._cost(reply),
        )

    def _max_tokens(self, template: JudgeTemplate) -> int:
        return self.max_tokens or template.max_tokens

    def _cost(self, reply: ChatReply) -> float | None:
        if self.price_prompt is None or self.price_completion is None:
            return None
        return (reply.prompt_tokens * self.price_prompt + reply.completion_tokens * self.price_completion) / 1e6

    def _endpoint(self) -> Endpoint:
        return Endpoint(
            base_url=self.base_url.rstrip("/").removesuffix(_PATH),
            key_env=self.key_env,
            timeout=self.timeout,
            attempts=self.attempts,
            backoff=self.backoff,
            longest_wait=self.longest_wait,
            requests_per_minute=self.requests_per_minute,
        )


def _preference(labels: Mapping[Verdict, str], reply: ChatReply) -> tuple[float | None, str]:
    """
    Return P(first) / (P(first) + P(second)) of the first token, as AlpacaEval 2 does; a tie's label counts half.

    A label that is not among the likeliest tokens counts as impossible; None where none of them is there.
    """
    logprobs: Logprobs = reply.first_token
    found = {verdict: logprobs[label] for verdict, label in labels.items() if label in logprobs}
    highest = max(found.values(), default=-inf)
    if highest == -inf:
        shown = reply.logprobs_fault or ", ".join(map(repr, logprobs))
        return None, f"none of the labels is among the likeliest first tokens: {shown}"
    # Relative to the highest: exp of a log-probability of -800 is 0, and 0 / 0 no preference.
    chance = {verdict: exp(value - highest) for verdict, value in found.items()}
    shown = ", ".join(f"P({labels[verdict]!r}) = {exp(value):.4g}" for verdict, value in found.items())
    return (chance.get("first", 0.0) + chance.get("tie", 0.0) / 2) / sum(chance.values()), shown
