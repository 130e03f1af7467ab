"""What the tests of recipes and commands share: a tiny model on disk, feedback files, and runs of a second."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fakes import byte_tokenizer, tiny_model
from haloes.models.quiet import quiet
from haloes.runs.align import Run, align
from haloes.runs.config import RunConfig
from haloes.runs.config_layers import make_config

TIMING = {"tokens_per_second", "memory_gib"}
"""What in a line of the metrics is not the same in two equal runs."""


def save_model(folder: Path, kind: str = "llama", **fields: Any) -> Path:
    """A tiny random model with the byte tokenizer, in the layout of transformers."""
    with quiet():
        tiny_model(kind, **fields).save_pretrained(folder)
        byte_tokenizer().save_pretrained(folder)
    return folder


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    """Rows as JSONL."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def thumbs(num_prompts: int = 16) -> list[dict[str, Any]]:
    """Two rated answers to each prompt: what is liked says yes, and what is not says no."""
    return [
        {"prompt": f"Is {i} it?", "completion": answer, "label": liked}
        for i in range(num_prompts)
        for answer, liked in ((f"yes yes {i}", True), (f"no no {i}", False))
    ]


def pairs(num_prompts: int = 16) -> list[dict[str, Any]]:
    """The same as pairs."""
    return [{"prompt": f"Is {i} it?", "chosen": f"yes yes {i}", "rejected": f"no no {i}"} for i in range(num_prompts)]


def settings(model: Path, source: Path, /, **sections: Mapping[str, Any] | None) -> dict[str, Any]:
    """The settings of a run that takes a second; whole keys of its sections can be replaced."""
    base: dict[str, Any] = {
        "feedback": {"source": str(source), "validation_share": 0.25},
        "model": {"name": str(model), "dtype": "float32", "lora": {"rank": 4, "alpha": 8.0}},
        "train": {"lr": 1e-2, "batch_size": 8, "epochs": 1.0, "checkpoint_every": 1},
        "samples": {"prompts": 2, "max_new_tokens": 4},
        "tokens": {"max_length": 256},
    }
    for name, section in sections.items():
        base[name] = {**base.get(name, {}), **(section or {})}
    return base


def config(model: Path, source: Path, /, **sections: Mapping[str, Any] | None) -> RunConfig:
    """`settings` as a configuration."""
    return make_config(settings(model, source, **sections))


def flags(model: Path, /, **extra: str) -> list[str]:
    """The settings as arguments of the command line; `extra` are further ones, with __ for a dot."""
    known = {
        "model.dtype": "float32",
        "model.lora.rank": "4",
        "train.lr": "1e-2",
        "train.batch_size": "8",
        "train.epochs": "1",
        "train.checkpoint_every": "1",
        "samples.prompts": "2",
        "samples.max_new_tokens": "4",
        "tokens.max_length": "256",
        "feedback.validation_share": "0.25",
    }
    known |= {name.replace("__", "."): value for name, value in extra.items()}
    return ["--model", str(model), *(part for name, value in known.items() for part in ("--set", f"{name}={value}"))]


def rows_of(path: Path) -> list[dict[str, Any]]:
    """A JSONL file of a run folder."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def metrics(run_dir: Path, split: str = "train", *, timing: bool = False) -> list[dict[str, Any]]:
    """The lines of the metrics; without what two equal runs differ in, unless asked for."""
    lines = [line for line in rows_of(run_dir / "metrics.jsonl") if line["split"] == split]
    return lines if timing else [{key: line[key] for key in line if key not in TIMING} for line in lines]


def warnings_of(run_dir: Path) -> str:
    """All warnings of a run."""
    return "\n".join(item["message"] for item in json.loads((run_dir / "warnings.json").read_text()))


class Crash(Exception):
    """Something that kills a run and that no part of haloes knows."""


class CrashAt:
    """A progress display at which the run crashes: when a stage begins, or when the numbers of a step are out."""

    def __init__(
        self, *, stage: str | None = None, step: int | None = None, error: BaseException | None = None
    ) -> None:
        self._stage, self._step, self._error = stage, step, error or Crash()
        self.stages: list[str] = []

    def stage(self, name: str, total: int | None = None) -> None:
        self.stages.append(name)
        if name == self._stage:
            raise self._error

    def advance(self, count: int) -> None:
        pass

    def note(self, text: str) -> None:
        pass

    def on_start(self, *, step: int, num_steps: int) -> None:
        self.stages.append(f"training from {step} of {num_steps}")

    def on_metrics(self, numbers: Mapping[str, Any]) -> None:
        if numbers["split"] == "train" and numbers["step"] == self._step:
            raise self._error


def crash(cfg: RunConfig, run_dir: Path, *, step: int, resume: bool = False) -> None:
    """Begin or go on with a run that crashes after the weights of this step changed and before they are saved."""
    try:
        align(cfg, run_dir, resume=resume, progress=CrashAt(step=step))
    except Crash:
        return
    raise AssertionError("the run did not come to that step")


def same_result(one: Run, other: Run, *, files: Sequence[str] = ()) -> bool:
    """Whether two runs left the same: model and answers byte for byte, and all numbers but those about speed."""
    names = ["samples.jsonl", "scores.jsonl", *files]
    weights = [next((run.run_dir / "model").glob("*.safetensors")) for run in (one, other)]
    same_bytes = all((one.run_dir / name).read_bytes() == (other.run_dir / name).read_bytes() for name in names)
    return (
        same_bytes
        and weights[0].name == weights[1].name
        and weights[0].read_bytes() == weights[1].read_bytes()
        and all(metrics(one.run_dir, split) == metrics(other.run_dir, split) for split in ("train", "validation"))
    )
