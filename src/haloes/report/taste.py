"""Whose taste a set of feedback holds, in sentences: for the report and for `haloes doctor`."""

from haloes.report.numbers import auc_of_length, count, percent, plain, show
from haloes.results import Score, Taste, VotesOf

BY = {
    "model": "by the model that answered (95% intervals, over people)",
    "length": "by the length of the answer",
    "hour": "by the hour of the vote",
    "time": "by the time of the vote",
}
"""Kinds of answers, by `VotesOf.by`."""


def people(taste: Taste) -> list[str]:
    """Say how many people gave the verdicts, and how evenly."""
    verdicts = _plural(taste.num_votes, "verdict")
    if not taste.num_people:
        return [f"nobody is named: how many people gave the {verdicts} cannot be known"]
    unnamed = f" ({count(taste.num_unnamed)} of them name nobody)" if taste.num_unnamed else ""
    if taste.num_people == 1:
        if taste.num_unnamed:
            return [f"one person is named, by {count(taste.num_votes - taste.num_unnamed)} of {verdicts}"]
        return [f"one person gave all {verdicts}: what others like cannot be known"]
    half = "one of them" if taste.num_for_half == 1 else f"{count(taste.num_for_half)} of them"
    said = (
        f"{count(taste.num_people)} people gave {verdicts}{unnamed}: {half} gave half, the most active "
        f"{percent(taste.largest_share)}; as concentrated as {plain(taste.num_even, 1)} people with equally many"
    )
    return [said]


def thumbs(taste: Taste) -> list[str]:
    """Say how many thumbs are up, whether length alone tells them, and how often votes contradict each other."""
    said = []
    if taste.up is not None:
        said.append(f"{_with_interval(taste.up)} of {_plural(taste.up.num_rows, 'thumb')}")
    if taste.length is not None:
        longer = "longer is better" in taste.length.label
        which = auc_of_length(taste.length.value if longer else 1 - taste.length.value)
        shown = show(taste.length)
        told = "" if taste.length.low > 1 / 2 else ", which is no more than chance may give"
        said.append(f"the length of an answer alone predicts its label with AUC {which} ({shown.with_level}){told}")
    if taste.num_again:
        said.append(
            f"on {_plural(taste.num_again, 'answer')} one person voted again, on {count(taste.num_changed)} of them "
            "the other way"
        )
    if taste.num_shared:
        agreed = f": on {_with_interval(taste.agreed)} of these all agree" if taste.agreed is not None else ""
        said.append(f"on {_plural(taste.num_shared, 'answer')} several people voted{agreed}")
    return said


def share_up(kind: VotesOf) -> str:
    """Write the share of up votes with its interval, or that there is none."""
    if kind.up is None:
        return f"{percent(kind.share_up)} (one person's: no interval)"
    shown = show(kind.up)
    return f"{shown.value} ({shown.interval})"


def _with_interval(score: Score) -> str:
    shown = show(score)
    return f"{shown.value} ({shown.with_level})"


def _plural(number: int, noun: str) -> str:
    return f"{count(number)} {noun}{'' if number == 1 else 's'}"
