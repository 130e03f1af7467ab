"""People's blind comparisons beside judges' verdicts."""

from pathlib import Path
from typing import Any

import pytest

import haloes
from haloes.errors import DataError
from haloes.evaluation.people import judgements_of_people
from haloes.serving.records import Answer, Preference
from haloes.serving.store import Store
from haloes.serving.writes import NewComparison, add_answers, add_comparison, add_preference


def compared(path: Path, verdicts: dict[str, list[tuple[str, str]]]) -> Path:
    """A store with (user, verdict) on prompts; the candidate "a" stands left for the first of a prompt, then right."""
    with Store(path) as store:

        def write(work: Any) -> Any:
            return store.write(work).result(20)

        for prompt, given in verdicts.items():
            both = [
                Answer(
                    completion_id=f"{prompt} {model}",
                    created_at=1.0,
                    model=model,
                    messages=[{"role": "user", "content": prompt}],
                    message={"role": "assistant", "content": model * size},
                )
                for model, size in (("a", 3), ("b", 5))
            ]
            a, b = write(lambda c, both=both: add_answers(c, both))
            for i, (user, verdict) in enumerate(given):
                left, right = (a, b) if i % 2 == 0 else (b, a)
                new = NewComparison(prompt_id=prompt, candidate="a", baseline="b", left=left, right=right)
                name = write(lambda c, new=new: add_comparison(c, new))
                vote = Preference(comparison_id=name, verdict=verdict, user=user)  # type: ignore[arg-type]
                write(lambda c, vote=vote: add_preference(c, vote))
    return path


def test_a_verdict_is_for_the_model_and_not_for_the_side(tmp_path: Path):
    store = compared(tmp_path / "c.db", {"p": [("ann", "left"), ("bob", "right")], "q": [("ann", "right")]})

    found = {judgement.prompt_id: judgement for judgement in judgements_of_people(store)}

    assert (found["p"].preference, found["p"].verdict) == (1.0, "first")
    assert (found["q"].preference, found["q"].verdict) == (0.0, "second")
    assert (found["p"].candidate_length, found["p"].baseline_length) == (3, 5)


def test_people_who_disagree_are_a_mean(tmp_path: Path):
    given = [("ann", "left"), ("bob", "left"), ("cat", "tie"), ("dan", "both_bad")]
    (found,) = judgements_of_people(compared(tmp_path / "c.db", {"p": given}))

    assert (found.preference, found.verdict) == (0.5, "tie")


def test_the_win_rate_of_people_needs_no_second_order(tmp_path: Path):
    verdicts = {f"p{i}": [("ann", "left" if i < 15 else "right")] for i in range(20)}
    evaluation = haloes.evaluate(compared(tmp_path / "c.db", verdicts), progress=None)
    assert evaluation.numbers.judged is not None
    (matchup,) = evaluation.numbers.judged.matchups

    assert (matchup.judge, matchup.wins, matchup.losses, matchup.unscored) == ("people", 15, 5, 0)
    assert matchup.win_rate is not None
    assert matchup.win_rate.value == 0.75
    assert matchup.position_bias is None


def test_a_store_without_comparisons_has_nothing_to_evaluate(tmp_path: Path):
    with pytest.raises(DataError, match="nobody has compared"):
        haloes.evaluate(compared(tmp_path / "c.db", {}), progress=None)
