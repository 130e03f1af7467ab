"""Proposals of a mapping: what is proposed was tried on the rows, and two answers never become one and its label."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from haloes.errors import DataError
from haloes.feedback.columns import parse_columns
from haloes.feedback.read import FeedbackSource
from haloes.records import Feedback, Pair, Refusal


def saved(folder: Path, rows: list[dict[str, Any]]) -> str:
    path = folder / "f.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def refusal(path: str, **columns: str | None) -> str:
    with pytest.raises(DataError) as refused:
        FeedbackSource(path, columns=columns)
    return str(refused.value)


def options(message: str) -> list[tuple[dict[str, str | None], str]]:
    """The mappings that a message proposes as they would be typed, each with what follows it."""
    lines = [line for line in message.splitlines() if line.startswith("  --columns")]
    typed = [shlex.split(line) for line in lines]
    return [(parse_columns(words[1]), " ".join(words[2:])) for words in typed]


def compared(verdicts: list[Any], *, names: tuple[str, str, str, str]) -> list[dict[str, Any]]:
    asked, a, b, verdict = names
    return [
        {asked: f"How is it done, {n}?", a: f"One way to do {n}.", b: f"Another for {n}.", verdict: value}
        for n, value in enumerate(verdicts)
    ]


NAMES = [
    ("question", "answer_a", "answer_b", "rating"),
    ("user_text", "candidate1", "candidate2", "preferred"),
    ("Frage", "VarianteLeft", "VarianteRight", "score"),
    ("input", "a", "b", "label"),
    ("q", "reply-x", "reply-y", "stars"),
    # A scale without a telling name, and names that a shell would take apart.
    ("Kundenfrage", "Variante 1", "Variante 2", "Wertung (1-7)"),
    ("Question", "Variant A", "Variant B", "Preference (1 = A much better, 5 = B much better)"),
]


@pytest.mark.parametrize("names", NAMES)
def test_two_answers_and_a_rating_are_proposed_in_both_directions(
    tmp_path: Path, names: tuple[str, str, str, str]
) -> None:
    path = saved(tmp_path, compared([1, 2, 3, 4, 5] * 4, names=names))
    message = refusal(path)

    assert [scale for _, scale in options(message)] == [
        "--set feedback.preference_scale={a: 1, b: 5}",
        "--set feedback.preference_scale={a: 5, b: 1}",
    ]
    columns = {"prompt": names[0], "a": names[1], "b": names[2], "preference": names[3]}
    assert all(found == {ours: own for ours, own in columns.items() if ours != own} for found, _ in options(message))
    assert f"If 5 means that {names[2]} is better" in message
    assert "tried on 20 rows: 16 usable, 4 x tie" in message
    assert "completion=" not in message
    assert "label=" not in message.replace("preference=label", "")

    [first, *_] = FeedbackSource(path, columns=options(message)[0][0], preference_scale={"a": 1, "b": 5})
    assert isinstance(first, Pair)
    assert first.chosen == "One way to do 0."


@pytest.mark.parametrize(
    ("names", "verdicts", "scale"),
    [
        (("q", "reply_left", "reply_right", "which"), ["left", "right", "tie", ""], ""),
        (("q", "text_1", "text_2", "winner"), ["first", "second", "both_bad"], ""),
        (
            ("q", "resp_a", "resp_b", "b_is_better"),
            ["TRUE", "FALSE"],
            "--set feedback.preference_scale={b: [TRUE], a: [FALSE]}",
        ),
        (
            ("q", "gpt_text", "llama_text", "winner"),
            ["gpt", "llama", "tie"],
            "--set feedback.preference_scale={a: [gpt], b: [llama], tie: [tie]}",
        ),
    ],
)
def test_verdicts_in_words_need_no_direction(
    tmp_path: Path, names: tuple[str, str, str, str], verdicts: list[str], scale: str
) -> None:
    [(columns, settings)] = options(refusal(saved(tmp_path, compared(verdicts * 4, names=names))))
    assert columns == {"prompt": names[0], "a": names[1], "b": names[2], "preference": names[3]}
    assert settings == scale


def test_verdicts_in_an_unknown_language_are_to_be_named(tmp_path: Path) -> None:
    names = ("Frage", "AntwortA", "AntwortB", "Urteil")
    message = refusal(saved(tmp_path, compared(["links", "rechts", "egal"] * 4, names=names)))
    assert "--columns prompt=Frage,a=AntwortA,b=AntwortB,preference=Urteil --set feedback.preference_scale=" in message
    assert "'{a: [WORD], b: [WORD], tie: [WORD]}'" in message
    assert "(its words: links, rechts, egal)" in message


def test_more_than_two_answers_are_not_read_as_two(tmp_path: Path) -> None:
    rows = [{"q": f"why {n} is", **{f"answer_{i}": f"so {i}" for i in (1, 2, 3)}, "best": 1 + n % 3} for n in range(9)]
    message = refusal(saved(tmp_path, rows))
    assert "a row seems to hold 3 answers (answer_1, answer_2, answer_3), and comparisons hold two" in message
    assert "preference=best" not in message


def test_two_answers_without_a_verdict_between_them_get_no_mapping_of_one(tmp_path: Path) -> None:
    rows = [
        {"q": f"why {n} is so", "answer_1": "it is", "answer_2": "it is not", "rating_1": 4, "rating_2": 2}
        for n in range(9)
    ]
    message = refusal(saved(tmp_path, rows))
    assert "Say which column tells the better one" in message
    assert "label=rating" not in message


def test_answers_whose_names_say_which_is_better_are_proposed_as_pairs(tmp_path: Path) -> None:
    rows = [{"question": f"q {n}", "good_answer": f"yes {n}", "bad_answer": "no no"} for n in range(4)]
    [(columns, _)] = options(refusal(saved(tmp_path, rows)))
    assert columns == {"prompt": "question", "chosen": "good_answer", "rejected": "bad_answer"}


def test_stars_on_one_answer_are_proposed_as_scores_with_a_rule(tmp_path: Path) -> None:
    rows = [{"ask": f"how is {n} done", "reply": "so it is", "stars": 1 + n % 5} for n in range(10)]
    [(columns, settings)] = options(refusal(saved(tmp_path, rows)))
    assert columns == {"prompt": "ask", "completion": "reply", "score": "stars"}
    assert settings == "--set feedback.labels_from={rule: threshold, tau: 3}"
    assert all(isinstance(record, Feedback) for record in FeedbackSource(saved(tmp_path, rows), columns=columns))


def test_an_answer_and_its_thumb_are_known_by_their_values_where_no_name_tells_them(tmp_path: Path) -> None:
    rows = [
        {"nr": n, "customer_wrote": f"How is {n} done?", "bot_said": f"One way to do {n} is this.", "helpful": thumb}
        for n, thumb in enumerate(["\N{THUMBS UP SIGN}", "\N{THUMBS DOWN SIGN}"] * 4)
    ]

    ((columns, settings),) = options(refusal(saved(tmp_path, rows)))

    assert columns == {"prompt": "customer_wrote", "completion": "bot_said", "label": "helpful"}
    assert settings == ""


def test_a_column_of_one_verdict_only_or_of_numbers_is_no_label_by_its_values(tmp_path: Path) -> None:
    for verdicts in (["yes"] * 4, [0, 1, 1, 0]):
        rows = [
            {"asked": f"How is {n} done?", "said": f"One way to do {n} is this.", "flag": verdict}
            for n, verdict in enumerate(verdicts)
        ]
        assert "completion=COLUMN" in refusal(saved(tmp_path, rows))


def test_what_does_not_read_the_rows_is_not_proposed(tmp_path: Path) -> None:
    message = refusal(saved(tmp_path, [{"question": "q", "answer": "a", "thumb": word} for word in ("so", "la", "la")]))
    assert "thumb" not in message.partition("What to do")[2]
    assert "--columns prompt=COLUMN,completion=COLUMN,label=COLUMN" in message


@pytest.mark.parametrize("name", ["label", "score"])
def test_one_answer_of_a_comparison_is_not_read_with_its_verdict(tmp_path: Path, name: str) -> None:
    path = saved(tmp_path, compared([1, 5] * 4, names=NAMES[0]))
    given = {"prompt": "question", "completion": "answer_a", name: "rating"}
    message = refusal(path, **given)

    assert "answer_b beside it looks like the other answer of a comparison" in message
    assert "a=answer_a,b=answer_b,preference=rating" in message
    assert message.endswith(f"--columns prompt=question,completion=answer_a,{name}=rating,answer_b=")
    if name == "score":
        read = list(FeedbackSource(path, columns=given | {"answer_b": None}))
        assert {type(record) for record in read} == {Feedback}


def test_one_side_is_not_taken_for_the_better_one_where_a_column_says_which_is(tmp_path: Path) -> None:
    path = saved(tmp_path, compared([1, 5] * 4, names=NAMES[0]))
    given = {"prompt": "question", "chosen": "answer_b", "rejected": "answer_a"}
    message = refusal(path, **given)

    assert "says that answer_b is the better answer in every row, and rating seems to say which is" in message
    assert "a=answer_a,b=answer_b,preference=rating" in message
    assert message.endswith("--columns prompt=question,chosen=answer_b,rejected=answer_a,rating=")
    [pair, *_] = FeedbackSource(path, columns=given | {"rating": None})
    assert isinstance(pair, Pair)
    assert pair.chosen == "Another for 0."


def test_a_rating_of_one_side_is_about_that_side(tmp_path: Path) -> None:
    rows = [{"q": "why", "answer_a": "so", "answer_b": "no", "liked_a": n % 2} for n in range(8)]
    columns = {"prompt": "q", "completion": "answer_a", "label": "liked_a"}
    assert not any(isinstance(record, Refusal) for record in FeedbackSource(saved(tmp_path, rows), columns=columns))


def test_a_label_beside_mapped_pairs_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, compared([1, 5] * 4, names=NAMES[0]))
    message = refusal(path, prompt="question", chosen="answer_a", rejected="answer_b", label="rating")
    assert "label=rating is mapped, but rows of the format 'paired' have no label" in message
    assert "--columns prompt=question,a=answer_a,b=answer_b,preference=rating" in message


def test_numbers_are_refused_until_their_direction_is_said(tmp_path: Path) -> None:
    path = saved(tmp_path, compared([1, 5] * 4, names=NAMES[0]))
    columns = {"prompt": "question", "a": "answer_a", "b": "answer_b", "preference": "rating"}
    assert "--set feedback.preference_scale='{a: 1, b: 5}' where 5 means that B is better" in refusal(path, **columns)
    for scale, first in (({"a": 1, "b": 5}, "One way to do 0."), ({"a": 5, "b": 1}, "Another for 0.")):
        [pair, *_] = FeedbackSource(path, columns=columns, preference_scale=scale)
        assert isinstance(pair, Pair)
        assert (pair.chosen, pair.margin) == (first, 2.0)


def test_a_scale_for_rows_that_compare_nothing_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, [{"prompt": "q", "completion": "a", "label": True}])
    with pytest.raises(DataError, match=r"preference_scale is set, but rows of the format 'unpaired' compare nothing"):
        FeedbackSource(path, preference_scale={"a": 1, "b": 5})
