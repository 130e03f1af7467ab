"""Whether answers refuse, asked of judges as a comparison of two statements."""

from pathlib import Path

import pytest

from haloes.errors import ConfigError, DataError, RunError
from haloes.evaluation.refusals import refusal_scores
from haloes.judging._contract import OrderedPair
from haloes.judging.local import LocalJudge
from haloes.judging.refusals import DOES_NOT, REFUSES, refusal_judge, refusal_pairs, refusing_model
from haloes.judging.run import judge_several
from haloes.judging.scripted import ScriptedJudge, always
from haloes.judging.template import load_template
from haloes.records import Completion, Judgement, Message
from haloes.results import Score
from haloes.stats.both_sides import BothSides
from haloes.stats.rates import share_difference_with_interval, share_with_interval


def answers(*texts: str, model: str = "after") -> list[Completion]:
    return [
        Completion(prompt_id=f"p{i}", prompt=f"Do {i}", completion=text, model=model, num_tokens=3, finished=True)
        for i, text in enumerate(texts)
    ]


def knows(question: OrderedPair) -> str:
    """Says which statement is true of an answer that holds "no", as a fair judge would."""
    assert not isinstance(question.prompt, str)
    refuses = "no" in question.prompt[-1].content.split()
    return "Statement 1" if (question.first == REFUSES) == refuses else "Statement 2"


FAIR = ScriptedJudge(script=knows, template="refusal", name="fair")


def asked(judge: ScriptedJudge, given: list[Completion], out: Path) -> list[Judgement]:
    return list(judge_several(judge, refusal_pairs(given), out).judgements)


def by_name(scores: list[Score]) -> dict[tuple[str, str], Score]:
    return {(score.name, score.variant): score for score in scores}


def test_each_answer_is_the_last_turn_and_two_statements_are_compared_in_both_orders(tmp_path: Path):
    seen: list[OrderedPair] = []

    def notes(question: OrderedPair) -> str:
        seen.append(question)
        return knows(question)

    asked(ScriptedJudge(script=notes, template="refusal"), answers("I say no ."), tmp_path / "r.jsonl")

    assert [(one.first, one.second) for one in seen] == [(REFUSES, DOES_NOT), (DOES_NOT, REFUSES)]
    assert seen[0].prompt == (Message("user", "Do 0"), Message("assistant", "I say no ."))
    text = load_template("refusal").render(seen[0])
    assert "User: Do 0\n\nAssistant: I say no ." in text
    assert text.index(REFUSES) < text.index(DOES_NOT)


def test_the_rates_are_shares_of_answers_with_their_intervals_beside_those_of_phrases(tmp_path: Path):
    before = answers("yes", "fine", "no way", "sure", model="before")
    after = answers("I can't help with that, no", "no", "no", "sure")
    found = by_name(refusal_scores(asked(FAIR, before + after, tmp_path / "r.jsonl"), before + after))

    keys = ["p0", "p1", "p2", "p3"]
    was, now = [False, False, True, False], [True, True, True, False]
    expected = share_with_interval(now, keys, name="x", variant="after")
    change = share_difference_with_interval(BothSides(was, keys, now, keys), name="x")
    judged, difference = found["refusal_judged", "after"], found["refusal_judged", "difference"]
    assert (judged.value, judged.low, judged.high) == (0.75, expected.low, expected.high)
    assert (difference.value, difference.low, difference.high) == (0.5, change.low, change.high)
    assert judged.label == "Answers that refuse, by fair"
    # One of them in words that the phrases know.
    assert (found["refusal", "after"].value, found["refusal", "before"].value) == (0.25, 0.0)
    assert found["refusal", "after"].label == "The same answers by phrases, which miss some"


def test_an_answer_of_which_the_judge_says_both_counts_in_no_rate(tmp_path: Path):
    given = answers("no", "yes", "no")
    judgements = asked(always("Statement 1"), given, tmp_path / "r.jsonl")
    assert refusal_scores(judgements, given) == []

    def torn(question: OrderedPair) -> str:
        return "Statement 1" if question.prompt_id == "p0" else knows(question)

    judgements = asked(ScriptedJudge(script=torn, template="refusal"), given, tmp_path / "s.jsonl")
    judged = by_name(refusal_scores(judgements, given))["refusal_judged", "after"]
    assert (judged.value, judged.num_rows) == (0.5, 2)


def test_a_judges_certainty_is_no_share_of_answers(tmp_path: Path):
    given = answers("yes", "fine", "sure")
    sure = [
        Judgement(**{**_fields(judgement), "preference": 0.4}) for judgement in asked(FAIR, given, tmp_path / "r.jsonl")
    ]
    assert by_name(refusal_scores(sure, given))["refusal_judged", "after"].value == 0.0


def _fields(judgement: Judgement) -> dict[str, object]:
    return {name: getattr(judgement, name) for name in Judgement.__slots__}


def test_what_was_judged_is_not_asked_again_and_other_answers_are_refused(tmp_path: Path):
    out = tmp_path / "r.jsonl"
    given = answers("no", "yes", model="before") + answers("no", "yes")
    first = judge_several(FAIR, refusal_pairs(given), out)
    again = judge_several(FAIR, refusal_pairs(given), out)

    assert (first.num_new, again.num_new, again.judgements) == (8, 0, first.judgements)
    with pytest.raises(RunError, match="other answers to prompt 'p0'"):
        judge_several(FAIR, refusal_pairs(answers("new", "yes", model="before") + answers("no", "yes")), out)


def test_judgements_on_refusals_are_told_from_comparisons(tmp_path: Path):
    [one, *_] = asked(FAIR, answers("no", model="a refuses"), tmp_path / "r.jsonl")
    assert refusing_model(one) == "a refuses"
    assert (
        refusing_model(Judgement(prompt_id="p", candidate="x refuses", baseline="y", candidate_first=True, judge="j"))
        is None
    )


def test_a_judge_reads_the_template_on_refusals_unless_another_is_given():
    assert refusal_judge("local", {}) == LocalJudge(template="refusal")
    assert refusal_judge("local", {"template": "mt-bench"}) == LocalJudge(template="mt-bench")
    assert refusal_judge(lambda prompt, first, second: "first", {}).identity.template == ""


@pytest.mark.parametrize("name", ["reward", "reward-model"])
def test_a_reward_model_cannot_be_asked(name: str):
    with pytest.raises(ConfigError, match=rf"a reward model \({name}\) scores answers"):
        refusal_judge(name, {"model": "m"})


def test_no_answers_are_refused():
    with pytest.raises(DataError, match="no answers"):
        refusal_pairs([])
