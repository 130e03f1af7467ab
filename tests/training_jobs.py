"""What the tests of training share: stores of short rows, policies of tiny models, and jobs that train on them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from fakes import byte_tokenizer, tiny_model
from haloes.losses._contract import Loss
from haloes.losses.dpo import DPO
from haloes.losses.kto import KTO
from haloes.losses.sft import SFT
from haloes.losses.table import LOSSES as TABLE
from haloes.models.adapters import LoRA
from haloes.models.forward import Scorer
from haloes.models.layout import Packed
from haloes.models.policy import Policy, make_policy
from haloes.models.prefix_cache import PrefixCache
from haloes.models.reference_cache import ReferenceCache
from haloes.tokens.encode import Encoded, make_encoder
from haloes.tokens.store import TokenStore, TokenStoreWriter
from haloes.training.completion_logps import ReferenceSource, ReferenceTokens, ReferenceTotals
from haloes.training.distributed import Ranks
from haloes.training.job import TrainJob
from haloes.training.settings import TrainSettings
from haloes.training.step import Stepper

ALONE = Ranks(0, 1)
LOSSES: dict[str, Loss[Any]] = {
    "kto": KTO(beta=0.3, desirable_weight=1.5, undesirable_weight=0.8),
    "dpo": DPO(beta=0.2),
    "sft": SFT(),
}
"""The main ones, with settings of which none is a default."""

EVERY: Mapping[str, Loss[Any]] = {name: make() for name, make in TABLE.items()} | LOSSES
"""The whole table."""


@dataclass(frozen=True, slots=True)
class Row:
    """One rated answer; of a pair the chosen one stands before the rejected."""

    prompt: str
    completion: str
    desirable: bool = True
    group: int = 0
    weight: float = 1.0
    score: float | None = None


def thumbs(
    count: int, *, seed: int = 0, per_prompt: int = 1, desirable: Sequence[bool] = (True, False), system: str = ""
) -> list[Row]:
    """Random short rows; `desirable` is repeated over them, each prompt has `per_prompt` answers and begins alike."""
    rng = np.random.default_rng(seed)
    prompts = [system + _text(rng, 2, 9) for _ in range(count)]
    return [
        Row(prompts[i // per_prompt], _text(rng, 1, 14), desirable[i % len(desirable)], i // per_prompt)
        for i in range(count)
    ]


def pairs(count: int, *, seed: int = 0) -> list[Row]:
    """Random short pairs."""
    return thumbs(2 * count, seed=seed, per_prompt=2)


def rows_for(loss: Loss[Any], count: int, *, seed: int = 0) -> list[Row]:
    """`count` examples such as the loss wants."""
    if loss.needs.pairs:
        return pairs(count, seed=seed)
    rows = thumbs(count, seed=seed, desirable=(True, False) if loss.needs.undesirable else (True,))
    if loss.needs.control is not None:
        good, bad = loss.needs.control
        rows = [replace(row, prompt=row.prompt + (good if row.desirable else bad)) for row in rows]
    if loss.needs.scores:
        low, high = loss.needs.score_range or (-1.0, 1.0)
        places = np.random.default_rng(seed).uniform(0, 0.5, count) + [0.5 * row.desirable for row in rows]
        rows = [replace(row, score=low + (high - low) * place) for row, place in zip(rows, places, strict=True)]
    return rows


def write_store(folder: Path, rows: Sequence[Row], *, paired: bool = False, max_length: int = 64) -> TokenStore:
    """These rows encoded by the byte tokenizer, without a chat template; row i comes from line i + 1."""
    encoder = make_encoder(byte_tokenizer(chat_template=None), max_length=max_length)
    with TokenStoreWriter(folder, paired=paired) as writer:
        for i, encoded in enumerate(encoder.encode([(row.prompt, row.completion, ()) for row in rows])):
            assert isinstance(encoded, Encoded)
            row = rows[i]
            by_label = 1.0 if row.desirable else -1.0
            score = by_label if row.score is None else row.score
            fields = {"desirable": row.desirable, "group": row.group, "weight": row.weight, "score": score}
            writer.append(encoded, **fields, source="feedback.jsonl", line=i + 1)
    return TokenStore(folder)


def make_store(folder: Path, loss: Loss[Any], count: int, *, seed: int = 0) -> TokenStore:
    """A store of `count` random examples for this loss."""
    return write_store(folder, rows_for(loss, count, seed=seed), paired=loss.needs.pairs)


def policy_for(
    loss: Loss[Any], *, lora: LoRA | None = None, kind: str = "llama", dtype: torch.dtype = torch.float32
) -> Policy:
    """A tiny policy that is still its reference."""
    needs = loss.needs
    synced = needs.sync_every is not None
    model = tiny_model(kind, dtype=dtype)
    return make_policy(
        model,
        lora=lora,
        reference=needs.any_reference,
        seed=0,
        synced=synced,
        values=needs.values,
        rewards=needs.rewards,
    )


def disturb(policy: Policy, *, seed: int = 1, by: float = 0.02) -> Policy:
    """Move every trainable weight, as training would."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in policy.trainable().values():
            weight.add_(torch.randn(weight.shape, generator=generator).to(weight.dtype), alpha=by)
    return policy


def let_layouts_round(patch: pytest.MonkeyPatch, *, by: float = 1e-3) -> None:
    """Make a model's numbers depend on how many tokens share a pass, as products of bfloat16 do on some processors."""
    original = Scorer.states

    def rounded(self: Scorer, packed: Packed, prefix_cache: PrefixCache | None = None) -> Tensor:
        return original(self, packed, prefix_cache) * (1 + by * packed.num_tokens)

    patch.setattr(Scorer, "states", rounded)


def make_stepper(
    policy: Policy,
    loss: Loss[Any],
    store: TokenStore,
    *,
    budget: int = 10_000,
    most: int | None = None,
    ranks: Ranks = ALONE,
    cache: ReferenceCache | None = None,
    reuse_prompt_cache: bool = True,
) -> Stepper:
    """A stepper as the trainer makes it."""
    reference: ReferenceSource | None = None
    if loss.needs.reference_tokens:
        reference = ReferenceTokens(policy.reference_logps, budget, policy.device)
    elif loss.needs.any_reference:
        reference = ReferenceTotals(policy.reference_logps, cache, budget, policy.device)
    return Stepper(
        policy=policy,
        loss=loss,
        store=store,
        ranks=ranks,
        reference=reference,
        max_tokens=budget,
        max_examples=most,
        reuse_prompt_cache=reuse_prompt_cache,
    )


def make_job(
    run_dir: Path,
    loss: Loss[Any],
    *,
    train: TokenStore,
    policy: Policy | None = None,
    settings: TrainSettings | None = None,
    **fields: Any,
) -> TrainJob:
    """A job with everything filled in that a test does not care about."""
    run_dir.mkdir(parents=True, exist_ok=True)
    defaults: dict[str, Any] = {
        "validation": None,
        "identity": {"data": train.fingerprint},
        "ranks": ALONE,
        "cache": None,
        "measure": lambda _, __: {},
        "stop": lambda: False,
    }
    return TrainJob(
        policy=policy or policy_for(loss),
        loss=loss,
        train=train,
        settings=settings or TrainSettings(lr=1e-3, batch_size=4, epochs=1),
        run_dir=run_dir,
        **defaults | fields,
    )


def _text(rng: np.random.Generator, shortest: int, longest: int) -> str:
    letters = rng.integers(ord("a"), ord("z") + 1, rng.integers(shortest, longest + 1))
    return "".join(map(chr, letters))
