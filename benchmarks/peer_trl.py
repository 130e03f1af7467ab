"""TRL's side of the comparison: one process, some steps of its KTOTrainer or DPOTrainer with the same model."""

import json
import time
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from benchmarks.piece import (
    BETA,
    LEARNING_RATE,
    LORA_LAYERS,
    LORA_RANK,
    MAX_GRAD_NORM,
    Found,
    Task,
    peak_gib,
    read_task,
    write,
)
from datasets import load_dataset
from peft import LoraConfig
from transformers import AutoTokenizer, TrainerCallback
from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer

ATTENTION = "sdpa"
WARM_UP_ROWS = 4


class Clock(TrainerCallback):
    """Notes how long each optimizer step took, its micro-batches together."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._began = 0.0

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self._began = time.perf_counter()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.seconds.append(time.perf_counter() - self._began)


class Timed:
    """Notes how long the reference's log-probabilities before training took."""

    precompute_seconds = 0.0

    def compute_ref_log_probs(self, *arguments: Any) -> Any:
        began = time.perf_counter()
        found = super().compute_ref_log_probs(*arguments)  # type: ignore[misc]
        self.precompute_seconds += time.perf_counter() - began
        return found


class TimedKTO(Timed, KTOTrainer):
    """TRL's trainer for single answers."""


class TimedDPO(Timed, DPOTrainer):
    """TRL's trainer for pairs."""


SIDES = {"kto": (KTOConfig, TimedKTO), "dpo": (DPOConfig, TimedDPO)}


def measure(task: Task) -> Found:
    """Train and time."""
    torch.set_num_threads(task.threads)
    with TemporaryDirectory() as out:
        trainer = make_trainer(task, out)
        warm_up(trainer)
        trainer.train()
    [clock] = [callback for callback in trainer.callback_handler.callbacks if isinstance(callback, Clock)]
    lengths = [_lengths(row) for row in trainer.train_dataset]
    return Found(
        seconds=clock.seconds,
        tokens=[sum(map(sum, lengths[i : i + task.batch_size])) for i in range(0, len(lengths), task.batch_size)],
        precompute_seconds=trainer.precompute_seconds,
        peak_gib=peak_gib(),
        dtype=task.dtype,
        settings={
            "attention": trainer.model.config._attn_implementation,  # noqa: SLF001 - there is no public name for it
            "optimizer": str(trainer.args.optim.value),
            "padding": round(_padding(lengths, task.micro_batch), 3),
        },
    )


def _lengths(row: dict[str, list[int]]) -> list[int]:
    """Tokens of each of an example's sequences."""
    answers = [name for name in ("completion_ids", "chosen_ids", "rejected_ids") if row.get(name) is not None]
    return [len(row["prompt_ids"]) + len(row[name]) for name in answers]


def make_trainer(task: Task, out: str) -> Any:
    """Make TRL's trainer on the task's rows, in their order."""
    facts = json.loads((Path(task.folder).parent / "facts.json").read_text())
    settings, trainer = SIDES[task.loss]
    config = settings(
        output_dir=out,
        max_steps=task.steps,
        per_device_train_batch_size=task.micro_batch,
        gradient_accumulation_steps=task.batch_size // task.micro_batch,
        precompute_ref_log_probs=task.precompute,
        beta=BETA,
        learning_rate=LEARNING_RATE,
        lr_scheduler_type="constant",
        max_grad_norm=MAX_GRAD_NORM,
        bf16=task.dtype == "autocast",
        model_init_kwargs={
            "dtype": "bfloat16" if task.dtype == "bfloat16" else "float32",
            "attn_implementation": ATTENTION,
        },
        gradient_checkpointing=False,
        max_length=None,
        use_cpu=True,
        dataloader_pin_memory=False,
        logging_strategy="no",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    # A data set in a file, not in memory: so TRL keeps what it precomputed and finds it again in its next run.
    rows = load_dataset(
        "json", data_files=f"{task.folder}/rows.jsonl", split="train", cache_dir=f"{task.folder}/datasets"
    )
    adapters = LoraConfig(
        r=LORA_RANK, lora_alpha=2 * LORA_RANK, target_modules=list(LORA_LAYERS), task_type="CAUSAL_LM"
    )
    return trainer(
        model=facts["model"],
        args=config,
        train_dataset=rows,
        processing_class=AutoTokenizer.from_pretrained(facts["tokenizer"]),
        callbacks=[Clock()],
        peft_config=adapters if task.lora else None,
    )


def warm_up(trainer: Any) -> None:
    """Run four rows forwards and backwards: what a library does only once is not what a step costs."""
    rows = [trainer.train_dataset[i] for i in range(min(WARM_UP_ROWS, len(trainer.train_dataset)))]
    with trainer.compute_loss_context_manager():
        loss = trainer.compute_loss(trainer.model, trainer.data_collator(rows))
    loss.backward()
    trainer.model.zero_grad(set_to_none=True)


def _padding(lengths: list[list[int]], micro_batch: int) -> float:
    """Return the share of the positions in TRL's micro-batches that hold no token."""
    parts = [[n for row in lengths[i : i + micro_batch] for n in row] for i in range(0, len(lengths), micro_batch)]
    return 1 - sum(map(sum, parts)) / sum(max(part) * len(part) for part in parts)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    task, path = read_task()
    write(measure(task), path)
