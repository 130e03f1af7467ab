"""Judges' verdicts on a run's answers: the rates of each matchup, and what stands beside each prompt."""

from collections.abc import Sequence

from haloes.evaluation_results import JudgedNumbers, JudgedPair, Matchup
from haloes.results import Score

_COIN = 0.5
_OUTCOMES = ("won", "beaten", "tied")


def rates(matchup: Matchup) -> tuple[Score, ...]:
    """Return the win rate, and the one at equal length, as far as they are known."""
    controlled = None if matchup.length_controlled is None else matchup.length_controlled.score
    return _not_none(matchup.win_rate, controlled)


def trust(matchup: Matchup) -> tuple[Score, ...]:
    """Return what says how far the judge can be trusted: position bias, flips, canaries."""
    return _not_none(matchup.position_bias, matchup.flip_rate, matchup.canary_rate)


def position_note(bias: Score | None, flips: Score | None) -> str | None:
    """
    Return the sentence for a judge whose verdicts follow the places of the answers; None for any other judge.

    That is one whose verdicts flip more often than those of a coin would (one half of them), beyond what the sample
    leaves open, or always.

    Args:
        bias: the share of verdicts for the first place.
        flips: the share of pairs whose winner changes with the order.
    """
    if bias is None or flips is None or not (flips.value == 1 or flips.low > _COIN):
        return None
    place, share = ("first", bias.value) if bias.value >= _COIN else ("second", 1 - bias.value)
    return (
        f"this judge goes by position: {share:.0%} of its verdicts are for the answer that stands {place}, and "
        f"{flips.value:.0%} flip when the answers change places. Its verdicts say nothing about the answers; take "
        "another judge or another template"
    )


def verdicts(judged: JudgedNumbers) -> dict[str, tuple[JudgedPair, ...]]:
    """Return by prompt what each judge said of its first answers after training against those before."""
    by_prompt: dict[str, tuple[JudgedPair, ...]] = {}
    for pair in judged.comparisons:
        if (pair.candidate, pair.baseline, pair.draw) == ("after", "before", 0):
            by_prompt[pair.prompt_id] = (*by_prompt.get(pair.prompt_id, ()), pair)
    return by_prompt


def together(pairs: Sequence[JudgedPair]) -> str:
    """Return what the judges of one pair say together: most of those who have a verdict, a tie where that is even."""
    outcomes = [pair.outcome for pair in pairs if pair.outcome in _OUTCOMES]
    if not outcomes:
        return "unscored"
    lead = outcomes.count("won") - outcomes.count("beaten")
    return "won" if lead > 0 else "beaten" if lead < 0 else "tied"


def _not_none(*scores: Score | None) -> tuple[Score, ...]:
    return tuple(score for score in scores if score is not None)
