"""Online rounds on the terminal."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from haloes.cli.views.output import say, show

if TYPE_CHECKING:
    from haloes.online_rounds.labelers import Labeler
    from haloes.online_rounds.rounds import CurvePoint
    from haloes.online_rounds.settings import OnlineSettings
    from haloes.records import Score
    from haloes.runs.config import RunConfig


_ENGINES = {
    "http": "--engine http: a server answers with the model that it was started with, and a round's answers must come "
    "from the model that the round before left, which it does not have; leave --engine out. A judge may be a server: "
    "--judge http --base-url URL",
    "vllm": "--engine vllm: vLLM loads plain models and keeps its GPU memory, and a round's policy is an adapter that "
    "this process goes on to train; leave --engine out",
}


def refuse_other_engines(engine: str) -> None:
    """Raises ConfigError, with the reason, for an engine that cannot answer with the policy of a round."""
    from haloes.errors import ConfigError

    if engine in _ENGINES:
        raise ConfigError(_ENGINES[engine])


def make_labeler(
    rater: str | None, kind: str | None, given: Mapping[str, str | None], further: Sequence[str], *, seed: int
) -> "Labeler":
    """The rater or the judge that the flags name. Raises ConfigError for both or neither."""
    from haloes.errors import ConfigError
    from haloes.judging.table import make_judge
    from haloes.online_rounds.labelers import JudgeLabeler, RaterLabeler
    from haloes.runs.config import parse_settings
    from haloes.runs.measure import load_rater

    settings = {name: value for name, value in given.items() if value is not None} | parse_settings(further)
    if (rater is None) == (kind is None):
        raise ConfigError("give either --rater module:function, or --judge rule, http, local or reward")
    if kind is not None:
        return JudgeLabeler(make_judge(kind, settings), seed)
    if settings:
        raise ConfigError(f"{next(iter(settings))} is a setting of a judge, and --rater is none; leave it out")
    load_rater(str(rater))
    return RaterLabeler(str(rater))


def carry_out(
    source: str,
    config: "RunConfig",
    settings: "OnlineSettings",
    critic: "Labeler",
    *,
    held_out: int,
    out: Path | None,
) -> None:
    """Go through the rounds and show what came of them; on Ctrl-C say how to go on."""
    from haloes.cli.views.progress import TerminalDisplay
    from haloes.errors import Interrupted
    from haloes.online_rounds.rounds import CURVE, online
    from haloes.online_rounds.settings import hold_out
    from haloes.runs.prompts import load_prompts

    found = load_prompts(source, config.feedback, everything=True)
    learnt, measured = hold_out(found, held_out, seed=settings.seed)
    folder = out or Path("runs") / f"online-{Path(source).name.split('.')[0]}"
    try:
        with TerminalDisplay() as display:
            points = online(config, settings, critic, prompts=learnt, held_out=measured, out=folder, display=display)
    except (Interrupted, KeyboardInterrupt) as stopped:
        raise KeyboardInterrupt(f"stopped; the same command goes on with what is in {folder}") from stopped
    show_curve(points, len(measured), settings.reference)
    say(f"The curve is in {folder / CURVE}; the model of the last round, merged into a plain one:")
    say(f"haloes export {folder / f'round-{settings.rounds}' / 'run'} FOLDER")


def show_curve(points: "Sequence[CurvePoint]", num_prompts: int, reference: str) -> None:
    """The reward-KL curve as a table."""
    from haloes.cli.views.tables import table

    what = next((point.rating.label for point in points if point.rating), "Rating")
    title = f"{num_prompts} held-out prompts; reference of a round: {reference}"
    columns = ("Round", "Rating (95%)", "KL to the first, nats", "Words", "Learnt from")
    rows = [
        (
            str(point.round),
            _interval(point.rating, "{:.1%}"),
            _interval(point.kl, "{:.2f}"),
            _interval(point.words, "{:.0f}"),
            _learnt(point.feedback),
        )
        for point in points
    ]
    show([table(title, columns, rows, whole=columns[:4])])
    say(f"Rating: {what[0].lower()}{what[1:]}.")


def _interval(score: "Score | None", form: str) -> str:
    if score is None:
        return "–"
    return f"{form.format(score.value)} ({form.format(score.low)} to {form.format(score.high)})"


def _learnt(counts: Mapping[str, Any]) -> str:
    if counts.get("pairs"):
        return f"{counts['pairs']} pairs"
    return f"{counts['desirable']} good, {counts['undesirable']} bad" if counts else "–"
