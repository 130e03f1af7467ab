"""In a real browser, where one is installed: pages fit phone and desk, ask nobody, and leave the console empty."""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from chromium import BROWSER, needs_browser
from haloes.report.compare_page import write_comparison
from haloes.report.compared import ComparedRuns
from haloes.report.load import load_run
from haloes.report.page import write_report
from haloes.results import PairedDifference, Score
from report_folders import matchup

MEASURE = """<script>
addEventListener("load", () => {
  for (const details of document.querySelectorAll("details")) details.open = true;
  document.getElementById("show-all")?.click();
  const width = document.documentElement.clientWidth;
  const wide = [...document.querySelectorAll("body *")]
    .filter(e => e.getBoundingClientRect().right > width + 1)
    .map(e => e.tagName + "." + (e.getAttribute("class") || ""));
  const shown = getComputedStyle(document.body).maxWidth;
  parent.postMessage([width, document.documentElement.scrollWidth, shown, wide.slice(0, 5).join(" ")].join("|"), "*");
});
</script>"""
LISTEN = """<script>
const asked = [];
addEventListener("securitypolicyviolation", e => asked.push(e.blockedURI));
</script>"""
TELL = """<script>
addEventListener("load", () => setTimeout(() => {
  asked.push(...performance.getEntriesByType("resource").map(e => e.name));
  parent.postMessage(asked.join(" ") || "nobody", "*");
}, 500));
</script>"""
LONG = "https://example.com/" + "a" * 400 + " " + "wide " * 300

QUIET = [
    BROWSER or "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
]  # fmt: skip


def shown(page: Path, html: str, width: int) -> str | None:
    """What the page told the frame of the given width that it is shown in; None when it said nothing."""
    page.with_name("copy.html").write_text(html, encoding="utf-8")
    frame = page.with_name("frame.html")
    frame.write_text(
        f"""<script>addEventListener("message", e => document.body.dataset.found = e.data)</script>
        <body><iframe src="copy.html" width="{width}" height="800" style="border:0"></iframe></body>"""
    )
    command = [
        *QUIET, "--window-size=1400,900", "--virtual-time-budget=4000", f"--user-data-dir={page.parent / 'profile'}",
        "--dump-dom", frame.as_uri(),
    ]  # fmt: skip
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    assert "<iframe" in dom
    found = re.search(r'data-found="([^"]*)"', dom)
    return found and found[1]


def measured(page: Path, width: int) -> list[str]:
    """Width of the window, width of the page, the body's max-width, and what sticks out."""
    html = page.read_text(encoding="utf-8").replace("</body>", f"{MEASURE}</body>")
    found = shown(page, html.replace("default-src", "script-src &#39;unsafe-inline&#39;; default-src", 1), width)
    return found.split("|")


@needs_browser
@pytest.mark.parametrize("width", [360, 1280])
def test_a_page_fits_its_window(run_dir: Path, width: int) -> None:
    found, page_width, max_width, sticking_out = measured(write_report(run_dir), width)
    assert int(found) == width
    assert max_width == "1152px", "the style sheet applies under the page's own policy"
    assert (int(page_width), sticking_out) == (width, "")


@needs_browser
def test_words_without_end_do_not_widen_a_page(run_dir: Path, bare_run: Callable[..., Path]) -> None:
    sample = {"prompt_id": "a", "prompt": LONG, "completion": LONG, "model": "after", "num_tokens": 1}
    score = {"name": "liked", "value": 0.5, "low": 0.4, "high": 0.6, "label": LONG, "method": LONG}
    folder = bare_run(
        config_yaml={"model": LONG, "loss": {"name": "kto", LONG: LONG}},
        environment_json={LONG: LONG, "command": LONG},
        data_json={"sources": [LONG], "warnings": [LONG], "train": {"rows": 10**30, "desirable": 10**29}},
        metrics_jsonl=[{"step": step, "split": "train", "loss": 1e9 + step} for step in range(30)],
        scores_jsonl=[{**score, "variant": variant} for variant in ("before", "after", "difference")],
        samples_jsonl=[sample],
    )
    _, page_width, _, sticking_out = measured(write_report(folder), 360)
    assert (int(page_width), sticking_out) == (360, "")


@needs_browser
@pytest.mark.parametrize("width", [360, 1280])
def test_a_judged_run_fits_its_window(judged_run_dir: Path, width: int) -> None:
    path = judged_run_dir / "evaluation.json"
    path.write_text(path.read_text().replace('"gpt"', json.dumps(LONG)))
    _, page_width, _, sticking_out = measured(write_report(judged_run_dir), width)
    assert (int(page_width), sticking_out) == (width, "")


@needs_browser
@pytest.mark.parametrize("width", [360, 1280])
def test_benchmarks_fit_their_window(run_dir: Path, width: int) -> None:
    score = {"name": "benchmark", "value": 0.5, "low": 0.4, "high": 0.6, "label": LONG, "method": LONG}
    sides = [{**score, "variant": variant} for variant in ("before", "after")]
    change = {
        "score": {**score, "variant": "difference"},
        "test": {"up": 1, "down": 2, "same": 0, "p_value": 0.1},
        "p_holm": 0.1,
    }
    words = {"name": LONG, "title": LONG, "label": LONG, "asked": LONG, "notes": [LONG]}
    result = {**words, "scores": sides, "others": sides, "subtasks": sides, "change": change, "questions": 3, "of": 3}
    found = {"benchmarks": {"results": [result, result], "notes": [LONG]}}
    (run_dir / "evaluation.json").write_text(json.dumps(found))
    _, page_width, _, sticking_out = measured(write_report(run_dir), width)
    assert load_run(run_dir).benchmarks.corrected == 2
    assert (int(page_width), sticking_out) == (width, "")


@needs_browser
@pytest.mark.parametrize("width", [360, 1280])
def test_a_reward_models_run_fits_its_window(bare_run: Callable[..., Path], width: int) -> None:
    score = {"name": "pair_accuracy", "value": 0.6, "low": 0.5, "high": 0.7, "num_rows": 9, "num_clusters": 9}
    row = {"predicted": 0.7, "desirable": 0.6, "low": 0.4, "high": 0.8, "num_rows": 9}
    folder = bare_run(
        config_yaml={"samples": {"prompts": 0}},
        scores_jsonl=[{**score, "variant": variant, "method": "m"} for variant in ("before", "after")],
        calibration_json={
            "bins": [row, {**row, "predicted": 0.9}],
            "expected_error": 0.1,
            "expected_error_by_chance": 0.2,
        },
    )
    _, page_width, _, sticking_out = measured(write_report(folder), width)
    assert (int(page_width), sticking_out) == (width, "")


@needs_browser
def test_the_filter_by_verdict_works_without_a_script_and_the_console_stays_empty(judged_run_dir: Path) -> None:
    page = write_report(judged_run_dir)
    html = page.read_text(encoding="utf-8").replace(' id="show-first" checked', ' id="show-first"')
    page.with_name("filtered.html").write_text(html.replace('id="show-beaten"', 'id="show-beaten" checked'))
    pictures = []
    for name in ("report.html", "filtered.html"):
        made = page.with_name(f"{name}.png")
        command = [*QUIET, f"--screenshot={made}", "--window-size=700,12000", "--enable-logging=stderr", "--v=0"]
        command += [f"--user-data-dir={page.parent / 'profile'}", page.with_name(name).as_uri()]
        said = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stderr
        assert "CONSOLE" not in said
        pictures.append(made.read_bytes())
    assert pictures[0] != pictures[1]


@needs_browser
def test_the_browser_runs_no_script_under_the_pages_policy(run_dir: Path) -> None:
    page = write_report(run_dir)
    html = page.read_text(encoding="utf-8").replace("</body>", f"{MEASURE}</body>")
    assert shown(page, html, 360) is None


def compared(one: Path, other: Path) -> ComparedRuns:
    """Two runs of which one has a name without end."""
    score = Score(
        name="auc", value=0.7, low=0.6, high=0.8, variant="difference", num_rows=9, num_clusters=9, method=LONG
    )
    return ComparedRuns(
        names=(LONG, "short"),
        runs=(load_run(one), load_run(other)),
        num_held_out=(9, 8),
        num_shared=7,
        aucs=(score, score),
        shared_aucs=(score, score),
        auc_differences=(PairedDifference(model=LONG, other="short", score=score, p_value=0.001, p_holm=0.002),),
        win_rates=(matchup(LONG, LONG, score, score),),
        win_rate_differences=(),
        notes=(LONG,),
    )


def asked_for(page: Path) -> list[str]:
    """What the page would load from elsewhere: what its own policy stops, and what it loads all the same."""
    html = page.read_text(encoding="utf-8")
    html = html.replace("<style>", f"{LISTEN}<style>", 1).replace("</body>", f"{TELL}</body>")
    found = shown(page, html.replace("default-src", "script-src &#39;unsafe-inline&#39;; default-src", 1), 1280)
    assert found is not None
    return found.split()


@needs_browser
def test_pages_ask_nobody_for_anything_and_say_nothing_on_the_console(judged_run_dir: Path, small_run: Path) -> None:
    page = write_report(judged_run_dir)
    comparison = page.with_name("compare.html")
    write_comparison(comparison, compared(judged_run_dir, small_run))
    asking = page.with_name("asking.html")
    picture = "<img src='https://elsewhere.example/x.png'></body>"
    asking.write_text(page.read_text(encoding="utf-8").replace("</body>", picture), encoding="utf-8")

    assert "https://elsewhere.example/x.png" in asked_for(asking), "a request would be seen"
    assert asked_for(page) == asked_for(comparison) == ["nobody"]
    assert console_of(comparison) == []


def console_of(page: Path) -> list[str]:
    """What a page says on the console."""
    command = [*QUIET, "--enable-logging=stderr", "--v=0", f"--user-data-dir={page.parent / 'profile'}", "--dump-dom"]
    said = subprocess.run([*command, page.as_uri()], capture_output=True, text=True, timeout=120, check=True).stderr
    return [line for line in said.splitlines() if "CONSOLE" in line]


@needs_browser
@pytest.mark.parametrize("width", [360, 1280])
def test_a_comparison_of_runs_fits_its_window(run_dir: Path, small_run: Path, width: int) -> None:
    page = run_dir / "compare.html"
    write_comparison(page, compared(run_dir, small_run))
    found, page_width, max_width, sticking_out = measured(page, width)
    assert (int(found), max_width) == (width, "1152px")
    assert (int(page_width), sticking_out) == (width, "")
