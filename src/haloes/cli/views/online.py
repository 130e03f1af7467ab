"""Online rounds on the terminal."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from haloes.cli.views.output import say, show

if TYPE_CHECKING:
    from haloes.api.online import OnlineResult
    from haloes.online_rounds.rounds import CurvePoint
    from haloes.results import Score


def show_rounds(result: "OnlineResult", reference: str) -> None:
    """Print the reward-KL curve, where it is, and what to do with the last model."""
    show_curve(result.points, result.num_held_out, reference)
    say(f"The curve is in {result.curve}; the model of the last round, merged into a plain one:")
    say(f"haloes export {result.last_run} FOLDER")


def show_curve(points: "Sequence[CurvePoint]", num_prompts: int, reference: str) -> None:
    """Print the reward-KL curve as a table."""
    from haloes.cli.views.tables import table

    what = next((point.rating.label for point in points if point.rating), "Rating")
    title = f"{num_prompts} held-out prompts; reference of a round: {reference}; KL is to the first model"
    columns = ("Round", "Rating (95%)", "KL, nats an answer", "Words", "Learnt from")
    rows = [(str(point.round), *(cell for _, cell in _scores(point)), _learnt(point.feedback)) for point in points]
    drawn = table(title, columns, rows, whole=columns[:1])
    # Numbers stay in one line; a reason why there is no interval may take several, or the last column were crushed.
    for column, scores in zip(drawn.columns[1:4], zip(*map(_scores, points), strict=True), strict=True):
        column.min_width = max((len(cell) for score, cell in scores if score and score.high > score.low), default=0)
    show([drawn])
    say(f"Rating: {what[0].lower()}{what[1:]}.")


def _scores(point: "CurvePoint") -> "list[tuple[Score | None, str]]":
    """Return what is told of a round's answers, each with its cell."""
    forms = ((point.rating, "{:.1%}"), (point.kl, "{:.2f}"), (point.words, "{:.0f}"))
    return [(score, _interval(score, form)) for score, form in forms]


def _interval(score: "Score | None", form: str) -> str:
    if score is None:
        return "–"
    from haloes.report.numbers import without_interval

    ends = f"{form.format(score.low)} to {form.format(score.high)}"
    return f"{form.format(score.value)} ({ends if score.high > score.low else without_interval(score)})"


def _learnt(counts: Mapping[str, Any]) -> str:
    if counts.get("pairs"):
        return f"{counts['pairs']} pairs"
    return f"{counts['desirable']} good, {counts['undesirable']} bad" if counts else "–"
