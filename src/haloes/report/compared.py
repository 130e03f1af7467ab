"""Several runs side by side: which settings differ, and the numbers that were computed across them."""

from collections.abc import Sequence
from dataclasses import dataclass

from haloes.evaluation_results import Matchup
from haloes.report import facts
from haloes.report.load import RunRecords
from haloes.report.numbers import count, measure_of, signed, with_interval
from haloes.results import PairedDifference, Score

_FIRST = ("liked", "auc")
_SHOWN = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedRuns:
    """Runs, and what was found across them."""

    names: tuple[str, ...]
    runs: tuple[RunRecords, ...]
    num_held_out: tuple[int, ...]
    """Held-out rows of each run."""
    num_shared: int
    """Held-out rows that all runs have."""
    aucs: tuple[Score | None, ...]
    """AUC of each run on all of its held-out rows."""
    shared_aucs: tuple[Score | None, ...]
    """AUC of each run on the rows that all share."""
    auc_differences: tuple[PairedDifference, ...]
    beside_auc: tuple[tuple[Score | None, ...], ...] = ()
    """What stands beside the AUC, such as that at equal length: a row a number, with each run's. On the rows that all
    share, or on each run's own where they share none."""
    auc_differences_at_equal_length: tuple[PairedDifference, ...] = ()
    """The same differences of answers of about the same length, where there are any."""
    win_rates: tuple[Matchup, ...]
    """Those that have a win rate."""
    win_rate_differences: tuple[PairedDifference, ...]
    notes: tuple[str, ...]

    @property
    def same_rows(self) -> bool:
        """Return whether all runs held out the same rows."""
        return all(number == self.num_shared for number in self.num_held_out)


def differing_settings(runs: Sequence[RunRecords]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """List the settings that are not the same in all runs: (key, the value in each run); "–" where a run has none."""
    flat = [dict(facts.flat(run.config)) for run in runs]
    keys = dict.fromkeys(key for settings in flat for key in settings)
    pairs = ((key, tuple(settings.get(key, "–") for settings in flat)) for key in keys)
    return tuple((key, values) for key, values in pairs if len(set(values)) > 1)


def extent(runs: Sequence[RunRecords]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """List how far each run went, where that is not the same: optimizer steps, and the KL that they led to."""
    steps = tuple(count(run.train[-1]["step"]) if run.train else "–" for run in runs)
    found = [next((s for s in run.scores if (s.name, s.variant) == ("kl", "after")), None) for run in runs]
    kl = tuple("–" if score is None else with_interval(score) for score in found)
    rows = (("optimizer steps", steps), ("KL to the reference, nats an answer", kl))
    return tuple((name, values) for name, values in rows if len(set(values)) > 1)


def zero_notes(differences: Sequence[PairedDifference]) -> tuple[str, ...]:
    """Return a sentence for each difference whose interval and p-value do not say the same of zero at first sight."""
    notes = []
    for found in differences:
        name, score = f"{found.model} – {found.other}", found.score
        excluded = score.low > 0 or score.high < 0
        if score.value and 0 in (score.low, score.high):
            notes.append(
                f"{name}: the interval ends at zero itself, as in many draws of prompts the two are equal; zero is not "
                f"excluded, and p = {found.p_value:.2g} counts these draws on both sides"
            )
        elif excluded != (found.p_value < 1 - score.level):
            does = "excludes" if excluded else "includes"
            notes.append(
                f"{name}: the interval {does} zero and p = {found.p_value:.2g} says otherwise; they are two methods, "
                "and with so few prompts neither is exact: take it as not shown"
            )
    return tuple(notes)


def rate_notes(compared: ComparedRuns) -> list[str]:
    """Return what win rates at equal length may hold beside the answers' quality, each said once."""
    rates = [rate.length_controlled for rate in compared.win_rates if rate.length_controlled is not None]
    return [f"At equal length: {caution}" for caution in dict.fromkeys(rate.caution for rate in rates) if caution]


def length_notes(compared: ComparedRuns) -> tuple[str, ...]:
    """
    Return a sentence for each pair of runs that differs in AUC, but not at equal length, or the other way round.

    And one that says which of the two counts, and why; none where they agree.
    """
    at_equal_length = {(found.model, found.other): found for found in compared.auc_differences_at_equal_length}
    length = next(
        (score for scores in compared.beside_auc for score in scores if score and score.name == "auc_length"), None
    )
    notes = []
    for found in compared.auc_differences:
        controlled = at_equal_length.get((found.model, found.other))
        if controlled is None or _direction(found) == _direction(controlled):
            continue
        of_all, of_similar = (f"{signed(one.score.value, 2)}, p (Holm) {one.p_holm:.2g}" for one in (found, controlled))
        notes.append(
            f"{found.model} – {found.other}: the difference in AUC is {of_all}, and of answers of about the same "
            f"length {of_similar}"
        )
    if notes:
        alone = "" if length is None else f" ({measure_of(length).title}: {with_interval(length)})"
        notes.append(
            f"A reward that is summed over tokens drifts with length{alone}, so the one at equal length counts"
        )
    return tuple(notes)


def _direction(found: PairedDifference) -> int:
    """Return which run is better: 1 the first, -1 the second, 0 where neither is shown to be."""
    if found.p_holm >= _SHOWN:
        return 0
    return 1 if found.score.value > 0 else -1


def measured(runs: Sequence[RunRecords]) -> tuple[tuple[Score | None, ...], ...]:
    """Collect for each quantity that a run measured after training, but AUCs, its score in each run."""
    by_name = [{score.name: score for score in run.scores if score.variant == "after"} for run in runs]
    names = dict.fromkeys(name for scores in by_name for name in scores if not name.startswith("auc"))
    ordered = sorted(names, key=lambda name: name not in _FIRST)
    return tuple(tuple(scores.get(name) for scores in by_name) for name in ordered)
