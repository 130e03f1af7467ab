"""Token by token: one batch of prompts through a model with a key-value cache."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

from haloes.models.quiet import quiet
from haloes.sampling._contract import Advance, ignore_parts

Choose: TypeAlias = Callable[[Tensor, list[int], int], Tensor]
"""The next token from (logits (B, V), the B rows they belong to, how many new tokens each has), (B,)."""


def decode(
    model: Any,
    prompts: Sequence[Sequence[int]],
    *,
    limits: Sequence[int],
    ends: frozenset[int],
    choose: Choose,
    advance: Advance = ignore_parts,
) -> list[list[int]]:
    """
    Continue each prompt until it ends its turn or reaches its limit.

    The prompts are padded on the left, so that all next tokens stand in one column; positions are counted from each
    prompt's own start. A row that is done leaves the batch at once.

    Args:
        model: a transformers causal language model, or a peft model around one, in eval mode.
        prompts: token ids, none empty.
        limits: most new tokens of each row, at least 1.
        ends: ids that end a turn.
        choose: picks the next tokens.
        advance: told after each token which further part of the answers is done; one that ends early is done.

    Returns:
        The new ids of each prompt, the one that ended the turn included.
    """
    from transformers import DynamicCache

    answers: list[list[int]] = [[] for _ in prompts]
    told = 0.0
    rows = list(range(len(prompts)))
    ids_BT, mask_BT = _left_padded(prompts, model.device)
    accepted = _accepted(model)
    cache = DynamicCache(config=model.config)
    with torch.no_grad():
        for step in range(max(limits)):
            # Padding has no position of its own; cached tokens have theirs already, so only the new columns are given.
            position_BT = (mask_BT.cumsum(dim=-1) - 1).clamp(min=0)[:, -ids_BT.shape[1] :]
            # Logits of the last position only: those of a long prompt are larger than the model.
            inputs = {"position_ids": position_BT, "logits_to_keep": 1}
            output = model(
                input_ids=ids_BT,
                attention_mask=mask_BT,
                past_key_values=cache,
                use_cache=True,
                **{name: value for name, value in inputs.items() if name in accepted},
            )
            token_B = choose(output.logits[:, -1], rows, step)
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
                cache.reorder_cache(keep)
                token_B, mask_BT, rows = token_B[keep], mask_BT[keep], [rows[i] for i in going]
            # From here on one new token a row: the cache holds everything before it.
            ids_BT = token_B[:, None]
            mask_BT = torch.cat([mask_BT, mask_BT.new_ones((len(rows), 1))], dim=1)
    return answers


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
