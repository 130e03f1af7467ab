"""Several runs on one page: what differs, what was found, alone in the world and safe with hostile text."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from haloes.cli.views.compare import comparison_tables
from haloes.cli.views.tables import differences_table
from haloes.report.compare_page import compare_page, overlaid
from haloes.report.compared import ComparedRuns, differing_settings, extent, length_notes, zero_notes
from haloes.report.load import RunRecords, load_run
from haloes.results import PairedDifference, Score
from report_folders import matchup

EVIL = "<script>alert(1)</script>"


def score(value: float, name: str = "auc", variant: str = "after", **fields: Any) -> Score:
    return Score(
        name=name,
        value=value,
        low=value - 0.1,
        high=value + 0.1,
        variant=variant,
        num_rows=40,
        num_clusters=20,
        method="m",
        **fields,
    )


def compared(runs: list[RunRecords], names: tuple[str, ...] = ("kto", "dpo"), **fields: Any) -> ComparedRuns:
    found: dict[str, Any] = {
        "names": names,
        "runs": tuple(runs),
        "num_held_out": (40, 50),
        "num_shared": 30,
        "aucs": (score(0.7), None),
        "shared_aucs": (score(0.72), score(0.6)),
        "auc_differences": (
            PairedDifference(
                model="kto", other="dpo", score=score(0.12, variant="difference"), p_value=0.02, p_holm=0.04
            ),
        ),
        "win_rates": (matchup("kto", "j", score(0.66, "win_rate"), score(0.55, "length_controlled_win_rate")),),
        "win_rate_differences": (),
        "notes": (),
    }
    return ComparedRuns(**(found | fields))


@pytest.fixture
def runs(run_dir: Path, small_run: Path) -> list[RunRecords]:
    config = yaml.safe_load((small_run / "config.yaml").read_text())
    config["loss"]["beta"] = 0.3
    (small_run / "config.yaml").write_text(yaml.safe_dump(config))
    return [load_run(run_dir), load_run(small_run)]


def test_the_settings_that_differ_are_those_and_no_others(runs: list[RunRecords]):
    assert differing_settings(runs) == (("loss.beta", ("0.1", "0.3")),)


def test_steps_and_kl_stand_beside_the_settings_that_differ(runs: list[RunRecords], run_dir: Path):
    short = replace(runs[0], train=runs[0].train[:3], scores=(score(2.0, "kl"),))
    steps, kl = extent([runs[0], short])
    assert steps == ("optimizer steps", (f"{runs[0].train[-1]['step']:,}", str(short.train[-1]["step"])))
    assert (kl[0], kl[1][1]) == ("KL to the reference, nats an answer", "2.00 (95% interval 1.90 to 2.10)")
    assert extent([runs[0], runs[0]]) == ()
    assert "optimizer steps" in compare_page(compared([runs[0], short]))


def test_a_difference_that_is_gone_at_equal_length_is_told_first(runs: list[RunRecords]):
    gone = PairedDifference(model="kto", other="dpo", score=score(0.01, variant="difference"), p_value=0.8, p_holm=0.8)
    length = score(0.57, "auc_length", label="AUC of length alone (shorter is better)")
    beside = ((score(0.6, "auc_length_controlled"), None), (length, length))
    found = compared(runs, beside_auc=beside, auc_differences_at_equal_length=(gone,))
    note, why = length_notes(found)
    page = compare_page(found)

    assert "the difference in AUC is +0.12, p (Holm) 0.04, and of answers of about the same length +0.01" in note
    assert "AUC of length alone (shorter is better): 0.57" in why
    assert page.index("Difference in AUC at equal length") < page.index("Difference in AUC<")
    assert "AUC at equal length" in page


def test_where_both_say_the_same_the_difference_of_all_answers_comes_first(runs: list[RunRecords]):
    same = PairedDifference(model="kto", other="dpo", score=score(0.12, variant="difference"), p_value=0, p_holm=0)
    found = compared(runs, auc_differences_at_equal_length=(same,))
    page = compare_page(found)

    assert length_notes(found) == ()
    assert page.index("Difference in AUC<") < page.index("Difference in AUC at equal length")


def difference(value: float, low: float, high: float, p_value: float) -> PairedDifference:
    found = replace(score(value, variant="difference"), low=low, high=high)
    return PairedDifference(model="kto", other="dpo", score=found, p_value=p_value, p_holm=p_value)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (difference(0.05, 0.0, 0.107, 0.38), "the interval ends at zero itself"),
        (difference(-0.05, -0.1, 0.0, 0.38), "zero is not excluded"),
        (difference(0.05, 0.01, 0.1, 0.09), "the interval excludes zero and p = 0.09 says otherwise"),
        (difference(0.05, -0.01, 0.1, 0.03), "the interval includes zero and p = 0.03 says otherwise"),
        (difference(0.05, 0.01, 0.1, 0.02), None),
        (difference(0.05, -0.01, 0.1, 0.2), None),
        (difference(0.0, 0.0, 0.0, 1.0), None),
    ],
)
def test_where_interval_and_p_value_seem_to_disagree_the_page_and_the_terminal_say_why(
    found: PairedDifference, said: str | None, runs: list[RunRecords]
):
    notes = zero_notes([found])

    assert len(notes) == (said is not None)
    if said is not None:
        assert said in notes[0]
        assert said in compare_page(compared(runs, auc_differences=(found,)))
        assert said in str(differences_table("Differences", [found]).caption)


def test_a_rate_that_may_hold_more_than_quality_says_so_once(runs: list[RunRecords]):
    alone = matchup("kto", "j", score(0.66, "win_rate"), score(0.55, "win_rate_at_equal_length"))
    controlled = replace(alone.length_controlled, caution="of one model alone")
    rates = tuple(replace(alone, candidate=name, length_controlled=controlled) for name in ("kto", "dpo"))
    both = compared(runs, win_rates=rates)

    assert compare_page(both).count("At equal length: of one model alone.") == 1
    assert [str(drawn) for drawn in comparison_tables(both)].count("At equal length: of one model alone.") == 1
    assert "At equal length: " not in compare_page(compared(runs))


def test_the_page_shows_what_was_found(runs: list[RunRecords]):
    page = " ".join(compare_page(compared(runs)).split())

    for expected in ("40 and 50 rows, of which 30 are the same in all", "On the 30 rows that all runs share"):
        assert expected in page
    for expected in (">0.04<", ">0.02<", "kto − dpo", "kto against before", ">66%<", ">55%<", "Words an answer"):
        assert expected in page


def test_losses_are_laid_over_each_other_only_where_they_are_the_same(runs: list[RunRecords]):
    titles = [chart.title for chart in overlaid(compared(runs))]
    same = [chart.title for chart in overlaid(compared([runs[0], runs[0]]))]

    assert "Held-out AUC by step" in titles
    assert "Held-out loss by step" not in titles
    assert "Held-out loss by step" in same
    assert [line.tone for line in overlaid(compared(runs))[0].lines] == ["run r1", "run r2"]


def test_runs_without_anything_are_a_page_that_says_so(tmp_path: Path):
    empty = load_run(tmp_path)
    page = compare_page(
        compared([empty, empty], aucs=(None, None), shared_aucs=(None, None), auc_differences=(), win_rates=())
    )

    assert "no run has <code>held_out.jsonl</code>" in page
    assert "None that are recorded." in page


def test_hostile_names_are_shown_and_not_run(runs: list[RunRecords]):
    page = compare_page(compared(runs, (EVIL, "dpo"), notes=(EVIL,)))

    assert EVIL not in page
    assert "&lt;script&gt;" in page
    assert "default-src &#39;none&#39;" in page
