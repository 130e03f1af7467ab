"""
Completion log-probabilities from a causal language model: packed where its architecture allows, else padded.

A sequence that is longer than the model allows beside others goes through it alone: positions that follow from the
longest sequence of a pass (longrope, dynamic NTK), or a threshold up to which packing could not be tried.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from types import MethodType
from typing import Any, TypeVar

import torch
from torch import Tensor

from haloes.errors import ModelError
from haloes.models.architecture import body_of, field_of, forget_lengths
from haloes.models.kernels import Kernel
from haloes.models.layout import Packed
from haloes.models.lm_head import Head, target_logps
from haloes.models.prefix_cache import PrefixCache
from haloes.models.varlen import make_varlen

T = TypeVar("T")


_GATHERS = "haloes_with_weights"
"""Name of a model's method that does work with its weights made whole, where they lie in shards."""


def is_sharded(model: Any) -> bool:
    """Return whether each process holds a part of every weight of the model (`haloes.models.sharded`)."""
    return hasattr(model, _GATHERS)


def mark_sharded(model: Any, gathers: Callable[[Any, Callable[[], T]], T]) -> str:
    """Give a model the method that makes its weights whole for a pass, and return the method's name."""
    setattr(model, _GATHERS, MethodType(gathers, model))
    return _GATHERS


@contextmanager
def told_before_gathering(
    model: Any, tell: Callable[[], None], guarded: Callable[[], AbstractContextManager[None]]
) -> Iterator[None]:
    """Call `tell` each time before that method makes weights whole inside the block, and do its work `guarded`."""
    gathers = getattr(model, _GATHERS)

    def told(work: Callable[[], T]) -> T:
        tell()
        with guarded():
            found: T = gathers(work)
        return found

    setattr(model, _GATHERS, told)
    try:
        yield
    finally:
        setattr(model, _GATHERS, gathers)


@dataclass(frozen=True, slots=True)
class Scorer:
    """Scores a model's completions; made by `haloes.models.packing_check.make_scorer`."""

    model: Any
    packs: bool
    """False: one padded forward, for architectures that mix tokens across packed sequences."""
    kernel: Kernel | None = None
    """Computes the attention of all pieces at once; None for one call a piece."""
    no_kernel_because: str | None = None
    """Why there is no kernel where one would be faster; None where there is, or on a CPU."""
    alone_above: int | None = None
    """A sequence of more tokens goes through the model by itself; 0: every one does, None: none need."""

    def with_weights(self, work: Callable[[], T]) -> T:
        """
        Return what work with the model's weights comes to.

        `states`, `hidden` and `head_of` are for inside such work alone: outside of it the weights may be shards.

        Args:
            work: returns tensors or a tuple of them, from which gradients reach the weights; no weight itself.
        """
        if not is_sharded(self.model):
            return work()
        # All processes come here equally often, and every one's pass goes through all layers.
        found: T = getattr(self.model, _GATHERS)(work)
        return found

    @property
    def attention(self) -> str:
        """Describe how attention is computed."""
        if not self.packs:
            return "one sequence a pass" if self.alone_above == 0 else "padded"
        return "one call a sequence (sdpa)" if self.kernel is None else f"all sequences at once ({self.kernel.name})"

    @property
    def continues_prompts(self) -> bool:
        """Return whether other completions of a layout's prompts may continue from its keys and values."""
        # A longer completion would give its prompt other positions than those that the cached keys have.
        return self.packs and self.alone_above is None

    def token_logps(self, packed: Packed, prefix_cache: PrefixCache | None = None) -> Tensor:
        """Return log p of each trained token, (N,) in float32, differentiable unless gradients are off."""

        def scored() -> Tensor:
            return target_logps(self.hidden(packed, prefix_cache), head_of(self.model), packed.target_N)

        return self.with_weights(scored)

    def hidden(self, packed: Packed, prefix_cache: PrefixCache | None = None) -> Tensor:
        """Return the hidden states from which the trained tokens are predicted, (N, H)."""
        return self.states(packed, prefix_cache)[packed.predictor_N]

    def states(self, packed: Packed, prefix_cache: PrefixCache | None = None) -> Tensor:
        """
        Return the hidden states of all tokens, (T, H); without packing zeros for those of shared beginnings.

        Args:
            packed: the layout.
            prefix_cache: takes the keys and values of the pass, or gives those that the layout continues; only where
                the model `continues_prompts`.
        """
        if self.alone_above is not None and packed.varlen.max_seqlen_k > self.alone_above:
            return _divided_hidden(self, packed, self.alone_above)
        if self.packs:
            return _packed_hidden(self, packed, prefix_cache)
        return lay_out(_padded_rows(self.model, whole_sequences(packed)), packed)


_FACTORS = ("logit_scale", "lm_head_multiplier")
"""Fields of configs by which logits are multiplied: Cohere, Falcon-H1."""
_DIVISORS = ("logits_scaling", "logits_mup_width_multiplier")
"""Fields by which they are divided: Granite, Inkling."""
_CAPS = ("final_logit_softcapping", "logits_soft_cap", "output_logit_soft_cap")
"""Fields that name their softcap: Gemma, RecurrentGemma, xLSTM."""


def head_of(model: Any) -> Head:
    """Return the output layer of a causal language model, with the scale and cap of logits that its config names."""
    layer = model.get_output_embeddings()
    if not isinstance(layer, torch.nn.Linear):
        raise ModelError(f"{type(model).__name__} has no linear output layer (found {type(layer).__name__})")
    config = model.config.get_text_config()
    scale = 1.0
    for name in _FACTORS:
        scale *= _number(config, name) or 1.0
    for name in _DIVISORS:
        scale /= _number(config, name) or 1.0
    caps = [cap for name in _CAPS if (cap := _number(config, name))]
    return Head(layer.weight, layer.bias, scale, caps[0] if caps else None)


def _number(config: Any, name: str) -> float | None:
    value = field_of(config, name)
    return float(value) if isinstance(value, int | float) else None


def _packed_hidden(scorer: Scorer, packed: Packed, prefix_cache: PrefixCache | None) -> Tensor:
    """Return the hidden states of a packed forward pass, (T, H)."""
    # A mask of four dimensions is passed on as it is by every architecture; packed attention does not look at it.
    no_mask = packed.ids_T.new_zeros((1, 1, 1, 1), dtype=torch.bool)
    # The body alone, without its output layer: logits of all T tokens are what the chunked head is there to avoid.
    output = body_of(scorer.model)(
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
    hidden: Tensor = output[0][0]
    return hidden


def _padded_rows(model: Any, rows: Mapping[int, Tensor]) -> dict[int, Tensor]:
    """Return the hidden states of whole sequences in one pass, padded on the right, each (tokens, H) and padding."""
    ids = torch.nn.utils.rnn.pad_sequence(list(rows.values()), batch_first=True)
    lengths = torch.tensor([len(row) for row in rows.values()], device=ids.device)
    mask = torch.arange(ids.shape[1], device=ids.device)[None] < lengths[:, None]
    output = body_of(model)(input_ids=ids, attention_mask=mask.long(), use_cache=False)
    return dict(zip(rows, output[0], strict=True))


def _divided_hidden(scorer: Scorer, packed: Packed, alone_above: int) -> Tensor:
    """Return the hidden states of a layout whose long sequences go through the model one by one, (T, H)."""
    rows = whole_sequences(packed)
    short = {i: row for i, row in rows.items() if 0 < len(row) <= alone_above}
    found: dict[int, Tensor] = {}
    if short and scorer.packs:
        hidden = _packed_hidden(scorer, _end_to_end(packed, short), None)
        found = dict(zip(short, torch.split(hidden, [len(row) for row in short.values()]), strict=True))
    elif short:
        found = _padded_rows(scorer.model, short)
    for i, row in rows.items():
        if len(row) > alone_above:
            # What an earlier, longer sequence left behind in the positions is not this one's.
            forget_lengths(scorer.model)
            found[i] = body_of(scorer.model)(input_ids=row[None], use_cache=False)[0][0]
    # Nor may the next pass find what this one leaves.
    forget_lengths(scorer.model)
    # A completion of one token after no prompt feeds nothing in.
    empty = next(iter(found.values()))[:0]
    return lay_out({i: found.get(i, empty) for i in rows}, packed)


def _end_to_end(packed: Packed, rows: Mapping[int, Tensor]) -> Packed:
    """Return a layout of these whole sequences, nothing shared; its targets are those of the old one."""
    lengths = [len(row) for row in rows.values()]
    before: list[list[int]] = [[] for _ in lengths]
    return replace(
        packed,
        ids_T=torch.cat(list(rows.values())),
        position_T=torch.cat([torch.arange(length, device=packed.ids_T.device) for length in lengths]),
        piece_lengths=lengths,
        prefix_pieces=before,
        varlen=make_varlen(lengths, before, packed.ids_T.device),
    )


def whole_sequences(packed: Packed) -> dict[int, Tensor]:
    """Return each sequence's token ids, shared beginning included, by the piece in which it ends."""
    pieces = torch.split(packed.ids_T, packed.piece_lengths)
    # A piece that others have in front of them is a beginning; every sequence ends in a piece of its own.
    inner = {i for path in packed.prefix_pieces for i in path}
    return {
        i: torch.cat([pieces[k] for k in [*path, i]]) for i, path in enumerate(packed.prefix_pieces) if i not in inner
    }


def lay_out(rows: dict[int, Tensor], packed: Packed) -> Tensor:
    """Lay whole sequences' rows out as packed; zeros for shared beginnings, which predict nothing trained."""
    parts = []
    like = next(iter(rows.values()))
    for i, (length, path) in enumerate(zip(packed.piece_lengths, packed.prefix_pieces, strict=True)):
        begin = sum(packed.piece_lengths[k] for k in path)
        parts.append(rows[i][begin : begin + length] if i in rows else like.new_zeros((length, like.shape[-1])))
    return torch.cat(parts)
