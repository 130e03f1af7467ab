"""Stages of a round that need a model: sample answers to prompts, and measure the KL to the first model."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import inf
from pathlib import Path
from typing import Any

import torch

from haloes.errors import RunError
from haloes.models.load import LoadedModel, load_model
from haloes.models.policy import make_policy
from haloes.online_rounds.settings import OnlineSettings
from haloes.records import Asked, Completion
from haloes.results import Score
from haloes.runs.answer_kl import AnswerKL, answer_kl
from haloes.sampling._contract import Advance
from haloes.sampling.run import read_completions, sample_to_file
from haloes.sampling.transformers_engine import TransformersEngine
from haloes.stats.means import mean_with_interval
from haloes.store import read_jsonl, write_jsonl
from haloes.tokens.chat_template import with_template_kwargs
from haloes.tokens.encode import make_encoder

ANSWERS, KL = "answers.jsonl", "kl.jsonl"
_KL_TOKENS = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundModel:
    """A model of the experiment: the first one, or what a round left."""

    name: str
    """Name in the records: "round-0" is the first."""
    source: str
    """Its folder, or how it is named."""
    device: torch.device
    dtype: torch.dtype
    """Equal in all rounds, so that answers and divergences can be compared."""
    chat_template_kwargs: Mapping[str, Any] | None = None
    """Values of the chat template's variables."""

    def load(self) -> LoadedModel:
        """Load it with its tokenizer, an adapter merged into its base."""
        loaded = load_model(self.source, dtype=self.dtype, device=self.device)
        # The first model's own template does not state them; the later ones were saved with them.
        return replace(loaded, tokenizer=with_template_kwargs(loaded.tokenizer, self.chat_template_kwargs))


def answers_of(
    model: RoundModel,
    prompts: Mapping[str, Asked],
    path: Path,
    *,
    seeds: range,
    settings: OnlineSettings,
    advance: Advance,
) -> list[Completion]:
    """Return the model's answers by prompt, then by seed; only those that the file lacks are sampled."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not _complete(path, prompts, seeds):
        loaded = model.load()
        engine = TransformersEngine(loaded.model, loaded.tokenizer, model.name, settings.batch_size)
        sample_to_file(engine, prompts, path, decoding=settings.decoding, seeds=seeds, advance=advance)
    order = {name: i for i, name in enumerate(prompts)}
    wanted = [answer for answer in read_completions(path) if answer.prompt_id in order and answer.seed in seeds]
    return sorted(wanted, key=lambda answer: (order[answer.prompt_id], answer.seed))


def kl_to_first(
    model: RoundModel,
    first: RoundModel,
    answers: Sequence[Completion],
    path: Path,
    *,
    max_length: int,
    budget: int | None,
    advance: Advance,
) -> Score:
    """
    Measure KL(model || first model) along the model's own answers, nats an answer; keep a line an answer in the file.

    Raises RunError where fewer than two prompts have an answer with a token in it.
    """
    if not path.exists():
        measured = []
        if model != first:
            measured = _kl(model, first, answers, max_length=max_length, budget=budget or _KL_TOKENS, advance=advance)
        by_answer = {(kl.prompt_id, kl.seed): kl for kl in measured}
        # Of the first model to itself it is 0, and so it is for an answer that is empty.
        rows = [
            by_answer.get((answer.prompt_id, answer.seed), AnswerKL(answer.prompt_id, answer.seed, 0.0, 0))
            for answer in answers
        ]
        write_jsonl(path, map(asdict, rows))
    lines = [row for _, row in read_jsonl(path)]
    score = mean_with_interval(
        [line["nats"] for line in lines],
        [line["prompt_id"] for line in lines],
        name="kl",
        variant=model.name,
        label="KL to the first model, nats an answer",
        bounds=(0, inf),
    )
    if score is None:
        raise RunError(f"{path} has fewer than two prompts; hold out more")
    return score


def _complete(path: Path, prompts: Mapping[str, Asked], seeds: range) -> bool:
    """Return whether the file holds every answer; a line that a kill cut in two is asked for again."""
    if not path.exists() or not path.read_bytes().endswith(b"\n"):
        return False
    answered = {(answer.prompt_id, answer.seed) for answer in read_completions(path)}
    return all((name, seed) in answered for name in prompts for seed in seeds)


def _kl(
    model: RoundModel,
    first: RoundModel,
    answers: Sequence[Completion],
    *,
    max_length: int,
    budget: int,
    advance: Advance,
) -> list[AnswerKL]:
    """Score the answers under both models, which are in memory at once."""
    loaded, start = model.load(), first.load()
    encoder = make_encoder(loaded.tokenizer, max_length=max_length)
    policy = make_policy(loaded.model, lora=None, reference=True, seed=0, reference_model=start.model)
    return answer_kl(policy, encoder, answers, budget=budget, advance=advance)
