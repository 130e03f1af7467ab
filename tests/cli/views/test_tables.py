"""Tables of numbers on a terminal of 80 columns: names, numbers and reasons can be read."""

from io import StringIO
from typing import Any

from rich.console import Console

from haloes.cli.views.tables import scores_table
from haloes.results import Score


def score(label: str, **given: Any) -> Score:
    fields = {"value": 0.39, "low": 0.39, "high": 0.39, "num_rows": 8, "num_clusters": 8}
    return Score(name="share", label=label, variant="kto", method="", **(fields | given))


def test_a_reason_in_an_interval_s_place_takes_several_lines_and_leaves_room_for_the_names():
    why = "none: answers that are drawn twice repeat their words"
    table = scores_table(
        "kto", [score("Words an answer", low=3.204, high=4.036), score("Word pairs (distinct-2)", no_interval=why)]
    )
    console = Console(file=StringIO(), width=80)
    console.print(table)
    lines = console.file.getvalue().splitlines()

    assert any(line.startswith("Words an answer") and "3.204 to 4.036" in line for line in lines)
    column, end = lines[1].index("95% interval"), lines[1].index("Prompts")
    assert " ".join(line[column:end].strip() for line in lines[3:]) == why
