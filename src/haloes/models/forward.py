"""Completion log-probabilities from a causal language model: packed where its architecture allows, else padded."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from haloes.errors import ModelError
from haloes.models.attention import NAME
from haloes.models.kernels import Kernel, choose_kernel
from haloes.models.layout import WORTH, Packed, make_packed
from haloes.models.lm_head import Head, target_logps
from haloes.models.prefix_cache import PrefixCache
from haloes.models.quiet import quiet

_LEAK = 2e-3
"""Nats by which a sequence may depend on its neighbours: rounding of matrix products whose shapes follow the tokens
(mixtures of experts), which is zero elsewhere."""


@dataclass(frozen=True, slots=True)
class Scorer:
    """Scores a model's completions; made by `make_scorer`, which tries whether packing is exact for the model."""

    model: Any
    packs: bool
    """False: one padded forward, for architectures that mix tokens across packed sequences."""
    kernel: Kernel | None = None
    """Computes the attention of all pieces at once; None for one call a piece."""
    no_kernel_because: str | None = None
    """Why there is no kernel where one would be faster; None where there is, or on a CPU."""

    @property
    def attention(self) -> str:
        """Describe how attention is computed."""
        if not self.packs:
            return "padded"
        return "one call a sequence (sdpa)" if self.kernel is None else f"all sequences at once ({self.kernel.name})"

    def token_logps(self, packed: Packed, prefix_cache: PrefixCache | None = None) -> Tensor:
        """Return log p of each trained token, (N,) in float32, differentiable unless gradients are off."""
        return target_logps(self.hidden(packed, prefix_cache), head_of(self.model), packed.target_N)

    def hidden(self, packed: Packed, prefix_cache: PrefixCache | None = None) -> Tensor:
        """Return the hidden states from which the trained tokens are predicted, (N, H)."""
        return self.states(packed, prefix_cache)[packed.predictor_N]

    def states(self, packed: Packed, prefix_cache: PrefixCache | None = None) -> Tensor:
        """
        Return the hidden states of all tokens, (T, H); without packing zeros for those of shared beginnings.

        Args:
            packed: the layout.
            prefix_cache: takes the keys and values of the pass, or gives those that the layout continues; only where
                the model packs.
        """
        return _packed_hidden(self, packed, prefix_cache) if self.packs else _padded_hidden(self.model, packed)


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


def head_of(model: Any) -> Head:
    """Return the output layer of a causal language model, with the scale and cap of logits that its config names."""
    layer = model.get_output_embeddings()
    if not isinstance(layer, torch.nn.Linear):
        raise ModelError(f"{type(model).__name__} has no linear output layer (found {type(layer).__name__})")
    config = model.config.get_text_config()
    scale = float(getattr(config, "logit_scale", None) or 1.0) / float(getattr(config, "logits_scaling", None) or 1.0)
    return Head(layer.weight, layer.bias, scale, getattr(config, "final_logit_softcapping", None))


def _packed_hidden(scorer: Scorer, packed: Packed, prefix_cache: PrefixCache | None) -> Tensor:
    """Return the hidden states of a packed forward pass, (T, H)."""
    model = scorer.model
    # A mask of four dimensions is passed on as it is by every architecture; packed attention does not look at it.
    no_mask = packed.ids_T.new_zeros((1, 1, 1, 1), dtype=torch.bool)
    # The body alone, without its output layer: logits of all T tokens are what the chunked head is there to avoid.
    output = getattr(model, model.base_model_prefix)(
        input_ids=packed.ids_T[None],
        position_ids=packed.position_T[None],
        attention_mask=no_mask,
        use_cache=False,
        haloes_piece_lengths=packed.piece_lengths,
        haloes_prefix_pieces=packed.prefix_pieces,
        haloes_varlen=packed.varlen,
        haloes_kernel=scorer.kernel,
        haloes_prefix_cache=prefix_cache,
    )
    hidden: Tensor = output.last_hidden_state[0]
    return hidden


def _padded_hidden(model: Any, packed: Packed) -> Tensor:
    """Return the hidden states of whole sequences, padded on the right, in the packed layout, (T, H)."""
    rows = whole_sequences(packed)
    ids = torch.nn.utils.rnn.pad_sequence(list(rows.values()), batch_first=True)
    lengths = torch.tensor([len(row) for row in rows.values()], device=ids.device)
    mask = torch.arange(ids.shape[1], device=ids.device)[None] < lengths[:, None]
    output = getattr(model, model.base_model_prefix)(input_ids=ids, attention_mask=mask.long(), use_cache=False)
    return _laid_out(dict(zip(rows, output.last_hidden_state, strict=True)), packed)


def _own_logps(model: Any, packed: Packed) -> Tensor:
    """Return log p of each trained token, (N,), from the model's own logits, a sequence a pass: slow, beyond doubt."""
    rows = {}
    with torch.no_grad():
        for piece, ids in whole_sequences(packed).items():
            logits = model(input_ids=ids[None], use_cache=False).logits[0].float()
            rows[piece] = torch.log_softmax(logits, dim=-1)
    logps = _laid_out(rows, packed)[packed.predictor_N]
    return logps.gather(1, packed.target_N[:, None]).squeeze(1)


def whole_sequences(packed: Packed) -> dict[int, Tensor]:
    """Return each sequence's token ids, shared beginning included, by the piece in which it ends."""
    pieces = torch.split(packed.ids_T, packed.piece_lengths)
    # A piece that others have in front of them is a beginning; every sequence ends in a piece of its own.
    inner = {i for path in packed.prefix_pieces for i in path}
    return {
        i: torch.cat([pieces[k] for k in [*path, i]]) for i, path in enumerate(packed.prefix_pieces) if i not in inner
    }


def _laid_out(rows: dict[int, Tensor], packed: Packed) -> Tensor:
    """Lay whole sequences' rows out as packed; zeros for shared beginnings, which predict nothing trained."""
    parts = []
    like = next(iter(rows.values()))
    for i, (length, path) in enumerate(zip(packed.piece_lengths, packed.prefix_pieces, strict=True)):
        begin = sum(packed.piece_lengths[k] for k in path)
        parts.append(rows[i][begin : begin + length] if i in rows else like.new_zeros((length, like.shape[-1])))
    return torch.cat(parts)


def _mixed(scorer: Scorer, probe: Packed, other: Packed) -> float:
    """Return by how many nats a log-probability moves when the sequence before is another of the same length."""
    first = probe.piece_lengths[0]
    ids = torch.cat([other.ids_T[:first], probe.ids_T[first:]])
    later = slice(probe.trained[0], None)
    return float((scorer.token_logps(replace(probe, ids_T=ids)) - scorer.token_logps(probe))[later].abs().max())


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


def _tolerance(model: Any) -> float:
    """Return the nats that rounding explains; random tokens with their low log-probabilities magnify it."""
    return 2e-3 if model.dtype == torch.float32 else 0.75
