"""The judge behind a server, asked over the network of this machine."""

import json
from typing import Any

import pytest

from fake_server import FakeServer, Reply, Request, says
from haloes.errors import RunError
from haloes.judging._contract import JudgeReply, NoReply, OrderedPair
from haloes.judging.http import HttpJudge

KEY = "sk-secret-0123456789"


def comparisons(count: int) -> list[OrderedPair]:
    return [
        OrderedPair(prompt_id=str(i), prompt=f"Question {i}", first=f"good {i}", second="bad") for i in range(count)
    ]


def ask(reply: Reply | Any, *, count: int = 1, **settings: Any) -> tuple[list[JudgeReply | NoReply], list[Request]]:
    """The opinions in the order of the comparisons, and what the server was asked."""
    answer = reply if callable(reply) else lambda *_: reply
    with FakeServer(answer) as server:
        judge = HttpJudge(**{"model": "judge-1", "base_url": server.url, "backoff": 0.0, "timeout": 20.0, **settings})
        found = dict(judge.compare(comparisons(count)))
    return [found[place] for place in sorted(found)], server.requests


def one(reply: Reply, **settings: Any) -> JudgeReply:
    (opinion,), _ = ask(reply, **settings)
    assert isinstance(opinion, JudgeReply)
    return opinion


def test_the_request_is_a_chat_completion():
    _, (request,) = ask(says("Response 1"), body={"top_k": 1, "seed": None})

    assert request.path == "/v1/chat/completions"
    (message,) = request.body.pop("messages")
    assert "good 0" in message["content"]
    assert request.body == {"model": "judge-1", "temperature": 0.0, "max_tokens": 32, "top_k": 1}


def test_the_whole_address_of_the_endpoint_may_be_given():
    with FakeServer(lambda *_: says("Response 1")) as server:
        judge = HttpJudge(model="m", base_url=server.url + "/chat/completions/")
        list(judge.compare(comparisons(1)))
        assert server.requests[0].path == "/v1/chat/completions"


def test_a_verdict_keeps_its_words_its_reason_and_its_tokens():
    opinion = one(says("Response 2."), price_prompt=2.0, price_completion=10.0)

    assert opinion == JudgeReply(
        verdict="second",
        reason="the reply is 'Response 2'",
        reply="Response 2.",
        prompt_tokens=100,
        completion_tokens=3,
        cost=pytest.approx((100 * 2 + 3 * 10) / 1e6),
    )
    assert one(says("Response 2.")).cost is None


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (says("I like both."), "names none of"),
        (says(None), "the reply is empty"),
        (says("I think Resp", finish_reason="length"), "ended with 'length'"),
        (says("", finish_reason="content_filter"), "ended with 'content_filter'"),
    ],
)
def test_a_reply_without_a_verdict_is_unscored(reply: Reply, reason: str):
    opinion = one(reply)

    assert opinion.verdict is None
    assert reason in opinion.reason


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"Response 1"',
        b'{"choices": []}',
        b'{"choices": {}}',
        b'{"choices": [{}]}',
        b'{"choices": [{"text": "Response 1"}]}',
        b'{"choices": [{"message": "Response 1"}]}',
        b'{"error": {"message": "overloaded"}}',
        b'{"choices": [{"message": {"content": "Response 1"}}], "usage": ' + b"9" * 5000 + b"}",
    ],
)
def test_another_shape_than_a_chat_completion_is_no_opinion(body: bytes):
    (found,), requests = ask(Reply(200, body), attempts=2)

    assert isinstance(found, NoReply)
    assert len(requests) == 2


@pytest.mark.parametrize(
    "beside",
    [
        b'"usage": "many"',
        b'"usage": {"prompt_tokens": "many"}',
        b'"usage": {"prompt_tokens": 1e400, "completion_tokens": -1}',
        b'"usage": {"prompt_tokens": ' + b"9" * 400 + b"}",
        b'"usage": [NaN]',
    ],
)
def test_odd_counts_of_tokens_cost_no_verdict(beside: bytes):
    body = b'{"choices": [{"message": {"content": "Response 1"}, "logprobs": [1]}], ' + beside + b"}"
    opinion = one(Reply(200, body), price_prompt=1.0, price_completion=1.0)

    assert (opinion.verdict, opinion.prompt_tokens, opinion.completion_tokens, opinion.cost) == ("first", 0, 0, 0.0)


@pytest.mark.parametrize(
    "content",
    [
        ["Response 1"],
        [{"type": "text", "text": "Response 1"}],
        "Response 2 is longer, but rude. </think>\n\nResponse 1",
        "<think>Response 2 is longer, but rude.</think>\n\nResponse 1",
    ],
)
def test_the_verdict_is_found_in_every_shape_of_content(content: Any):
    assert one(says(content)).verdict == "first"


def test_a_model_that_only_thought_is_unscored_with_the_cause_and_the_limit():
    message = {"role": "assistant", "content": None, "reasoning_content": "Response 1, or"}
    opinion = one(says(None, message=message, finish_reason="length"), max_tokens=8)

    assert opinion.verdict is None
    assert opinion.reason == (
        "the model only thought (14 characters), and gave no reply (the reply ended with 'length', judge.max_tokens is "
        "8)"
    )


def test_what_a_server_may_leave_out_is_not_needed():
    opinion = one(Reply(200, b'{"choices": [{"message": {"content": "Response 1"}}], "usage": null}'))

    assert (opinion.verdict, opinion.prompt_tokens) == ("first", 0)


def faulty(number: int, request: Request) -> Reply:
    """Every prompt meets a fault at first, each another."""
    faults = [Reply(429, headers={"Retry-After": "0"}), Reply(500), Reply(hang=True), Reply(200, b'{"choices": [{"m')]
    with_number = request.body["messages"][0]["content"].split("Question ")[1][0]
    faulty.seen.append(with_number)  # type: ignore[attr-defined]
    first_time = faulty.seen.count(with_number) == 1  # type: ignore[attr-defined]
    return faults[int(with_number)] if first_time else says("Response 1")


def test_faults_of_all_kinds_cost_no_verdict():
    faulty.seen = []  # type: ignore[attr-defined]
    found, requests = ask(faulty, count=4, timeout=1.0)

    assert [opinion.verdict for opinion in found if isinstance(opinion, JudgeReply)] == ["first"] * 4
    assert len(requests) == 8


def test_a_request_that_is_refused_leaves_the_others_alone():
    def refuse(_: int, request: Request) -> Reply:
        return Reply(400, b"too long") if "Question 1" in str(request.body) else says("Response 2")

    found, _ = ask(refuse, count=3)

    assert found[1] == NoReply("HTTP 400: too long")
    assert [getattr(opinion, "verdict", None) for opinion in found] == ["second", None, "second"]


def test_a_refused_key_ends_the_judging():
    with pytest.raises(RunError, match="HTTP 401"):
        ask(Reply(401, b"who are you"), count=50, concurrency=1)


def test_the_key_is_sent_and_in_nothing_that_is_kept(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("JUDGE_KEY", KEY)
    (found,), (request,) = ask(says(f"Response 1 {KEY}"), key_env="JUDGE_KEY")

    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert KEY not in repr(found)
    judge = HttpJudge(model="m", base_url="http://127.0.0.1/v1", key_env="JUDGE_KEY")
    assert KEY not in repr(judge) + repr(judge.identity)


# --- a number from log-probabilities


def with_logprobs(text: str, **logprobs: float) -> Reply:
    top = [{"token": token, "logprob": value} for token, value in logprobs.items()]
    return says(text, logprobs={"content": [{"token": text, "logprob": 0.0, "top_logprobs": top}]})


def weighted(reply: Reply) -> JudgeReply:
    return one(reply, template="alpaca-eval", top_logprobs=5)


def test_the_preference_is_the_share_of_the_first_label():
    # P(m) = 0.6, P(M) = 0.2: 0.6 / 0.8.
    opinion = weighted(with_logprobs("M", m=-0.5108256237659907, M=-1.6094379124341003, x=-1.7))

    assert opinion.preference == pytest.approx(0.75)
    assert opinion.verdict == "first"


def test_the_request_asks_for_log_probabilities():
    _, (request,) = ask(with_logprobs("m", m=-0.1), template="alpaca-eval", top_logprobs=5)

    assert (request.body["logprobs"], request.body["top_logprobs"], request.body["max_tokens"]) == (True, 5, 1)


def test_a_label_that_is_not_likely_enough_to_be_told_counts_as_impossible():
    assert weighted(with_logprobs("M", M=-0.1, Q=-3.0)).preference == 0.0
    assert weighted(with_logprobs("m", m=-0.1)).preference == 1.0


@pytest.mark.parametrize("reply", [with_logprobs("Sure", Sure=-0.1), says("m"), says("m", logprobs=None)])
def test_without_log_probabilities_of_a_label_there_is_no_verdict(reply: Reply):
    opinion = weighted(reply)

    assert (opinion.verdict, opinion.preference) == (None, None)
    assert "none of the labels" in opinion.reason


@pytest.mark.parametrize("logprobs", [[1], "x", {"content": [1]}, {"content": [{"top_logprobs": "x"}]}])
def test_log_probabilities_of_another_shape_are_unscored_with_the_reason(logprobs: Any):
    opinion = weighted(says("m", logprobs=logprobs))

    assert (opinion.verdict, opinion.preference) == (None, None)
    assert "its log-probabilities cannot be read" in opinion.reason


@pytest.mark.parametrize("value", [1e5, 1e400, float("nan"), 10**400])
def test_a_log_probability_above_0_is_unscored_with_the_reason(value: float):
    opinion = weighted(with_logprobs("m", m=value))

    assert (opinion.verdict, opinion.preference) == (None, None)
    assert "its log-probabilities cannot be read" in opinion.reason


def test_labels_that_are_all_very_unlikely_are_compared_all_the_same():
    assert weighted(with_logprobs("x", x=0.0, m=-900.0, M=-901.0)).preference == pytest.approx(0.7310585786300049)


def test_settings_that_decide_verdicts_are_in_the_identity():
    base = HttpJudge(model="m", base_url="http://127.0.0.1/v1")
    changed = [
        HttpJudge(model="n", base_url="http://127.0.0.1/v1"),
        HttpJudge(model="m", base_url="http://127.0.0.2/v1"),
        HttpJudge(model="m", base_url="http://127.0.0.1/v1", temperature=1.0),
        HttpJudge(model="m", base_url="http://127.0.0.1/v1", template="mt-bench"),
        HttpJudge(model="m", base_url="http://127.0.0.1/v1", max_tokens=5),
        HttpJudge(model="m", base_url="http://127.0.0.1/v1", body={"top_k": 1}),
    ]
    assert len({json.dumps([j.identity.name, dict(j.identity.settings)]) for j in [base, *changed]}) == 7
    assert HttpJudge(model="m", base_url="http://127.0.0.1/v1", timeout=1.0).identity == base.identity
