"""The page in a real browser before a run's own models: chat, comparison with the model before, and the queue."""

import threading
from pathlib import Path

import pytest

pytest.importorskip("uvicorn", reason="the extra web is not installed")
pytest.importorskip("playwright", reason="the test extra is not installed whole")

from playwright.sync_api import expect

from chromium import needs_browser
from haloes.runs.align import align
from haloes.serving.of_run import site_of_run
from haloes.serving.store import Store
from served import served_site
from tiny_runs import config, save_model, thumbs, write_rows
from visits import chromium, visit

pytestmark = needs_browser

NUM_PROMPTS = 4


def test_a_run_is_chatted_with_compared_and_rated(tmp_path: Path):
    rows, folder = write_rows(tmp_path / "thumbs.jsonl", thumbs()), tmp_path / "run"
    align(config(save_model(tmp_path / "model"), rows, samples={"prompts": NUM_PROMPTS, "max_new_tokens": 4}), folder)
    with (
        Store(folder / "collected.db") as store,
        served_site(site_of_run(folder, store, prompts=None)) as server,
        chromium() as browser,
        visit(browser, server) as page,
    ):
        expect(page.get_by_role("combobox", name="Model")).to_have_value("after")
        page.get_by_label("Your message").fill("Is 3 it?")
        page.keyboard.press("Enter")
        expect(page.get_by_role("button", name="Good")).to_be_visible()

        page.get_by_role("link", name="Compare").click()
        for left in reversed(range(NUM_PROMPTS)):
            expect(page.locator("#tally")).to_contain_text(f"{left + 1} prompt")
            expect(page.locator(".sides .words")).to_have_count(2)
            page.keyboard.press("3")
        expect(page.get_by_text("No prompt is left")).to_be_visible()
        expect(page.locator("#tally")).to_contain_text(f"after wins 50 % of {NUM_PROMPTS} votes")

        while not server.json("GET", "/api/queue")[1]["scored"]:
            threading.Event().wait(0.05)
        page.get_by_role("link", name="Rate").click()
        expect(page.locator("#left")).to_contain_text("1 answer waits for a vote, the least certain first")
        page.get_by_role("article").get_by_role("button", name="Bad").click()
        expect(page.locator("#left")).to_have_text("No answer waits for a vote.")
        assert server.json("GET", "/api/info")[1]["votes"] == NUM_PROMPTS + 1
