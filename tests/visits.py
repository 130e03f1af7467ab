"""Visits to the page of `haloes serve` in the system's browser: it asks nobody else, and the console stays empty."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, Route, expect, sync_playwright

from chromium import BROWSER
from served import Served

PATIENCE_MS = 120_000
"""Long, as a busy machine takes as long as it takes."""
PHONE, DESK = 360, 1280

expect.set_options(timeout=PATIENCE_MS)


class Held:
    """A handler for `page.route`: requests that wait until the test lets them go on."""

    def __init__(self) -> None:
        self.all: list[Route] = []

    def __call__(self, route: Route) -> None:
        self.all.append(route)

    def first(self, page: Page) -> Route:
        """The first one, once the page sent it: what the page shows comes sooner than its request is here."""
        while not self.all:
            page.wait_for_timeout(10)
        return self.all[0]


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser. While it is open, its thread has a running event loop, so that it must not outlive a test file."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox", "--disable-gpu"])
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def visit(
    browser: Browser, server: Served, view: str = "", *, forgiven: str | None = None, **context: Any
) -> Iterator[Page]:
    """
    The page as somebody sees it who comes for the first time.

    Args:
        browser: the browser.
        server: what is visited.
        view: name of the view; empty for the first.
        forgiven: what the console may say.
        context: of the browser, such as `color_scheme`, or `width` of the window.
    """
    size = {"width": context.pop("width", DESK), "height": 800}
    visitor = browser.new_context(viewport=size, **context)
    page = visitor.new_page()
    page.set_default_timeout(PATIENCE_MS)
    complaints: list[str] = []

    def asked(request: Request) -> None:
        if not request.url.startswith(server.url):
            complaints.append(f"foreign request: {request.url}")

    def said(message: ConsoleMessage) -> None:
        if forgiven is None or forgiven not in message.text:
            complaints.append(f"console: {message.text}")

    page.on("request", asked)
    page.on("console", said)
    page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
    page.on("dialog", lambda dialog: complaints.append(f"dialog: {dialog.message}") or dialog.dismiss())
    page.goto(f"{server.url}/#{view}")
    try:
        yield page
        if complaints:
            pytest.fail("\n".join(complaints))
    finally:
        visitor.close()
