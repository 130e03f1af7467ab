"""The page in a real browser: chats, and votes on what was said."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("uvicorn", reason="the extra web is not installed")
pytest.importorskip("playwright", reason="the test extra is not installed whole")

from playwright.sync_api import Browser, Page, Request, expect

from chromium import needs_browser
from fake_upstream import FakeUpstream
from served import Served, served
from visits import Held, chromium, visit

pytestmark = needs_browser

HOSTILE = (
    "<img src=x onerror=\"document.title='owned'\"><script>alert(1)</script>",
    "\x1b[31mred\x1b[0m",
    "'; DROP TABLE votes; --",
    "../../../../etc/passwd",
    "{{7*7}} ${7*7} <%= 7*7 %>",
    "\u202eturned round",
)
MARKUP = HOSTILE[0]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


def says(body: dict[str, Any]) -> list[str]:
    """What the upstream answers: the question again, in pieces."""
    return list(body["messages"][-1]["content"])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with (
        FakeUpstream(says=says, models=("big", MARKUP)) as upstream,
        served(tmp_path_factory.mktemp("chat"), upstream.url) as client,
    ):
        yield client


def ask(page: Page, question: str) -> None:
    answered = page.get_by_role("log").get_by_role("button", name="Good")
    before = answered.count()
    page.get_by_label("Your message").fill(question)
    page.keyboard.press("Enter")
    # Its thumbs come when it is over; those of earlier answers are there all the time.
    expect(answered).to_have_count(before + 1)
    expect(answered.last).to_be_visible()


def votes_on(server: Served, question: str) -> list[dict[str, Any]]:
    _, found = server.json("GET", "/api/answers")
    (name,) = [each["completion_id"] for each in found["answers"] if each["question"] == question]
    return server.json("GET", f"/api/answers/{name}")[1]["votes"]


def last_vote(server: Served, question: str) -> tuple[Any, ...]:
    return tuple(votes_on(server, question)[-1][name] for name in ("rating", "comment", "correction", "user"))


def test_an_answer_is_voted_on_with_a_reason_and_a_better_answer(browser: Browser, server: Served):
    with visit(browser, server) as page:
        page.get_by_label("Your name").fill("ann")
        ask(page, "What is a tree?")
        vote = page.get_by_role("form", name="Your vote")

        vote.get_by_role("button", name="Bad").click()
        expect(vote.get_by_role("status")).to_have_text("Kept")
        assert last_vote(server, "What is a tree?") == (-1, None, None, "ann")

        vote.get_by_label("A better answer").fill("A tall plant.")
        vote.get_by_label("Why?").fill("It only asks back.")
        page.keyboard.press("Enter")
        expect(vote.get_by_role("status")).to_have_text("Kept with your answer")
        assert last_vote(server, "What is a tree?") == (-1, "It only asks back.", "A tall plant.", "ann")

        vote.get_by_role("button", name="Good").click()
        expect(vote.get_by_label("A better answer")).to_be_hidden()
        expect(vote.get_by_role("status")).to_have_text("Kept with your reason")
        assert last_vote(server, "What is a tree?") == (1, "It only asks back.", None, "ann")

        vote.get_by_role("button", name="Good").click()
        expect(vote.get_by_role("status")).to_have_text("Vote taken back")
        assert last_vote(server, "What is a tree?") == (None, None, None, "ann")


def test_a_reload_keeps_the_chat_its_votes_and_the_name(browser: Browser, server: Served):
    with visit(browser, server) as page:
        page.get_by_label("Your name").fill("bob")
        page.get_by_label("Your name").press("Tab")
        ask(page, "What is kept?")
        page.get_by_role("button", name="Bad").click()
        page.get_by_label("Why?").fill("It said nothing.")
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_text("Kept with your reason")).to_be_visible()

        page.reload()

        expect(page.get_by_role("log").locator(".words")).to_have_text(["What is kept?"] * 2)
        expect(page.get_by_role("button", name="Bad")).to_have_attribute("aria-pressed", "true")
        expect(page.get_by_label("Why?")).to_have_value("It said nothing.")
        expect(page.get_by_label("Your name")).to_have_value("bob")
        ask(page, "And then?")
        _, found = server.json("GET", "/api/answers?limit=1")
        _, whole = server.json("GET", f"/api/answers/{found['answers'][0]['completion_id']}")
        assert [turn["content"] for turn in whole["messages"]] == ["What is kept?", "What is kept?", "And then?"]

        page.get_by_role("button", name="New chat").click()
        expect(page.get_by_role("log")).to_be_empty()


@pytest.mark.parametrize("end", ["button", "Escape"])
def test_words_are_shown_as_they_come_until_they_are_stopped(browser: Browser, tmp_path: Path, end: str):
    with (
        FakeUpstream(words=100_000, pause=0.01) as upstream,
        served(tmp_path, upstream.url) as server,
        visit(browser, server) as page,
    ):
        page.get_by_label("Your message").fill("Go on")
        page.keyboard.press("Enter")
        answer = page.locator(".turn").last
        expect(answer).to_contain_text("word 3")
        expect(answer).to_have_attribute("aria-busy", "true")
        expect(page.get_by_role("button", name="Send")).to_be_hidden()

        if end == "button":
            page.get_by_role("button", name="Stop").click()
        else:
            page.keyboard.press(end)
        expect(page.get_by_role("button", name="Send")).to_be_visible()
        page.get_by_role("button", name="Good").click()
        expect(page.get_by_text("Kept", exact=True)).to_be_visible()

        (kept,) = server.json("GET", "/api/answers")[1]["answers"]
        assert kept["rating"] == 1
        assert server.json("GET", f"/api/answers/{kept['completion_id']}")[1]["finish_reason"] == "stopped"
        assert upstream.hang_ups == 1


def test_a_question_that_is_asked_while_a_chat_is_restored_waits_for_it(browser: Browser, server: Served):
    with visit(browser, server) as page:
        ask(page, "What was before?")
        asked: list[Request] = []
        page.on("request", lambda request: asked.append(request) if "/v1/" in request.url else None)
        page.route("**/api/answers/*", held := Held())
        page.reload()
        page.get_by_label("Your message").fill("What comes after?")
        page.keyboard.press("Enter")
        expect(page.get_by_label("Your message")).to_have_value("What comes after?")
        page.evaluate("new Promise((done) => setTimeout(done))")
        assert asked == []

        held.first(page).continue_()
        expect(page.get_by_role("log").get_by_role("button", name="Good")).to_have_count(2)
        said = ["What was before?", "What was before?", "What comes after?", "What comes after?"]
        expect(page.get_by_role("log").locator(".words")).to_have_text(said)
        assert [request.post_data_json["model"] for request in asked] == ["big"]


def test_a_question_that_is_not_answered_stays_to_be_asked_again(browser: Browser, tmp_path: Path):
    with FakeUpstream() as upstream, served(tmp_path, upstream.url) as server, visit(browser, server) as page:
        page.route("**/v1/chat/completions", lambda route: route.fulfill(status=200, body="data: {}\n\n"))
        page.get_by_label("Your message").fill("Hello?")
        with page.expect_response("**/v1/chat/completions"):  # the box is empty while it is asked
            page.keyboard.press("Enter")
        expect(page.get_by_label("Your message")).to_have_value("Hello?")
        expect(page.get_by_role("log")).to_be_empty()


@pytest.mark.parametrize("text", HOSTILE, ids=["markup", "terminal", "SQL", "path", "template", "direction"])
def test_what_anybody_writes_is_shown_as_text(browser: Browser, server: Served, text: str):
    with visit(browser, server) as page:
        page.get_by_role("combobox", name="Model").select_option(MARKUP)
        page.get_by_label("Your name").fill(text)
        ask(page, text)
        page.get_by_role("button", name="Bad").click()
        page.get_by_label("A better answer").fill(text)
        page.get_by_label("Why?").fill(text)
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_text("Kept with your answer")).to_be_visible()
        for box in page.get_by_role("log").locator(".words").all():
            assert box.text_content() == text
        assert page.locator(".who").last.text_content() == MARKUP
        assert votes_on(server, text)[-1]["comment"] == text

        ask(page, f"{text} again")
        page.get_by_role("link", name="Rate").click()
        words = page.get_by_role("article").first.locator(".words")
        expect(words).to_have_count(4)
        assert words.all_text_contents() == [text, text, f"{text} again", f"{text} again"]
        page.get_by_role("link", name="Answers").click()
        page.get_by_role("region", name="Answers").locator("summary").nth(1).click()
        opened = page.locator("details[open]")
        expect(opened.get_by_text("Better:")).to_be_visible()
        assert (opened.locator("p").last.text_content() or "").count(text) == 3
        assert page.title() == "haloes: chat, compare, rate"
        assert page.locator("main img, main script").count() == 0


def test_the_page_says_how_far_the_loading_is_until_the_models_are_there(browser: Browser, server: Served):
    with visit(browser, server) as page:
        told = server.json("GET", "/api/info")[1]
        parts = iter([{"model": "after", "done": 0, "of": 2}, {"model": "before", "done": 1, "of": 2}])
        seen = []

        def answer(route: Any) -> None:
            seen.append(next(parts, None))
            route.fulfill(json={**told, "loading": seen[-1]})

        page.route("**/api/info", answer)
        page.clock.install()
        page.reload()
        loading = page.locator("#loading")
        expect(loading).to_contain_text("Loading the model after (1 of 2)")
        page.clock.run_for(600)
        expect(loading).to_contain_text("Loading the model before (2 of 2)")
        assert page.get_by_role("progressbar").evaluate("(bar) => bar.position") == 0.5
        page.clock.run_for(600)
        expect(loading).to_be_hidden()
        page.clock.run_for(6000)
        assert len(seen) == 3
