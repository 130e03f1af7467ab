"""The findings as text."""

from haloes.feedback.doctor.advice import advise
from haloes.feedback.doctor.examine import examine
from haloes.feedback.doctor.findings import Tally
from haloes.feedback.doctor.render import render
from haloes.records import Feedback, Message, Pair, Refusal, Where
from haloes.report.shown import UNRATED


def test_findings_are_told_in_lines() -> None:
    rows = [
        Feedback(prompt="p", completion="aa", label=True, user="ann", conversation="1"),
        Feedback(prompt="q", completion="b", label=False, score=2.0),
        Feedback(prompt="q", completion="b", score=1.0),
        Pair(prompt="r", chosen="c", rejected="d"),
        Refusal(Where("f.jsonl", 3), "label", "what is 'maybe'?"),
    ]

    of_length = "the length of an answer alone predicts its label with AUC 1.00 for the longer one"
    assert render(examine(rows)) == [
        "rows      5 read, 4 usable, 1 refused",
        "          1 refused: label",
        "              f.jsonl:3: what is 'maybe'?",
        "kinds     2 labelled, 2 with score, 1 in pairs",
        "labels    2 desirable, 2 undesirable, 1 without label; ratio 1 (paper: 1 to 1.5)",
        "weights   auto: desirable 1, undesirable 1; ratio then 1",
        "prompts   3, of which 2 have several answers and 1 have both labels",
        "          answers each: median 2, p95 2, most 2",
        "          sets of rows that a split can separate: 3; conversations: 1",
        "people    one person is named, by 1 of 4 verdicts",
        "thumbs    50% (95% interval 9% to 91%) of 2 thumbs are up",
        f"          {of_length} (95% interval 0.0 to 1.0), which is no more than chance may give",
        f"unrated   {UNRATED}",
        "lengths                                         median     p95    most",
        "          prompt, desirable, characters              1       1       1",
        "          prompt, undesirable, characters            1       1       1",
        "          prompt, unlabelled, characters             1       1       1",
        "          prompt, desirable, words                   1       1       1",
        "          prompt, undesirable, words                 1       1       1",
        "          prompt, unlabelled, words                  1       1       1",
        "          completion, desirable, characters          1       2       2",
        "          completion, undesirable, characters        1       1       1",
        "          completion, unlabelled, characters         1       1       1",
        "          completion, desirable, words               1       1       1",
        "          completion, undesirable, words             1       1       1",
        "          completion, unlabelled, words              1       1       1",
    ]


def test_rows_with_reasoning_are_counted_and_told() -> None:
    beside = (Message("assistant", "No.", extra=(("reasoning_content", "hm"),)),)
    rows = [
        Feedback(prompt="p", completion="<think>\nhm\n</think>\n\nYes.", label=True, where=Where("f.jsonl", 1)),
        Feedback(prompt="q", completion="Yes.", label=True, where=Where("f.jsonl", 2)),
        Pair(prompt="r", chosen="Yes.", rejected=beside, where=Where("f.jsonl", 3)),
        Feedback(prompt="q", completion="<think>\n\n</think>\n\nNo.", label=False, where=Where("f.jsonl", 4)),
    ]
    findings = examine(rows)

    assert findings.reasoning == Tally(2, ("f.jsonl:1", "f.jsonl:3"))
    assert "reasoning in the answers of 2 rows: f.jsonl:1, f.jsonl:3" in render(findings)


def test_the_length_of_an_answer_is_that_of_its_words_after_the_reasoning() -> None:
    thought = "<think>\n" + "hm " * 99 + "</think>\n\n"
    rows = [
        Feedback(prompt="p", completion=thought + "Yes.", label=True),
        Feedback(prompt="q", completion="No, no.", label=False),
    ]

    assert {one.maximum for one in examine(rows).lengths if one.text == "completion"} == {4, 7, 1, 2}


def test_one_label_has_no_ratio_and_no_weights() -> None:
    lines = render(examine([Feedback(prompt="p", completion="a", label=True)]))

    assert "labels    1 desirable, 0 undesirable" in lines
    assert not any(line.startswith("weights") for line in lines)


def test_advice_begins_with_its_severity() -> None:
    findings = examine([])

    assert render(findings, advise(findings)) == [
        "rows      0 read, 0 usable, 0 refused",
        "error: there are no rows",
        "    means: there is nothing to learn from",
        "    do:    check the path, and that the file is not empty",
    ]


def test_how_far_raters_can_be_relied_on_is_told_where_their_votes_overlap() -> None:
    rows = [
        Feedback(prompt=f"p{n}", completion="c", label=user == "yes" or n % 2 == 0, user=user)
        for n in range(40)
        for user in ("ann", "ben", "cem", "yes")
    ]
    lines = render(examine(rows))
    few = render(examine(rows[:40]))

    start = next(i for i, line in enumerate(lines) if line.startswith("raters"))
    assert "by 40 answers with several votes" in lines[start]
    assert [line.split()[:2] for line in lines[start + 2 : start + 6]] == [
        ["ann", "40"],
        ["ben", "40"],
        ["cem", "40"],
        ["yes", "40"],
    ]
    assert any(
        line
        == "raters    how far each can be relied on is not known: several people voted on 10 answers, and 20 is the "
        "least to go by"
        for line in few
    )


def test_what_length_tells_of_pairs_that_nobody_voted_on_has_its_interval_too() -> None:
    pairs = [Pair(prompt=f"p{k}", chosen="a long answer", rejected="short") for k in range(12)]

    told = [line for line in render(examine(pairs)) if "predicts its label" in line]

    assert len(told) == 1
    assert "AUC 1.00 for the longer one (95% interval" in told[0]
