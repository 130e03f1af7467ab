"""The table of importers in docs/feedback.md is that of the code. `python test_documents.py` writes it."""

from pathlib import Path

import pytest

from haloes.feedback.importers.table import IMPORTERS

DOCUMENT = Path(__file__).parents[3] / "docs" / "feedback.md"


def table() -> str:
    rows = sorted(IMPORTERS.values(), key=lambda each: each.product.lower())
    cells = ([f"{each.product} (`{each.name}`)", each.files, each.how, each.votes] for each in rows)
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |\n" for row in cells)


def test_the_table_of_tools_is_that_of_the_importers():
    if not DOCUMENT.exists():
        pytest.skip("docs/feedback.md is not part of this copy of the project")
    text = DOCUMENT.read_text(encoding="utf-8")
    written = text.partition("|---|---|---|---|\n")[2].partition("\n\n")[0] + "\n"
    assert written == table(), "run `python tests/feedback/importers/test_documents.py`"


if __name__ == "__main__":
    head, rule, rest = DOCUMENT.read_text(encoding="utf-8").partition("|---|---|---|---|\n")
    DOCUMENT.write_text(head + rule + table() + "\n" + rest.partition("\n\n")[2], encoding="utf-8")
