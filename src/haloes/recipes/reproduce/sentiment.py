"""
Controlled sentiment: how much reward for how much divergence, where the simulated human is known.

The model continues the openings of movie reviews; a scorer that was fitted on labelled reviews likes a continuation or
does not; each method learns from these thumbs, and is measured on other openings. The experiment is that of DPO
(Rafailov et al., 2023, https://arxiv.org/abs/2305.18290, section 6.1) with thumbs in place of preferences.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from haloes.errors import DataError, Interrupted
from haloes.recipes.reproduce.numbers import Point, point, with_frontier
from haloes.recipes.reproduce.scorer import Reviews, SentimentScorer, accuracy, fit_scorer, read_reviews
from haloes.recipes.reproduce.sets import Sets
from haloes.recipes.reproduce.trials import Ledger, Trial, Workbench
from haloes.records import Completion, Feedback, Text, plain_text
from haloes.records_json import row_to_json
from haloes.results import Score
from haloes.runs.answer_kl import answer_kl
from haloes.runs.config import FeedbackSettings, RunConfig, as_mapping
from haloes.runs.prompts import load_prompts
from haloes.runs.run_folder import claim_experiment
from haloes.sampling._contract import Decoding
from haloes.sampling.run import read_completions, sample_to_file
from haloes.sampling.transformers_engine import TransformersEngine
from haloes.store import write_json, write_jsonl

METHODS: Mapping[str, bool] = {"kto": True, "dpo": True, "sft": False}
"""The losses that are compared, and whether beta is among their hyperparameters. SFT learns the liked ones alone."""
BEFORE = "before"
_LIKED = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class SentimentSizes:
    """Sizes of the experiment."""

    prompts: int = 96
    """Openings to learn on."""
    per_prompt: int = 4
    """Continuations of each that are rated."""
    test_prompts: int = 128
    """Other openings to measure on, each with one continuation for every seed."""
    max_new_tokens: int = 40
    """Most tokens of a continuation."""
    temperature: float = 1.0
    """At 1 the mean divergence along the continuations estimates that of the distributions over continuations."""


@dataclass(frozen=True, slots=True)
class Openings:
    """The openings of reviews, by id, as the model is asked to continue them."""

    train: Mapping[str, Text]
    test: Mapping[str, Text]


@dataclass(frozen=True, slots=True)
class Sentiment:
    """The scorer, the rated continuations, and the points."""

    scorer: Score | None
    """Its accuracy on held-out reviews."""
    liked: int
    """Number of the rated continuations that are liked."""
    rated: int
    points: tuple[Point, ...]
    """The model before, and every run."""


def openings(train: Path, test: Path, sizes: SentimentSizes, *, wording: str) -> Openings:
    """
    Draw openings from two files of prompts.

    Raises DataError where an opening is in both files, or `wording` has no {} for it.
    """
    if "{}" not in wording:
        raise DataError(f"the wording {wording!r} has no {{}} where the opening goes")
    found = [
        load_prompts(str(path), FeedbackSettings(), everything=True, most=most)
        for path, most in ((train, sizes.prompts), (test, sizes.test_prompts))
    ]
    both = {plain_text(text) for text in found[0].values()} & {plain_text(text) for text in found[1].values()}
    if both:
        raise DataError(f"{test}: the opening {min(both)!r} is also in {train}; measure on other openings")
    asked = [{name: wording.format(plain_text(text)) for name, text in part.items()} for part in found]
    return Openings(*asked)


def sentiment(
    config: RunConfig,
    folder: Path,
    *,
    reviews: Sequence[Path],
    test_reviews: Sequence[Path],
    asked: Openings,
    sizes: SentimentSizes,
    methods: Sequence[str] = tuple(METHODS),
    betas: Sequence[float] = (0.1, 0.5),
    lrs: Sequence[float] = (1e-3, 3e-3),
    seeds: Sequence[int] = (0,),
    stop: Callable[[], bool],
    on_run: Callable[[str, int, int], None],
) -> Sentiment:
    """
    Carry out the experiment; what the folder holds already is kept.

    Args:
        config: model, tokens and training settings; its loss and learning rate are not used.
        folder: takes everything: rated continuations, every run's continuations with their scores, the points.
        reviews: labelled reviews to fit the scorer on.
        test_reviews: labelled reviews to measure the scorer on.
        asked: what is continued.
        sizes: sizes of the experiment.
        methods: names of `METHODS`.
        betas: for the methods that have one.
        lrs: learning rates.
        seeds: seeds of training and of the continuations that are measured.
        stop: asked after every step and every continuation; True ends the experiment, to be resumed later.
        on_run: called before each run with its name, the runs done and all of them.
    """
    known = read_reviews(reviews)
    scorer = fit_scorer(known)
    told = accuracy(scorer, read_reviews(test_reviews))
    _claim(folder, config, sizes, asked, known)
    rows = folder / "feedback.jsonl"
    bench = Workbench(config, Sets(rows, rows, rows), folder, stop=stop)
    ask = _Asker(bench, sizes, stop)
    rated = _feedback(ask.before(asked.train, folder / "answers.jsonl", range(sizes.per_prompt)), scorer)
    _require_both(rated)
    write_jsonl(rows, map(row_to_json, rated))
    ledger = Ledger(folder / "runs.jsonl", {"config": as_mapping(config)})
    trials = [trial for name in methods for trial in _grid(name, betas, lrs, seeds)]
    found = {BEFORE: _start(ask, asked, scorer, folder, seeds)}
    for done, trial in enumerate(trials):
        on_run(trial.key, done, len(trials))
        run = ledger.get(trial.key)
        if run is None:
            run = _run(bench, ask, trial, asked, scorer)
            ledger.add(trial.key, run)
        # The runs of one point differ in their seed alone.
        name = Trial(trial.method, trial.loss, trial.settings, trial.lr, seed=0).key.rpartition(" seed=")[0]
        found.setdefault(name, []).append(run)
    points = with_frontier([point(name, runs) for name, runs in found.items()])
    result = Sentiment(told, sum(bool(row.label) for row in rated), len(rated), tuple(points))
    write_json(folder / "sentiment.json", _plain(result))
    return result


def _claim(folder: Path, config: RunConfig, sizes: SentimentSizes, asked: Openings, reviews: Reviews) -> None:
    """Claim the folder for what decides its continuations and thumbs. Raises RunError where it holds others."""
    mine = {
        "model": [config.model.name, config.model.dtype],
        "openings": _digest([dict(asked.train), dict(asked.test)]),
        "reviews": _digest([reviews.texts, reviews.positive.tolist()]),
        **asdict(sizes),
    }
    claim_experiment(folder / "experiment.json", mine)


@dataclass(frozen=True, slots=True)
class _Asker:
    """Has models continue openings."""

    bench: Workbench
    sizes: SentimentSizes
    stop: Callable[[], bool]

    def before(self, prompts: Mapping[str, Text], path: Path, seeds: range) -> list[Completion]:
        """Have the model before training continue prompts; continuations that the file holds are kept."""
        return self.answers(self.bench.model, BEFORE, prompts, path, seeds)

    def answers(self, model: Any, name: str, prompts: Mapping[str, Text], path: Path, seeds: range) -> list[Completion]:
        """Have a model continue prompts into a file, whose own are kept; return them by prompt, then by seed."""
        engine = TransformersEngine(model, self.bench.encoder.template.tokenizer, name)
        decoding = Decoding(max_new_tokens=self.sizes.max_new_tokens, temperature=self.sizes.temperature)
        given = 0.0

        def check(count: float) -> None:
            nonlocal given
            given += count
            if self.stop():
                raise Interrupted(int(given), len(prompts) * len(seeds))

        path.parent.mkdir(parents=True, exist_ok=True)
        sample_to_file(engine, prompts, path, decoding=decoding, seeds=seeds, advance=check)
        order = {name: i for i, name in enumerate(prompts)}
        found = [a for a in read_completions(path) if a.prompt_id in order and a.seed in seeds]
        return sorted(found, key=lambda answer: (order[answer.prompt_id], answer.seed))


def _feedback(answers: Sequence[Completion], scorer: SentimentScorer) -> list[Feedback]:
    """Give a thumb to each continuation that is not empty."""
    given = [answer for answer in answers if answer.completion.strip()]
    return [
        Feedback(
            prompt=answer.prompt,
            completion=answer.completion,
            label=bool(chance > _LIKED),
            score=float(chance),
            finished=answer.finished,
            id=f"{answer.prompt_id}/{answer.seed}",
        )
        for answer, chance in zip(given, scorer([answer.completion for answer in given]), strict=True)
    ]


def _require_both(rows: Sequence[Feedback]) -> None:
    liked = sum(bool(row.label) for row in rows)
    if not 0 < liked < len(rows):
        raise DataError(f"the scorer likes {liked} of {len(rows)} continuations; there is nothing to learn from that")


def _grid(name: str, betas: Sequence[float], lrs: Sequence[float], seeds: Sequence[int]) -> list[Trial]:
    settings: list[dict[str, Any]] = [{"beta": beta} for beta in betas] if METHODS[name] else [{}]
    return [Trial(name, name, knobs, lr, seed) for knobs in settings for lr in lrs for seed in seeds]


def _start(
    ask: _Asker, asked: Openings, scorer: SentimentScorer, folder: Path, seeds: Sequence[int]
) -> list[dict[str, Any]]:
    """Measure the model before training, whose divergence from itself is 0."""
    found = []
    for seed in seeds:
        answers = ask.before(asked.test, folder / "before.jsonl", range(seed, seed + 1))
        found.append(_measured(answers, scorer, dict.fromkeys((a.prompt_id for a in answers), 0.0)))
    return found


def _run(bench: Workbench, ask: _Asker, trial: Trial, asked: Openings, scorer: SentimentScorer) -> dict[str, Any]:
    """Train, continue the test openings, and measure; JSON-ready."""
    ready = bench.ready(trial)
    cost = bench.train(ready)
    policy = ready.policy
    with policy.scoring():
        path = bench.run_dir(trial) / "answers.jsonl"
        answers = ask.answers(policy.model, trial.key, asked.test, path, range(trial.seed, trial.seed + 1))
        nats = {kl.prompt_id: kl.nats for kl in answer_kl(policy, bench.encoder, answers, budget=bench.budget)}
    return {**_measured(answers, scorer, nats), "num_steps": cost.num_steps, "memory_gib": cost.memory_gib}


def _measured(answers: Sequence[Completion], scorer: SentimentScorer, nats: Mapping[str, float]) -> dict[str, Any]:
    """Return the numbers of each continuation; one without a token has no divergence."""
    return {
        "prompt_id": [answer.prompt_id for answer in answers],
        "positive": [float(chance) for chance in scorer([answer.completion for answer in answers])],
        "nats": [nats.get(answer.prompt_id, 0.0) for answer in answers],
    }


def _digest(rows: object) -> str:
    return hashlib.sha256(repr(rows).encode()).hexdigest()


def _plain(result: Sentiment) -> dict[str, Any]:
    return {
        "scorer": None if result.scorer is None else row_to_json(result.scorer),
        "liked": result.liked,
        "rated": result.rated,
        "points": [asdict(found) for found in result.points],
    }
