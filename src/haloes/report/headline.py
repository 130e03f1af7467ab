"""Did it get better? One sentence that says no more than was measured."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from haloes.report.auc_verdict import auc_verdict
from haloes.report.load import RunRecords
from haloes.report.model_change import ModelChange, model_change
from haloes.report.numbers import Measure, Shown, brief, common_decimals, measure_of, show
from haloes.results import Score
from haloes.results_json import Fields, is_finite

_ORDER = ("win_rate", "liked", "pair_accuracy", "auc")
"""Measures that can be the headline, most telling first: a judge's word on new answers beside old ones, a rater's word
of each, and what a reward says of answers that were there before."""
_OF_NEW_ANSWERS = frozenset({"win_rate", "liked"})
_AT_EQUAL_LENGTH = "at equal length"
_EVEN = 0.5
_UNCHANGED = "No clear change on unseen prompts"


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
    generalises, answers were not rated), "unmoved" (the model has hardly changed) or "unmeasured"."""
    title: str
    sentence: str
    result: Result | None = None
    advice: str = ""
    """What to set or do next, for whoever trained."""


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


def headline(run: RunRecords) -> Headline:
    """
    Reach a verdict from the most telling results that can carry one, and from whether the model has changed at all.

    Everything that judges and a rater say of the new answers is told with its interval, and what shows that something
    got worse is never left out: beside something that got better it makes the verdict "mixed". A model that has hardly
    changed is called that wherever no interval of a judge, rater or reward speaks for better or worse. Answers that go
    in circles more often than before are never left out beside praise, whatever a rater or reward makes of them.
    """
    measured, change = results(run), model_change(run)
    verdict = _beside_repeats(_of_results(measured), measured)
    if change.is_slight:
        return _with_slight_change(verdict, change, run)
    if any(result.name in _OF_NEW_ANSWERS and result.after is not None for result in measured):
        return _with_rated_change(verdict, change)
    return _with_unrated_change(verdict, change, was_asked=_was_asked(run))


def _of_results(measured: Sequence[Result]) -> Headline:
    """Reach the verdict of what was measured, whether or not the model changed."""
    said = [
        _from_auc(measured) if result.name == "auc" else _said(result, result.after)
        for result in measured
        if result.name in _ORDER and result.after is not None
    ]
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


def _beside_repeats(verdict: Headline, measured: Sequence[Result]) -> Headline:
    """Say that more answers repeat themselves than before; where that is clear it speaks against any praise."""
    found = next((result for result in measured if result.name == "repeats"), None)
    if found is None or found.before is None or found.after is None or found.difference is None:
        return verdict
    is_praise = verdict.verdict in {"better", "signal"}
    is_clear = found.difference.low > 0
    if not is_clear and not (is_praise and found.difference.value > 0):
        return verdict
    sentence = f"{verdict.sentence} {_before_and_after(found, found.before, found.after, found.difference)}"
    if not is_clear:
        return replace(verdict, sentence=sentence)
    found_by = "mixed" if is_praise or verdict.verdict == "mixed" else "worse"
    return replace(verdict, verdict=found_by, title="More answers repeat themselves", sentence=sentence)


def _was_asked(run: RunRecords) -> bool:
    """Return whether a rater or judge saw any of the new answers, although no number at the end came of it."""
    by_judge = any((matchup.candidate, matchup.baseline) == ("after", "before") for matchup in run.judged.matchups)
    while_training = any({"sampled/win_rate", "sampled/liked"} & row.keys() for row in run.validation)
    return by_judge or while_training or bool(run.ratings)


def _with_slight_change(verdict: Headline, change: ModelChange, run: RunRecords) -> Headline:
    """Say that the model has hardly changed: in the first place, or beside what got better or worse nevertheless."""
    # No advice to go further in a direction that may be the wrong one.
    if verdict.verdict in {"better", "worse", "mixed"}:
        return replace(verdict, sentence=f"{verdict.sentence} Yet the model has hardly changed: {change.equal}.")
    told = [f"{_sentence_case(change.equal)}."]
    if verdict.verdict != "unmeasured":
        told.append(verdict.sentence)
    if verdict.verdict == "signal":
        told.append("That is a ranking, which a step of any size can give, although the model has hardly changed.")
    return replace(
        verdict,
        verdict="unmoved",
        title="The model has hardly changed",
        sentence=" ".join(told),
        advice=_further(run),
    )


def _further(run: RunRecords) -> str:
    """Say what to set so that the next run changes the model."""
    train = run.config.get("train")
    lr = train.get("lr") if isinstance(train, dict) else None
    notes = [f"this run had {brief(lr)}"] if is_finite(lr) else []
    of_lr = f" ({'; '.join([*notes, '`haloes plan --find-lr` measures one'])})"
    steps = run.train[-1]["step"] if run.train else 0
    of_steps = f" ({steps:,} {'step' if steps == 1 else 'steps'} here)" if steps else ""
    return f"To change it, set a higher train.lr{of_lr}, or train for more steps with train.epochs{of_steps}."


def _with_unrated_change(verdict: Headline, change: ModelChange, *, was_asked: bool) -> Headline:
    """Say how many answers changed where no number of a rater or judge tells whether for the better."""
    if not change.changed:
        # A reward model answers nothing, so there is nothing to rate.
        is_of_policy = verdict.result is not None and verdict.result.name.startswith("auc")
        unknown = " Sampled answers were not rated, so whether they got better is not known."
        return replace(verdict, sentence=verdict.sentence + unknown * (is_of_policy and verdict.verdict == "signal"))
    unknown = "whether for the better was not measured" if was_asked else "nobody was asked whether for the better"
    return replace(
        verdict,
        sentence=f"{verdict.sentence} {change.changed}; {unknown}.",
        advice="To have a judge compare them: haloes judge RUN --judge http --model JUDGE --base-url URL.",
    )


def _with_rated_change(verdict: Headline, change: ModelChange) -> Headline:
    """Say that answers changed where a rater or judge sees no clear difference in them."""
    if verdict.verdict != "unclear" or not change.changed:
        return verdict
    told = f"{verdict.sentence} {change.changed}."
    if verdict.title == _UNCHANGED and change.is_large:
        result = verdict.result
        if result is not None and result.name == "liked" and result.after is not None and result.after.value == 0:
            told += " The rater likes none of them."
        return replace(verdict, title="The answers changed, but not clearly for the better", sentence=told)
    return replace(verdict, sentence=told)


def _sentence_case(text: str) -> str:
    return text[:1].upper() + text[1:]


def _in_short(result: Result) -> str:
    """Tell the number after training alone."""
    assert result.after is not None  # noqa: S101 - it was said something of it
    shown = result.show(result.after)
    return f"{result.measure.title}: {shown.value} ({shown.with_level})."


def _said(result: Result, after: Score) -> Headline:
    by_itself = {"win_rate": _from_win_rate, "pair_accuracy": _from_accuracy}.get(result.name)
    return _from_difference(result) if by_itself is None else by_itself(result, after)


def _win_rates(run: RunRecords) -> list[Result]:
    """Make a result for each judge of the answers after training against before, with the rate at equal length."""
    rates = []
    for matchup in run.judged.matchups:
        rate, controlled = matchup.win_rate, matchup.length_controlled
        # Other matchups compare other models: they say nothing of what this run did.
        if rate is not None and (matchup.candidate, matchup.baseline) == ("after", "before"):
            measure = replace(measure_of(rate), title=f"Win rate against before, by {matchup.judge}")
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
    title = titles.get(verdict, _UNCHANGED)
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
    # Two intervals that overlap say nothing of their difference, which is paired by prompt.
    if result.difference is None or result.before is None:
        after = result.show(result.after)
        return Headline(
            verdict="unclear",
            title="Measured after training only",
            sentence=f"{result.measure.title}: {after.value} after training ({after.with_level}, "
            f"{_rests_on(result.after)}). "
            "The difference to the model before was not measured, so this does not say whether it got better.",
            result=result,
        )
    numbers = _before_and_after(result, result.before, result.after, result.difference)
    if result.difference.low > 0:
        return Headline(verdict="better", title="Better on unseen prompts", sentence=numbers, result=result)
    if result.difference.high < 0:
        return Headline(verdict="worse", title="Worse on unseen prompts", sentence=numbers, result=result)
    return Headline(
        verdict="unclear",
        title=_UNCHANGED,
        sentence=f"{numbers} The interval includes zero: this does not show whether the model got better or worse.",
        result=result,
    )


def _before_and_after(result: Result, before: Score, after: Score, difference: Score) -> str:
    was, now, change = result.show(before), result.show(after), result.show(difference)
    return (
        f"{result.measure.title}: {was.value} before training and {now.value} after, a difference of {change.value} "
        f"({change.with_level}, {_rests_on(after)})."
    )


def _rests_on(score: Score) -> str:
    return f"over {score.num_clusters} held-out prompts" if score.num_clusters else "on held-out prompts"


def _from_auc(measured: Sequence[Result]) -> Headline:
    by_name = {result.name: result for result in measured}
    pooled, controlled, length = (
        by_name[name].after if name in by_name else None for name in ("auc", "auc_length_controlled", "auc_length")
    )
    assert pooled is not None  # noqa: S101 - the caller looked
    found = auc_verdict(pooled, controlled, length)
    return Headline(
        verdict=found.verdict, title=found.title, sentence=found.sentence, result=by_name[found.leading.name]
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
    """Return the first and last AUCs that validation logged; the first count as before where they are of step 0."""
    return tuple(
        score for name in ("auc", "auc_length_controlled") for score in _first_and_last_of_validation(rows, name)
    )


def _first_and_last_of_validation(rows: Sequence[Fields], name: str) -> tuple[Score, ...]:
    keys = (name, f"{name}/low", f"{name}/high")
    with_auc = [row for row in rows if all(is_finite(row.get(key)) for key in keys)]
    if not with_auc:
        return ()
    sides = [("after", with_auc[-1])]
    # Only step 0 is the model before training; a later first validation is not.
    if with_auc[0]["step"] == 0 and len(with_auc) > 1:
        sides.insert(0, ("before", with_auc[0]))
    return tuple(
        Score(
            name=name,
            value=row[name],
            low=row[f"{name}/low"],
            high=row[f"{name}/high"],
            variant=variant,
            num_rows=int(row.get("auc/rows", 0)),
            num_clusters=int(row.get("auc/prompts", 0)),
            method=f"validation at step {row['step']}",
        )
        for variant, row in sides
    )
