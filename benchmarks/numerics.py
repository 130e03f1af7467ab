"""
How exact the fast paths are: log-probabilities, loss and gradients beside a plain padded float32 forward.

    python -m benchmarks.numerics            the embedded model, real prompts shared by several answers

The plain way is transformers' own forward on right-padded rows with its full logits, log-softmax and gather in
float32, and autograd through all of it; the loss is DPO's, written out. A fast path has to agree with it up to the
rounding of its dtype; how far it is off is printed in units that matter: nats, and the share of the gradient's norm.
"""

import argparse
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from benchmarks.cases import Case
from benchmarks.rows import prepare
from torch import Tensor

from haloes.models.layout import make_packed
from haloes.models.load import load_model
from haloes.models.policy import make_policy
from haloes.models.quiet import quiet
from haloes.tokens.store import TokenRow, TokenStore

BETA = 0.1


@dataclass(frozen=True, slots=True)
class Way:
    """One way to compute the same."""

    name: str
    dtype: torch.dtype = torch.float32
    share: bool = True
    checkpointing: bool = False


WAYS = (
    Way("packed, prompts shared"),
    Way("packed, nothing shared", share=False),
    Way("packed, activations recomputed", checkpointing=True),
    Way("packed, bfloat16", dtype=torch.bfloat16),
)


def plain(model: Any, rows: list[TokenRow]) -> Tensor:
    """Return log p of each row's completion, from full logits of padded rows."""
    ids = [torch.tensor([*row.prompt.tolist(), *row.completion.tolist()]) for row in rows]
    padded = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True)
    mask = torch.nn.utils.rnn.pad_sequence([torch.ones_like(row) for row in ids], batch_first=True)
    logits = model(input_ids=padded, attention_mask=mask).logits.float()
    logps = torch.log_softmax(logits[:, :-1], dim=-1).gather(2, padded[:, 1:, None]).squeeze(2)
    trained = torch.zeros_like(logps)
    for i, row in enumerate(rows):
        start = len(row.prompt) - 1
        trained[i, start : start + len(row.completion)] = torch.tensor(row.trained, dtype=logps.dtype)
    return (logps * trained).sum(dim=1)


def fast(way: Way, rows: list[TokenRow]) -> Callable[[Any], Tensor]:
    """Return a function from a policy to the same log-probabilities, by haloes' scorer."""
    packed = make_packed([(r.prompt, r.completion, r.trained) for r in rows], torch.device("cpu"), share=way.share)

    def logps(policy: Any) -> Tensor:
        tokens = policy.token_logps(packed)
        return torch.stack([part.sum() for part in torch.split(tokens, packed.trained)])

    return logps


def loss_of(logps: Tensor, reference: Tensor) -> Tensor:
    """Return DPO's loss over pairs of neighbours."""
    margin = (logps - reference)[0::2] - (logps - reference)[1::2]
    return -torch.nn.functional.logsigmoid(BETA * margin).mean()


def gradients(model: Any) -> Tensor:
    """Take all of the gradient away from the model, and return it as one vector."""
    found = torch.cat([p.grad.float().reshape(-1) for _, p in sorted(model.named_parameters()) if p.grad is not None])
    model.zero_grad(set_to_none=True)
    return found


def measure(num_pairs: int) -> list[dict[str, Any]]:
    """Measure every way beside the plain one."""
    with TemporaryDirectory() as folder:
        case = Case("long", "dpo", num_pairs, 1)
        prepare(Path(folder), case)
        store = TokenStore(Path(folder) / case.rows / "store")
        rows = [store.read(i) for i in range(len(store))]
    device = torch.device("cpu")
    own = load_model("embedded", dtype=torch.float32, device=device).model
    own.requires_grad_(True)  # noqa: FBT003 - torch's own signature
    # The end-of-turn token doubles as padding, and its embedding would get no gradient.
    own.get_input_embeddings().padding_idx = None
    expected = plain(own, rows)
    reference = expected.detach() + torch.linspace(-3, 3, len(rows))
    loss = loss_of(expected, reference)
    loss.backward()
    gradient = gradients(own)
    found = []
    for way in WAYS:
        model = load_model("embedded", dtype=way.dtype, device=device).model
        policy = make_policy(model, lora=None, reference=False, seed=0)
        if way.checkpointing:
            with quiet():  # its name changes with transformers 6
                model.gradient_checkpointing_enable()
        model.train()
        logps = fast(way, rows)(policy)
        got = loss_of(logps, reference)
        got.backward()
        mine = gradients(model)
        off = (logps - expected).detach().abs().max()
        found.append(
            {
                "way": way.name,
                "largest difference of a completion's log-probability, nats": float(off),
                "completion's log-probability, mean, nats": float(expected.detach().mean()),
                "difference of the loss": float((got - loss).detach().abs()),
                "gradient: norm of the difference / norm": float((mine - gradient).norm() / gradient.norm()),
            }
        )
    return found


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=2, help="of answers (%(default)s)")
    parser.add_argument("--json", type=Path, help="write the numbers here as well")
    chosen = parser.parse_args()
    found = measure(chosen.pairs)
    for row in found:
        print(row["way"])
        for name, value in row.items():
            if name != "way":
                print(f"  {name:62}{value:12.3g}")
    if chosen.json:
        chosen.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
