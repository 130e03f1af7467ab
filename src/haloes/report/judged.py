"""Judges' verdicts on a run's answers: the rates of each matchup, and what stands beside each prompt."""

from collections.abc import Sequence

from haloes.results import JudgedNumbers, JudgedPair, Matchup, Score

_OUTCOMES = ("won", "beaten", "tied")


def rates(matchup: Matchup) -> tuple[Score, ...]:
    """Return the win rate, and the one at equal length, as far as they are known."""
    controlled = None if matchup.length_controlled is None else matchup.length_controlled.score
    return _not_none(matchup.win_rate, controlled)


def trust(matchup: Matchup) -> tuple[Score, ...]:
    """Return what says how far the judge can be trusted: position bias, flips, canaries."""
    return _not_none(matchup.position_bias, matchup.flip_rate, matchup.canary_rate)


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
