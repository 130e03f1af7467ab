"""The page: complete, honest about what is missing, alone in the world, and safe with hostile text."""

import base64
import hashlib
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from haloes.errors import DataError, RunError
from haloes.report.page import write_report
from haloes.words import WORDS

Write = Callable[..., Path]

EVIL = (
    '</style></text></title><script>alert(1)</script><img src=x onerror=alert(1)>" onmouseover="x\' {{ 7*7 }} &lt;b&gt;'
)
VOID = {"meta", "input", "br", "hr", "img", "link"}


class Page(HTMLParser):
    """The elements of a page, its text, and whether every element was closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.texts))


def read(folder: Path) -> Page:
    page = Page(write_report(folder).read_text(encoding="utf-8"))
    assert page.open == []
    return page


def sample(prompt_id: str, model: str, completion: str, **rest: Any) -> dict[str, Any]:
    settings = {"prompt": "Hello?", "num_tokens": 3, "finished": True, **rest}
    return {"prompt_id": prompt_id, "model": model, "completion": completion, **settings}


def test_it_is_written_into_the_run_folder(run_dir: Path) -> None:
    assert write_report(run_dir) == run_dir / "report.html"


def test_a_complete_run_shows_everything(run_dir: Path) -> None:
    text = read(run_dir).text
    for expected in (
        "Better on unseen prompts",
        "18% → 61%",
        "+43 points",
        "95% interval +32 to +53",
        "SmolLM2-135M-Instruct, trained with KTO on 977 rated answers to 301 prompts from thumbs.jsonl.",
        "undesirable weight auto (0.375)",
        "1,240 rows were read and 1,221 accepted. Left out: 12 for label, 5 for empty completion, 2 for no user turn.",
        "312 (32%)",
        "9 (0.9%)",
        "7 min 12 s",
        "Reference point by step",
        "How do I keep basil alive on a windowsill?",
        "cut off at the token limit",
        "short and complete",
        "gained 14",
        "Three prompts have one answer that was rated both ways.",
        "train.lr",
        "b7f1c0ffee5a11d0",
        "haloes resume thumbs-kto",
    ):
        assert expected in text
    assert "Nothing to show" not in text
    assert "Missing from the run folder" not in text


def test_every_measured_number_has_its_interval_beside_it(run_dir: Path) -> None:
    html = write_report(run_dir).read_text(encoding="utf-8")
    table = html[html.index('<table class="results">') : html.index("</table>")]
    assert table.count('<span class="value">') == table.count('<span class="interval"') == 16


def test_folders_of_the_machine_are_not_told(run_dir: Path) -> None:
    html = write_report(run_dir).read_text(encoding="utf-8")
    assert "/home/someone" not in html
    assert str(run_dir.parent) not in html


def test_an_empty_folder_gives_a_page_that_says_what_is_missing(tmp_path: Path) -> None:
    page = read(tmp_path)
    assert "Not measured yet" in page.text
    for name in ("config.yaml", "environment.json", "data.json", "metrics.jsonl", "scores.jsonl", "samples.jsonl"):
        assert f"Nothing to show: {name} is missing" in page.text
        assert name in page.text[page.text.index("Missing from the run folder") :]


PARTS = ("config.yaml", "environment.json", "data.json", "metrics.jsonl", "scores.jsonl", "samples.jsonl")


@pytest.mark.parametrize("name", [*PARTS, "ratings.jsonl", "warnings.json"])
def test_any_one_file_may_be_missing(small_run: Path, name: str) -> None:
    (small_run / name).unlink()
    assert (name in PARTS) == (f"Missing from the run folder: {name} ." in read(small_run).text)


@pytest.mark.parametrize("name", [*PARTS, "ratings.jsonl", "warnings.json"])
@pytest.mark.parametrize("content", ["", "{", "null", "[[]]", "{}", "[null, 3]"])
def test_any_one_file_may_hold_anything(small_run: Path, name: str, content: str) -> None:
    (small_run / name).write_text(content)
    assert "What was trained on what" in read(small_run).text


@pytest.mark.parametrize("value", [None, "text", 3, [], {}, [1, {"a": None}], {"name": None}, True])
def test_any_section_may_have_another_shape(small_run: Path, value: object) -> None:
    for name in ("data.json", "environment.json"):
        keys = json.loads((small_run / name).read_text())
        (small_run / name).write_text(json.dumps(dict.fromkeys(keys, value)))
    (small_run / "config.yaml").write_text(json.dumps(dict.fromkeys(("model", "loss", "train", "feedback"), value)))
    assert "Better on unseen prompts" in read(small_run).text


def test_the_page_asks_the_network_for_nothing(run_dir: Path) -> None:
    page = read(run_dir)
    assert {tag for tag, _ in page.tags}.isdisjoint(
        {
            "script",
            "link",
            "img",
            "iframe",
            "object",
            "embed",
            "audio",
            "video",
            "source",
            "base",
            "form",
            "use",
            "image",
        }
    )
    for _, attributes in page.tags:
        assert not {"src", "srcset", "action", "style", "background", "ping"} & attributes.keys()
        assert not any(name.startswith("on") for name in attributes)
        assert (attributes.get("href") or "#").startswith("#")
    html = (run_dir / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"url\(|@import|https?:|//[a-z]", html, flags=re.IGNORECASE)


def test_the_policy_forbids_everything_but_the_pages_own_style(run_dir: Path) -> None:
    html = write_report(run_dir).read_text(encoding="utf-8")
    style = html[html.index("<style>") + len("<style>") : html.index("</style>")]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    (policy,) = (
        attributes["content"]
        for _, attributes in Page(html).tags
        if "content-security-policy" in str(attributes).lower()
    )
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    assert html.index("Content-Security-Policy") < html.index("<style>")


def test_hostile_text_stays_text_wherever_it_comes_from(tmp_path: Path, bare_run: Write) -> None:
    score = {"name": EVIL, "value": 0.5, "low": 0.4, "high": 0.6, "method": EVIL, "label": EVIL}
    folder = bare_run(
        config_yaml={"model": {"name": EVIL, EVIL: EVIL}, "loss": {"name": EVIL, EVIL: EVIL}, EVIL: EVIL},
        environment_json={"haloes": EVIL, "started": EVIL, "command": EVIL, EVIL: EVIL},
        data_json={
            "sources": [EVIL],
            "format": EVIL,
            "rows": {"read": 1, "accepted": 1, "refused": {EVIL: 2}},
            "train": {"rows": EVIL, "desirable": 1, "undesirable": 2},
            "weights": {EVIL: EVIL},
            "warnings": [EVIL],
        },
        metrics_jsonl=[{"step": 1, "split": "train", "loss": 0.5, EVIL: EVIL}],
        scores_jsonl=[{**score, "variant": variant} for variant in ("before", "after", EVIL)],
        samples_jsonl=[
            sample(EVIL, "before", EVIL, prompt=[{"role": EVIL, "content": EVIL}, {"role": "user", "content": EVIL}]),
            sample(EVIL, "after", EVIL, finished=False),
        ],
        ratings_jsonl=[
            {"prompt_id": EVIL, "model": model, "liked": True, "reason": EVIL} for model in ("before", "after")
        ],
        warnings_json=[{"severity": EVIL, "message": EVIL}],
    )
    hostile = tmp_path / "<img src=x onerror=alert(1)>"
    folder.rename(hostile)
    page = read(hostile)
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "img"})
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert page.text.count("{{ 7*7 }} &lt;b&gt;") > 15, "shown as it was written, neither run nor lost"
    assert sum(tag == "style" for tag, _ in page.tags) == 1


def test_text_that_would_reorder_or_control_is_made_visible(bare_run: Write) -> None:
    answer = "safe\u202egnp.exe\u0007\x1b[31m \u0000 👩‍🚀 \u200fשלום"
    page = read(bare_run(samples_jsonl=[sample("a", "after", answer)]))
    assert not set("\u202e\u0007\x1b\x00") & set(page.text)
    assert "👩‍🚀" in page.text, "joined emoji stay"
    assert "\u200fשלום" in page.text, "marks that right-to-left text needs stay"


def test_answers_of_any_direction_keep_to_their_own_box(bare_run: Write) -> None:
    page = read(bare_run(samples_jsonl=[sample("a", "after", "שלום")]))
    boxes = [attributes for _, attributes in page.tags if attributes.get("class") == "text"]
    assert [box["dir"] for box in boxes] == ["auto"]


def test_an_answer_of_one_side_only_says_so(bare_run: Write) -> None:
    assert "Not sampled." in read(bare_run(samples_jsonl=[sample("a", "after", "Yes.")])).text


def test_an_empty_answer_is_marked(bare_run: Write) -> None:
    assert "(empty)" in read(bare_run(samples_jsonl=[sample("a", "after", "")])).text


def test_very_many_answers_are_cut_and_counted(bare_run: Write) -> None:
    rows = [sample(f"p{i}", "after", "Yes.") for i in range(1001)]
    page = read(bare_run(samples_jsonl=rows))
    assert "The page holds the first 200 of 1,001" in page.text
    assert sum(tag == "article" for tag, _ in page.tags) == 200


def test_the_filter_counts_what_it_shows(run_dir: Path) -> None:
    page = read(run_dir)
    classes = [(attributes.get("class") or "").split() for tag, attributes in page.tags if tag == "article"]
    for kind, label in (("gained", "gained"), ("lost", "lost"), ("same", "unchanged")):
        assert f"{label} {sum(kind in names for names in classes)} " in page.text
    assert sum("later" not in names for names in classes) == 5


def test_no_difference_is_shown_where_none_was_measured(bare_run: Write) -> None:
    row = {"name": "liked", "value": 0.5, "low": 0.4, "high": 0.6, "variant": "after", "method": "m"}
    assert "Measured after training only" in read(bare_run(scores_jsonl=[row])).text


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no such run folder"):
        write_report(tmp_path / "nowhere")


def test_a_folder_that_cannot_be_written_is_named(run_dir: Path) -> None:
    (run_dir / "report.html").mkdir()
    with pytest.raises(DataError, match=r"report\.html"):
        write_report(run_dir)


def test_a_model_that_hardly_changed_gets_no_green_badge(unmoved_run: Path) -> None:
    html = write_report(unmoved_run).read_text(encoding="utf-8")

    assert '<section class="verdict-panel unmoved">' in html
    assert '<p class="badge">● hardly changed</p>' in html
    assert "set a higher train.lr (this run had 5e-06;" in html
    assert "generalises" not in html


def test_answers_that_changed_unrated_are_told_with_what_to_run(moved_run: Path) -> None:
    html = write_report(moved_run).read_text(encoding="utf-8")

    assert "5 of 6 sampled answers changed; nobody was asked whether for the better." in html
    assert "haloes judge RUN --judge http" in html


def explained_words(folder: Path) -> list[str]:
    html = write_report(folder).read_text(encoding="utf-8")
    return re.findall(r"<dt>(.+?)</dt>", html[html.index('<details class="words">') :].partition("</details>")[0])


def test_the_words_of_the_page_are_explained_under_its_table_and_no_others(run_dir: Path) -> None:
    explained = explained_words(run_dir)
    assert {"AUC", "chance", "KL", "nats", "implied reward", "margin", "mismatched", "z0", "clamp"} <= set(explained)
    assert {"Holm", "position bias", "NLL", "Brier score"}.isdisjoint(explained)
    html = (run_dir / "report.html").read_text(encoding="utf-8")
    assert html.index("How each interval was made") < html.index(WORDS["nats"]) < html.index('id="answers"')


def test_words_of_answers_are_not_explained(small_run: Path) -> None:
    before = explained_words(small_run)
    rows = [sample("p", "before", "Holm, Holm and a position bias."), sample("p", "after", "A perplexity!")]
    (small_run / "samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert explained_words(small_run) == before
    assert "Holm, Holm" in read(small_run).text
