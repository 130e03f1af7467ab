"""Numbers of judgements: models against their opponents and each other, judges against each other."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np

from haloes.errors import DataError
from haloes.evaluation.sources import JudgedFile, sampling_differences, with_distinct_names
from haloes.evaluation_results import JudgedNumbers, JudgedPair, LengthControlled, Matchup
from haloes.judging.pairs import AnswerPairs
from haloes.results import PairedDifference, Score
from haloes.stats.agreement import cohens_kappa, krippendorffs_alpha
from haloes.stats.comparisons import comparisons
from haloes.stats.length_control import length_controlled_win_rate
from haloes.stats.paired import paired_differences
from haloes.stats.position import flip_rate, position_bias
from haloes.stats.power import describe_win_rate_power, smallest_win_rate_difference
from haloes.stats.ratings import bradley_terry
from haloes.stats.shared_difficulty import Compared, length_controlled_together, shared_prompts
from haloes.stats.win_rate import win_rate

LENGTH_BINS = 4


def comparison_notes(paired: AnswerPairs) -> Iterator[str]:
    """Say what is compared, and how large a difference it could show at all: before money is spent on a judge."""
    yield f"{paired.candidate} against {paired.baseline}: {len(paired.pairs)} pairs of answers, each in both orders"
    if paired.left_over:
        yield f"{paired.left_over} answers have no partner on the other side and are left out"
    sides = {paired.candidate: [pair.candidate for pair in paired.pairs]}
    sides[paired.baseline] = [pair.baseline for pair in paired.pairs]
    yield from (f"Note: {text}" for text in sampling_differences(sides))
    yield describe_win_rate_power(paired.num_prompts)


def judged_numbers(files: Sequence[JudgedFile], *, seed: int = 0) -> JudgedNumbers:
    """
    Compute every number that judgements give.

    Args:
        files: files of judgements; several judges, models and runs may be in them.
        seed: seed of the bootstrap draws.
    """
    files = with_distinct_names(files)
    pairs = comparisons(judgement for judged in files for judgement in judged.judgements)
    # Canaries are judged like answers, but kept apart: they are not the candidate's.
    canary_pairs = comparisons(judgement for judged in files for judgement in judged.canaries)
    groups = _grouped(pairs)
    at_equal_length = _at_equal_length(groups)
    matchups = [
        _matchup(
            group,
            [pair for pair in canary_pairs if (pair.baseline, pair.judge) == key[1:]],
            at_equal_length[key],
            seed=seed,
        )
        for key, group in groups.items()
    ]
    ratings, rated, notes = _ratings(pairs, seed=seed)
    return JudgedNumbers(
        matchups=tuple(matchups),
        agreement=tuple(_agreement(groups, seed=seed)),
        ratings=tuple(ratings),
        differences=(*_differences(groups, seed=seed), *rated),
        comparisons=tuple(pairs),
        notes=tuple(notes),
    )


_Grouped = dict[tuple[str, str, str], list[JudgedPair]]
"""Comparisons by candidate, baseline and judge."""


def _grouped(pairs: Iterable[JudgedPair]) -> _Grouped:
    groups: _Grouped = {}
    for pair in pairs:
        groups.setdefault((pair.candidate, pair.baseline, pair.judge), []).append(pair)
    return groups


def _matchup(
    pairs: Sequence[JudgedPair],
    canary_pairs: Sequence[JudgedPair],
    at_equal_length: LengthControlled | None,
    *,
    seed: int,
) -> Matchup:
    about = pairs[0]
    prompts = [pair.prompt_id for pair in pairs]
    firsts, seconds = [pair.shown_first for pair in pairs], [pair.shown_second for pair in pairs]
    rate = win_rate([pair.preference for pair in pairs], prompts, variant=about.candidate, seed=seed)
    canary = win_rate(
        [pair.preference for pair in canary_pairs],
        [pair.prompt_id for pair in canary_pairs],
        name="canary_rate",
        variant="canary",
        seed=seed,
    )
    # Prompts and not comparisons: several draws of one prompt are not independent.
    num_prompts = len({pair.prompt_id for pair in pairs if pair.preference is not None})
    return Matchup(
        candidate=about.candidate,
        baseline=about.baseline,
        judge=about.judge,
        wins=rate.wins,
        ties=rate.ties,
        losses=rate.losses,
        unscored=rate.unscored,
        num_prompts=num_prompts,
        sign_test=rate.sign_test,
        smallest_difference=smallest_win_rate_difference(num_prompts) if num_prompts else None,
        win_rate=rate.score,
        length_controlled=at_equal_length,
        position_bias=position_bias(firsts, seconds, prompts, variant=about.judge, seed=seed),
        flip_rate=flip_rate(firsts, seconds, prompts, variant=about.judge, seed=seed),
        canary_rate=canary.score,
        by_length=_by_length(pairs, seed=seed),
    )


def _at_equal_length(groups: "_Grouped") -> dict[tuple[str, str, str], LengthControlled | None]:
    """Fit the win rates at equal length: of all candidates at once, where one judge saw several on the same prompts."""
    found: dict[tuple[str, str, str], LengthControlled | None] = {}
    for opponent in dict.fromkeys(key[1:] for key in groups):
        keys = [key for key in groups if key[1:] == opponent]
        compared = [_compared(groups[key]) for key in keys]
        if shared_prompts(compared):
            together = length_controlled_together(compared)
        else:
            together = [_length_controlled(one) for one in compared]
        found |= dict(zip(keys, together, strict=True))
    return found


def _compared(pairs: Sequence[JudgedPair]) -> Compared:
    measured = _measured(pairs)
    return Compared(
        variant=pairs[0].candidate,
        preferences=[pair.preference for pair, _, _ in measured],
        lengths=[length for _, length, _ in measured],
        baseline_lengths=[length for _, _, length in measured],
        prompts=[pair.prompt_id for pair, _, _ in measured],
    )


def _length_controlled(one: Compared) -> LengthControlled | None:
    return length_controlled_win_rate(
        one.preferences, one.lengths, one.baseline_lengths, one.prompts, variant=one.variant
    )


def _measured(pairs: Iterable[JudgedPair]) -> list[tuple[JudgedPair, int, int]]:
    """Return the comparisons with both lengths."""
    return [
        (pair, pair.candidate_length, pair.baseline_length)
        for pair in pairs
        if pair.candidate_length is not None and pair.baseline_length is not None
    ]


def _by_length(pairs: Sequence[JudgedPair], *, seed: int) -> tuple[Score, ...]:
    """Compute the win rate in up to four parts of about equal size, by how much longer the candidate's answer is."""
    measured = [(pair, own - other) for pair, own, other in _measured(pairs) if pair.preference is not None]
    if not measured:
        return ()
    difference_N = np.array([difference for _, difference in measured])
    # Quantiles and not round edges, so that each part has enough prompts; equal differences share a part.
    edges = np.unique(np.quantile(difference_N, np.arange(1, LENGTH_BINS) / LENGTH_BINS))
    bin_N = np.searchsorted(edges, difference_N, side="left")
    scores = []
    for number in np.unique(bin_N):
        inside = [(pair, difference) for (pair, difference), b in zip(measured, bin_N, strict=True) if b == number]
        low, high = min(difference for _, difference in inside), max(difference for _, difference in inside)
        score = win_rate(
            [pair.preference for pair, _ in inside],
            [pair.prompt_id for pair, _ in inside],
            name="win_rate_by_length",
            variant=pairs[0].candidate,
            label=(f"{low:+,}" if low == high else f"{low:+,} to {high:+,}").replace("-", "−") + " characters",
            seed=seed,
        ).score
        scores += [] if score is None else [score]
    return tuple(scores)


def _agreement(groups: _Grouped, *, seed: int) -> list[Score]:
    """Compute Cohen's kappa of each pair of judges, and Krippendorff's alpha of three or more, on the same answers."""
    scores: list[Score | None] = []
    for candidate, baseline in dict.fromkeys((candidate, baseline) for candidate, baseline, _ in groups):
        # Joined by prompt and draw: judges may have seen different subsets, and only shared rows can agree.
        verdicts = {
            judge: {(pair.prompt_id, pair.draw): _verdict(pair) for pair in group}
            for (model, opponent, judge), group in groups.items()
            if (model, opponent) == (candidate, baseline)
        }
        rows = list(dict.fromkeys(row for given in verdicts.values() for row in given))
        prompts = [prompt for prompt, _ in rows]
        about = f"{candidate} against {baseline}"
        for first, second in combinations(verdicts, 2):
            scores.append(
                cohens_kappa(
                    [verdicts[first].get(row) for row in rows],
                    [verdicts[second].get(row) for row in rows],
                    prompts,
                    variant=about,
                    label=f"Cohen's kappa of {first} and {second}",
                    seed=seed,
                )
            )
        if len(verdicts) > 2:  # noqa: PLR2004 - of two judges kappa says it
            table = [[given.get(row) for given in verdicts.values()] for row in rows]
            label = f"Krippendorff's alpha of {len(verdicts)} judges"
            scores.append(krippendorffs_alpha(table, prompts, variant=about, label=label, seed=seed))
    return [score for score in scores if score is not None]


def _verdict(pair: JudgedPair) -> str | None:
    return None if pair.preference is None else pair.outcome


def _ratings(pairs: Sequence[JudgedPair], *, seed: int) -> tuple[list[Score], list[PairedDifference], list[str]]:
    scores: list[Score] = []
    differences: list[PairedDifference] = []
    notes: list[str] = []
    for judge in dict.fromkeys(pair.judge for pair in pairs):
        mine = [pair for pair in pairs if pair.judge == judge]
        # Of two models the win rate says all that a rating could.
        if len({name for pair in mine for name in (pair.candidate, pair.baseline)}) <= 2:  # noqa: PLR2004
            continue
        try:
            fitted = bradley_terry(
                [pair.candidate for pair in mine],
                [pair.baseline for pair in mine],
                [pair.preference for pair in mine],
                [pair.prompt_id for pair in mine],
                seed=seed,
            )
        except DataError as error:
            notes.append(f"no ratings by {judge}: {error}")
            continue
        scores += [replace(score, label=judge) for score in fitted.scores]
        differences += [replace(d, score=replace(d.score, label=f"by {judge}")) for d in fitted.differences]
    return scores, differences, notes


def _differences(groups: _Grouped, *, seed: int) -> list[PairedDifference]:
    """Compare all candidates that one judge compared with one baseline, on the prompts that all of them share."""
    differences: list[PairedDifference] = []
    for baseline, judge in dict.fromkeys((baseline, judge) for _, baseline, judge in groups):
        by_model = {model: group for (model, other, by), group in groups.items() if (other, by) == (baseline, judge)}
        if len(by_model) < 2:  # noqa: PLR2004 - nothing to compare
            continue
        # On prompts of its own a model would be compared by what it was asked.
        shared = set.intersection(*({pair.prompt_id for pair in group} for group in by_model.values()))
        kept = {model: [pair for pair in group if pair.prompt_id in shared] for model, group in by_model.items()}
        given = {
            model: ([pair.preference for pair in group], [pair.prompt_id for pair in group])
            for model, group in kept.items()
        }
        label = f"against {baseline}, by {judge}, {len(shared)} shared prompts"
        differences += [replace(d, score=replace(d.score, label=label)) for d in paired_differences(given, seed=seed)]
    return differences
