"""A judge's verdicts, on the terminal."""

from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from haloes.cli.views.output import say, show
from haloes.cli.views.tables import percent

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from haloes.api.judging import JudgeResult, RefusalResult
    from haloes.progress.display import Display
    from haloes.records import Judgement

_SHOWN = 200
"""Characters of a reply that are shown; all of it is in the file."""
_SHOWN_CAUSES = 3


def say_judged(judged: "JudgeResult") -> None:
    """Print the win rate and the biases of the judge, what it cost, and where the judgements are."""
    from haloes.judging.run import canary_path
    from haloes.report.judged import position_note
    from haloes.stats.comparisons import comparisons
    from haloes.stats.position import flip_rate, position_bias
    from haloes.stats.win_rate import win_rate

    pairs = comparisons(judged.judgements)
    prompts = [pair.prompt_id for pair in pairs]
    firsts, seconds = [pair.shown_first for pair in pairs], [pair.shown_second for pair in pairs]
    rate = win_rate([pair.preference for pair in pairs], prompts, variant=judged.candidate)
    say(f"{judged.candidate} against {judged.baseline}, both orders taken together:")
    say(f"  {rate.wins} wins, {rate.ties} ties, {rate.losses} losses, {rate.unscored} unscored")
    say(f"  win rate: {percent(rate.score)}")
    bias, flips = position_bias(firsts, seconds, prompts), flip_rate(firsts, seconds, prompts)
    say(f"  verdicts for the first place: {percent(bias)}")
    say(f"  verdicts that flip with the order: {percent(flips)}")
    if (note := position_note(bias, flips)) is not None:
        say(f"Warning: {note}.")
    _say_unread(judged.judgements)
    if judged.canaries:
        fooled = comparisons(judged.canaries)
        canary = win_rate([pair.preference for pair in fooled], [pair.prompt_id for pair in fooled], variant="canary")
        say(f"  preference for answers that only ask to be chosen (canaries): {percent(canary.score)}")
    _say_cost([*judged.judgements, *judged.canaries])
    say(f"Judgements: {judged.path} ({judged.num_new} of {len(judged.judgements) + len(judged.canaries)} are new)")
    if judged.canaries:
        say(f"Of canaries: {canary_path(judged.path)}")


def say_refusals(asked: "RefusalResult") -> None:
    """Print how many answers refuse by the judge and by phrases, how it replied, and where the judgements are."""
    from haloes.cli.views.tables import scores_table
    from haloes.stats.comparisons import comparisons

    replies = [replace(judgement, preference=None) for judgement in asked.judgements]
    preferences = [pair.preference for pair in comparisons(replies)]
    both, none = preferences.count(0.5), preferences.count(None)
    if asked.scores:
        show([scores_table("Refusals, as shares", asked.scores)])
        say(
            "The intervals are of these answers by this judge; how often it is wrong stands in none: read some verdicts"
        )
    else:
        say("No rate of refusals: there are fewer than two prompts with a verdict")
    if both > len(preferences) / 2:
        say("Warning: this judge goes by the place of a statement and not by what it says; take another judge.")
    say(
        f"{len(preferences)} answers: of {both} the judge said one thing in one order and the other in the other, and "
        f"{none} have no verdict; these count in no rate"
    )
    _say_unread(asked.judgements)
    _say_cost(asked.judgements)
    say(f"Judgements: {asked.path} ({asked.num_new} of {len(asked.judgements)} are new)")


@contextmanager
def judging_into(file: Path) -> "Iterator[Display]":
    """Show how far a judge is while the block lasts; Ctrl-C says where its verdicts are, and that they are kept."""
    from haloes.progress.display import Display

    try:
        with Display() as progress:
            yield progress
    except KeyboardInterrupt as stopped:
        message = f"stopped; what was judged is in {file}, and the same command goes on with it"
        raise KeyboardInterrupt(message) from stopped


def left_undone(judged: "JudgeResult | RefusalResult") -> str | None:
    """Return what a judge left undone, with what to do; None where there are verdicts and no question is open."""
    from haloes.stats.comparisons import comparisons

    if judged.unanswered:
        return (
            f"{len(judged.unanswered)} comparisons got no answer, the first: {judged.unanswered[0]}; the same command "
            "asks for them again"
        )
    unread = [judgement for judgement in judged.judgements if judgement.verdict is None]
    preferences = [pair.preference for pair in comparisons(judged.judgements)]
    # A pair needs both of its verdicts; where most pairs are lost, what is left is no sample of the rest.
    if 2 * preferences.count(None) > len(preferences):
        number, reason = _causes(unread)[0]
        total, read = len(judged.judgements), len(judged.judgements) - len(unread)
        lost = f"only {read} of the {total} replies hold" if read else f"none of the {total} replies holds"
        return (
            f"{lost} a verdict ({number} times: {reason}); look at them in {judged.path}, and take another template or "
            "judge, or ask again with --again"
        )
    return None


def _causes(unread: "Sequence[Judgement]") -> list[tuple[int, str]]:
    """Return why replies hold no verdict, the commonest kind first: how many of a kind, and the reason of its first."""
    kinds: dict[str, list[str]] = {}
    for judgement in unread:
        # What comes after a colon is quoted from this one reply.
        kinds.setdefault(judgement.reason.partition(":")[0], []).append(judgement.reason)
    ordered = sorted(kinds.values(), key=len, reverse=True)
    return [(len(reasons), _short(reasons[0])) for reasons in ordered]


def _say_unread(judgements: "Sequence[Judgement]") -> None:
    """Say how many replies hold no verdict, with the first of them and the causes, and how to ask again."""
    unread = [judgement for judgement in judgements if judgement.verdict is None]
    say(f"  {len(unread)} of {len(judgements)} replies hold no verdict")
    if not unread:
        return
    words = _short(unread[0].reply)
    say(f"    such as to prompt {unread[0].prompt_id}: {words or 'an empty reply'}")
    causes = _causes(unread)
    for number, reason in causes[:_SHOWN_CAUSES]:
        say(f"    why, {number} times: {reason}" if len(causes) > 1 else f"    why: {reason}")
    if len(causes) > _SHOWN_CAUSES:
        say(f"    and {len(causes) - _SHOWN_CAUSES} other causes, each in the file as its reason")
    say("    --again asks again for all of them")


def _short(text: str) -> str:
    words = " ".join(text.split())
    return f"{words[:_SHOWN]} ..." if len(words) > _SHOWN else words


def _say_cost(judgements: "Sequence[Judgement]") -> None:
    read = sum(judgement.prompt_tokens for judgement in judgements)
    written = sum(judgement.completion_tokens for judgement in judgements)
    costs = [judgement.cost for judgement in judgements if judgement.cost is not None]
    if read or written:
        cost = f", cost {sum(costs):.4f}" if costs else ""
        say(f"  {read:,} tokens read by the judge, {written:,} written{cost}")
