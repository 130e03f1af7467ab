"""Engines: the model in this process, vLLM through a stand-in, and a server that the test starts."""

import json
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from fake_server import FakeServer, Reply
from fakes import byte_tokenizer, tiny_model
from haloes.errors import ConfigError
from haloes.records import Completion, Message
from haloes.remote.client import Endpoint
from haloes.sampling._contract import Ask, Decoding, NoAnswer
from haloes.sampling.generate import end_of_turn_ids, sample
from haloes.sampling.http import HttpEngine
from haloes.sampling.transformers_engine import TransformersEngine
from haloes.sampling.vllm_engine import VLLMEngine, _loaded
from haloes.tokens.encode import make_encoder

PROMPTS = {"a": "Is it?", "b": "Why, and since when?", "c": "When?"}


def test_the_model_in_this_process_answers_as_sample_does_whatever_the_batches():
    model, tokenizer = tiny_model(), byte_tokenizer()
    asks = [Ask(name, prompt, seed) for seed in (3, 4) for name, prompt in PROMPTS.items()]

    found = list(
        TransformersEngine(model, tokenizer, "tiny", 2).answer(asks, Decoding(max_new_tokens=5, temperature=1.0))
    )

    assert {(item.prompt_id, item.seed) for item in found if isinstance(item, Completion)} == {
        (name, seed) for name in PROMPTS for seed in (3, 4)
    }
    for seed in (3, 4):
        whole = sample(model, tokenizer, PROMPTS, max_new_tokens=5, temperature=1.0, seed=seed, variant="tiny")
        assert {answer.prompt_id: answer for answer in whole} == {
            item.prompt_id: item for item in found if isinstance(item, Completion) and item.seed == seed
        }


# --- vLLM


YES = byte_tokenizer()("yes")["input_ids"]


@dataclass
class FakeLLM:
    """Answers every prompt with a word, and notes what it was given."""

    model: str
    max_model_len: int
    trust_remote_code: bool

    def generate(self, prompts: list[Any], parameters: Any, *, use_tqdm: bool) -> list[Any]:
        GIVEN.append((self, prompts, parameters))
        reasons = ["stop", "length", "stop"]
        outputs = [SimpleNamespace(text=" yes", token_ids=YES, finish_reason=reason) for reason in reasons]
        return [SimpleNamespace(outputs=[output]) for output in outputs]


GIVEN: list[tuple[FakeLLM, list[Any], Any]] = []


def test_vllm_is_given_the_token_ids_of_training_and_the_ends_of_a_turn(monkeypatch: pytest.MonkeyPatch):
    module = ModuleType("vllm")
    module.LLM, module.SamplingParams = FakeLLM, SimpleNamespace  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "vllm", module)
    GIVEN.clear()
    _loaded.cache_clear()
    tokenizer = byte_tokenizer()
    asks = [Ask(name, prompt, 5) for name, prompt in PROMPTS.items()]

    found = list(VLLMEngine("some/folder", tokenizer, "mine").answer(asks, Decoding(max_new_tokens=9, temperature=0.5)))

    [(llm, prompts, parameters)] = GIVEN
    encoder = make_encoder(tokenizer, max_length=4096)
    assert prompts == [{"prompt_token_ids": encoder.prompt_ids(prompt)} for prompt in PROMPTS.values()]
    assert (llm.model, llm.trust_remote_code) == ("some/folder", False)
    assert (parameters.temperature, parameters.max_tokens, parameters.seed) == (0.5, 9, 5)
    assert parameters.stop_token_ids == sorted(end_of_turn_ids(tokenizer, None))
    assert [(item.completion, item.finished, item.seed) for item in found if isinstance(item, Completion)] == [
        ("yes", True, 5),
        ("yes", False, 5),
        ("yes", True, 5),
    ]
    _loaded.cache_clear()


def test_without_vllm_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "vllm", None)

    with pytest.raises(ConfigError, match="vLLM is not installed"):
        list(VLLMEngine("folder", byte_tokenizer(), "mine").answer([Ask("a", "Is it?", 0)], Decoding()))


# --- a server


def odd_answer(message: dict[str, Any], *, reason: str = "stop", **fields: Any) -> Completion | NoAnswer:
    body = {"choices": [{"message": message, "finish_reason": reason}], **fields}
    with FakeServer(lambda *_: Reply(body=json.dumps(body).encode())) as server:
        engine = HttpEngine("served", Endpoint(base_url=server.url, attempts=3, backoff=0.0))
        (found,) = engine.answer([Ask("a", "Is it?", 0)], Decoding(max_new_tokens=6))
        assert len(server.requests) == 1, "asked again, it would say the same"
    return found


@pytest.mark.parametrize(
    ("message", "fields", "said"),
    [
        ({"content": [{"type": "text", "text": "Yes."}], "reasoning": "hm"}, {}, "Yes."),
        ({"content": "Yes."}, {"usage": "many"}, "Yes."),
        ({"content": "Yes."}, {"usage": {"completion_tokens": 1e400}}, "Yes."),
        ({"content": ""}, {}, ""),
    ],
)
def test_an_answer_is_read_in_every_shape(message: dict[str, Any], fields: dict[str, Any], said: str):
    found = odd_answer(message, **fields)

    assert isinstance(found, Completion)
    assert (found.completion, found.num_tokens, found.finished) == (said, 0, True)


@pytest.mark.parametrize(
    ("message", "reason", "why"),
    [
        (
            {"content": None, "reasoning_content": "hm"},
            "stop",
            "the model only thought (2 characters), and gave no reply (the reply ended with 'stop')",
        ),
        ({"content": None}, "content_filter", "the reply is empty (the reply ended with 'content_filter')"),
        ({"content": None, "refusal": "No."}, "stop", "the model refuses: No. (the reply ended with 'stop')"),
    ],
)
def test_no_words_are_no_answer_and_say_why(message: dict[str, Any], reason: str, why: str):
    assert odd_answer(message, reason=reason) == NoAnswer("a", why)


@pytest.mark.parametrize(
    ("message", "reason", "said"),
    [
        ({"content": "Yes.", "reasoning_content": "hm"}, "stop", ("Yes.", "hm", True)),
        ({"content": "<think>\nhm\n</think>\n\nYes."}, "stop", ("Yes.", "hm", True)),
        ({"content": "hm\n</think>\n\nYes."}, "stop", ("Yes.", "hm", True)),
        ({"content": "<think>\nhm"}, "length", ("", "hm", False)),
        ({"content": None, "reasoning": "hm"}, "length", ("", "hm", False)),
    ],
)
def test_a_thought_stands_apart_from_the_answer(message: dict[str, Any], reason: str, said: tuple[str, str, bool]):
    found = odd_answer(message, reason=reason)

    assert isinstance(found, Completion)
    assert (found.completion, found.reasoning, found.finished) == said
    assert found.only_thinks is (said[0] == "")


class Handler(BaseHTTPRequestHandler):
    """Repeats the last message; answers "broken" with no chat completion at all."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        SEEN.append(body)
        said = body["messages"][-1]["content"]
        choice = {"message": {"content": f"said {said}"}, "finish_reason": "length" if "long" in said else "stop"}
        reply = {"broken": 1} if said == "broken" else {"choices": [choice], "usage": {"completion_tokens": 4}}
        data = json.dumps(reply).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Nothing."""


SEEN: list[dict[str, Any]] = []


@pytest.fixture
def url() -> Iterator[str]:
    SEEN.clear()
    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_server_is_asked_by_chat_completions_and_cut_off_answers_are_marked(url: str):
    chat = (Message("system", "Be brief."), Message("user", "a long one"))
    engine = HttpEngine("served", Endpoint(base_url=url, attempts=1), concurrency=1)
    asks = [Ask("a", "Is it?", 0), Ask("b", chat, 0), Ask("c", "broken", 0)]

    found = list(engine.answer(asks, Decoding(max_new_tokens=6, temperature=0.7)))

    answers = {item.prompt_id: item for item in found if isinstance(item, Completion)}
    assert {name: (item.completion, item.finished) for name, item in answers.items()} == {
        "a": ("said Is it?", True),
        "b": ("said a long one", False),
    }
    assert [item.prompt_id for item in found if isinstance(item, NoAnswer)] == ["c"]
    assert SEEN[0]["messages"] == [{"role": "user", "content": "Is it?"}]
    assert [message["role"] for message in SEEN[1]["messages"]] == ["system", "user"]
    assert (SEEN[0]["model"], SEEN[0]["max_tokens"], SEEN[0]["temperature"]) == ("served", 6, 0.7)


def test_a_server_is_given_every_key_of_a_turn_and_the_variables_of_its_template(url: str):
    tool = Message("tool", "20 C", extra=(("name", "weather"), ("tool_call_id", "abcdef000")))
    engine = HttpEngine("served", Endpoint(base_url=url, attempts=1), chat_template_kwargs={"enable_thinking": False})

    list(engine.answer([Ask("a", (Message("user", "How warm?"), tool), 0)], Decoding()))

    assert SEEN[0]["messages"][1] == {
        "role": "tool", "content": "20 C", "name": "weather", "tool_call_id": "abcdef000"
    }  # fmt: skip
    assert SEEN[0]["chat_template_kwargs"] == {"enable_thinking": False}
    assert engine.sampling(Decoding()).chat_template_kwargs == {"enable_thinking": False}
