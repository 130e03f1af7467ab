"""The page in a real browser: it fits phone and desk, is read in light and dark, and is used by keys and by ear."""

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
from visits import DESK, PHONE, chromium, visit

pytestmark = needs_browser

LONG = "https://example.com/" + "a" * 400 + " " + "wide " * 100
TOKEN = "a-token-of-16-or-more"
STOPPED = {"style-src-attr", "script-src-attr", "script-src-elem", "connect-src"}
CHECKS = (Path(__file__).parents[1] / "page_checks.js").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


def checked(page: Page, name: str) -> Any:
    """What a check of the page finds."""
    return page.evaluate(f"() => ({CHECKS[CHECKS.index('({') :]}).{name}()")


def says(body: dict[str, Any]) -> list[str]:
    """What the upstream answers."""
    return [LONG, "\n", body["messages"][-1]["content"]]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("shape")
    (folder / "prompts.txt").write_text(f"{LONG}\n")
    models = ("new" + "x" * 200, "old")
    with (
        FakeUpstream(says=says, models=models) as upstream,
        served(folder, upstream.url, compare=models, prompts=str(folder / "prompts.txt")) as client,
    ):
        for rating in (None, 1, -1):
            vote = {"completion_id": client.chat(LONG), "rating": rating, "comment": LONG, "correction": LONG}
            assert rating is None or client.json("POST", "/v1/feedback", vote)[0] == 200
        yield client


def chat(page: Page) -> None:
    page.get_by_label("Your message").fill(LONG)
    page.get_by_role("button", name="Send").click()
    page.get_by_role("button", name="Bad").click()
    expect(page.get_by_label("A better answer")).to_be_visible()


def compare(page: Page) -> None:
    expect(page.locator(".sides .words")).to_have_count(2)
    page.get_by_text("A prompt of your own").click()


def compared(page: Page) -> None:
    page.get_by_label("Your name").fill(f"{page.viewport_size}")
    page.get_by_role("link", name="Compare").click()
    expect(page.locator(".sides .words")).to_have_count(2)
    page.get_by_role("button", name="Left is better").click()
    expect(page.get_by_text("Change this vote")).to_be_visible()


def queue(page: Page) -> None:
    page.get_by_role("article").first.get_by_role("button", name="Bad").click()
    expect(page.get_by_label("A better answer").first).to_be_visible()
    page.get_by_role("article").first.get_by_role("button", name="Bad").click()
    expect(page.get_by_text("Vote taken back")).to_be_visible()


def answers(page: Page) -> None:
    page.get_by_role("region", name="Answers").locator("summary").last.click()
    expect(page.locator("details[open] form")).to_be_visible()


VIEWS = {"chat": chat, "compare": compare, "queue": queue, "answers": answers}


@pytest.mark.parametrize("width", [PHONE, DESK])
@pytest.mark.parametrize("view", VIEWS)
def test_nothing_sticks_out_of_the_window(browser: Browser, server: Served, view: str, width: int):
    with visit(browser, server, view, width=width) as page:
        VIEWS[view](page)
        assert checked(page, "stickingOut") == [0]
        if view == "compare":
            compared(page)
            assert checked(page, "stickingOut") == [0]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_and_edges_stand_out_from_what_is_behind_them(browser: Browser, server: Served, scheme: str):
    for view, prepare in VIEWS.items():
        with visit(browser, server, view, color_scheme=scheme) as page:
            prepare(page)
            back = page.evaluate("getComputedStyle(document.body).backgroundColor")
            assert (back == "rgb(255, 255, 255)") == (scheme == "light")
            assert checked(page, "faint") == []


def unnamed(page: Page) -> list[str]:
    """What can be reached by keys and has no name for who cannot see it."""
    session = page.context.new_cdp_session(page)
    nodes = session.send("Accessibility.getFullAXTree")["nodes"]
    session.detach()
    reached = [
        node
        for node in nodes
        if not node["ignored"]
        and node["role"]["value"] != "RootWebArea"
        and any(each["name"] == "focusable" and each["value"]["value"] for each in node.get("properties", ()))
    ]
    assert len(reached) > 5
    return [node["role"]["value"] for node in reached if not node.get("name", {}).get("value", "").strip()]


@pytest.mark.parametrize("view", VIEWS)
def test_all_that_can_be_used_has_a_name_for_who_does_not_see_it(browser: Browser, server: Served, view: str):
    with visit(browser, server, view) as page:
        VIEWS[view](page)
        assert unnamed(page) == []


@pytest.mark.parametrize(
    ("view", "order"),
    [
        ("chat", ["Your message", "Send", "Chat", "Compare", "Rate", "Answers", "Your name ", "Model ", "New chat"]),
        # Who comes by an address of a view is in it at once.
        ("queue", ["Good", "Bad"]),
        ("answers", ["Search in questions and answers", "Rated ", "Model ", "Search"]),
    ],
)
def test_the_keys_go_through_the_page_in_its_order_and_are_seen(
    browser: Browser, server: Served, view: str, order: list[str]
):
    with visit(browser, server, view) as page:
        expect(page.locator(f"#{view}")).to_be_visible()
        if view == "chat":
            expect(page.get_by_label("Your message")).to_be_focused()
        else:
            expect(page.locator(f"#{view} .turn").first).to_be_visible()
            page.keyboard.press("Tab")
        for name in order:
            assert checked(page, "focused") == [name, True]
            page.keyboard.press("Tab")
            if name == "Send":  # the end of the page: the browser's own places follow
                page.keyboard.press("Tab")


def test_a_vote_takes_keys_alone(browser: Browser, server: Served):
    with visit(browser, server) as page:
        expect(page.get_by_label("Your message")).to_be_focused()
        page.keyboard.type("Keys alone?")
        page.keyboard.press("Enter")
        expect(page.get_by_role("button", name="Good")).to_be_visible()
        for key in ("Shift+Tab", "Shift+Tab", "Enter"):  # back to Bad, to Good
            page.keyboard.press(key)
        expect(page.get_by_text("Kept", exact=True)).to_be_visible()
        for key in ("Tab", "Tab", *"short", "Enter"):
            page.keyboard.press(key)
        expect(page.get_by_text("Kept with your reason")).to_be_visible()


def test_the_pages_policy_stops_scripts_styles_and_requests_from_elsewhere(browser: Browser, server: Served):
    with visit(browser, server, forgiven="Content Security Policy") as page:
        page.evaluate(
            """() => {
              window.stopped = new Set();
              addEventListener("securitypolicyviolation", (event) => stopped.add(event.effectiveDirective));
              const script = document.createElement("script");
              script.textContent = "document.title = 'owned'";
              document.body.append(script);
              document.body.insertAdjacentHTML("beforeend", "<p style='color: red' onclick='document.title=1'>x</p>");
              document.body.lastChild.click();
              fetch("https://elsewhere.example/").catch(() => 0);
            }"""
        )
        page.wait_for_function("stopped.size === 4")
        assert set(page.evaluate("[...stopped]")) == {
            "style-src-attr",
            "script-src-attr",
            "script-src-elem",
            "connect-src",
        }
        assert page.title() == "haloes: chat, compare, rate"


def test_a_server_with_a_token_asks_for_it_and_a_reload_keeps_it(browser: Browser, tmp_path: Path):
    with (
        FakeUpstream() as upstream,
        served(tmp_path, upstream.url, token=TOKEN) as server,
        visit(browser, server, forgiven="Failed to load resource") as page,
    ):
        expect(page.get_by_role("alert")).to_contain_text("send the token")
        page.get_by_label("This server wants its token").fill("wrong")
        with page.expect_response("**/api/info"):  # else its answer may come after that to the right one
            page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_contain_text("send the token")
        page.get_by_label("This server wants its token").fill(TOKEN)
        page.get_by_role("button", name="Go on").click()
        expect(page.get_by_label("Your message")).to_be_focused()
        page.reload()
        expect(page.get_by_label("Your message")).to_be_focused()
        assert page.get_by_label("This server wants its token").is_hidden()
