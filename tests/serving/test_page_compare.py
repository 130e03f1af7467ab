"""The page in a real browser: the blind comparison, by keys alone."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("uvicorn", reason="the extra web is not installed")
pytest.importorskip("playwright", reason="the test extra is not installed whole")

from playwright.sync_api import Browser, Page, expect

from chromium import needs_browser
from fake_upstream import FakeUpstream
from served import Served, served
from visits import PHONE, Held, chromium, visit

pytestmark = needs_browser

NUM_PROMPTS = 20


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


def says(body: dict[str, Any]) -> list[str]:
    """What the upstream answers: the better model a sentence, and the other one a word."""
    return ["It ", "is."] if body["model"] == "new" else ["No."]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Served]:
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("".join(f"Is {i} it?\n" for i in range(NUM_PROMPTS)))
    with (
        FakeUpstream(says=says, models=("new", "old")) as upstream,
        served(tmp_path, upstream.url, compare=("new", "old"), prompts=str(prompts)) as client,
    ):
        yield client


def sides(page: Page) -> list[str]:
    return page.locator(".sides .words").all_text_contents()


def key_for(answers: list[str]) -> str:
    return "1" if answers[0] == "It is." else "2"


def test_twenty_prompts_are_compared_by_the_keys_1_2_and_3(browser: Browser, server: Served):
    with visit(browser, server, "compare") as page:
        for number in range(NUM_PROMPTS):
            expect(page.locator("#pair .turn.user")).to_contain_text(f"Is {number} it?")
            assert not {"new", "old"} & set((page.locator("#pair").text_content() or "").split()), "it is blind"
            page.keyboard.press("3" if number % 4 == 3 else key_for(sides(page)))
        expect(page.get_by_text("No prompt is left")).to_be_visible()

        _, tally = server.json("GET", "/api/comparisons/tally")
        assert (tally["wins"], tally["losses"], tally["ties"]) == (15, 0, 5)
        shown = page.locator("#tally")
        expect(shown).to_contain_text("new wins 88 % of 20 votes")
        expect(shown).to_contain_text(f"interval: {round(100 * tally['low'])} % to {round(100 * tally['high'])} %")
        expect(shown).to_contain_text(f"It takes {tally['more_votes']} more")


def test_sides_are_drawn_for_each_prompt_and_told_after_the_vote(browser: Browser, server: Served):
    with visit(browser, server, "compare") as page:
        places = set()
        for number in range(NUM_PROMPTS):
            expect(page.locator("#pair .turn.user")).to_contain_text(f"Is {number} it?")
            left = sides(page)[0]
            page.keyboard.press("4")
            models = ("new", "old") if left == "It is." else ("old", "new")
            expect(page.locator("#last")).to_contain_text(
                f"Kept: Both bad. Left was {models[0]}, right was {models[1]}."
            )
            places.add(left)
            if len(places) == 2:
                break
        assert len(places) == 2


def test_a_reload_shows_the_same_pair_at_the_same_sides(browser: Browser, server: Served):
    with visit(browser, server, "compare") as page:
        for _ in range(4):
            expect(page.locator(".sides .words")).to_have_count(2)
            before = sides(page)
            page.reload()
            expect(page.locator(".sides .words")).to_have_count(2)
            assert sides(page) == before
        page.keyboard.press("1")
        expect(page.locator("#tally")).to_contain_text("1 vote")
        page.reload()
        expect(page.locator("#tally")).to_contain_text("1 vote")
        expect(page.locator("#tally")).to_contain_text("19 prompts left")


def test_a_vote_is_changed_and_counts_once(browser: Browser, server: Served):
    with visit(browser, server, "compare") as page:
        expect(page.locator(".sides .words")).to_have_count(2)
        right, wrong = ("1", "2") if sides(page)[0] == "It is." else ("2", "1")
        page.keyboard.press(wrong)
        page.get_by_role("button", name="Change this vote").click()
        expect(page.locator("#pair .turn.user")).to_contain_text("Is 0 it?")
        page.keyboard.press(right)
        expect(page.locator("#pair .turn.user")).to_contain_text("Is 1 it?")

        _, tally = server.json("GET", "/api/comparisons/tally")
        assert (tally["votes"], tally["wins"]) == (1, 1)


@pytest.mark.parametrize("fails", [False, True])
def test_a_pair_that_comes_while_a_vote_is_changed_does_not_take_its_place(
    browser: Browser, server: Served, fails: bool
):
    with visit(browser, server, "compare", forgiven="Failed to load resource") as page:
        expect(page.locator(".sides .words")).to_have_count(2)
        page.route("**/api/comparisons", held := Held())
        page.keyboard.press("1")
        page.get_by_role("button", name="Change this vote").click()
        expect(page.locator("#pair .turn.user")).to_contain_text("Is 0 it?")
        route = held.first(page)
        with page.expect_response("**/api/comparisons"):
            if fails:
                route.fulfill(status=502, json={"error": {"message": "the model is gone"}})
            else:
                route.continue_()
        page.evaluate("new Promise((done) => setTimeout(done))")  # what waits for the reply has run

        expect(page.locator("#pair .turn.user")).to_contain_text("Is 0 it?")
        page.unroute("**/api/comparisons")
        page.keyboard.press("2")
        expect(page.locator("#pair .turn.user")).to_contain_text("Is 1 it?")
        assert server.json("GET", "/api/comparisons/tally")[1]["votes"] == 1


def test_a_vote_that_is_changed_while_a_pair_is_on_its_way_asks_for_no_other(browser: Browser, server: Served):
    with visit(browser, server, "compare") as page:
        expect(page.locator(".sides .words")).to_have_count(2)
        page.route("**/api/comparisons", held := Held())
        page.keyboard.press("1")
        page.get_by_role("button", name="Change this vote").click()
        expect(page.locator("#pair .turn.user")).to_contain_text("Is 0 it?")
        page.keyboard.press("2")
        expect(page.locator("#last")).to_contain_text("Kept: Right is better")
        expect(page.get_by_text("Both answer")).to_be_visible()
        page.evaluate("new Promise((done) => setTimeout(done))")  # what would ask for another has run
        held.first(page)
        assert len(held.all) == 1

        held.first(page).continue_()
        expect(page.locator("#pair .turn.user")).to_contain_text("Is 1 it?")


def test_after_a_vote_is_changed_the_pair_that_waited_is_shown_and_so_by_a_reload(browser: Browser, server: Served):
    with visit(browser, server, "compare") as page:
        expect(page.locator("#pair .turn.user")).to_contain_text("Is 0 it?")
        page.keyboard.press("1")
        expect(page.locator("#pair .turn.user")).to_contain_text("Is 1 it?")
        waiting = page.evaluate("sessionStorage['haloes-pair']")
        page.route("**/api/comparisons", held := Held())
        page.get_by_role("button", name="Change this vote").click()
        expect(page.locator("#pair .turn.user")).to_contain_text("Is 0 it?")
        page.keyboard.press("2")
        expect(page.locator("#pair .turn.user")).to_contain_text("Is 1 it?")

        page.reload()
        expect(page.locator("#pair .turn.user")).to_contain_text("Is 1 it?")
        assert page.evaluate("sessionStorage['haloes-pair']") == waiting
        assert held.all == []


def test_who_wrote_an_answer_of_a_pair_is_in_the_list_after_the_vote(browser: Browser, server: Served):
    with visit(browser, server, "compare") as page:
        expect(page.locator(".sides .words")).to_have_count(2)
        page.get_by_role("link", name="Answers").click()
        authors = page.locator("#rows .who")
        expect(authors).to_have_text([re.compile("^a model that is named after the vote, ")] * 2)
        page.locator("#rows summary").first.click()
        opened = page.locator("details[open] .turn .who")
        expect(opened).to_have_text(["user", "a model that is named after the vote"])

        page.get_by_role("link", name="Compare").click()
        expect(page.locator(".sides .words")).to_have_count(2)
        page.keyboard.press("1")
        expect(page.locator("#pair .turn.user")).to_contain_text("Is 1 it?")
        page.get_by_role("link", name="Answers").click()
        expect(authors).to_have_count(4)
        expect(page.get_by_role("region", name="Answers").get_by_text("new, ")).to_have_count(1)
        expect(page.get_by_role("region", name="Answers").get_by_text("old, ")).to_have_count(1)


def test_a_prompt_of_ones_own_and_a_reason_are_compared_without_a_mouse(browser: Browser, server: Served):
    with visit(browser, server, "compare") as page:
        expect(page.locator(".sides .words")).to_have_count(2)
        page.get_by_text("A prompt of your own").press("Enter")
        page.keyboard.press("Tab")
        page.keyboard.type("Is 1 or 2 it?")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        expect(page.locator("#pair .turn.user")).to_contain_text("Is 1 or 2 it?")
        assert server.json("GET", "/api/comparisons/tally")[1]["votes"] == 0, "digits in a text are no votes"

        page.get_by_label("Why? (optional)").fill("2 is shorter")
        page.get_by_role("button", name="Equally good").press("Enter")
        expect(page.locator("#tally")).to_contain_text("1 vote")
    with server.store._reading:
        ((comment, verdict),) = server.store._reader.execute("SELECT comment, verdict FROM votes").fetchall()
    assert (comment, verdict) == ("2 is shorter", "tie")


def test_a_vote_that_is_not_kept_can_be_given_again(browser: Browser, server: Served):
    with visit(browser, server, "compare", forgiven="Failed to load resource") as page:
        expect(page.locator(".sides .words")).to_have_count(2)
        full = {"error": {"message": "nothing was kept: the disk is full", "code": "not_kept"}}
        page.route("**/vote", lambda route: route.fulfill(status=507, json=full))
        page.keyboard.press("1")
        expect(page.get_by_role("alert")).to_have_text("nothing was kept: the disk is full")
        page.unroute("**/vote")
        page.keyboard.press("1")
        expect(page.locator("#tally")).to_contain_text("1 vote")
        expect(page.get_by_role("alert")).to_be_hidden()


def test_after_a_vote_below_long_answers_the_next_prompt_is_in_sight(browser: Browser, tmp_path: Path):
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("First?\nSecond?\n")
    with (
        FakeUpstream(says=lambda _: ["word "] * 600, models=("new", "old")) as upstream,
        served(tmp_path, upstream.url, compare=("new", "old"), prompts=str(prompts)) as server,
        visit(browser, server, "compare", width=PHONE) as page,
    ):
        expect(page.get_by_text("First?")).to_be_in_viewport()
        page.get_by_role("button", name="Left is better").click()
        expect(page.get_by_text("Second?")).to_be_in_viewport()
