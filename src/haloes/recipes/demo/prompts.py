"""The demo's prompts: 400 everyday questions in twenty topics, of which five a topic are held out."""

import json
from importlib.resources import files
from typing import Literal

Split = Literal["train", "held_out"]


def demo_prompts(split: Split) -> dict[str, str]:
    """Prompt id to prompt, in the order of the file; `split` is "train" (300) or "held_out" (100)."""
    lines = files(__package__).joinpath("prompts.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    return {row["id"]: row["prompt"] for row in rows if row["split"] == split}
