"""Answers from an OpenAI-compatible server (chat completions): vLLM, Ollama, llama.cpp, hosted APIs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from haloes.records import Completion, Sampling, Text, as_prompt
from haloes.records_json import text_to_json
from haloes.remote.chat import EMPTY, read_chat
from haloes.remote.client import Client, Endpoint, NoReplyError
from haloes.remote.parallel import in_parallel
from haloes.sampling._contract import Advance, Ask, Decoding, NoAnswer, ignore_parts
from haloes.thoughts import split_thought


@dataclass(frozen=True, slots=True)
class HttpEngine:
    """A model on a server. The server renders the prompts by its own template."""

    model: str
    """Its name there."""
    endpoint: Endpoint
    concurrency: int = 4
    """Requests at once."""
    chat_template_kwargs: Mapping[str, Any] | None = None
    """Values of the chat template's variables, which vLLM, SGLang and llama.cpp take."""

    @property
    def name(self) -> str:
        """Return the model's name on the server."""
        return self.model

    def sampling(self, decoding: Decoding) -> Sampling:
        """Return the record without a control text: only the server knows which one its template writes."""
        return decoding.by("http", self.model, chat_template_kwargs=self.chat_template_kwargs)

    def answer(
        self, asks: Sequence[Ask], decoding: Decoding, advance: Advance = ignore_parts
    ) -> Iterator[Completion | NoAnswer]:
        """Ask for several at once. Raises ConfigError or RunError where no request can succeed."""
        with Client(self.endpoint) as client:
            for _, found in in_parallel(partial(self._ask, client, decoding), asks, workers=self.concurrency):
                if isinstance(found, Completion):
                    advance(1)
                yield found

    def _ask(self, client: Client, decoding: Decoding, ask: Ask) -> Completion | NoAnswer:
        given = as_prompt(ask.prompt)
        kwargs = {**(self.chat_template_kwargs or {}), **(given.chat_template_kwargs or {})}
        body = {
            "model": self.model,
            "messages": _messages(given.text),
            "temperature": decoding.temperature,
            "top_p": decoding.top_p,
            "max_tokens": decoding.max_new_tokens,
            "seed": ask.seed,
            **({"chat_template_kwargs": kwargs} if kwargs else {}),
            **({"tools": [dict(tool) for tool in given.tools]} if given.tools else {}),
        }
        try:
            reply = client.post("/chat/completions", body, read_chat)
        except NoReplyError as error:
            return NoAnswer(ask.prompt_id, str(error))
        # Servers that know nothing of thoughts leave them in the words.
        thought = split_thought(reply.text)
        words, reasoning = (thought.rest, thought.text) if thought else (reply.text, reply.reasoning)
        finished = reply.finished and (thought is None or thought.closed)
        # An answer of no words is one where the model ended its turn itself, or was cut off while it thought; a refusal
        # is none.
        cut = bool(reasoning) and reply.finish_reason == "length"
        if not reply.text and not cut and not (reply.finished and reply.silence == EMPTY):
            ended = f" (the reply ended with {reply.finish_reason!r})" if reply.finish_reason else ""
            return NoAnswer(ask.prompt_id, f"{reply.silence}{ended}")
        return Completion(
            prompt_id=ask.prompt_id,
            prompt=given.text,
            tools=given.tools,
            chat_template_kwargs=given.chat_template_kwargs,
            completion=words,
            reasoning=reasoning,
            model=self.model,
            num_tokens=reply.completion_tokens,
            finished=finished,
            seed=ask.seed if decoding.temperature > 0 else None,
        )


def _messages(prompt: Text) -> Any:
    return [{"role": "user", "content": prompt}] if isinstance(prompt, str) else text_to_json(prompt)
