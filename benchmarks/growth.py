"""
How time and memory grow: with a sequence's length, the vocabulary, the answers to a prompt, and the rows of a file.

    python -m benchmarks.growth                 some minutes
    python -m benchmarks.growth --only length   or vocabulary, answers, rows

A small random Llama (4 blocks, width 256) takes one forward and backward pass a point, in a process of its own. What is
printed beside each doubling is how much time and memory above the start grew: 2 is a straight line. Attention's part
grows with the square of a sequence's length; everything else has to be a line or better.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"

ROOT = Path(__file__).parents[1]
AXES: dict[str, list[int]] = {
    "length": [128, 256, 512, 1024, 2048, 4096, 8192],
    "vocabulary": [32_000, 64_000, 128_000, 256_000],
    "answers": [1, 2, 4, 8],
    "rows": [1_000, 10_000, 100_000, 1_000_000],
}
WHAT = {
    "length": "tokens of one sequence, half of them the answer",
    "vocabulary": "of the model; 512 tokens, trained output layer",
    "answers": "to one prompt of 512 tokens, 64 tokens each, in one micro-batch",
    "rows": "of a JSONL file of thumbs: checked, split, tokenised, and planned up to the first step",
}


def step_of(axis: str, value: int) -> dict[str, float]:
    """Time a forward and backward pass, and measure the memory it adds."""
    import numpy as np
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from haloes.models.layout import make_packed
    from haloes.models.policy import make_policy

    torch.manual_seed(0)
    vocabulary = value if axis == "vocabulary" else 32_000
    prompt, answer, answers = 256, 256, 1
    if axis == "length":
        prompt = answer = value // 2
    if axis == "answers":
        prompt, answer, answers = 512, 64, value
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=256,
        intermediate_size=768,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=8192,
    )
    policy = make_policy(LlamaForCausalLM(config), lora=None, reference=False, seed=0)
    rng = np.random.default_rng(0)
    asked = rng.integers(0, vocabulary, prompt).astype(np.int32)
    rows = [
        (asked, rng.integers(0, vocabulary, answer).astype(np.int32), np.ones(answer, np.bool_)) for _ in range(answers)
    ]
    warm = make_packed([(asked[:64], rows[0][1][:16], rows[0][2][:16])], torch.device("cpu"))
    policy.token_logps(warm).sum().backward()
    start, seconds = peak(), []
    for _ in range(3):
        began = time.perf_counter()
        policy.token_logps(make_packed(rows, torch.device("cpu"))).sum().backward()
        seconds.append(time.perf_counter() - began)
    return {"seconds": sorted(seconds)[1], "mib": (peak() - start) / 2**20}


def rows_of(count: int) -> dict[str, float]:
    """Time the way from a file of `count` rows to the first step's examples."""
    from haloes.batches.schedule import Schedule
    from haloes.losses.kto import KTO
    from haloes.models.load import load_tokenizer
    from haloes.progress.contract import NullProgress
    from haloes.runs.config import FeedbackSettings
    from haloes.runs.data import encode_feedback
    from haloes.tokens.encode import make_encoder

    encoder = make_encoder(load_tokenizer("embedded"), max_length=512)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "thumbs.jsonl"
        with path.open("w", encoding="utf-8") as file:
            for i in range(count):
                row = {"prompt": f"Question {i // 3} about rivers and bridges?", "completion": f"Answer {i}. " * 8}
                file.write(json.dumps(row | {"label": i % 3 == 0}) + "\n")
        start, began = peak(), time.perf_counter()
        store = encode_feedback(
            FeedbackSettings(source=str(path)),
            needs=KTO().needs,
            encoder=encoder,
            folder=Path(folder),
            num_prompts=0,
            progress=NullProgress(),
        ).train
        schedule = Schedule(
            fingerprint=store.fingerprint,
            desirable=store.desirable,
            group=store.group,
            batch_size=32,
            epochs=1,
            seed=0,
            mismatched=True,
        )
        store.read(int(schedule.step(0).examples[0]))
        seconds = time.perf_counter() - began
    return {"seconds": seconds, "mib": (peak() - start) / 2**20}


def peak() -> int:
    """Return the most memory that this process ever had resident, in bytes."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def measure(axis: str) -> list[dict[str, Any]]:
    """Measure all points of an axis, each in a process of its own."""
    found: list[dict[str, Any]] = []
    print(f"{axis}: {WHAT[axis]}")
    print(f"  {'':>9}{'seconds':>10}{'x':>6}{'MiB':>9}{'x':>6}")
    for value in AXES[axis]:
        command = [sys.executable, "-m", "benchmarks.growth", "--point", axis, str(value)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-4000:]}")
        point = {"value": value, **json.loads(done.stdout.splitlines()[-1])}
        last = found[-1] if found else None
        grown = [f"{point[key] / last[key]:6.1f}" if last and last[key] > 0 else " " * 6 for key in ("seconds", "mib")]
        print(f"  {value:>9}{point['seconds']:>10.3f}{grown[0]}{point['mib']:>9.0f}{grown[1]}", flush=True)
        found.append(point)
    return found


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(AXES), default=list(AXES))
    parser.add_argument("--json", type=Path, help="write the numbers here as well")
    parser.add_argument("--point", nargs=2, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.point:
        axis, value = chosen.point[0], int(chosen.point[1])
        print(json.dumps(rows_of(value) if axis == "rows" else step_of(axis, value)))
        return
    found = {axis: measure(axis) for axis in chosen.only}
    if chosen.json:
        chosen.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
