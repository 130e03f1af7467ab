"""The page in a real browser: the queue of answers that wait for a vote, and the list of all with its search."""

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("uvicorn", reason="the extra web is not installed")
pytest.importorskip("playwright", reason="the test extra is not installed whole")

from playwright.sync_api import Browser, Page, expect

from chromium import needs_browser
from fake_upstream import FakeUpstream
from haloes.serving.implied_reward import add_reward
from served import Served, served
from visits import Held, chromium, visit

pytestmark = needs_browser

NUM_ANSWERS = 33
"""More than a page of the list, and than three of the queue."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


def says(body: dict[str, Any]) -> list[str]:
    """What the upstream answers."""
    return ["Number ", "seven" if body["messages"][-1]["content"].endswith(" 7?") else "other"]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Served]:
    with FakeUpstream(says=says) as upstream, served(tmp_path, upstream.url) as client:
        for number in range(NUM_ANSWERS):
            client.chat(f"Which number is {number}?", model="small" if number % 2 else "big")
        yield client


def test_the_queue_counts_what_waits_and_goes_on_after_the_last_of_a_page(browser: Browser, server: Served):
    with visit(browser, server, "queue") as page:
        expect(page.locator("#left")).to_have_text(f"{NUM_ANSWERS} answers wait for a vote, the newest first.")
        expect(page.get_by_role("article").first).to_contain_text(f"Which number is {NUM_ANSWERS - 1}?")
        for number, article in enumerate(page.get_by_role("article").all(), start=1):
            article.get_by_role("button", name="Good").click()
            expect(page.locator("#left")).to_contain_text(f"{NUM_ANSWERS - number} answers wait")
        page.get_by_role("button", name="Next answers").click()
        expect(page.get_by_role("article").first).to_contain_text(f"Which number is {NUM_ANSWERS - 11}?")
        assert server.json("GET", "/api/info")[1]["votes"] == 10


def test_the_queue_says_that_the_least_certain_come_first(browser: Browser, server: Served):
    for number, reward in ((3, 5.0), (7, 0.5), (20, -2.0)):
        server.store.write(partial(add_reward, number=number, reward=reward, run="run")).result(20)
    with visit(browser, server, "queue") as page:
        expect(page.locator("#left")).to_contain_text("the implied reward nearest to the median of 0.50 nats")
        expect(page.locator("#left")).to_contain_text(f"then {NUM_ANSWERS - 3} without a reward, the newest first")
        for place, number in enumerate((7, 20, 3, NUM_ANSWERS)):
            expect(page.get_by_role("article").nth(place)).to_contain_text(f"Which number is {number - 1}?")


def test_a_vote_that_is_taken_back_waits_again(browser: Browser, server: Served):
    with visit(browser, server, "queue") as page:
        good = page.get_by_role("article").first.get_by_role("button", name="Good")
        good.click()
        expect(page.locator("#left")).to_contain_text(f"{NUM_ANSWERS - 1} answers wait")
        good.click()
        expect(page.locator("#left")).to_contain_text(f"{NUM_ANSWERS} answers wait")


def rows(page: Page) -> Any:
    return page.locator("#rows summary")


def test_the_list_is_searched_narrowed_and_read_on(browser: Browser, server: Served):
    with visit(browser, server, "answers") as page:
        expect(rows(page)).to_have_count(30)
        page.get_by_role("button", name="More").click()
        expect(rows(page)).to_have_count(NUM_ANSWERS)
        expect(page.get_by_role("button", name="More")).to_be_hidden()

        page.get_by_role("combobox", name="Model").select_option("small")
        expect(rows(page)).to_have_count(NUM_ANSWERS // 2)
        page.get_by_role("searchbox").fill("seven")
        page.keyboard.press("Enter")
        expect(rows(page)).to_have_count(1)
        expect(rows(page)).to_contain_text("Which number is 7?")

        rows(page).click()
        page.locator("details[open]").get_by_role("button", name="Good").click()
        expect(page.get_by_text("Kept", exact=True)).to_be_visible()
        page.get_by_role("combobox", name="Rated").select_option("up")
        expect(rows(page)).to_contain_text(re.compile("^Good: Which number is 7"))

        page.reload()
        expect(rows(page)).to_have_count(1)
        expect(page.get_by_role("searchbox")).to_have_value("seven")
        expect(page.get_by_role("combobox", name="Rated")).to_have_value("up")
        page.get_by_role("combobox", name="Rated").select_option("down")
        expect(page.get_by_text("Nothing found.")).to_be_visible()


def test_a_search_that_is_overtaken_by_another_does_not_take_its_place(browser: Browser, server: Served):
    with visit(browser, server, "answers") as page:
        expect(rows(page)).to_have_count(30)
        page.route(re.compile("search=other"), held := Held())
        page.get_by_role("searchbox").fill("other")
        page.keyboard.press("Enter")
        first = held.first(page)
        page.get_by_role("searchbox").fill("seven")
        page.keyboard.press("Enter")
        expect(rows(page)).to_have_count(1)

        with page.expect_response(re.compile("search=other")):
            first.continue_()
        page.evaluate("new Promise((done) => setTimeout(done))")
        expect(rows(page)).to_have_count(1)
        expect(rows(page)).to_contain_text("Which number is 7?")


def test_the_browser_goes_back_to_the_view_before(browser: Browser, server: Served):
    with visit(browser, server) as page:
        page.get_by_role("link", name="Rate").click()
        expect(page.get_by_role("article").first).to_be_visible()
        page.get_by_role("link", name="Answers").click()
        expect(rows(page).first).to_be_visible()
        page.go_back()
        expect(page.get_by_role("article").first).to_be_visible()
        expect(page.get_by_role("link", name="Rate")).to_have_attribute("aria-current", "page")


def test_what_was_logged_is_there_though_the_upstream_is_gone(browser: Browser, tmp_path: Path):
    with FakeUpstream() as upstream:
        url = upstream.url
        with served(tmp_path, url) as server:
            server.chat("Where is it?")
    with served(tmp_path, url) as server, visit(browser, server, "queue") as page:
        expect(page.get_by_role("alert")).to_contain_text("cannot be reached")
        page.get_by_role("article").get_by_role("button", name="Good").click()
        expect(page.locator("#left")).to_have_text("No answer waits for a vote.")
