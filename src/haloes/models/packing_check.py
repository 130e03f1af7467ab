"""
How a model is scored exactly: packed, padded, or one sequence at a time; decided by trying it on short sequences.

An architecture that carries a state from token to token (recurrent layers, convolutions) mixes packed sequences, and
some mix padded ones. No list of architectures says which do: `make_scorer` compares log-probabilities with the model's
own logits of each sequence by itself. The sequences cross every threshold that the config names and that is short
enough to be tried; what lies beyond one that is not goes through the model alone.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from haloes.errors import ModelError
from haloes.models.architecture import compute_dtype_of, field_of, renewal_of, thresholds_of, window_of
from haloes.models.attention import NAME
from haloes.models.forward import Scorer, head_of, lay_out, whole_sequences
from haloes.models.kernels import choose_kernel
from haloes.models.layout import WORTH, Packed, make_packed
from haloes.models.own_logits import FAILURES, brief, own_distributions, text_ids, tolerance
from haloes.models.quiet import quiet

_LEAK = 2e-3
"""Nats by which a sequence may depend on its neighbours: rounding of matrix products whose shapes follow the tokens
(mixtures of experts), which is zero elsewhere."""
_TRIED = 512
"""Tokens up to which a threshold is crossed by a sequence that long."""
_SHORT_WINDOW = 16
"""What a larger sliding window is set to while the model is tried, so that short sequences cross it."""


def make_scorer(model: Any) -> tuple[Scorer, str | None]:
    """
    Set the model up for packed scoring if that equals its own forward, as short sequences show.

    Two things are compared: the log-probabilities with the model's own, up to the rounding of its dtype; and, because a
    weak dependence between neighbours hides in the rounding of bfloat16, the packed log-probabilities with themselves
    when the first sequence is another. Where packing is not exact, padding is tried, and then one sequence at a time.
    The model is put in eval mode.

    Returns:
        The scorer, and why it does not pack (None when it does), to be told to the user.

    Raises:
        ModelError: the model cannot be called with tokens alone, a token's logits depend on later tokens, or its
            logits are not its output layer applied to its hidden states.
    """
    model.eval()
    head_of(model)  # it has one that can be used, before anything is computed
    if field_of(model.config.get_text_config(), "attn_logit_softcapping"):
        # Some versions of transformers leave the cap out with "sdpa": eager attention is what the architecture says.
        with quiet():
            model.set_attn_implementation("eager")
    original = model.config._attn_implementation  # noqa: SLF001 - transformers has no public name for it
    with _short_windows(model):
        alone_above = _first_untried(model)
        probe, other = _probe(model, seed=0), _probe(model, seed=1)
        expected = _checked_logps(model, probe)
        # The hidden states and head that haloes reads have to reproduce the model's own logits.
        alone = Scorer(model, packs=False, alone_above=0)
        try:
            rounding = _apart(alone, probe, expected)
        except FAILURES as error:
            raise ModelError(
                f"{type(model).__name__}: its hidden states cannot be computed alone, so haloes cannot train it "
                f"({brief(error)}); please report the architecture"
            ) from error
        if not rounding <= tolerance(model):
            raise ModelError(
                f"{type(model).__name__}: its logits are not its output layer applied to its hidden states "
                f"(log-probabilities differ by {rounding:.2g}), so haloes cannot train it; take another architecture"
            )
        kernel, why = choose_kernel(model.config.get_text_config(), dtype=compute_dtype_of(model), device=model.device)
        packing = Scorer(model, packs=True, kernel=kernel, no_kernel_because=why, alone_above=alone_above)
        reason = _fault(packing, probe, other, expected, rounding)
        # A kernel that proved right on random heads may still fail in the model; packing may be exact without it.
        if reason is not None and kernel is not None:
            packing = replace(packing, kernel=None, no_kernel_because=f"{kernel.name}: {reason}")
            reason = _fault(packing, probe, other, expected, rounding)
        if reason is None:
            return packing, None
        with quiet():
            model.set_attn_implementation(original)
        # Padding hides behind the model's own mask, at any length; only positions may follow from the longest.
        padded = Scorer(model, packs=False, alone_above=renewal_of(model).above)
        return (padded if _pads(padded, probe, expected) else alone), reason


def untried_scorer(model: Any) -> Scorer:
    """Return a scorer that any model goes through, for one without weights, with which no other could be tried."""
    model.eval()
    head_of(model)
    return Scorer(model, packs=False, alone_above=renewal_of(model).above)


def _fault(packing: Scorer, probe: Packed, other: Packed, expected: Tensor, rounding: float) -> str | None:
    """Return why a model cannot be packed so, from trying it; None if it can, and then it is set up for it."""
    try:
        with quiet():
            packing.model.set_attn_implementation(NAME)
        with torch.no_grad():
            worst = float((packing.token_logps(probe) - expected).abs().max())
            mixed = _mixed(packing, probe, other)
    except FAILURES as error:
        return brief(error)
    if worst <= tolerance(packing.model) and mixed <= max(_LEAK, rounding):
        return None
    return f"log-probabilities differ by {worst:.2g} from the model's own, by {mixed:.2g} with other neighbours"


def _pads(padded: Scorer, probe: Packed, expected: Tensor) -> bool:
    try:
        return _apart(padded, probe, expected) <= tolerance(padded.model)
    except FAILURES:
        return False


def _apart(scorer: Scorer, probe: Packed, expected: Tensor) -> float:
    """Return by how many nats a scorer's log-probabilities differ from these, at most."""
    with torch.no_grad():
        return float((scorer.token_logps(probe) - expected).abs().max())


def _first_untried(model: Any) -> int | None:
    """Return the length above which a sequence has to go through the model alone; None for none."""
    untried = [threshold for threshold in thresholds_of(model) if threshold > _TRIED]
    rope = renewal_of(model).above
    return min([*untried, *([] if rope is None else [rope])], default=None)


@contextmanager
def _short_windows(model: Any) -> Iterator[None]:
    """Set a sliding window that is too long to be tried to a short one inside the context, in the config and layers."""
    config = model.config.get_text_config()
    window = field_of(config, "sliding_window")
    if not isinstance(window, int) or window <= _TRIED:
        yield
        return
    changed = [config, *(module for module in model.modules() if vars(module).get("sliding_window") == window)]
    try:
        for part in changed:
            part.sliding_window = _SHORT_WINDOW
        yield
    finally:
        for part in changed:
            part.sliding_window = window


def _probe(model: Any, *, seed: int) -> Packed:
    """Lay out a few random sequences that reach every case of attention: short, beyond each threshold, and shared."""
    words = text_ids(model)
    room = min(window_of(model) or 2 * _TRIED, 2 * _TRIED)
    crossed = [t for t in (*thresholds_of(model), renewal_of(model).above or 0) if t <= _TRIED]
    generator = torch.Generator().manual_seed(seed)
    sequences = []
    for length in (11, *(t + 9 for t in sorted(set(crossed))), 24, 7):
        ids = words[torch.randint(0, len(words), (max(min(length, room), 2),), generator=generator)].numpy()
        begin = min(3, len(ids) - 1)
        sequences.append((ids[:begin], ids[begin:], ids[begin:] >= 0))
    # Two more that share the beginning of their prompts.
    common = words[torch.randint(0, len(words), (WORTH + 5,), generator=generator)].numpy()
    if room >= 2 * len(common):
        sequences += [(common, ids, ids >= 0) for ids in (common[:4], common[4:])]
    return make_packed(sequences, model.device)


def _checked_logps(model: Any, probe: Packed) -> Tensor:
    """Return log p of each trained token, (N,), by `_own_logps`. Raises ModelError for what is no causal text model."""
    rows, words = whole_sequences(probe), text_ids(model)
    longest = max(rows.values(), key=len)
    changed = longest.clone()
    changed[-1] = words[0] if longest[-1] != words[0] else words[1]
    try:
        expected = _own_logps(model, rows, probe)
        later, earlier = own_distributions(model, changed), own_distributions(model, longest)
    except FAILURES as error:
        raise ModelError(
            f"{type(model).__name__} cannot be called with tokens alone, so haloes cannot train it ({brief(error)})"
        ) from error
    seen = float((later - earlier)[:-1].abs().max())
    if not seen <= tolerance(model):
        raise ModelError(
            f"{type(model).__name__}: a token's log-probabilities move by {seen:.2g} with those after it, so it is no "
            "causal language model; give a decoder (config.json: is_decoder), or another model"
        )
    return expected


def _own_logps(model: Any, rows: Mapping[int, Tensor], packed: Packed) -> Tensor:
    """Return log p of each trained token, (N,), from the model's own logits, a sequence a pass: slow, beyond doubt."""
    own = {piece: own_distributions(model, ids) for piece, ids in rows.items()}
    logps = lay_out(own, packed)[packed.predictor_N]
    return logps.gather(1, packed.target_N[:, None]).squeeze(1)


def _mixed(scorer: Scorer, probe: Packed, other: Packed) -> float:
    """Return by how many nats a log-probability moves when the sequence before is another of the same length."""
    first = probe.piece_lengths[0]
    ids = torch.cat([other.ids_T[:first], probe.ids_T[first:]])
    later = slice(probe.trained[0], None)
    return float((scorer.token_logps(replace(probe, ids_T=ids)) - scorer.token_logps(probe))[later].abs().max())
