"""Bradley-Terry ratings: several models on one scale, from who was preferred to whom."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from haloes.errors import DataError
from haloes.results import PairedDifference, Score
from haloes.stats.bootstrap import (
    DRAWS,
    Codes,
    Floats,
    bootstrap_method,
    cluster_codes,
    cluster_weights,
    expanded_interval,
    p_value_of_draws,
)
from haloes.stats.logistic import fit_logistic
from haloes.stats.paired import holm
from haloes.stats.win_rate import Preferences, scored

# Shapes: N comparisons, C prompts, D bootstrap draws, K models, P pairs of models that met.

_WIDE = 1e3
"""Standard deviation of the numerical prior: too wide to be felt beside the virtual ties."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratings:
    """The ratings of models, best first, and all their differences."""

    scores: tuple[Score, ...]
    """One a model (`variant`), in log-odds around a mean of zero; times 400 / ln 10 = 173.7 they are Elo points."""
    differences: tuple[PairedDifference, ...]
    """One a pair of models, in log-odds: 0.5 means preferred in sigmoid(0.5) = 62 % of comparisons."""
    unscored: int


@dataclass(frozen=True, slots=True)
class _Games:
    """Won shares and numbers of comparisons: one column each for the P pairs of models that met."""

    pair_P2: Codes
    won_CP: Floats
    """Sum of each prompt's preferences for the pair's first model."""
    played_CP: Floats
    num_models: int


def bradley_terry(
    first: Sequence[str],
    second: Sequence[str],
    preferences: Preferences,
    prompts: Sequence[Hashable],
    *,
    virtual_ties: float = 1.0,
    name: str = "rating",
    draws: int = DRAWS,
    seed: int = 0,
) -> Ratings:
    """
    Fit P(i preferred to j) = sigmoid(rating_i - rating_j), with intervals that refit in each draw of prompts.

    Ties and preferences between 0 and 1 count as that share of a win. A model that won (or lost) everything would have
    an infinite rating: so each model also has `virtual_ties` ties against an imagined opponent of rating 0, which
    draws ratings towards 0 by an amount that fades with the number of comparisons. Where it decides, `method` says so.

    The p-value of a difference is twice the smaller share of draws on one side of zero; all are corrected by Holm's
    method.

    Args:
        first: one model of each comparison.
        second: the other one.
        preferences: for the first model, in [0, 1]; None is unscored and left out.
        prompts: the prompt of each comparison.
        virtual_ties: strength of the prior.
        name: what was measured, for the record.
        draws: number of bootstrap draws.
        seed: seed of the draws.

    Raises:
        DataError: the lengths differ; a preference is not in [0, 1]; a model is compared with itself; fewer than two
            prompts are scored; or the models fall into groups that were never compared.
    """
    if not len(first) == len(second) == len(preferences):
        raise DataError(f"{name}: {len(first)} and {len(second)} models for {len(preferences)} preferences")
    value_N, keys = scored(preferences, prompts, name)
    sides = zip(first, second, preferences, strict=True)
    met = [(one, other) for one, other, preference in sides if preference is not None]
    models = list(dict.fromkeys([*first, *second]))
    _require_comparable(models, met, name)
    codes_N = cluster_codes(keys)
    num_prompts = int(codes_N.max(initial=-1)) + 1
    if num_prompts < 2:  # noqa: PLR2004 - one prompt has no spread
        raise DataError(f"{name}: ratings need at least two scored prompts, got {num_prompts}")
    games = _games(models, met, value_N, codes_N)
    rating_K = _fit(games, np.ones((1, num_prompts)), virtual_ties, start_K=None)[0]
    drawn_DK = np.concatenate(
        [
            _fit(games, weight_DC, virtual_ties, start_K=rating_K)
            for weight_DC in cluster_weights(num_prompts, draws=draws, seed=seed)
        ]
    )
    facts = _FitFacts(name=name, num_rows=len(value_N), num_clusters=num_prompts, draws=draws)
    unbeaten = _one_sided(games)
    scores = [
        _score(facts, models[k], float(rating_K[k]), drawn_DK[:, k], decided_by_prior=k in unbeaten)
        for k in np.argsort(-rating_K, kind="stable")
    ]
    return Ratings(
        scores=tuple(scores),
        differences=_differences(facts, models, rating_K, drawn_DK, unbeaten),
        unscored=len(preferences) - len(value_N),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _FitFacts:
    """The fields that all scores of one fit share."""

    name: str

    num_rows: int
    num_clusters: int
    draws: int


def _games(models: list[str], met: list[tuple[str, str]], value_N: Floats, codes_N: Codes) -> _Games:
    number = {model: k for k, model in enumerate(models)}
    columns: dict[tuple[int, int], int] = {}
    num_prompts = int(codes_N.max()) + 1
    column_N = np.empty(len(met), dtype=np.intp)
    won_N = value_N.copy()
    for row, (one, other) in enumerate(met):
        i, j = number[one], number[other]
        # A pair of models has one column, whichever of them stood first; a turned row gives the other's share.
        if i > j:
            i, j, won_N[row] = j, i, 1 - won_N[row]
        column_N[row] = columns.setdefault((i, j), len(columns))
    flat_N, size = codes_N * len(columns) + column_N, num_prompts * len(columns)
    return _Games(
        pair_P2=np.array(list(columns), dtype=np.intp),
        won_CP=np.bincount(flat_N, weights=won_N, minlength=size).reshape(num_prompts, -1).astype(np.float64),
        played_CP=np.bincount(flat_N, minlength=size).reshape(num_prompts, -1).astype(np.float64),
        num_models=len(models),
    )


def _fit(games: _Games, weight_DC: Floats, virtual_ties: float, *, start_K: Floats | None) -> Floats:
    """Fit ratings around a mean of zero in each draw, (D, K)."""
    num_draws, num_pairs = len(weight_DC), len(games.pair_P2)
    played_DP = weight_DC @ games.played_CP
    share_DP = np.divide(weight_DC @ games.won_CP, played_DP, out=np.full_like(played_DP, 0.5), where=played_DP > 0)
    # A row a pair with +1 and -1 for its two models, and below them a row a model for its virtual ties.
    sign_PK = np.zeros((num_pairs, games.num_models))
    sign_PK[np.arange(num_pairs), games.pair_P2[:, 0]] = 1
    sign_PK[np.arange(num_pairs), games.pair_P2[:, 1]] = -1
    ties_DK = np.full((num_draws, games.num_models), virtual_ties)
    rating_DK = fit_logistic(
        np.concatenate([sign_PK, np.eye(games.num_models)]),
        np.concatenate([share_DP, np.full_like(ties_DK, 0.5)], axis=1),
        np.concatenate([played_DP, ties_DK], axis=1),
        prior_sd=_WIDE,
        start_K=start_K,
    )
    # Comparisons determine differences only; a mean of zero gives every draw the same origin.
    return np.asarray(rating_DK - rating_DK.mean(axis=1, keepdims=True), dtype=np.float64)


def _one_sided(games: _Games) -> set[int]:
    """Return the models that won, or lost, everything."""
    won_P, played_P = games.won_CP.sum(axis=0), games.played_CP.sum(axis=0)
    won_K, played_K = np.zeros(games.num_models), np.zeros(games.num_models)
    np.add.at(won_K, games.pair_P2[:, 0], won_P)
    np.add.at(won_K, games.pair_P2[:, 1], played_P - won_P)
    np.add.at(played_K, games.pair_P2[:, 0], played_P)
    np.add.at(played_K, games.pair_P2[:, 1], played_P)
    return set(np.flatnonzero((won_K == 0) | (won_K == played_K)).tolist())


def _score(facts: _FitFacts, variant: str, value: float, drawn_D: Floats, *, decided_by_prior: bool) -> Score:
    low, high = expanded_interval(drawn_D, facts.num_clusters)
    method = f"expanded {bootstrap_method(facts.num_clusters, facts.draws)}"
    if decided_by_prior:
        method += "; a model won or lost every comparison, so how far it stands off rests on its virtual ties"
    return Score(
        name=facts.name,
        value=value,
        low=low,
        high=high,
        variant=variant,
        num_rows=facts.num_rows,
        num_clusters=facts.num_clusters,
        method=method,
    )


def _differences(
    facts: _FitFacts, models: list[str], rating_K: Floats, drawn_DK: Floats, unbeaten: set[int]
) -> tuple[PairedDifference, ...]:
    pairs = list(combinations(np.argsort(-rating_K, kind="stable").tolist(), 2))
    p_values = [p_value_of_draws(drawn_DK[:, k] - drawn_DK[:, other]) for k, other in pairs]
    return tuple(
        PairedDifference(
            model=models[k],
            other=models[other],
            score=_score(
                facts,
                "difference",
                float(rating_K[k] - rating_K[other]),
                drawn_DK[:, k] - drawn_DK[:, other],
                decided_by_prior=bool({k, other} & unbeaten),
            ),
            p_value=p_value,
            p_holm=p_holm,
        )
        for (k, other), p_value, p_holm in zip(pairs, p_values, holm(p_values), strict=True)
    )


def _require_comparable(models: list[str], met: list[tuple[str, str]], name: str) -> None:
    """Raise DataError for models that no chain of comparisons connects: their ratings would share no scale."""
    group = {model: {model} for model in models}
    for one, other in dict.fromkeys(met):
        if one == other:
            raise DataError(f"{name}: {one!r} is compared with itself; give two different models")
        # All members of a group share one set, so that joining two groups is a new set for all of them.
        if group[one] is not group[other]:
            joined = group[one] | group[other]
            group.update(dict.fromkeys(joined, joined))
    apart = [model for model in models if model not in group[models[0]]] if models else []
    if apart:
        raise DataError(
            f"{name}: no scored comparison connects {apart[0]!r} with {models[0]!r}; judge some prompts between them, "
            "or rate the groups apart"
        )
