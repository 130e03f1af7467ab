"""Which of the answers that people were shown they rated, in sentences: for the report and for `haloes doctor`."""

from haloes.report.numbers import count, percent, plain, show, with_interval
from haloes.results import RatedOf, ShownAndRated

BY = {
    "model": "by the model that answered",
    "length": "by the length of the answer",
    "number": "by its place in the conversation",
    "code": "by whether it holds code",
    "hour": "by the hour",
}
"""Kinds of answers, by `RatedOf.by`."""

UNRATED = (
    "these are the votes of those who vote: how rated answers differ from unrated ones, and what people who did not "
    "vote think, cannot be known from votes alone"
)
"""Stands beside whatever is said of votes, where no unrated answers are known."""


def rated(shown: ShownAndRated | None) -> list[str]:
    """Say how many answers are rated, and what their votes would be of all; or that it cannot be known."""
    if shown is None:
        return [UNRATED]
    share = percent(shown.num_rated / shown.num_shown) if shown.rated is None else with_interval(shown.rated)
    said = [f"{count(shown.num_rated)} of {count(shown.num_shown)} answers that people were shown are rated: {share}"]
    if shown.shown_if:
        others = (
            f"{count(shown.num_not_shown)} other calls without a vote may have been seen by nobody, and are left out"
        )
        said.append(f"as shown count {shown.shown_if}; {others}")
    if shown.too_little:
        return [*said, f"what people who did not vote think cannot be estimated: {shown.too_little}"]
    if shown.up is not None and shown.up_of_all is not None:
        said.append(
            f"{with_interval(shown.up)} of votes on a rated answer are up; of all that were shown it would be "
            f"{with_interval(shown.up_of_all)}, if length, place, model and hour decide who rates"
        )
    said.append(weighed(shown))
    said.append(
        "whether people rate what they like, or what they do not, beyond what these show cannot be known from votes"
    )
    return said


def weighed(shown: ShownAndRated) -> str:
    """Say what rows weigh, or would weigh, by 1 / P(rated)."""
    clipped = f", {count(shown.num_clipped)} clipped" if shown.num_clipped else ""
    done = (
        "rows weigh by 1 / P(rated) (feedback.reweight=rated)"
        if shown.is_applied
        else "on request rows weigh by 1 / P(rated) (feedback.reweight=rated)"
    )
    return (
        f"{done}: up to {plain(shown.most, 1)} times the mean{clipped}; {count(shown.num_rows)} rows then say as much "
        f"as {count(round(shown.num_effective))} of equal weight"
    )


def share_rated(kind: RatedOf) -> str:
    """Write the share of answers that are rated with its interval, or that there is none."""
    if kind.rated is None:
        return f"{percent(kind.num_rated / kind.num_shown)} (one person's: no interval)"
    shown = show(kind.rated)
    return f"{shown.value} ({shown.interval})"
