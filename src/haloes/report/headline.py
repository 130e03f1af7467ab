"""Did it get better? One sentence that says no more than was measured."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from haloes.report.load import RunRecords
from haloes.report.numbers import Measure, Shown, common_decimals, measure_of, show
from haloes.report.samples import readable
from haloes.results import Fields, Score, is_finite

_ORDER = ("win_rate", "liked", "pair_accuracy", "auc")
"""Measures that can be the headline, most telling first: a judge's word on new answers beside old ones, a rater's word
of each, and what a reward says of answers that were there before."""
_OF_NEW_ANSWERS = frozenset({"win_rate", "liked"})
_AT_EQUAL_LENGTH = "at equal length"
_EVEN = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One measured quantity, as far as it was measured."""

    name: str
    measure: Measure
    before: Score | None = None
    after: Score | None = None
    difference: Score | None = None
    others: tuple[Score, ...] = ()
    """Other variants, such as further models by name."""

    def show(self, score: Score) -> Shown:
        """Write one of this result's scores, all with the same number of decimals."""
        sides = (self.before, self.after, self.difference, *self.others)
        return show(score, decimals=common_decimals([side for side in sides if side is not None]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Headline:
    """The verdict of a run, with the numbers it rests on."""

    verdict: str
    """"better", "worse", "mixed" (better by one measure and worse by another), "unclear", "signal" (the reward
    generalises, answers were not rated) or "unmeasured"."""
    title: str
    sentence: str
    result: Result | None = None


def results(run: RunRecords) -> tuple[Result, ...]:
    """Collect what was measured on held-out prompts: first what can be the headline, then in the file's order."""
    scores = run.scores
    # A run that was stopped has no scores yet, but validation has logged its AUC on the way.
    if not any(score.name == "auc" for score in scores):
        scores = (*scores, *_auc_of_validation(run.validation))
    names = list(dict.fromkeys(score.name for score in scores))
    measured = [_result(name, [score for score in scores if score.name == name]) for name in names]
    order = {name: rank for rank, name in enumerate(_ORDER)}
    return tuple(sorted([*_win_rates(run), *measured], key=lambda result: order.get(result.name, len(order))))


def headline(measured: Sequence[Result]) -> Headline:
    """
    Reach a verdict from the most telling results that can carry one.

    Everything that judges and a rater say of the new answers is told with its interval, and what shows that something
    got worse is never left out: beside something that got better it makes the verdict "mixed".
    """
    said = [_said(result, result.after) for result in measured if result.name in _ORDER and result.after is not None]
    if not said:
        return Headline(
            verdict="unmeasured",
            title="Not measured yet",
            sentence="This run holds no score on held-out prompts, so whether the model got better is not known.",
        )
    of_answers = [
        candidate for candidate in said if candidate.result is not None and candidate.result.name in _OF_NEW_ANSWERS
    ]
    if not of_answers:
        return said[0]
    judges = [
        candidate for candidate in of_answers if candidate.result is not None and candidate.result.name == "win_rate"
    ] or of_answers
    worse = [candidate for candidate in said if candidate.verdict == "worse"]
    better = [candidate for candidate in of_answers if candidate.verdict == "better"]
    # What speaks against leads; then what is most telling, a clear word of it before an unclear one.
    mixed = [candidate for candidate in judges if candidate.verdict == "mixed"]
    leading = (mixed or worse or [candidate for candidate in judges if candidate in better] or judges)[0]
    told = [candidate.sentence for candidate in [leading, *worse, *of_answers]]
    told += [
        _in_short(candidate.result)
        for candidate in said
        if candidate.result is not None and candidate not in [*worse, *of_answers]
    ]
    sentence = " ".join(dict.fromkeys(told))
    # Of two measures that disagree neither may speak alone.
    if worse and better:
        return replace(leading, verdict="mixed", title="Better by one measure, worse by another", sentence=sentence)
    return replace(leading, sentence=sentence)


def _in_short(result: Result) -> str:
    """Tell the number after training alone."""
    assert result.after is not None  # noqa: S101 - it was said something of it
    shown = result.show(result.after)
    return f"{result.measure.title}: {shown.value} ({shown.with_level})."


def _said(result: Result, after: Score) -> Headline:
    by_itself = {"win_rate": _from_win_rate, "pair_accuracy": _from_accuracy, "auc": _from_auc}.get(result.name)
    return _from_difference(result) if by_itself is None else by_itself(result, after)


def _win_rates(run: RunRecords) -> list[Result]:
    """Make a result for each judge of the answers after training against before, with the rate at equal length."""
    rates = []
    for matchup in run.judged.matchups:
        rate, controlled = matchup.win_rate, matchup.length_controlled
        # Other matchups compare other models: they say nothing of what this run did.
        if rate is not None and (matchup.candidate, matchup.baseline) == ("after", "before"):
            measure = replace(measure_of(rate), title=f"Win rate against before, by {readable(matchup.judge)}")
            others = () if controlled is None else (replace(controlled.score, variant=_AT_EQUAL_LENGTH),)
            rates.append(Result(name="win_rate", measure=measure, after=rate, others=others))
    return rates


def _result(name: str, scores: Sequence[Score]) -> Result:
    by_variant = {score.variant: score for score in scores}
    sides = ("before", "after", "difference")
    return Result(
        name=name,
        measure=measure_of(scores[-1]),
        before=by_variant.get("before"),
        after=by_variant.get("after"),
        difference=by_variant.get("difference"),
        others=tuple(score for variant, score in by_variant.items() if variant not in sides),
    )


def _from_win_rate(result: Result, after: Score) -> Headline:
    shown, verdict = result.show(after), _beside_even(after)
    prompts = f", over {after.num_clusters} held-out prompts" if after.num_clusters else ""
    told = f"{result.measure.title}: {shown.value} ({shown.with_level}{prompts}; even is 50%)."
    if verdict == "unclear":
        told += " The interval includes one half: this does not show whether the answers got better or worse."
    titles = {"better": "Better on unseen prompts", "worse": "Worse on unseen prompts"}
    title = titles.get(verdict, "No clear change on unseen prompts")
    controlled = next((other for other in result.others if other.variant == _AT_EQUAL_LENGTH), None)
    if controlled is not None:
        at_length = result.show(controlled)
        told += f" At equal length: {at_length.value} ({at_length.with_level})."
        # A gain that vanishes at equal length is a gain in length, as far as the judge can tell.
        if verdict == "better" and _beside_even(controlled) != "better":
            told += " The judge may prefer longer answers, and not better ones."
            title = "Preferred, but not at equal length"
            verdict = "mixed" if _beside_even(controlled) == "worse" else "unclear"
    return Headline(verdict=verdict, title=title, sentence=told, result=result)


def _beside_even(rate: Score) -> str:
    return "better" if rate.low > _EVEN else "worse" if rate.high < _EVEN else "unclear"


def _from_difference(result: Result) -> Headline:
    assert result.after is not None  # noqa: S101 - the caller looked
    after = result.show(result.after)
    name = result.measure.title
    rests_on = (
        f"over {result.after.num_clusters} held-out prompts" if result.after.num_clusters else "on held-out prompts"
    )
    # Two intervals that overlap say nothing of their difference, which is paired by prompt.
    if result.difference is None or result.before is None:
        return Headline(
            verdict="unclear",
            title="Measured after training only",
            sentence=f"{name}: {after.value} after training ({after.with_level}, {rests_on}). "
            "The difference to the model before was not measured, so this does not say whether it got better.",
            result=result,
        )
    before, change = result.show(result.before), result.show(result.difference)
    numbers = (
        f"{name}: {before.value} before training and {after.value} after, a difference of {change.value} "
        f"({change.with_level}, {rests_on})."
    )
    if result.difference.low > 0:
        return Headline(verdict="better", title="Better on unseen prompts", sentence=numbers, result=result)
    if result.difference.high < 0:
        return Headline(verdict="worse", title="Worse on unseen prompts", sentence=numbers, result=result)
    return Headline(
        verdict="unclear",
        title="No clear change on unseen prompts",
        sentence=f"{numbers} The interval includes zero: this does not show whether the model got better or worse.",
        result=result,
    )


def _from_auc(result: Result, after: Score) -> Headline:
    shown = result.show(after)
    answers = "rated held-out answers"
    rows = f"{after.num_rows} {answers} to {after.num_clusters} prompts" if after.num_rows else answers
    numbers = f"{result.measure.title} on {rows}: {shown.value} ({shown.with_level}; chance is 0.5)."
    if after.low > (result.measure.chance or 0.5):
        return Headline(
            verdict="signal",
            title="The feedback carries over to unseen prompts",
            sentence=f"{numbers} It tells good answers from bad ones. Sampled answers were not rated, so whether they "
            "got better is not known.",
            result=result,
        )
    side = "below" if after.high < (result.measure.chance or 0.5) else "not clearly above"
    return Headline(
        verdict="worse" if side == "below" else "unclear",
        title="The feedback does not clearly carry over to unseen prompts",
        sentence=f"{numbers} That is {side} chance.",
        result=result,
    )


def _from_accuracy(result: Result, after: Score) -> Headline:
    shown = result.show(after)
    pairs = f"{after.num_rows} pairs of answers to {after.num_clusters} prompts" if after.num_rows else "pairs"
    numbers = f"{result.measure.title}: {shown.value} ({shown.with_level}; a coin gets 50%), of {pairs}."
    if after.low > (result.measure.chance or 0.5):
        return Headline(
            verdict="signal",
            title="The reward model ranks unseen answers as people did",
            sentence=f"{numbers} It is no coin any more. How sure it may be, and what it owes to length, stands below.",
            result=result,
        )
    side = "below" if after.high < (result.measure.chance or 0.5) else "not clearly above"
    return Headline(
        verdict="worse" if side == "below" else "unclear",
        title="The reward model does not clearly rank unseen answers as people did",
        sentence=f"{numbers} That is {side} a coin.",
        result=result,
    )


def _auc_of_validation(rows: Sequence[Fields]) -> tuple[Score, ...]:
    """Return the first and last AUC that validation logged; the first counts as before where it is of step 0."""
    keys = ("auc", "auc/low", "auc/high")
    with_auc = [row for row in rows if all(is_finite(row.get(key)) for key in keys)]
    if not with_auc:
        return ()
    sides = [("after", with_auc[-1])]
    # Only step 0 is the model before training; a later first validation is not.
    if with_auc[0]["step"] == 0 and len(with_auc) > 1:
        sides.insert(0, ("before", with_auc[0]))
    return tuple(
        Score(
            name="auc",
            value=row["auc"],
            low=row["auc/low"],
            high=row["auc/high"],
            variant=variant,
            num_rows=int(row.get("auc/rows", 0)),
            num_clusters=int(row.get("auc/prompts", 0)),
            method=f"validation at step {row['step']}",
        )
        for variant, row in sides
    )
