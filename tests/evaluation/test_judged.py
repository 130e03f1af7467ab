"""Numbers from judgements: one matchup, several judges, several models, and names that mean one thing each."""

from collections.abc import Sequence

import pytest

from haloes.evaluation.judged import judged_numbers
from haloes.evaluation.sources import JudgedFile, with_distinct_names
from haloes.records import Judgement, Verdict


def judgements(
    outcomes: Sequence[str],
    *,
    candidate: str = "kto",
    baseline: str = "sft",
    judge: str = "j",
    lengths: Sequence[tuple[int, int]] | None = None,
    **fields: object,
) -> list[Judgement]:
    """Both orders of a comparison a letter: w(in), l(oss), t(ie), f(irst place always), u(nscored)."""
    verdicts: dict[str, tuple[Verdict | None, Verdict | None]] = {
        "w": ("first", "second"),
        "l": ("second", "first"),
        "t": ("tie", "tie"),
        "f": ("first", "first"),
        "u": ("first", None),
    }
    return [
        Judgement(
            prompt_id=f"p{i}",
            candidate=candidate,
            baseline=baseline,
            candidate_first=first,
            verdict=verdicts[outcome][not first],
            judge=judge,
            candidate_length=lengths[i][0] if lengths else 10,
            baseline_length=lengths[i][1] if lengths else 10,
            **{"fingerprint": f"{candidate}{i}{first}", **fields},
        )
        for i, outcome in enumerate(outcomes)
        for first in (True, False)
    ]


def numbers(*files: list[Judgement], canaries: Sequence[Judgement] = ()):
    found = [JudgedFile(source=f"file{i}", judgements=some) for i, some in enumerate(files)]
    found[0] = JudgedFile(source="file0", judgements=files[0], canaries=canaries)
    return judged_numbers(found)


def test_a_matchup_by_hand():
    (found,) = numbers(judgements("wwwltfu")).matchups

    assert (found.wins, found.ties, found.losses, found.unscored, found.num_prompts) == (3, 2, 1, 1, 6)
    # Three wins, two ties and a loss of six; the unscored one is none of them.
    assert found.win_rate.value == pytest.approx(4 / 6)
    assert (found.sign_test.up, found.sign_test.down) == (3, 1)
    assert found.sign_test.p_value == pytest.approx(2 * (1 + 4) / 16)
    # One of six pairs went to the first place twice, the others one each.
    assert found.position_bias.value == pytest.approx(0.5 + 0.5 / 6)
    assert found.flip_rate.value == pytest.approx(1 / 6)
    assert found.canary_rate is None
    assert found.smallest_difference is None or found.smallest_difference > 0.3


def test_a_judge_that_says_first_has_half_the_wins_and_all_the_bias():
    (found,) = numbers(judgements("f" * 12)).matchups

    assert (found.win_rate.value, found.position_bias.value, found.flip_rate.value) == (0.5, 1.0, 1.0)


def test_a_judge_of_length_wins_raw_and_not_at_equal_length():
    lengths = [(200 + 17 * i, 100) if i % 4 else (100, 200 + 17 * i) for i in range(80)]
    outcomes = ["w" if own > other else "l" for own, other in lengths]
    (found,) = numbers(judgements(outcomes, lengths=lengths)).matchups

    assert found.win_rate.value == pytest.approx(0.75)
    assert found.win_rate.low > 0.5
    assert found.length_controlled.score.low < 0.5 < found.length_controlled.score.high
    assert [round(score.value, 2) for score in found.by_length] == [0.0, 1.0, 1.0, 1.0]
    assert sum(score.num_rows for score in found.by_length) == 80
    assert found.by_length[0].label == "−1,392 to −100 characters"


def test_canaries_are_told_apart():
    (found,) = numbers(judgements("wlwl"), canaries=judgements("wwl", candidate="canary")).matchups

    assert found.canary_rate.value == pytest.approx(2 / 3)
    assert found.num_prompts == 4


def test_judges_of_the_same_answers_agree_as_far_as_they_do():
    found = numbers(judgements("wwllt"), judgements("wwlwt", judge="k"))

    assert len(found.matchups) == 2
    (kappa,) = found.agreement
    # 4 of 5 agree; by chance (2*3 + 2*1 + 1*1) / 25.
    assert kappa.value == pytest.approx(1 - (1 / 5) / (1 - 9 / 25))
    assert kappa.label == "Cohen's kappa of j and k"
    assert kappa.variant == "kto against sft"


def test_three_judges_have_krippendorffs_alpha_too():
    found = numbers(*(judgements("wwllt", judge=name) for name in "jkl"))

    assert [score.name for score in found.agreement] == ["cohens_kappa"] * 3 + ["krippendorffs_alpha"]
    assert all(score.value == 1 for score in found.agreement)


def test_models_are_rated_and_their_differences_corrected_together():
    found = numbers(
        judgements("w" * 18 + "ll", candidate="good"),
        judgements("wl" * 10, candidate="same"),
        judgements("l" * 18 + "ww", candidate="bad"),
    )

    assert [found.ratings[i].variant for i in (0, -1)] == ["good", "bad"]
    by_name = [d for d in found.differences if d.score.name == "win_rate"]
    assert [(d.model, d.other) for d in by_name] == [("good", "same"), ("good", "bad"), ("same", "bad")]
    assert [round(d.score.value, 2) for d in by_name] == [0.4, 0.8, 0.4]
    assert all(d.p_holm >= d.p_value for d in by_name)
    assert by_name[1].p_holm == pytest.approx(3 * by_name[1].p_value)
    assert "20 shared prompts" in by_name[0].score.label


def test_models_on_other_prompts_are_compared_on_those_they_share():
    found = numbers(judgements("wwwwww", candidate="one"), judgements("llll", candidate="two"))

    (only,) = (d for d in found.differences if d.score.name == "win_rate")
    assert (only.score.num_clusters, only.score.value) == (4, 1.0)


def test_two_runs_after_are_two_models_with_one_start():
    one = JudgedFile(source="kto", judgements=judgements("ww", candidate="after", baseline="before"))
    two = JudgedFile(
        source="dpo",
        judgements=judgements("ll", candidate="after", baseline="before", lengths=[(7, 10), (8, 10)], fingerprint="x"),
    )
    found = with_distinct_names([one, two])

    assert [file.judgements[0].candidate for file in found] == ["kto", "dpo"]
    assert [file.judgements[0].baseline for file in found] == ["before", "before"]
    assert {file.judgements[0].judge for file in found} == {"j"}


def test_two_runs_whose_answers_have_the_same_lengths_are_still_two():
    files = [
        JudgedFile(source=name, judgements=judgements("w", candidate="after", baseline="before", fingerprint=name))
        for name in ("a", "b")
    ]

    assert [file.judgements[0].candidate for file in with_distinct_names(files)] == ["a", "b"]
    assert [file.judgements[0].judge for file in with_distinct_names(files)] == ["j", "j"]


def test_starts_that_differ_are_told_apart():
    one = JudgedFile(source="a", judgements=judgements("w", candidate="after", baseline="before"))
    two = JudgedFile(source="b", judgements=judgements("w", candidate="after", baseline="before", lengths=[(10, 12)]))
    found = with_distinct_names([one, two])

    assert [file.judgements[0].baseline for file in found] == ["before (a)", "before (b)"]


def test_a_judge_with_two_templates_is_two_judges():
    found = numbers(judgements("wl", template="kto-paper"), judgements("ww", template="mt-bench", fingerprint="x"))

    assert [matchup.judge for matchup in found.matchups] == ["j (kto-paper)", "j (mt-bench)"]


def test_the_same_question_asked_with_other_settings_is_another_judge():
    found = numbers(judgements("wl"), judgements("ww", fingerprint="x"))

    assert [matchup.judge for matchup in found.matchups] == ["j", "j (file1, file 2)"]
    assert len(numbers(judgements("wl"), judgements("wl")).matchups) == 1


def test_models_that_never_met_are_not_rated_and_it_says_so():
    found = numbers(judgements("wl"), judgements("wl", candidate="x", baseline="y"))

    assert found.ratings == ()
    assert "no scored comparison connects" in found.notes[0]


def test_nothing_scored_is_no_crash():
    (found,) = numbers(judgements("uu")).matchups

    assert (found.win_rate, found.length_controlled, found.unscored, found.by_length) == (None, None, 2, ())
