"""What becomes of every architecture, tried: the sweep's source, and that of docs/models.md."""

import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from fakes import byte_tokenizer
from haloes.errors import UserError
from haloes.losses.kto import KTO
from haloes.models.adapters import LoRA
from haloes.models.load import load_model
from haloes.models.quiet import quiet
from haloes.runs.load_policy import trainable_policy
from haloes.runs.measure_and_save import save_model
from haloes.sampling.decode import Way, choose_way
from haloes.sampling.generate import sample
from haloes.tokens.template import make_template
from haloes.training.microbatch_size import choose_budget
from haloes.training.settings import TrainSettings
from haloes.training.trainer import train
from tiny_architectures import KINDS, tiny_architecture
from tiny_runs import rows_of
from training_jobs import make_job, thumbs, write_store

PACKED, PADDED, ALONE, REFUSED, UNTRIED = "packed", "padded", "one by one", "refused", "not tried"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What becomes of an architecture."""

    scored: str
    why: str = ""
    """Why it is not packed, refused or not tried."""
    answers: str = ""
    """How it is sampled from."""
    losses: tuple[float, ...] = ()
    """KTO's loss of the first step, with small and with large micro-batches."""
    answered: tuple[str, ...] = ()
    """The same prompts' answers of the trained model, and of it saved and loaded again."""


def try_architecture(kind: str, folder: Path, *, lora: bool = True) -> Outcome:
    """Train a tiny model of this kind for one step of KTO, save it, load it again, and let it answer."""
    try:
        with quiet():
            tiny_architecture(kind).save_pretrained(folder / "base")
            byte_tokenizer().save_pretrained(folder / "base")
    except Exception as error:  # noqa: BLE001 - a config may refuse its sizes in any way
        return Outcome(UNTRIED, f"no tiny model of it can be made: {' '.join(str(error).split())[:90]}")
    losses = []
    try:
        for budget in (64, 4096):
            loaded = load_model(str(folder / "base"), dtype=torch.float32, device="cpu")
            adapter = LoRA(rank=4) if lora else None
            policy = trainable_policy(loaded.model, KTO().needs, lora=adapter, seed=0, reference=True)
            choose_budget(policy, TrainSettings(), free=2**30)
            losses.append(_first_loss(policy, folder / f"{budget}", budget))
        answered = _answers(policy.model, loaded.tokenizer)
        save_model(policy, make_template(loaded.tokenizer), folder / "model")
        again = load_model(str(folder / "model"), dtype=torch.float32, device="cpu")
    except UserError as error:
        return Outcome(REFUSED, str(error).replace(f"{folder / 'base'}", "model"), losses=tuple(losses))
    scorer = policy.scorer
    scored = PACKED if scorer.packs else ALONE if scorer.alone_above == 0 else PADDED
    return Outcome(
        scored,
        policy.unpacked_because or "",
        _describe(choose_way(again.model)),
        tuple(losses),
        (answered, _answers(again.model, again.tokenizer)),
    )


def _first_loss(policy: Any, folder: Path, budget: int) -> float:
    rows = [*thumbs(6, system="a common beginning of all prompts: "), *thumbs(2)]
    store = write_store(folder / "rows", rows)
    settings = TrainSettings(lr=1e-2, batch_size=8, epochs=1, microbatch_tokens=budget)
    train(make_job(folder / "run", KTO(), train=store, policy=policy, settings=settings), [])
    loss: float = rows_of(folder / "run" / "metrics.jsonl")[0]["loss"]
    return loss


def _answers(model: Any, tokenizer: Any) -> str:
    prompts = {"a": "Is it?", "b": "Yes or no, which of the two is it?"}
    return " | ".join(completion.completion for completion in sample(model, tokenizer, prompts, max_new_tokens=4))


def _describe(way: Way) -> str:
    if way.cache == "none":
        return "without a cache (slow)"
    return "with a cache" if way.together else "with a cache, one at a time"


# --- docs/models.md

_INTRODUCTION = """\
# Models

What haloes makes of every causal architecture that transformers {version} knows. A tiny random model of each kind is
trained for one step of KTO in float32, where the loss has to be 0.5 whatever the size of the micro-batches; then it is
saved, loaded again, and answers. `make docs` writes this page, and `make test-architectures` checks it.

How a model is scored is found out by trying it, when it is loaded, and not from this table:

- **packed**: sequences end to end, nothing padded, shared beginnings once. The fastest way.
- **padded**: an ordinary padded forward pass, for what mixes packed sequences (recurrent layers, convolutions) or has
  attention of a kind that does not know of them (sinks, chunks). The run's report says so.
- **one by one**: a forward pass for each sequence, where padding changes the result too.
- **refused**: in one line, before any work.

Whatever the kind: a sequence past a length that changes the positions of all before it (longrope of Phi-3 and Phi-4,
dynamic NTK), or past a threshold that is too long to be tried (chunked or sparse attention), goes through the model by
itself. Such answers are sampled one at a time, and the keys are computed anew where the positions change.

Before the first step of a run its model is saved, loaded again and answers in miniature, so that nothing of this is
found out after the training. "all-linear" adapters are put beside the linear layers of the text model: towers for
images and sounds are left alone, and so are those layers of Mamba whose weights its kernels read themselves.

{counts}

| model_type | class | scored | answers | why |
|---|---|---|---|---|
"""


def page() -> str:
    """docs/models.md: every kind tried, a row each."""
    outcomes = {}
    for kind in KINDS:
        with tempfile.TemporaryDirectory() as folder:
            outcomes[kind] = try_architecture(kind, Path(folder))
        sys.stderr.write(f"{kind} {outcomes[kind]}\n")
    counted = Counter(outcome.scored for outcome in outcomes.values())
    counts = ", ".join(f"{counted[how]} {how}" for how in (PACKED, PADDED, ALONE, REFUSED, UNTRIED))
    rows = "".join(row(kind, outcome) + "\n" for kind, outcome in outcomes.items())
    return _INTRODUCTION.format(version=transformers.__version__, counts=f"Of {len(KINDS)}: {counts}.") + rows


def row(kind: str, outcome: Outcome) -> str:
    """A row of the table; numbers that differ between processors are left out."""
    names = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[kind]
    name = names if isinstance(names, str) else names[0]
    return f"| {kind} | {name} | {outcome.scored} | {outcome.answers} | {_reason(outcome)} |"


def _reason(outcome: Outcome) -> str:
    why = outcome.why
    if outcome.scored == REFUSED:
        for begins, reason in _REFUSALS.items():
            if begins in why:
                return reason
    if outcome.scored in {REFUSED, UNTRIED} or not why:
        return why.replace("|", "\\|")
    if "with other neighbours" not in why:
        return "it cannot be called with packed sequences"
    return "attention of its own" if why.endswith("by 0 with other neighbours") else "mixes packed sequences"


_REFUSALS = {
    "its logits are not its output layer": "its logits are not its output layer applied to its hidden states",
    "with those after it": "not causal: a token sees those after it",
    "hidden states cannot be computed alone": "its output layer reads something else than its hidden states",
    "Unrecognized configuration class": "transformers does not load it as a causal language model",
    "it has no gradient": "no gradient comes through it",
}

if __name__ == "__main__":
    import warnings

    warnings.simplefilter("ignore")
    sys.stdout.write(page())
