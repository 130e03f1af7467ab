"""The packed log-probabilities and gradients in the compute dtype, against a plain padded forward in float32."""

import copy
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from benchmarks.gpu.cases import Case, Plan, make_model, write_rows
from benchmarks.gpu.found import Found, forget_peak
from torch import Tensor

from haloes.batches.collate import packed_rows
from haloes.models.packing_check import make_scorer
from haloes.tokens.store import TokenRow

ROWS = 4
GRADIENTS_UP_TO = 2e8
"""Parameters of a model whose gradients are compared too."""


def exactness(case: Case, plan: Plan) -> Found:
    """Measure how far haloes' log-probabilities are off, beside what the dtype alone does to a padded forward."""
    forget_peak(plan.device)
    with TemporaryDirectory() as folder:
        store = write_rows(Path(folder) / "rows", case, plan)
        rows = [store.read(i) for i in range(ROWS)]
        model = make_model(plan.size(case), dtype=plan.dtype, device=plan.device)
        true_model = copy.deepcopy(model).float()
        with torch.set_grad_enabled(sum(p.numel() for p in model.parameters()) <= GRADIENTS_UP_TO):
            true = padded_logps(true_model, rows, plan.device)
            coarse = padded_logps(model, rows, plan.device)
            found = {"tokens": len(true), **_off("padded", coarse, true)}
            true_gradients = _gradients(true_model, true)
            found |= _gradient_error("padded", _gradients(model, coarse), true_gradients)
            scorer, unpacked = make_scorer(model)
            packed = scorer.token_logps(packed_rows(rows, plan.device))
            found |= _off("packed", packed, true)
            found |= _gradient_error("packed", _gradients(model, packed), true_gradients)
    found |= {"attention": scorer.attention, "why no kernel": scorer.no_kernel_because, "unpacked because": unpacked}
    return Found(side="exactness", case=case.name, settings=found)


def padded_logps(model: Any, rows: list[TokenRow], device: torch.device) -> Tensor:
    """Return log p of every completion token from the logits of one padded batch, in float32."""
    whole = [torch.tensor([*row.prompt, *row.completion]) for row in rows]
    ids = torch.nn.utils.rnn.pad_sequence(whole, batch_first=True).to(device)
    mask = torch.nn.utils.rnn.pad_sequence([torch.ones(len(one)) for one in whole], batch_first=True).long().to(device)
    logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
    found = []
    for i, row in enumerate(rows):
        first, last = len(row.prompt) - 1, len(whole[i]) - 1
        logps = torch.log_softmax(logits[i, first:last].float(), dim=-1)
        found.append(logps.gather(1, ids[i, first + 1 : last + 1, None]).squeeze(1))
    return torch.cat(found)


def _off(name: str, found: Tensor, true: Tensor) -> dict[str, float]:
    off = (found.detach().float() - true.detach()).abs()
    return {f"{name}: mean nats off": float(off.mean()), f"{name}: most nats off": float(off.max())}


def _gradients(model: Any, logps: Tensor) -> Tensor | None:
    """Return the gradient of the log-probabilities' sum, all weights end to end."""
    if not logps.requires_grad:
        return None
    parts = torch.autograd.grad(logps.sum(), list(model.parameters()), retain_graph=False)
    return torch.cat([part.float().flatten() for part in parts])


def _gradient_error(name: str, found: Tensor | None, true: Tensor | None) -> dict[str, float]:
    if found is None or true is None:
        return {}
    return {f"{name}: gradient's relative error": float((found - true).norm() / true.norm())}
