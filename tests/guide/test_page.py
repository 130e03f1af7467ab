"""The documentation's page of losses is what the losses say about themselves."""

import re
from pathlib import Path

import pytest

from haloes.guide.page import losses_page
from haloes.losses.table import LOSSES

PATH = Path(__file__).parents[2] / "docs" / "losses.md"


@pytest.fixture(scope="module")
def text() -> str:
    return losses_page()


def test_the_page_is_up_to_date(text: str):
    if not PATH.exists():
        pytest.skip("docs/losses.md is not part of this copy of the project")
    assert PATH.read_text(encoding="utf-8") == text, "run `make docs`"


def test_every_loss_has_a_row_and_a_section(text: str):
    assert re.findall(r"^\| \[`(.+?)`\]", text, re.MULTILINE) == list(LOSSES)
    assert re.findall(r"^### (.+)$", text, re.MULTILINE) == list(LOSSES)


def test_tables_have_as_many_cells_in_every_row(text: str):
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        rows = table.splitlines()
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) == 1, rows[0]


def test_signs_of_formulas_in_running_text_are_not_read_as_markup(text: str):
    words = re.sub(r"```text\n.*?```|`[^`\n]*`", "", text.partition("## Each loss")[2], flags=re.DOTALL)

    assert not re.findall(r"(?<![\\*])\*(?!\*)", re.sub(r"^\*\*.*?\*\*", "", words, flags=re.MULTILINE))
    assert "<" not in words
