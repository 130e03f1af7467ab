"""What a judge said, on the terminal."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from haloes.cli.views.output import say
from haloes.errors import RunError

if TYPE_CHECKING:
    from haloes.judging.pairs import Paired
    from haloes.judging.run import Judged
    from haloes.records import Judgement, Score


def say_before(paired: "Paired", note: Callable[[str], None]) -> None:
    """What is compared, and what that could show at all."""
    from haloes.evaluation.sources import mixtures
    from haloes.stats.power import smallest_win_rate_difference

    note(f"{paired.candidate} against {paired.baseline}: {len(paired.pairs)} pairs of answers, each in both orders")
    if paired.left_over:
        note(f"{paired.left_over} answers have no partner on the other side and are left out")
    sides = {paired.candidate: [pair.candidate for pair in paired.pairs]}
    sides[paired.baseline] = [pair.baseline for pair in paired.pairs]
    for text in mixtures(sides):
        note(f"Note: {text}")
    smallest = smallest_win_rate_difference(paired.num_prompts)
    if smallest is None:
        note(f"{paired.num_prompts} prompts are too few to show any difference")
    else:
        note(
            f"{paired.num_prompts} prompts show a win rate (in 4 of 5 tries) if it is {0.5 + smallest:.0%} or more, "
            f"or {0.5 - smallest:.0%} or less"
        )


def say_judged(judged: "Judged", paired: "Paired", file: Path, canary_file: Path) -> None:
    """The numbers, and where the judgements are."""
    from haloes.stats.comparisons import comparisons
    from haloes.stats.position import flip_rate, position_bias
    from haloes.stats.win_rate import win_rate

    found = comparisons(judged.judgements)
    prompts = [pair.prompt_id for pair in found]
    firsts, seconds = [pair.shown_first for pair in found], [pair.shown_second for pair in found]
    rate = win_rate([pair.preference for pair in found], prompts, variant=paired.candidate)
    say(f"{paired.candidate} against {paired.baseline}, both orders taken together:")
    say(f"  {rate.wins} wins, {rate.ties} ties, {rate.losses} losses, {rate.unscored} unscored")
    _say_score("win rate", rate.score)
    _say_score("verdicts for the first place", position_bias(firsts, seconds, prompts))
    _say_score("verdicts that flip with the order", flip_rate(firsts, seconds, prompts))
    unscored = sum(judgement.verdict is None for judgement in judged.judgements)
    say(f"  {unscored} of {len(judged.judgements)} replies hold no verdict")
    if judged.canaries:
        points = [judgement.points for judgement in judged.canaries if judgement.points is not None]
        say(f"  canaries: {points.count(1.0)} of {len(points)} verdicts went to an answer that only asks to be chosen")
    _say_cost([*judged.judgements, *judged.canaries])
    say(f"Judgements: {file} ({judged.new} of {len(judged.judgements) + len(judged.canaries)} are new)")
    if judged.canaries:
        say(f"Of canaries: {canary_file}")


def refresh_report(place: Path) -> None:
    """Write report and model card of the run that the judgements lie in again, with what follows; nothing elsewhere."""
    from haloes.evaluation.evaluate import write_judged_report
    from haloes.run_files import is_run

    if is_run(place):
        say(f"Report: {write_judged_report(place)}")


def fail_if_unanswered(judged: "Judged") -> None:
    """Raises RunError where comparisons are still without an answer."""
    if judged.unanswered:
        raise RunError(
            f"{len(judged.unanswered)} comparisons got no answer, the first: {judged.unanswered[0]}; the same command "
            "asks for them again"
        )


def _say_score(label: str, score: "Score | None") -> None:
    if score is not None:
        say(f"  {label}: {score.value:.1%} ({score.level:.0%} interval {score.low:.1%} to {score.high:.1%})")


def _say_cost(judgements: "Sequence[Judgement]") -> None:
    read = sum(judgement.prompt_tokens for judgement in judgements)
    written = sum(judgement.completion_tokens for judgement in judgements)
    costs = [judgement.cost for judgement in judgements if judgement.cost is not None]
    if read or written:
        cost = f", cost {sum(costs):.4f}" if costs else ""
        say(f"  {read:,} tokens read by the judge, {written:,} written{cost}")
