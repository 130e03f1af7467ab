"""The verdict says what the interval bears, and no more."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from haloes.report.headline import Headline, headline, results
from haloes.report.load import load_run
from report_folders import answer_rows, write_rows

Write = Callable[..., Path]


def score(name: str, variant: str, value: float, low: float, high: float, **rest: Any) -> dict[str, Any]:
    numbers = {"value": value, "low": low, "high": high}
    return {"name": name, "variant": variant, **numbers, "num_rows": 80, "num_clusters": 40, "method": "m", **rest}


def liked(low: float, high: float) -> list[dict[str, Any]]:
    middle = (low + high) / 2
    return [
        score("liked", "before", 0.3, 0.2, 0.42),
        score("liked", "after", 0.3 + middle, 0.2 + middle, 0.42 + middle),
        score("liked", "difference", middle, low, high),
    ]


def verdict(folder: Path) -> Headline:
    return headline(load_run(folder))


def test_an_interval_above_zero_is_better(bare_run: Write) -> None:
    found = verdict(bare_run(scores_jsonl=liked(0.1, 0.4)))
    assert (found.verdict, found.title) == ("better", "Better on unseen prompts")
    assert found.sentence == (
        "Answers the rater likes: 30% before training and 55% after, a difference of +25 points "
        "(95% interval +10 to +40, over 40 held-out prompts)."
    )


def test_an_interval_below_zero_is_worse(bare_run: Write) -> None:
    found = verdict(bare_run(scores_jsonl=liked(-0.28, -0.1)))
    assert found.verdict == "worse"
    assert "−19 points (95% interval −28 to −10" in found.sentence


@pytest.mark.parametrize(("low", "high"), [(-0.05, 0.25), (0.0, 0.2), (-0.2, 0.0)])
def test_an_interval_that_includes_zero_shows_nothing(bare_run: Write, low: float, high: float) -> None:
    found = verdict(bare_run(scores_jsonl=liked(low, high)))
    assert (found.verdict, found.title) == ("unclear", "No clear change on unseen prompts")
    assert "includes zero: this does not show whether the model got better or worse" in found.sentence


def repeats(low: float, high: float) -> list[dict[str, Any]]:
    middle = (low + high) / 2
    return [
        score("repeats", "before", 0.02, 0.0, 0.1),
        score("repeats", "after", 0.02 + middle, 0.02 + low, 0.02 + high),
        score("repeats", "difference", middle, low, high),
    ]


@pytest.mark.parametrize(
    ("scores", "found"),
    [
        (liked(0.1, 0.4), "mixed"),
        ([score("auc", "after", 0.7, 0.62, 0.78)], "mixed"),
        (liked(-0.05, 0.25), "worse"),
        (liked(-0.28, -0.1), "worse"),
        ([], "worse"),
    ],
)
def test_a_model_that_goes_in_circles_is_never_praised(
    bare_run: Write, scores: list[dict[str, Any]], found: str
) -> None:
    said = verdict(bare_run(scores_jsonl=[*scores, *repeats(0.1, 0.4)]))
    assert (said.verdict, said.title) == (found, "More answers repeat themselves")
    assert "Answers that repeat themselves: 2% before training and 27% after" in said.sentence


@pytest.mark.parametrize(("praise", "told"), [(liked(0.1, 0.4), True), (liked(-0.05, 0.25), False)])
def test_answers_that_repeat_themselves_by_chance_are_told_beside_praise_only(
    bare_run: Write, praise: list[dict[str, Any]], told: bool
) -> None:
    alone = verdict(bare_run(scores_jsonl=praise))
    said = verdict(bare_run(scores_jsonl=[*praise, *repeats(-0.02, 0.14)]))
    assert (said.verdict, said.title) == (alone.verdict, alone.title)
    assert ("Answers that repeat themselves" in said.sentence) == told


def test_fewer_answers_that_repeat_themselves_change_no_verdict(bare_run: Write) -> None:
    rows = liked(0.1, 0.4)
    assert verdict(bare_run(scores_jsonl=[*rows, *repeats(-0.02, -0.01)])) == verdict(bare_run(scores_jsonl=rows))


def test_two_sides_without_a_measured_difference_are_no_verdict(bare_run: Write) -> None:
    found = verdict(bare_run(scores_jsonl=liked(0.1, 0.4)[:2]))
    assert found.verdict == "unclear"
    assert "was not measured" in found.sentence


def test_the_rater_comes_before_the_auc_whatever_the_order_of_the_file(bare_run: Write) -> None:
    rows = [score("words", "after", 40, 38, 42), score("auc", "after", 0.7, 0.6, 0.8), *liked(0.1, 0.4)]
    folder = bare_run(scores_jsonl=rows)
    assert [result.name for result in results(load_run(folder))] == ["liked", "auc", "words"]
    assert verdict(folder).result.name == "liked"


def test_an_auc_above_chance_is_not_called_better(bare_run: Write) -> None:
    found = verdict(bare_run(scores_jsonl=[score("auc", "after", 0.7, 0.62, 0.78)]))
    assert found.verdict == "signal"
    assert "whether they got better is not known" in found.sentence
    assert "80 rated held-out answers to 40 prompts" in found.sentence


def test_an_auc_whose_interval_holds_one_half_is_undecided(bare_run: Write) -> None:
    found = verdict(bare_run(scores_jsonl=[score("auc", "after", 0.55, 0.45, 0.65)]))
    assert found.verdict == "unclear"
    assert "not clearly above chance" in found.sentence


def test_an_auc_below_chance_is_worse(bare_run: Write) -> None:
    found = verdict(bare_run(scores_jsonl=[score("auc", "after", 0.3, 0.2, 0.4)]))
    assert found.verdict == "worse"
    assert "below chance" in found.sentence


def test_a_ranking_of_lengths_is_no_success_and_the_number_at_equal_length_leads(bare_run: Write) -> None:
    rows = [
        score("auc", "after", 0.72, 0.67, 0.77),
        score("auc_length_controlled", "before", 0.5, 0.5, 0.5),
        score("auc_length_controlled", "after", 0.5, 0.44, 0.56),
        score("auc_length", "after", 0.7, 0.65, 0.75, label="AUC of length alone (shorter is better)"),
    ]
    found = verdict(bare_run(scores_jsonl=rows))

    assert found.verdict == "unclear"
    assert found.result.name == "auc_length_controlled"
    assert found.sentence.startswith("AUC at equal length, on 80 rated held-out answers to 40 prompts")
    assert "Over all answers it is 0.72" in found.sentence
    assert "AUC of length alone (shorter is better): 0.70" in found.sentence


def test_where_length_alone_does_as_well_the_badge_does_not_say_generalises(bare_run: Write) -> None:
    rows = [score("auc", "after", 0.92, 0.85, 0.96), score("auc_length", "after", 0.92, 0.86, 0.96)]
    found = verdict(bare_run(scores_jsonl=rows))

    assert (found.verdict, found.title) == ("unclear", "Length alone tells good answers from bad ones as well")


def test_the_auc_of_validation_stands_in_where_no_score_was_written(bare_run: Write) -> None:
    rows = [
        {"step": step, "split": "validation", "auc": auc, "auc/low": auc - spread, "auc/high": auc + spread}
        for step, auc, spread in ((0, 0.5, 0), (10, 0.6, 0.04), (20, 0.7, 0.04))
    ]
    folder = bare_run(metrics_jsonl=rows)
    (result,) = results(load_run(folder))
    assert (result.before.value, result.after.value) == (0.5, 0.7)
    assert result.difference is None
    assert verdict(folder).verdict == "signal"


def test_lengths_alone_are_no_verdict(bare_run: Write) -> None:
    assert verdict(bare_run(scores_jsonl=[score("words", "difference", -20, -30, -10)])).verdict == "unmeasured"


def test_nothing_measured_is_said_so(tmp_path: Path) -> None:
    found = verdict(tmp_path)
    assert found.verdict == "unmeasured"
    assert "whether the model got better is not known" in found.sentence


def test_other_models_keep_their_names(bare_run: Write) -> None:
    (result,) = results(load_run(bare_run(scores_jsonl=[*liked(0.1, 0.2), score("liked", "gpt", 0.9, 0.8, 0.95)])))
    assert [other.variant for other in result.others] == ["gpt"]


# --- what judges say


def judged(
    rate: tuple[float, float, float], at_length: tuple[float, float, float] | None = None, by: str = "gpt"
) -> dict[str, Any]:
    """A matchup as `haloes eval` writes it, of which only the rates matter here."""
    value, low, high = rate
    controlled = None
    if at_length is not None:
        regression = {"theta": 0.0, "phi_length": 0.0, "psi_difficulty": None}
        controlled = {"score": score("length_controlled_win_rate", "after", *at_length), **regression}
    nothing = dict.fromkeys(("smallest_difference", "position_bias", "flip_rate", "canary_rate"))
    return {
        "candidate": "after",
        "baseline": "before",
        "judge": by,
        "num_prompts": 40,
        "by_length": [],
        **nothing,
        **dict.fromkeys(("wins", "ties", "losses", "unscored"), 10),
        "sign_test": {"up": 10, "down": 10, "same": 10, "p_value": 0.5},
        "win_rate": score("win_rate", "after", value, low, high),
        "length_controlled": controlled,
    }


def with_judges(bare_run: Write, *matchups: dict[str, Any], scores: list[dict[str, Any]] | None = None) -> Headline:
    told = {"judged": {"matchups": list(matchups), "agreement": [], "comparisons": []}}
    return verdict(bare_run(evaluation_json=told, scores_jsonl=scores or []))


@pytest.mark.parametrize(
    ("rate", "word", "title"),
    [
        ((0.7, 0.6, 0.8), "better", "Better on unseen prompts"),
        ((0.3, 0.2, 0.4), "worse", "Worse on unseen prompts"),
        ((0.55, 0.5, 0.6), "unclear", "No clear change on unseen prompts"),
    ],
)
def test_a_judges_win_rate_is_the_headline_where_there_is_one(
    bare_run: Write, rate: tuple[float, float, float], word: str, title: str
) -> None:
    auc = score("auc", "after", 0.7, 0.62, 0.78)
    found = with_judges(bare_run, judged(rate), scores=[auc])

    assert (found.verdict, found.title, found.result.name) == (word, title, "win_rate")
    value, low, high = (f"{100 * number:.0f}%" for number in rate)
    told = f"{value} (95% interval {low} to {high}, over 40 held-out prompts; even is 50%)."
    assert found.sentence.startswith(f"Win rate against before, by gpt: {told}")
    assert found.sentence.endswith("AUC of the implied reward: 0.70 (95% interval 0.62 to 0.78).")


def test_the_rater_is_told_beside_the_judge(bare_run: Write) -> None:
    found = with_judges(bare_run, judged((0.7, 0.6, 0.8)), scores=liked(0.1, 0.4))

    assert found.verdict == "better"
    assert "by gpt: 70%" in found.sentence
    assert "Answers the rater likes: 30% before training and 55% after" in found.sentence


@pytest.mark.parametrize(
    ("rate", "rated"), [((0.7, 0.6, 0.8), (-0.28, -0.1)), ((0.3, 0.2, 0.4), (0.1, 0.4))], ids=["rater", "judge"]
)
def test_what_went_worse_is_never_hidden_by_what_got_better(
    bare_run: Write, rate: tuple[float, float, float], rated: tuple[float, float]
) -> None:
    found = with_judges(bare_run, judged(rate), scores=liked(*rated))

    assert (found.verdict, found.title) == ("mixed", "Better by one measure, worse by another")
    assert "Win rate against before" in found.sentence
    assert "Answers the rater likes" in found.sentence


def test_one_judge_of_two_that_finds_it_worse_is_heard(bare_run: Write) -> None:
    found = with_judges(bare_run, judged((0.7, 0.6, 0.8)), judged((0.3, 0.2, 0.4), by="rule"))

    assert found.verdict == "mixed"
    assert found.result.measure.title == "Win rate against before, by rule"
    assert "by gpt: 70%" in found.sentence


def test_where_the_judge_sees_no_change_the_rater_alone_does_not_make_it_better(bare_run: Write) -> None:
    found = with_judges(bare_run, judged((0.55, 0.45, 0.65)), scores=liked(0.1, 0.4))

    assert (found.verdict, found.result.name) == ("unclear", "win_rate")
    assert "a difference of +25 points" in found.sentence


def test_worse_beside_unclear_is_worse(bare_run: Write) -> None:
    found = with_judges(bare_run, judged((0.55, 0.45, 0.65)), scores=liked(-0.28, -0.1))

    assert found.verdict == "worse"
    assert found.result.name == "liked"
    assert "by gpt: 55%" in found.sentence


def test_an_auc_below_chance_is_told_beside_a_good_win_rate(bare_run: Write) -> None:
    found = with_judges(bare_run, judged((0.7, 0.6, 0.8)), scores=[score("auc", "after", 0.3, 0.2, 0.4)])

    assert found.verdict == "mixed"
    assert "That is below chance." in found.sentence


@pytest.mark.parametrize(("at_length", "word"), [((0.5, 0.4, 0.6), "unclear"), ((0.3, 0.2, 0.4), "mixed")])
def test_a_win_rate_that_longer_answers_make_is_no_clear_gain(
    bare_run: Write, at_length: tuple[float, float, float], word: str
) -> None:
    found = with_judges(bare_run, judged((0.7, 0.6, 0.8), at_length))

    assert (found.verdict, found.title) == (word, "Preferred, but not at equal length")
    assert f"At equal length: {100 * at_length[0]:.0f}%" in found.sentence


def test_a_comparison_with_another_run_is_no_headline(bare_run: Write) -> None:
    other = {**judged((0.7, 0.6, 0.8)), "candidate": "mine", "baseline": "theirs"}

    assert with_judges(bare_run, other).verdict == "unmeasured"


# --- whether the model changed at all

SAME, OTHER = ("a", "a"), ("a", "b")


def test_an_auc_is_no_success_of_a_model_that_answers_the_same(unmoved_run: Path) -> None:
    found = verdict(unmoved_run)

    assert (found.verdict, found.title, found.result.name) == ("unmoved", "The model has hardly changed", "auc")
    assert found.sentence.startswith(
        "6 of 6 sampled answers are equal to the letter before and after training, and the KL to the reference is "
        "0.00100 nats an answer (95% interval 0.00080 to 0.00130). AUC of the implied reward on 24 rated held-out "
    )
    assert "0.92 (95% interval 0.75 to 1.00; chance is 0.5)" in found.sentence
    assert found.sentence.endswith(
        "That is a ranking, which a step of any size can give, although the model has hardly changed."
    )
    assert found.advice == (
        "To change it, set a higher train.lr (this run had 5e-06; `haloes plan --find-lr` measures one), or "
        "train for more steps with train.epochs (7 steps here)."
    )


@pytest.mark.parametrize(
    ("train", "told"),
    [
        ({"lr": 2e-3}, "train.lr (this run had 0.002; `haloes plan --find-lr` measures one), or"),
        ({}, "train.lr (`haloes plan --find-lr` measures one), or"),
        ("x", "train.lr (`haloes plan --find-lr` measures one), or"),
    ],
)
def test_the_learning_rate_to_set_is_told_beside_the_runs_own(unmoved_run: Path, train: object, told: str) -> None:
    (unmoved_run / "config.yaml").write_text(yaml.safe_dump({"train": train}))

    assert told in verdict(unmoved_run).advice


def test_answers_that_changed_are_said_to_have_where_nobody_was_asked(moved_run: Path) -> None:
    found = verdict(moved_run)

    assert (found.verdict, found.title) == ("signal", "The feedback carries over to unseen prompts")
    assert found.sentence.endswith("5 of 6 sampled answers changed; nobody was asked whether for the better.")
    assert "haloes judge RUN" in found.advice


@pytest.mark.parametrize(
    "seen",
    [
        {"metrics_jsonl": [{"step": 4, "split": "validation", "sampled/win_rate": 0.6}]},
        {"ratings_jsonl": [{"prompt_id": "p0", "model": "after", "liked": True, "reason": ""}]},
    ],
)
def test_nobody_was_asked_is_not_said_where_somebody_was(bare_run: Write, seen: dict[str, Any]) -> None:
    found = verdict(bare_run(samples_jsonl=answer_rows(*[OTHER] * 4), **seen))

    assert found.sentence.endswith("4 of 4 sampled answers changed; whether for the better was not measured.")


def test_a_stopped_run_without_scores_tells_what_its_answers_show(bare_run: Write) -> None:
    same = verdict(bare_run(samples_jsonl=answer_rows(*[SAME] * 4)))
    assert (same.verdict, same.title) == ("unmoved", "The model has hardly changed")

    other = verdict(bare_run(samples_jsonl=answer_rows(*[OTHER] * 4)))
    assert other.verdict == "unmeasured"
    assert other.sentence.endswith("4 of 4 sampled answers changed; nobody was asked whether for the better.")


def test_answers_drawn_at_random_that_differ_show_no_change(bare_run: Write) -> None:
    sampling = {"engine": "transformers", "max_new_tokens": 6, "temperature": 1.0, "top_p": 1.0}
    auc = score("auc", "after", 0.7, 0.62, 0.78)
    found = verdict(bare_run(samples_jsonl=answer_rows(*[OTHER] * 4, sampling=sampling), scores_jsonl=[auc]))

    assert "sampled answers changed" not in found.sentence
    assert "whether they got better is not known" in found.sentence


@pytest.mark.parametrize(("low", "high", "word"), [(-0.28, -0.1, "worse"), (0.1, 0.4, "better")])
def test_what_a_rater_clearly_says_comes_before_how_little_changed(
    bare_run: Write, low: float, high: float, word: str
) -> None:
    found = verdict(bare_run(samples_jsonl=answer_rows(*[SAME] * 36, *[OTHER] * 4), scores_jsonl=liked(low, high)))

    assert found.verdict == word
    assert "Answers the rater likes" in found.sentence
    assert found.sentence.endswith(
        "Yet the model has hardly changed: 36 of 40 sampled answers are equal to the letter before and after training."
    )
    assert not found.advice


def test_an_auc_below_chance_is_no_reason_to_go_further(unmoved_run: Path) -> None:
    write_rows(unmoved_run / "scores.jsonl", [score("auc", "after", 0.3, 0.2, 0.4)])
    found = verdict(unmoved_run)

    assert (found.verdict, found.advice) == ("worse", "")
    assert "below chance" in found.sentence
    assert "Yet the model has hardly changed: 6 of 6" in found.sentence


def test_a_rater_who_sees_no_difference_in_equal_answers_leaves_the_model_unmoved(bare_run: Write) -> None:
    found = verdict(bare_run(samples_jsonl=answer_rows(*[SAME] * 6), scores_jsonl=liked(-0.1, 0.1)))

    assert (found.verdict, found.result.name) == ("unmoved", "liked")
    assert "Answers the rater likes: 30% before" in found.sentence


def test_changed_answers_of_which_none_is_liked_are_said_to_have_changed(bare_run: Write) -> None:
    none = [score("liked", side, 0, 0, 0.1) for side in ("before", "after")] + [score("liked", "difference", 0, 0, 0)]
    found = verdict(bare_run(samples_jsonl=answer_rows(SAME, *[OTHER] * 5), scores_jsonl=none))

    assert (found.verdict, found.title) == ("unclear", "The answers changed, but not clearly for the better")
    assert found.sentence.endswith("5 of 6 sampled answers changed. The rater likes none of them.")


def test_a_few_changed_answers_are_counted_beside_an_unclear_rating(bare_run: Write) -> None:
    found = verdict(bare_run(samples_jsonl=answer_rows(*[SAME] * 4, *[OTHER] * 2), scores_jsonl=liked(-0.1, 0.1)))

    assert found.title == "No clear change on unseen prompts"
    assert found.sentence.endswith("2 of 6 sampled answers changed.")
