"""
Token by token: one batch of prompts through a model with a key-value cache, where that gives what the model says.

`choose_way` tries it: an architecture may keep a cache of another kind, may let the padding of a batch into its state,
or may know no cache at all. Then answers come from its own kind of cache, one at a time, or from the whole text again
for each token, which is slow and always right.
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

from haloes.models.architecture import forget_lengths
from haloes.models.own_logits import FAILURES, own_distributions, text_ids, tolerance
from haloes.models.quiet import quiet
from haloes.sampling._contract import Advance, ignore_parts

Choose: TypeAlias = Callable[[Tensor, list[int], int], Tensor]
"""The next token from (logits (B, V), the B rows they belong to, how many new tokens each has), (B,)."""


@dataclass(frozen=True, slots=True)
class Way:
    """How prompts go through a model, token by token."""

    cache: Literal["dynamic", "own", "none"] = "dynamic"
    """The cache of transformers; the one that the model itself makes; or all tokens again for each new one."""
    together: bool = True
    """Whether several prompts go through it at once, padded on the left."""


WAYS = (Way(), Way("own"), Way("own", together=False), Way("none", together=False))
"""From fast to slow; the last one is what scoring does."""


def choose_way(model: Any) -> Way:
    """Return the fastest way whose log-probabilities are the model's own, by two short random prompts."""
    generator = torch.Generator().manual_seed(0)
    words = text_ids(model)
    rows = [words[torch.randint(0, len(words), (n,), generator=generator)].tolist() for n in (12, 7)]
    expected = [own_distributions(model, torch.tensor(row, device=model.device)) for row in rows]
    return next((way for way in WAYS[:-1] if _apart(model, way, rows, expected) <= tolerance(model)), WAYS[-1])


def _apart(model: Any, way: Way, rows: list[list[int]], expected: list[Tensor]) -> float:
    """Return by how many nats the log-probabilities of these rows' last tokens differ when they are decoded so."""
    # The second row is over first, so that a row leaves the batch.
    limits = [4, 2]
    worst = 0.0
    try:
        for members in [[0, 1]] if way.together else [[0], [1]]:

            def choose(logits_BV: Tensor, batch: list[int], step: int, members: list[int] = members) -> Tensor:
                nonlocal worst
                for logits_V, i in zip(logits_BV, (members[row] for row in batch), strict=True):
                    place = len(rows[i]) - limits[i] + step - 1
                    difference = torch.log_softmax(logits_V.float(), dim=-1) - expected[i][place]
                    apart = float(difference.abs().max())
                    worst = apart if apart > worst or apart != apart else worst  # noqa: PLR0124 - NaN
                nexts = [rows[i][len(rows[i]) - limits[i] + step] for i in (members[row] for row in batch)]
                return torch.tensor(nexts, device=logits_BV.device)

            decode(
                model,
                [rows[i][: -limits[i]] for i in members],
                limits=[limits[i] for i in members],
                ends=frozenset(),
                choose=choose,
                way=way,
            )
    except FAILURES:
        return float("inf")
    return worst


def decode(
    model: Any,
    prompts: Sequence[Sequence[int]],
    *,
    limits: Sequence[int],
    ends: frozenset[int],
    choose: Choose,
    way: Way = WAYS[0],
    renew: Callable[[int], bool] = lambda _: False,
    advance: Advance = ignore_parts,
) -> list[list[int]]:
    """
    Continue each prompt until it ends its turn or reaches its limit.

    The prompts are padded on the left, so that all next tokens stand in one column; positions are counted from each
    prompt's own start. A row that is done leaves the batch at once.

    Args:
        model: a transformers causal language model, or a peft model around one, in eval mode.
        prompts: token ids, none empty; a single one where the way is not `together`, or the cache may be renewed.
        limits: most new tokens of each row, at least 1.
        ends: ids that end a turn.
        choose: picks the next tokens.
        way: how they go through the model; see `choose_way`.
        renew: whether a text of so many tokens needs keys of its own, those of a shorter one being others.
        advance: told after each token which further part of the answers is done; one that ends early is done.

    Returns:
        The new ids of each prompt, the one that ended the turn included.
    """
    answers: list[list[int]] = [[] for _ in prompts]
    told = 0.0
    rows = list(range(len(prompts)))
    ids_BT, mask_BT = _left_padded(prompts, model.device)
    cache = _Cache(model, way)
    with torch.no_grad():
        for step in range(max(limits)):
            # Padding has no position of its own; cached tokens have theirs already, so only the new columns are given.
            position_BT = (mask_BT.cumsum(dim=-1) - 1).clamp(min=0)[:, -ids_BT.shape[1] :]
            token_B = choose(cache.logits(ids_BT, position_BT, mask_BT), rows, step)
            for row, token in zip(rows, token_B.tolist(), strict=True):
                answers[row].append(token)
            going = [
                i for i, row in enumerate(rows) if answers[row][-1] not in ends and len(answers[row]) < limits[row]
            ]
            done = len(prompts) - sum(1 - len(answers[rows[i]]) / limits[rows[i]] for i in going)
            advance(done - told)
            told = done
            if not going:
                break
            # A finished row would cost as much as a growing one until the longest answer of the batch ends.
            if len(going) < len(rows):
                keep = torch.tensor(going, device=token_B.device)
                cache.keep(keep)
                token_B, mask_BT, rows = token_B[keep], mask_BT[keep], [rows[i] for i in going]
            # From here on one new token a row: the cache holds everything before it.
            ids_BT = token_B[:, None]
            mask_BT = torch.cat([mask_BT, mask_BT.new_ones((len(rows), 1))], dim=1)
            if way.cache == "none" or renew(mask_BT.shape[1]):
                ids_BT, mask_BT = _left_padded([[*prompts[rows[0]], *answers[rows[0]]]], model.device)
                cache = _Cache(model, way)
    return answers


class _Cache:
    """A model with what it has read of a batch so far."""

    def __init__(self, model: Any, way: Way) -> None:
        from transformers import DynamicCache

        self._model, self._way = model, way
        self._accepted = _accepted(model)
        self._kept: dict[str, Any] = {}
        # The positions of an earlier, longer text are not this batch's.
        forget_lengths(model)
        if way.cache == "dynamic":
            self._kept["past_key_values"] = DynamicCache(config=model.config)

    def logits(self, ids_BT: Tensor, position_BT: Tensor, mask_BT: Tensor) -> Tensor:
        """Return the logits of the next token of each row, (B, V), after these tokens and those before them."""
        # Logits of the last position only: those of a long prompt are larger than the model.
        inputs = {"position_ids": position_BT, "logits_to_keep": 1, "attention_mask": mask_BT}
        if not self._way.together:
            del inputs["attention_mask"]
        output = self._model(
            input_ids=ids_BT,
            use_cache=self._way.cache != "none",
            **self._kept,
            **{name: value for name, value in inputs.items() if name in self._accepted},
        )
        if self._way.cache == "own":
            states = {"past_key_values", "cache_params", "state", "mems", "past_buckets_states"} & self._accepted
            self._kept = {name: output[name] for name in sorted(states) if output.get(name) is not None}
            if not self._kept:
                raise NotImplementedError("the model returns no cache")
        logits_BV: Tensor = output.logits[:, -1]
        return logits_BV

    def keep(self, rows: Tensor) -> None:
        """Forget all rows of the batch but these."""
        for cache in self._kept.values():
            cache.reorder_cache(rows)


def _left_padded(prompts: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    longest = max(len(prompt) for prompt in prompts)
    ids_BT = torch.zeros((len(prompts), longest), dtype=torch.long)
    mask_BT = torch.zeros((len(prompts), longest), dtype=torch.long)
    for row, prompt in enumerate(prompts):
        ids_BT[row, longest - len(prompt) :] = torch.tensor(prompt, dtype=torch.long)
        mask_BT[row, longest - len(prompt) :] = 1
    return ids_BT.to(device), mask_BT.to(device)


def _accepted(model: Any) -> frozenset[str]:
    """Return the arguments of the model's own forward: not every architecture takes positions, or trims its logits."""
    with quiet():  # peft imports bitsandbytes, which may log that it lacks a package nobody needs
        from peft import PeftModel

    inner = model.get_base_model() if isinstance(model, PeftModel) else model
    return frozenset(inspect.signature(inner.forward).parameters)
