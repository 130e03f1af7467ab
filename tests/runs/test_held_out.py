"""How many prompts are held out where nobody says it, and what they can show: one number, the same everywhere."""

from pathlib import Path

import pytest

import haloes
from haloes.progress.contract import NullProgress
from haloes.runs.align import align
from haloes.runs.config import FeedbackSettings, RunConfig
from haloes.runs.config_layers import make_config
from haloes.runs.held_out import held_out_advice, held_out_share
from haloes.runs.prompts import load_prompts
from haloes.runs.run_folder import read_config
from haloes.store import read_json
from tiny_runs import config, crash, same_result, settings, thumbs, write_rows


class Notes(NullProgress):
    """The sentences that a user is told."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def note(self, text: str) -> None:
        self.texts.append(text)


def test_small_sets_hold_out_a_third_and_large_ones_a_tenth():
    share = {num: held_out_share(FeedbackSettings(), num) for num in (1, 30, 72, 100, 160, 240, 5000)}

    assert share == {1: 0.3333, 30: 0.3333, 72: 0.3333, 100: 0.24, 160: 0.15, 240: 0.1, 5000: 0.1}
    assert all(23.9 < held_out_share(FeedbackSettings(), num) * num < 24.1 for num in range(72, 241))
    assert held_out_share(FeedbackSettings(validation_share=0.02), 30) == 0.02


def automatic(model: Path, source: Path) -> RunConfig:
    return config(model, source, feedback={"validation_share": "auto"}, samples={"prompts": 24})


def test_the_share_that_was_found_out_is_saved_and_a_resumed_run_keeps_it(
    model: Path, thumbs_file: Path, tmp_path: Path
):
    cfg = automatic(model, thumbs_file)
    whole = align(cfg, tmp_path / "whole")
    crash(cfg, tmp_path / "run", step=1)
    resumed = align(read_config(tmp_path / "run"), tmp_path / "run", resume=True)

    assert read_config(tmp_path / "run").feedback.validation_share == 0.3333
    assert read_json(tmp_path / "run" / "data.json")["held-out prompts"] == 5  # of 16
    assert same_result(whole, resumed)
    # The very settings that it was started with are the same run too.
    assert align(cfg, tmp_path / "run", resume=True).num_steps == whole.num_steps


def test_with_a_file_of_held_out_rows_there_is_no_share_to_find_out(model: Path, thumbs_file: Path, tmp_path: Path):
    held_out = write_rows(tmp_path / "held.jsonl", [{**row, "prompt": f"Now {row['prompt']}"} for row in thumbs(6)])
    feedback = {"validation_share": "auto", "validation": str(held_out)}
    notes = Notes()
    align(config(model, thumbs_file, feedback=feedback, samples={"prompts": 6}), tmp_path / "run", progress=notes)

    assert read_config(tmp_path / "run").feedback.validation_share == "auto"
    assert notes.texts[0].startswith("6 prompts are held out, and all of them answered")
    assert notes.texts[0].endswith("give more in feedback.validation")


def test_doctor_plan_and_the_first_line_of_training_say_what_the_held_out_prompts_can_show(model: Path, tmp_path: Path):
    source = write_rows(tmp_path / "f.jsonl", thumbs(30))
    cfg, notes = automatic(model, source), Notes()
    align(cfg, tmp_path / "run", progress=notes)
    plan = haloes.plan(config=settings(model, source, feedback={"validation_share": "auto"}, samples={"prompts": 24}))
    said = next(item for item in haloes.doctor(source).advice if item.name == "held-out prompts")

    power = "10 prompts show a win rate (in 4 of 5 tries) if it is 89% or more, or 11% or less"
    change = "to show smaller differences, raise feedback.validation_share (0.3333), or add feedback on other prompts"
    first = f"10 of 30 prompts are held out, and all of them answered before and after training: {power}; {change}"
    assert notes.texts[0] == plan.could_show == first
    assert said.finding.startswith("training holds out about 10 of 30 prompts (feedback.validation_share=0.3333;")
    assert (said.meaning, said.action) == (power, change)


def test_where_not_all_held_out_prompts_are_answered_their_number_is_what_to_raise(model: Path, tmp_path: Path):
    source = write_rows(tmp_path / "f.jsonl", thumbs(30))
    notes = Notes()
    align(config(model, source, feedback={"validation_share": "auto"}), tmp_path / "run", progress=notes)

    assert notes.texts[0].startswith("10 of 30 prompts are held out, and 2 of them answered before and after training")
    assert notes.texts[0].endswith(
        "too few to show any difference; to show smaller differences, raise samples.prompts (2)"
    )


@pytest.mark.parametrize("feedback", [{"validation_share": 0}, {"validation": "other.jsonl"}])
def test_doctor_says_nothing_of_it_where_no_share_is_held_out(feedback: dict[str, object], tmp_path: Path):
    findings = haloes.doctor(write_rows(tmp_path / "f.jsonl", thumbs(30))).findings

    assert held_out_advice(make_config({"feedback": feedback}), findings.prompts) == []


def test_prompts_of_a_feedback_file_are_those_that_a_run_with_the_same_settings_answers(model: Path, tmp_path: Path):
    source = write_rows(tmp_path / "f.jsonl", thumbs(40))
    run = align(automatic(model, source), tmp_path / "run")

    held_out = load_prompts(str(source), FeedbackSettings())
    assert set(held_out) == set(load_prompts(str(run.run_dir), FeedbackSettings()))
    assert len(held_out) == 13
