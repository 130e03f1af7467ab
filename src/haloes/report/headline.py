"""Did it get better? One sentence that says no more than was measured."""

from collections.abc import Sequence
from dataclasses import dataclass

from haloes.records import Score
from haloes.report.judged import Fields
from haloes.report.load import RunRecords
from haloes.report.numbers import Measure, Shown, common_decimals, is_finite, measure_of, show

_ORDER = ("liked", "pair_accuracy", "auc")
"""What can be the headline, most telling first: what a rater says of new answers before what the reward implies."""


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
        """One of this result's scores in words, all with the same number of decimals."""
        sides = (self.before, self.after, self.difference, *self.others)
        return show(score, decimals=common_decimals([side for side in sides if side is not None]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Headline:
    """The verdict of a run, with the numbers it rests on."""

    verdict: str
    """"better", "worse", "unclear", "signal" (the reward generalises, answers were not rated) or "unmeasured"."""
    title: str
    sentence: str
    result: Result | None = None


def results(run: RunRecords) -> tuple[Result, ...]:
    """All that was measured on held-out prompts, what can be the headline first, the rest in the order of the file."""
    scores = run.scores
    if not any(score.name == "auc" for score in scores):
        scores = (*scores, *_auc_of_validation(run.validation))
    names = list(dict.fromkeys(score.name for score in scores))
    names.sort(key=lambda name: _ORDER.index(name) if name in _ORDER else len(_ORDER))
    return tuple(_result(name, [score for score in scores if score.name == name]) for name in names)


def headline(found: Sequence[Result]) -> Headline:
    """The verdict, from the most telling result that can carry one."""
    for result in found:
        if result.after is not None and result.name in _ORDER:
            by_chance = {"pair_accuracy": _from_accuracy, "auc": _from_auc}.get(result.name)
            return _from_difference(result) if by_chance is None else by_chance(result, result.after)
    return Headline(
        verdict="unmeasured",
        title="Not measured yet",
        sentence="This run holds no score on held-out prompts, so whether the model got better is not known.",
    )


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


def _from_difference(result: Result) -> Headline:
    assert result.after is not None  # noqa: S101 - the caller looked
    after = result.show(result.after)
    name = result.measure.title
    rests_on = (
        f"over {result.after.num_clusters} held-out prompts" if result.after.num_clusters else "on held-out prompts"
    )
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
    """The first and last AUC that validation logged during the run; the first counts as before where it is step 0."""
    keys = ("auc", "auc/low", "auc/high")
    with_auc = [row for row in rows if all(is_finite(row.get(key)) for key in keys)]
    if not with_auc:
        return ()
    sides = [("after", with_auc[-1])]
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
