"""
Runs of two processes that share the weights, one of which fails or is killed outside of the steps: a script, to fork.

    python tests/lost_ranks_script.py FOLDER

It leaves what the processes of each case said in `NAME.txt`, and their exit codes in `codes.json`.
"""

import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import peft  # noqa: F401 - once, and not in every process
import pytest
import torch
import torch.distributed.fsdp
import torch.distributed.tensor
from transformers.models.llama.modeling_llama import LlamaMLP

from forked_ranks import together
from haloes.cli.main import main as haloes
from haloes.models import sharded
from haloes.runs import align
from haloes.training import run_state
from tiny_runs import flags, save_model, thumbs, write_rows


@dataclass(frozen=True)
class Case:
    """What happens to one of the processes."""

    rank: int
    where: tuple[Any, str]
    """The module, and the function in it, in which it happens."""
    what: Callable[[], None]
    amid_a_layer: bool = True
    """In the second layer of the second pass in there; or as soon as it is there."""
    call: int = 1
    """In which call of the function."""


def _killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _failed() -> None:
    raise RuntimeError("no such kernel")


def _out_of_memory() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory")


ANSWERS, MEASURED = (align, "_answers_before"), (run_state, "from_main")
CASES = {
    "fails while it answers": Case(0, ANSWERS, _failed),
    "fails while the other one answers": Case(1, ANSWERS, _failed),
    "has no memory to answer": Case(0, ANSWERS, _out_of_memory),
    "fails while the divergence is measured": Case(0, MEASURED, _failed),
    "killed while the model is set up": Case(1, (sharded, "set_up"), _killed),
    "killed while it answers": Case(1, ANSWERS, _killed),
    "killed while it validates": Case(1, (run_state, "validate"), _killed),
    "killed while the model is saved": Case(1, (align, "_save"), _killed, amid_a_layer=False),
    "killed while answers after training are sampled": Case(1, (align, "on_main"), _killed, call=3),
}
"""Through `on_main` go the rehearsal, the answers before training, and those after it with all measurements."""


def carried_out(case: Case, command: Callable[[], object]) -> None:
    """Do the command as one of several processes, with what happens to one of them."""
    inside, calls, passes = [False], count(1), count()
    module, name = case.where
    original, layer = getattr(module, name), LlamaMLP.forward

    def entered(*arguments: Any, **named: Any) -> Any:
        if not case.amid_a_layer:
            case.what()
        inside[0] = next(calls) == case.call
        try:
            return original(*arguments, **named)
        finally:
            inside[0] = False

    def passed(self: LlamaMLP, x: torch.Tensor) -> torch.Tensor:
        if inside[0] and next(passes) == 3:  # there are two layers
            case.what()
        return layer(self, x)

    with pytest.MonkeyPatch.context() as patch:
        if int(os.environ["RANK"]) == case.rank:
            patch.setattr(module, name, entered)
            patch.setattr(LlamaMLP, "forward", passed)
        command()


def main(folder: Path) -> None:
    """Do each case."""
    model, rows = save_model(folder / "model"), write_rows(folder / "rows.jsonl", thumbs())
    codes = {}
    for name, case in CASES.items():
        changed = {"train__shard": "full", "train__kl_budget": "100", "train__microbatch_tokens": "64"}
        arguments = ["train", str(rows), "--out", str(folder / name), *flags(model, **changed)]
        codes[name] = together(partial(carried_out, case, partial(haloes, arguments)), 2, said=folder / f"{name}.txt")
    (folder / "codes.json").write_text(json.dumps(codes))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
