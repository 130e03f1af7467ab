"""The examples of a run: one prompt of each kind, drawn by a rule that knows nothing of the answers."""

import json
from pathlib import Path

from haloes.report.examples import Example, draw_examples
from haloes.report.load import load_run
from haloes.report.page import write_report
from haloes.report.samples import SidesOfPrompt, sides_of_prompts
from report_folders import write_rows


def sides(folder: Path) -> tuple[SidesOfPrompt, ...]:
    return sides_of_prompts(load_run(folder))


def shown(examples: tuple[Example, ...]) -> list[tuple[str, int, str | None]]:
    return [(example.kind, example.num_prompts, example.side and example.side.prompt_id) for example in examples]


def page(folder: Path) -> str:
    return " ".join(write_report(folder).read_text(encoding="utf-8").split())


def test_the_first_prompt_of_each_kind_is_drawn_in_the_order_of_the_file(run_dir: Path):
    of_run = sides(run_dir)
    firsts = {
        kind: next(side.prompt_id for side in of_run if side.change == kind) for kind in ("gained", "lost", "same")
    }

    found = draw_examples(of_run)

    assert shown(found) == [("gained", 14, firsts["gained"]), ("lost", 1, firsts["lost"]), ("same", 9, firsts["same"])]
    assert {example.num_with_verdict for example in found} == {24}
    assert shown(draw_examples(of_run[::-1]))[0][2] != firsts["gained"]


def test_a_kind_without_a_prompt_is_named_as_such(run_dir: Path):
    of_run = [side for side in sides(run_dir) if side.change != "lost"]

    found = draw_examples(of_run)

    assert shown(found)[1] == ("lost", 0, None)
    assert found[1].heading == "Lost: none of 23 prompts"


def test_prompts_that_nobody_rated_count_for_nothing(run_dir: Path):
    rows = [json.loads(line) for line in (run_dir / "ratings.jsonl").read_text().splitlines()]
    write_rows(run_dir / "ratings.jsonl", [row for row in rows if row["prompt_id"] != "p2"])

    assert {example.num_with_verdict for example in draw_examples(sides(run_dir))} == {23}


def test_the_verdicts_of_judges_do_where_there_is_no_rater(judged_run_dir: Path):
    (judged_run_dir / "ratings.jsonl").unlink()

    found = draw_examples(sides(judged_run_dir))

    # p7 is unscored; the first eight are tied, won, won, beaten, ...
    assert shown(found) == [("won", 15, "p1"), ("beaten", 4, "p3"), ("tied", 4, "p0")]
    assert {example.num_with_verdict for example in found} == {23}


def test_a_rater_goes_before_judges(judged_run_dir: Path):
    assert [example.kind for example in draw_examples(sides(judged_run_dir))] == ["gained", "lost", "same"]


def test_without_verdicts_nothing_is_drawn(moved_run: Path):
    assert draw_examples(sides(moved_run)) == ()
    assert 'class="examples"' not in page(moved_run)


def test_the_page_shows_them_on_its_first_screen_with_the_rule(run_dir: Path):
    html = page(run_dir)

    top = html[html.index('class="examples"') : html.index("<nav")]
    assert html.index("verdict-panel") < html.index('class="examples"')
    for text in ("Gained <small>14 of 24 prompts", "Lost <small>1 of 24 prompts", "Unchanged <small>9 of 24 prompts"):
        assert text in top
    assert "The first prompt of each kind, in the order of the held-out prompts." in top
    assert top.count('class="prompt"') == 3
