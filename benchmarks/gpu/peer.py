"""
TRL's side: one process for a model, its cases one after the other.

Its best settings: bfloat16, reference log-probabilities precomputed, flash attention where it is installed and sdpa
otherwise, Liger's layer kernels where they are installed, the largest micro-batch that fits, no gradient checkpointing
unless nothing fits without. With full tuning its weights are float32 under autocast, which is what haloes' numerics are
(float32 weights behind a bfloat16 model); the adapters' base is in bfloat16 on both sides.
"""

import importlib.util
import json
import sys
import time
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from benchmarks.gpu.cases import WARM_UP, Case, Plan, make_model, make_tokenizer, write_rows
from benchmarks.gpu.found import Found, first_that_fits, noted, peak_gib, write
from benchmarks.gpu.needed import needed
from benchmarks.piece import BETA, LEARNING_RATE, LORA_LAYERS, LORA_RANK, MAX_GRAD_NORM
from benchmarks.rows import schedule_of
from datasets import load_dataset
from peft import LoraConfig
from transformers import TrainerCallback
from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer

SIDES: dict[str, Any] = {"kto": (KTOConfig, KTOTrainer), "dpo": (DPOConfig, DPOTrainer)}


class Clock(TrainerCallback):
    """Notes how long each optimizer step took, and ends the training when the time is up."""

    def __init__(self, seconds: float, device: torch.device) -> None:
        self.seconds: list[float] = []
        self._limit, self._device = seconds, device
        self._until, self._began = 0.0, 0.0

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self._until = time.perf_counter() + self._limit

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self._began = self._now()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        del args, state
        now = self._now()
        self.seconds.append(now - self._began)
        control.should_training_stop |= len(self.seconds) > WARM_UP and now > self._until

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()


def measure(case: Case, plan: Plan, *, attention: str, liger: bool) -> Found:
    """Train and time, with the largest micro-batch that fits."""
    batch_size = plan.mix(case).batch_size
    micro = [batch_size >> k for k in range(batch_size.bit_length())]
    tries = [(size, False) for size in micro] + [(size, True) for size in micro[-3:]]
    with TemporaryDirectory() as folder:
        write_rows(Path(folder) / "rows", case, plan)

        def run(one: tuple[int, bool]) -> Found:
            return _train(case, plan, Path(folder), one, attention=attention, liger=liger)

        return first_that_fits(tries, run, plan.device)


def _train(case: Case, plan: Plan, folder: Path, one: tuple[int, bool], *, attention: str, liger: bool) -> Found:
    from haloes.tokens.store import TokenStore

    micro_batch, checkpointing = one
    size, mix = plan.size(case), plan.mix(case)
    dtype = torch.bfloat16 if size.lora and not plan.dry else torch.float32
    model = make_model(size, dtype=dtype, device=plan.device)
    model.set_attn_implementation(attention)
    settings, trainer_class = SIDES[case.loss]
    clock = Clock(case.seconds, plan.device)
    began = time.perf_counter()
    with TemporaryDirectory() as out:
        trainer = trainer_class(
            model=model,
            args=settings(
                output_dir=out,
                max_steps=WARM_UP + plan.steps,
                per_device_train_batch_size=micro_batch,
                gradient_accumulation_steps=mix.batch_size // micro_batch,
                precompute_ref_log_probs=True,
                beta=BETA,
                learning_rate=LEARNING_RATE,
                lr_scheduler_type="constant",
                max_grad_norm=MAX_GRAD_NORM,
                bf16=not plan.dry,
                use_cpu=plan.dry,
                use_liger_kernel=liger,
                gradient_checkpointing=checkpointing,
                max_length=None,
                dataloader_pin_memory=not plan.dry,
                logging_strategy="no",
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
            ),
            train_dataset=load_dataset(
                "json", data_files=f"{folder}/rows/rows.jsonl", split="train", cache_dir=f"{folder}/datasets"
            ),
            processing_class=make_tokenizer(size),
            callbacks=[clock],
            peft_config=_adapters() if size.lora else None,
        )
        if plan.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(plan.device)
        trainer.train()
    elapsed = time.perf_counter() - began
    store = TokenStore(folder / "rows" / "store")
    schedule = schedule_of(store, mix.batch_size, epochs=1)
    counted = range(WARM_UP, len(clock.seconds))
    lengths = [_tokens(row) for row in trainer.train_dataset]
    return Found(
        side="TRL",
        case=case.name,
        seconds=clock.seconds[WARM_UP:],
        tokens=[sum(lengths[i * mix.batch_size : (i + 1) * mix.batch_size]) for i in counted],
        needed=[needed(trainer.model, store, schedule.step(i), full=not size.lora) for i in counted],
        peak_gib=peak_gib(plan.device),
        settings={
            "micro-batch": micro_batch,
            "gradient_checkpointing": checkpointing,
            "attention": attention,
            "Liger layers": liger,
            "weights": str(dtype),
            "warm-up seconds": clock.seconds[:WARM_UP],
            "seconds beside the steps (tokenising, reference)": elapsed - sum(clock.seconds),
        },
    )


def _adapters() -> LoraConfig:
    return LoraConfig(r=LORA_RANK, lora_alpha=2 * LORA_RANK, target_modules=list(LORA_LAYERS), task_type="CAUSAL_LM")


def _tokens(row: dict[str, list[int]]) -> int:
    answers = [name for name in ("completion_ids", "chosen_ids", "rejected_ids") if row.get(name) is not None]
    return sum(len(row["prompt_ids"]) + len(row[name]) for name in answers)


def main() -> None:
    """Run `python -m benchmarks.gpu.peer SPEC OUT`: as benchmarks.gpu.ours."""
    warnings.simplefilter("ignore")
    spec, out = json.loads(sys.argv[1]), Path(sys.argv[2])
    plan = Plan(dry=spec["dry"])
    flash = importlib.util.find_spec("flash_attn") is not None and not plan.dry
    for case in (Case(**fields) for fields in spec["cases"]):
        if time.time() > spec["until"]:
            write(out, Found(side="TRL", case=case.name, error="no time was left"))
            continue
        attention = "flash_attention_2" if flash else "sdpa"

        def work(case: Case = case, attention: str = attention) -> Found:
            return measure(case, plan, attention=attention, liger=spec["liger"])

        noted(out, case, "TRL", work)


if __name__ == "__main__":
    main()
