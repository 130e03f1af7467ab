"""
Whether packing is exact for a model: decided by trying it on short sequences, against the model's own logits.

An architecture that carries a state from token to token (recurrent layers, convolutions) mixes packed sequences. No
list of architectures says which do: `make_scorer` compares log-probabilities.
"""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from haloes.errors import ModelError
from haloes.models.attention import NAME
from haloes.models.forward import Scorer, head_of, lay_out, whole_sequences
from haloes.models.kernels import choose_kernel
from haloes.models.layout import WORTH, Packed, make_packed
from haloes.models.quiet import quiet

_LEAK = 2e-3
"""Nats by which a sequence may depend on its neighbours: rounding of matrix products whose shapes follow the tokens
(mixtures of experts), which is zero elsewhere."""


def make_scorer(model: Any) -> tuple[Scorer, str | None]:
    """
    Set the model up for packed scoring if that equals its own padded forward, as short sequences show.

    Two things are compared: the packed log-probabilities with the model's own, up to the rounding of its dtype; and,
    because a weak dependence between neighbours hides in the rounding of bfloat16, the packed log-probabilities with
    themselves when the first sequence is another. The model is put in eval mode.

    Returns:
        The scorer, and why it does not pack (None when it does), to be told to the user.
    """
    model.eval()
    if getattr(model.config.get_text_config(), "attn_logit_softcapping", None):
        # Some versions of transformers leave the cap out with "sdpa": eager attention is what the architecture says.
        with quiet():
            model.set_attn_implementation("eager")
    original = model.config._attn_implementation  # noqa: SLF001 - transformers has no public name for it
    probe, other = _probe(model, seed=0), _probe(model, seed=1)
    expected = _own_logps(model, probe)
    # The hidden states and head that haloes reads, without packing yet, have to reproduce the model's own logits.
    padded = Scorer(model, packs=False)
    with torch.no_grad():
        rounding = float((padded.token_logps(probe) - expected).abs().max())
    if not rounding <= _tolerance(model):
        raise ModelError(
            f"{type(model).__name__}: the log-probabilities computed from its hidden states differ by {rounding:.2g} "
            "from those of its own logits, so haloes cannot train it; please report the architecture"
        )
    kernel, no_kernel_because = choose_kernel(model.config.get_text_config(), dtype=model.dtype, device=model.device)
    packing = Scorer(model, packs=True, kernel=kernel, no_kernel_because=no_kernel_because)
    reason = _fault(packing, probe, other, expected, rounding)
    # A kernel that proved right on random heads may still fail in the model; packing may be exact without it.
    if reason is not None and kernel is not None:
        packing = Scorer(model, packs=True, no_kernel_because=f"{kernel.name}: {reason}")
        reason = _fault(packing, probe, other, expected, rounding)
    if reason is None:
        return packing, None
    with quiet():
        model.set_attn_implementation(original)
    return padded, reason


def _fault(packing: Scorer, probe: Packed, other: Packed, expected: Tensor, rounding: float) -> str | None:
    """Return why a model cannot be packed so, from trying it; None if it can, and then it is set up for it."""
    try:
        with quiet():
            packing.model.set_attn_implementation(NAME)
        with torch.no_grad():
            worst = float((packing.token_logps(probe) - expected).abs().max())
            mixed = _mixed(packing, probe, other)
    except (TypeError, ValueError, RuntimeError, KeyError, AttributeError) as error:
        return f"{type(error).__name__}: {error}"
    if worst <= _tolerance(packing.model) and mixed <= max(_LEAK, rounding):
        return None
    return f"log-probabilities differ by {worst:.2g} from the model's own, by {mixed:.2g} with other neighbours"


def _probe(model: Any, *, seed: int) -> Packed:
    """Lay out a few random sequences that reach every case of attention: short, beyond a window, and shared."""
    vocabulary = head_of(model).weight_VH.shape[0]
    window = getattr(model.config.get_text_config(), "sliding_window", None) or 0
    positions = min(getattr(model.config.get_text_config(), "max_position_embeddings", None) or 64, 2048)
    generator = torch.Generator().manual_seed(seed)
    # Longer than a sliding window where the window is small enough to be checked cheaply.
    longest = window + 9 if window <= 512 else 24  # noqa: PLR2004
    sequences = []
    for length in (11, max(longest, 24), 7):
        ids = torch.randint(0, vocabulary, (min(length, positions),), generator=generator, dtype=torch.int32).numpy()
        sequences.append((ids[:3], ids[3:], ids[3:] >= 0))
    # Two more that share the beginning of their prompts.
    common = torch.randint(0, vocabulary, (WORTH + 5,), generator=generator, dtype=torch.int32).numpy()
    sequences += [(common, ids[:4], ids[:4] >= 0), (common, ids[4:], ids[4:] >= 0)]
    return make_packed(sequences, model.device)


def _own_logps(model: Any, packed: Packed) -> Tensor:
    """Return log p of each trained token, (N,), from the model's own logits, a sequence a pass: slow, beyond doubt."""
    rows = {}
    with torch.no_grad():
        for piece, ids in whole_sequences(packed).items():
            logits = model(input_ids=ids[None], use_cache=False).logits[0].float()
            rows[piece] = torch.log_softmax(logits, dim=-1)
    logps = lay_out(rows, packed)[packed.predictor_N]
    return logps.gather(1, packed.target_N[:, None]).squeeze(1)


def _mixed(scorer: Scorer, probe: Packed, other: Packed) -> float:
    """Return by how many nats a log-probability moves when the sequence before is another of the same length."""
    first = probe.piece_lengths[0]
    ids = torch.cat([other.ids_T[:first], probe.ids_T[first:]])
    later = slice(probe.trained[0], None)
    return float((scorer.token_logps(replace(probe, ids_T=ids)) - scorer.token_logps(probe))[later].abs().max())


def _tolerance(model: Any) -> float:
    """Return the nats that rounding explains; random tokens with their low log-probabilities magnify it."""
    return 2e-3 if model.dtype == torch.float32 else 0.75
