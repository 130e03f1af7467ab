"""How a blind comparison stands: the win rate with its interval, and how many votes more a difference would need."""

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from haloes.stats.power import smallest_win_rate_difference
from haloes.stats.win_rate import win_rate

_POINTS = {"win": 1.0, "loss": 0.0, "tie": 0.5, "both_bad": 0.5}
_DIFFERENCE = 0.1
_MOST_TIES = 0.9


def tally(verdicts: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """
    Count verdicts.

    Args:
        verdicts: the prompt, and "win", "loss", "tie" or "both_bad".

    Returns:
        Counts, `win_rate` with `low` and `high` (95 %, over prompts; None with fewer than two), and how many votes in
        all, and more, a win rate of 60 % or 40 % would take to be seen in 4 of 5 tries, with as many ties as so far.
    """
    counted = Counter(verdict for _, verdict in verdicts)
    score = win_rate([_POINTS[verdict] for _, verdict in verdicts], [prompt for prompt, _ in verdicts]).score
    ties = counted["tie"] + counted["both_bad"]
    # A few votes say little about ties: it is as if eight without one had come before.
    enough = votes_for_10_points(round(min(_MOST_TIES, ties / (len(verdicts) + 8)), 2))
    return {
        "votes": len(verdicts),
        "wins": counted["win"],
        "losses": counted["loss"],
        "ties": counted["tie"],
        "both_bad": counted["both_bad"],
        "win_rate": None if score is None else score.value,
        "low": None if score is None else score.low,
        "high": None if score is None else score.high,
        "enough_for_10_points": enough,
        "more_votes": max(0, enough - len(verdicts)),
    }


@lru_cache(maxsize=128)
def votes_for_10_points(tie_share: float) -> int:
    """Return the fewest votes (one a prompt) with which a win rate of 60 % or 40 % is seen in 4 of 5 tries."""
    low, high = 1, 4096
    while low < high:
        middle = (low + high) // 2
        found = smallest_win_rate_difference(middle, tie_share=tie_share)
        low, high = (low, middle) if found is not None and found <= _DIFFERENCE else (middle + 1, high)
    return low
