"""The documentation's page of losses is what the losses say about themselves."""

import re
from pathlib import Path

import pytest

from haloes.losses.table import LOSSES
from haloes.recipes.losses.page import page

PATH = Path(__file__).parents[3] / "docs" / "losses.md"


def test_the_page_is_up_to_date():
    if not PATH.exists():
        pytest.skip("docs/losses.md is not part of this copy of the project")
    assert PATH.read_text(encoding="utf-8") == page(), "run `make docs`"


def test_every_loss_has_a_row_and_a_section():
    text = page()

    assert re.findall(r"^\| \[`(.+?)`\]", text, re.MULTILINE) == list(LOSSES)
    assert re.findall(r"^### (.+)$", text, re.MULTILINE) == list(LOSSES)


def test_tables_have_as_many_cells_in_every_row():
    for table in re.findall(r"(?:^\|.*\n)+", page(), re.MULTILINE):
        rows = table.splitlines()
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) == 1, rows[0]


def test_signs_of_formulas_in_running_text_are_not_read_as_markup():
    text = re.sub(r"```text\n.*?```|`[^`\n]*`", "", page().partition("## Each loss")[2], flags=re.DOTALL)

    assert not re.findall(r"(?<![\\*])\*(?!\*)", re.sub(r"^\*\*.*?\*\*", "", text, flags=re.MULTILINE))
    assert "<" not in text
