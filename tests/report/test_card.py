"""The model card: front matter that hubs read, results with intervals, no claim and no markup from elsewhere."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from haloes.report.card import escape, write_card

Write = Callable[..., Path]


def front_matter(card: str) -> dict[str, Any]:
    _, fields, _ = card.split("---\n", 2)
    return yaml.safe_load(fields)


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    folder = tmp_path / "adapter"
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "someone/base-model"}))
    return folder


def test_a_card_states_the_base_the_loss_the_data_and_the_results(run_dir: Path, tmp_path: Path) -> None:
    path = write_card(run_dir, tmp_path)
    card = path.read_text(encoding="utf-8")
    assert path == tmp_path / "README.md"
    assert front_matter(card) == {
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["haloes", "alignment", "kto"],
        "base_model": "HuggingFaceTB/SmolLM2-135M-Instruct",
    }
    for expected in (
        "| KTO: beta | 0.1 |",
        "| KTO: undesirable weight | auto (0.375) |",
        "| batch\\_size | 32 |",
        "| Training: undesirable | 665 (68%) |",
        "| Answers the rater likes | 18% \\[12% to 27%\\] | 61% \\[51% to 70%\\] | +43 points \\[+32 to +53\\] |",
        "| KL to the reference (nats an answer) | – | 7.3 \\[6.4 to 8.3\\] | – |",
        "- 9 of 977 training answers were cut to fit the window of 1,024 tokens.",
        "Written by haloes 0.1.0",
    ):
        assert expected in card


def test_a_whole_model_is_loaded_with_transformers(run_dir: Path, tmp_path: Path) -> None:
    card = write_card(run_dir, tmp_path).read_text(encoding="utf-8")
    assert 'AutoModelForCausalLM.from_pretrained("path/to/this/folder")' in card
    assert "peft" not in card


def test_an_adapter_is_loaded_on_its_base(run_dir: Path, adapter: Path) -> None:
    card = write_card(run_dir, adapter).read_text(encoding="utf-8")
    assert front_matter(card)["library_name"] == "peft"
    assert 'AutoModelForCausalLM.from_pretrained("someone/base-model")' in card
    assert 'PeftModel.from_pretrained(base, "path/to/this/folder")' in card


def test_an_adapter_of_the_embedded_model_is_loaded_on_it_by_its_name_on_the_hub(
    bare_run: Write, adapter: Path
) -> None:
    (adapter / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "embedded"}))
    card = write_card(bare_run(config_yaml={"model": {"name": "embedded"}}), adapter).read_text(encoding="utf-8")
    assert 'AutoModelForCausalLM.from_pretrained("HuggingFaceTB/SmolLM2-135M-Instruct")' in card
    assert 'AutoTokenizer.from_pretrained("HuggingFaceTB/SmolLM2-135M-Instruct")' in card


@pytest.mark.parametrize("name", ["/home/someone/models/base", 'x/y")\nimport os\n("', "", None, "../base"])
def test_a_base_that_is_no_hub_name_is_left_to_the_reader(run_dir: Path, adapter: Path, name: str | None) -> None:
    (adapter / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": name}))
    card = write_card(run_dir, adapter).read_text(encoding="utf-8")
    assert 'AutoModelForCausalLM.from_pretrained("path/to/the/base/model")' in card
    assert "someone" not in card
    assert "import os" not in card


def test_a_local_base_is_not_named_to_hubs(bare_run: Write, tmp_path: Path) -> None:
    card = write_card(bare_run(config_yaml={"model": {"name": "/home/someone/my-model"}}), tmp_path).read_text()
    assert "base_model" not in front_matter(card)
    assert "my-model" in card
    assert "/home" not in card


def test_the_embedded_model_is_named_as_hubs_know_it(bare_run: Write, tmp_path: Path) -> None:
    card = write_card(bare_run(config_yaml={"model": {"name": "embedded"}}), tmp_path).read_text(encoding="utf-8")
    assert front_matter(card)["base_model"] == "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert "| Base model | SmolLM2-135M-Instruct |" in card


def test_nothing_is_claimed_where_nothing_was_measured(tmp_path: Path) -> None:
    card = write_card(tmp_path, tmp_path).read_text(encoding="utf-8")
    assert "Nothing was measured on held-out prompts." in card
    assert "whether the model got better is not known" in card
    assert "Only what the table lists" not in card
    assert "Missing from the record of this run: config.yaml" in card
    assert "library_name: transformers" in card


def test_hostile_text_of_the_run_stays_text(bare_run: Write, tmp_path: Path) -> None:
    evil = "<script>x</script> | [l](http://e.com) ![i](x) `c` **b** www.e.com\n\n# H\n--- \u202e"
    folder = bare_run(
        config_yaml={"model": evil, "loss": {"name": evil, "beta": evil}, "train": {"lr": evil}},
        data_json={"sources": [evil], "warnings": [evil], "rows": {"read": 1, "refused": {evil: 1}}},
        scores_jsonl=[{"name": "x", "value": 1, "low": 0, "high": 2, "variant": "after", "label": evil}],
        environment_json={"haloes": evil},
    )
    card = write_card(folder, tmp_path).read_text(encoding="utf-8")
    body = card.split("---\n", 2)[2]
    assert front_matter(card)["library_name"] == "transformers"
    assert front_matter(card)["tags"] == ["haloes", "alignment"]
    assert "<" not in body
    assert "\u202e" not in body
    assert "http://" not in body
    assert not [line for line in body.splitlines() if line.startswith("# H")]
    rows = [line for line in body.splitlines() if line.startswith("| ")]
    assert {line.replace("\\|", "").count("|") for line in rows} == {3, 5}


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("plain (text), 5.2-3 & more: yes!", "plain (text), 5.2-3 &amp; more: yes!"),
        ("a|b\nc", "a\\|b c"),
        ("1. one", "&#49;. one"),
        ("0.5", "0.5"),
        ("- x", "\\- x"),
        ("# x", "\\# x"),
        ("=== x", "\\=== x"),
        ("*a* _b_ `c` [d](e)", "\\*a\\* \\_b\\_ \\`c\\` \\[d\\](e)"),
        ("<b>", "&lt;b&gt;"),
        ("https://x.y www.x.y a@b.c", "https\\://x.y www\\.x.y a\\@b.c"),
    ],
)
def test_markdown_is_escaped_where_it_would_act(text: str, escaped: str) -> None:
    assert escape(text) == escaped


@given(st.text())
def test_escaped_text_is_one_line_without_html(text: str) -> None:
    found = escape(text)
    assert len(found.splitlines()) <= 1
    assert not set("<>\t") & set(found)


def test_a_card_says_that_the_model_hardly_changed_and_not_what_to_set(unmoved_run: Path, tmp_path: Path) -> None:
    card = write_card(unmoved_run, tmp_path).read_text(encoding="utf-8")

    assert "**The model has hardly changed.** 6 of 6 sampled answers are equal to the letter" in card
    assert "To change it" not in card
