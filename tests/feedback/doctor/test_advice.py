"""When the doctor speaks up, and when it keeps quiet."""

from dataclasses import replace

import pytest

from haloes.feedback.doctor.advice import advise
from haloes.feedback.doctor.examine import examine
from haloes.feedback.doctor.findings import DataAdvice
from haloes.records import Feedback, Pair, Refusal, Where

HEALTHY = [
    Feedback(prompt=f"Question {i}?", completion=f"Answer {i} it is.", label=i % 2 == 0, user=f"user {i // 10}")
    for i in range(100)
]


def named(rows: list[Feedback | Pair | Refusal] | list[Feedback]) -> dict[str, DataAdvice]:
    return {advice.name: advice for advice in advise(examine(rows))}


def votes(num: int, label: bool, completion: str = "Yes, {}.", **rest: object) -> list[Feedback]:
    return [
        Feedback(prompt=f"{completion} {label} {i}", completion=completion.format(i), label=label, **rest)  # type: ignore[arg-type]
        for i in range(num)
    ]


def test_healthy_feedback_gets_no_advice() -> None:
    assert advise(examine(HEALTHY)) == []


def test_nothing_usable_is_an_error_and_nothing_else_is_said() -> None:
    [empty] = advise(examine([]))
    [refused] = advise(examine([Refusal(Where("f", 1), "label", "what?")]))

    assert (empty.severity, empty.finding) == ("error", "there are no rows")
    assert (refused.severity, refused.finding) == ("error", "no row can be used")
    assert '"label"' in refused.action


def test_refused_rows_are_a_warning_with_their_share() -> None:
    found = named([*HEALTHY[:3], Refusal(Where("f", 1), "label", "what?")])["refused rows"]

    assert (found.severity, found.finding) == ("warning", "1 of 4 (25.0%) rows were refused")


def test_rows_that_say_neither_good_nor_bad_are_counted_and_not_to_be_corrected() -> None:
    unsaid = [Refusal(Where("f", i), reason, "3") for i, reason in enumerate(["no verdict", "no verdict", "no label"])]
    found = named([*HEALTHY[:7], *unsaid])

    assert "refused rows" not in found
    assert found["rows left out"].severity == "note"
    assert found["rows left out"].finding.startswith("3 of 10 (30.0%) rows say neither good nor bad")
    assert found["rows left out"].action.startswith("nothing")
    both = named([*HEALTHY[:7], *unsaid, Refusal(Where("f", 9), "label", "what?")])
    assert both["refused rows"].finding == "1 of 11 (9.1%) rows were refused"


def test_scores_without_labels_are_an_error_that_names_the_rules() -> None:
    found = named([Feedback(prompt=str(i), completion="a", score=1.0) for i in range(5)])

    assert found["no labels"].severity == "error"
    assert "threshold, mean, median or bernoulli" in found["no labels"].action
    assert "one label only" not in found


def test_a_few_rows_without_label_are_a_warning() -> None:
    found = named([*HEALTHY, Feedback(prompt="q", completion="a", score=1.0)])

    assert found["some rows without label"].finding == "1 of 101 (1.0%) answers have a score and no label"


def test_one_label_only_is_a_warning() -> None:
    assert named(votes(5, True))["one label only"].finding == "all 5 answers are desirable"
    assert named(votes(5, False))["one label only"].finding == "all 5 answers are undesirable"


def test_an_imbalance_names_the_weight_that_makes_up_for_it() -> None:
    few_good = named(votes(10, True) + votes(40, False))["imbalance"]
    few_bad = named(votes(60, True) + votes(20, False))["imbalance"]

    # The default does it, and who reads the advice need not.
    assert few_good.action.startswith("nothing: the class weights are auto by default")
    assert "loss.desirable_weight is 4 then" in few_good.action
    # 60 / (1.5 * 20) = 2.
    assert "loss.undesirable_weight is 2 then" in few_bad.action


def test_one_prompt_only_is_an_error() -> None:
    rows = [Feedback(prompt="p", completion=str(i), label=i % 2 == 0) for i in range(10)]

    found = named(rows)

    assert found["one prompt only"].severity == "error"
    assert "one prompt prevails" not in found


def test_a_prompt_with_most_answers_is_a_warning() -> None:
    rows = [Feedback(prompt="p", completion=str(i), label=i % 2 == 0) for i in range(6)]

    assert named(rows + HEALTHY[:4])["one prompt prevails"].finding == "one prompt has 60% of the answers"


def test_rows_that_hang_together_are_a_warning() -> None:
    linked = [Feedback(prompt=str(i), completion=str(i), label=i % 2 == 0, conversation="1") for i in range(6)]

    assert "no split possible" in named(linked)
    assert named(linked + HEALTHY[:4])["rows hang together"].finding.startswith("60% of the answers")


def test_groups_that_tear_a_prompt_apart_are_a_warning_and_wide_ones_a_note() -> None:
    torn = [Feedback(prompt="p", completion=str(i), label=i % 2 == 0, group=str(i)) for i in range(2)]
    wide = [Feedback(prompt=str(i), completion=str(i), label=i % 2 == 0, group="g") for i in range(2)]

    assert named(HEALTHY + torn)["one prompt under several groups"].severity == "warning"
    assert named(HEALTHY + wide)["groups of several prompts"].severity == "note"


def test_several_answers_to_a_prompt_are_a_note_and_a_pair_has_two_anyway() -> None:
    again = Feedback(prompt="Question 1?", completion="Another answer.", label=True)
    pairs: list[Feedback | Pair | Refusal] = [Pair(prompt=str(i), chosen="a", rejected="b") for i in range(9)]

    assert named([*HEALTHY, again])["several answers per prompt"].severity == "note"
    assert "several answers per prompt" not in named(pairs)


def test_few_duplicates_are_a_note_and_many_a_warning() -> None:
    assert named(HEALTHY * 2)["duplicates"].severity == "warning"
    assert named([*votes(150, True), *votes(150, False), *votes(1, True)])["duplicates"].severity == "note"


def test_conflicts_name_their_places() -> None:
    rows = [
        Feedback(prompt="p", completion="a", label=True, where=Where("f", 7)),
        Feedback(prompt="p", completion="a", label=False, where=Where("f", 9)),
    ]

    assert named(HEALTHY + rows)["conflicts"].finding == (
        "answers rated both ways: 1, with 2 votes (f:7 desirable, f:9 undesirable)"
    )


@pytest.mark.parametrize(
    ("prompt", "completion", "name"),
    [
        ("p", " ", "empty answers"),
        ("p", "?!", "answers without words"),
        ("p", "a ", "whitespace"),
        ("Tell me about the sea, please.", "Tell me about the sea, please. It is wet.", "echoes"),
        ("p", "<|im_end|> a", "template markers"),
    ],
)
def test_answers_that_are_no_answers_are_named(prompt: str, completion: str, name: str) -> None:
    row = Feedback(prompt=prompt, completion=completion, label=True, where=Where("f", 3))

    assert "f:3" in named([*HEALTHY, row])[name].finding


def test_length_that_separates_the_labels_is_a_warning_in_either_direction() -> None:
    rows = votes(50, True, "A long answer, number {}.") + votes(50, False, "No, {}.")
    swapped = votes(50, False, "A long answer, number {}.") + votes(50, True, "No, {}.")

    assert "longer one in 100% of cases (95% interval 9" in named(rows)["length separates the labels"].finding
    assert "shorter one in 100% of cases" in named(swapped)["length separates the labels"].finding


def test_length_that_separates_a_handful_of_rows_may_be_chance() -> None:
    rows = votes(2, True, "A long answer, number {}.") + votes(2, False, "No, {}.")

    # The AUC is 1; by chance it has a standard deviation of sqrt(5 / 48) = 0.32 here.
    assert "length separates the labels" not in named(rows)


def test_a_user_with_many_votes_is_a_warning_only_among_enough_users() -> None:
    many = [Feedback(prompt=f"q{i}", completion=f"Answer {i} it is.", label=i % 2 == 0, user="ann") for i in range(60)]
    alone = [Feedback(prompt=row.prompt, completion=row.completion, label=row.label, user="ann") for row in HEALTHY]

    assert named(HEALTHY + many)["one user prevails"].finding == "user ann gave 38% of the votes (60)"
    assert "one user prevails" not in named(alone)


def test_users_who_always_vote_the_same_are_a_warning() -> None:
    grump = [Feedback(prompt=f"q{i}", completion=f"Answer {i} it is.", label=False, user="bob") for i in range(20)]

    found = named([*HEALTHY, *grump])["one-sided users"]

    assert found.finding.startswith("users who always vote the same, more than chance explains: 1,")
    assert found.finding.endswith("bob (20 times undesirable)")


def test_the_worst_comes_first() -> None:
    rows = [Feedback(prompt="p", completion="a ", label=True, score=1.0) for _ in range(3)]
    severities = [advice.severity for advice in advise(examine(rows))]

    assert severities == sorted(severities, key=["error", "warning", "note"].index)
    assert {"error", "warning", "note"} == set(severities)


def test_answers_that_break_off_are_told_with_the_rule_and_the_share() -> None:
    whole = [f"First open the lid number {i}. Then press the red button." for i in range(40)]
    cut = [text[:-7] for text in whole[:3]]
    rows = [Feedback(prompt=f"p{i}", completion=text, label=i % 2 == 0) for i, text in enumerate(cut + whole[3:])]
    found = named(rows)["answers cut off"]

    assert "3 of 40 (7.5%) answers seem to break off" in found.finding
    assert "the rule: prose (no list, no verse) whose last line ends in a comma" in found.finding
    marked = [replace(row, finished=False) if i < 3 else row for i, row in enumerate(rows)]
    assert "answers cut off" not in named(marked)
    assert "answers cut off" not in named(rows[1:])


def test_answers_of_a_file_that_never_ends_its_sentences_are_not_called_cut_off() -> None:
    text = "you open the lid and press button {} until it is red"
    rows = [Feedback(prompt=f"p{i}", completion=text.format(i), label=True) for i in range(9)]
    assert "answers cut off" not in named(rows)


def test_html_is_told_where_more_than_a_few_texts_hold_it() -> None:
    plain = [Feedback(prompt=f"p{i}", completion=f"Answer {i}.", label=True) for i in range(150)]
    html = [replace(row, completion=f"<p>{row.completion}</p>") for row in plain[:4]]

    assert "4 in 150 answers" in named([*html, *plain[4:]])["HTML"].finding
    assert "HTML" not in named([*html[:2], *plain[2:]])
    # A prompt that many answers share counts once.
    asked = [replace(row, prompt="What does <br> do?") for row in plain[:30]]
    assert "HTML" not in named([*asked, *plain[30:]])
