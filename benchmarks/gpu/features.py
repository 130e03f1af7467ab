"""What only a GPU can show of haloes' parts: kernels for attention, offload, 8-bit moments, four-bit weights."""

import importlib.util
import json
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from benchmarks.gpu.cases import Case, Plan, make_model, make_tokenizer, write_rows
from benchmarks.gpu.found import Found, forget_peak, noted, peak_gib, write
from benchmarks.gpu.ours import measure

from haloes.batches.collate import packed_rows
from haloes.errors import ConfigError
from haloes.models.adapters import LoRA
from haloes.models.attention import packed_attention
from haloes.models.kernels import Heads, attend, candidates, fault_of
from haloes.models.load import load_model
from haloes.models.offload import offloaded
from haloes.models.packing_check import make_scorer
from haloes.models.policy import make_policy
from haloes.models.quantize import check_quantization
from haloes.models.varlen import make_varlen
from haloes.training.optimizer import check_optimizer
from haloes.training.settings import TrainSettings

REPEATS = 10


def kernels(case: Case, plan: Plan) -> Found:
    """Find whether each kernel proves right, and time it forwards and backwards beside one call a piece."""
    size = plan.size(case)
    heads = Heads(size.heads, size.key_heads, size.width // size.heads)
    piece_lengths = [512, *[384] * 8, 300, 700, 64] if not plan.dry else [16, 9, 9, 5]
    prefix_pieces: list[list[int]] = [[], *[[0]] * (len(piece_lengths) - 4), [], [], []]
    prefix_pieces = prefix_pieces[: len(piece_lengths)]
    counts = (heads.queries, heads.keys, heads.keys)
    inputs = [
        torch.randn(1, n, sum(piece_lengths), heads.size, device=plan.device, dtype=plan.dtype, requires_grad=True)
        for n in counts
    ]
    module = SimpleNamespace(num_key_value_groups=heads.queries // heads.keys, is_causal=True)
    varlen = make_varlen(piece_lengths, prefix_pieces, plan.device)

    def pieces() -> torch.Tensor:
        return packed_attention(
            module, *inputs, None, haloes_piece_lengths=piece_lengths, haloes_prefix_pieces=prefix_pieces
        )[0]  # type: ignore[arg-type]

    found: dict[str, Any] = {"one call a piece, ms": _milliseconds(pieces, inputs, plan)}
    for kernel in candidates() if not plan.dry else []:
        fault = fault_of(kernel, heads, dtype=plan.dtype, device=plan.device)
        if fault is None:
            run = partial(attend, kernel, *inputs, varlen, scaling=None, window=None)
            found[f"{kernel.name}, ms"] = _milliseconds(run, inputs, plan)
        else:
            found[kernel.name] = fault
    return Found(side="kernels", case=case.name, settings=found)


def _milliseconds(run: Callable[[], torch.Tensor], inputs: list[torch.Tensor], plan: Plan) -> float:
    direction = torch.ones_like(run())
    began = 0.0
    for i in range(REPEATS + 1):
        if i == 1:
            began = _now(plan)
        torch.autograd.grad(run(), inputs, direction)
    return 1000 * (_now(plan) - began) / REPEATS


def offload(case: Case, plan: Plan) -> Found:
    """Check that gradients with activations in host memory are those without; measure what that costs and saves."""
    found: dict[str, Any] = {}
    gradients = {}
    with TemporaryDirectory() as folder:
        store = write_rows(Path(folder) / "rows", case, plan)
        packed = packed_rows([store.read(i) for i in range(min(8, len(store)))], plan.device)
        model = make_model(plan.size(case), dtype=plan.dtype, device=plan.device)
        scorer, _ = make_scorer(model)
        for way in ("kept", "offloaded"):
            for counted in (False, True):
                forget_peak(plan.device)
                model.zero_grad()
                began = _now(plan)
                if way == "kept":
                    logps = scorer.token_logps(packed)
                else:
                    with offloaded(list(model.parameters())):
                        logps = scorer.token_logps(packed)
                logps.sum().backward()
                if counted:
                    found[f"{way}, seconds"] = _now(plan) - began
                    found[f"{way}, peak GiB"] = peak_gib(plan.device)
            gradients[way] = torch.cat([p.grad.flatten().cpu() for p in model.parameters() if p.grad is not None])
    error = (gradients["offloaded"].float() - gradients["kept"].float()).norm() / gradients["kept"].float().norm()
    found["relative difference of the gradients"] = float(error)
    return Found(side="offload", case=case.name, settings=found)


def eight_bits(case: Case, plan: Plan) -> Found:
    """Train with 8-bit moments."""
    check_optimizer(TrainSettings(optimizer="adamw8bit"), plan.device)
    found = measure(case, plan, liger=False, settings={"optimizer": "adamw8bit"})
    return Found(side="adamw8bit", case=case.name, seconds=found.seconds, tokens=found.tokens, peak_gib=found.peak_gib)


def four_bits(case: Case, plan: Plan) -> Found:
    """Load a model in four bits, measure what it takes, and take one step of its adapters."""
    check_quantization(plan.device)
    with TemporaryDirectory() as folder:
        place = Path(folder) / "model"
        make_model(plan.size(case), dtype=torch.bfloat16, device=plan.device).save_pretrained(place)
        make_tokenizer(plan.size(case)).save_pretrained(place)
        forget_peak(plan.device)
        loaded = load_model(str(place), dtype=torch.bfloat16, device=plan.device, four_bits=True).model
        weights = peak_gib(plan.device)
        policy = make_policy(loaded, lora=LoRA(), reference=True, seed=0)
        ids = np.arange(2, 200, dtype=np.int32)
        packed = packed_rows([SimpleNamespace(prompt=ids[:50], completion=ids[50:], trained=ids[50:] > 0)], plan.device)  # type: ignore[list-item]
        policy.token_logps(packed).sum().backward()
        same = bool(torch.equal(policy.token_logps(packed).detach(), policy.reference_logps(packed)))
    settings = {"GiB after loading": weights, "starts as its reference": same, "attention": policy.scorer.attention}
    return Found(side="QLoRA", case=case.name, peak_gib=peak_gib(plan.device), settings=settings)


def _now(plan: Plan) -> float:
    if plan.device.type == "cuda":
        torch.cuda.synchronize(plan.device)
    return time.perf_counter()


def main() -> None:
    """Run `python -m benchmarks.gpu.features SPEC OUT`."""
    spec, out = json.loads(sys.argv[1]), Path(sys.argv[2])
    plan, [case] = Plan(dry=spec["dry"]), [Case(**fields) for fields in spec["cases"]]
    works: dict[str, Callable[[Case, Plan], Found]] = {"kernels": kernels, "offload": offload}
    if importlib.util.find_spec("bitsandbytes") is not None:
        works |= {"adamw8bit": eight_bits, "QLoRA": four_bits}
    for side, work in works.items():
        if time.time() > spec["until"]:
            write(out, Found(side=side, case=case.name, error="no time was left"))
            continue
        noted(out, case, side, partial(_refusals, work, case, plan))


def _refusals(work: Callable[[Case, Plan], Found], case: Case, plan: Plan) -> Found:
    try:
        return work(case, plan)
    except ConfigError as error:
        return Found(side=work.__name__, case=case.name, error=str(error))


if __name__ == "__main__":
    main()
