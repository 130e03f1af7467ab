"""Completion log-probabilities from a causal language model: packed where its architecture allows, else padded."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from haloes.errors import ModelError
from haloes.models.kernels import Kernel
from haloes.models.layout import Packed
from haloes.models.lm_head import Head, target_logps
from haloes.models.prefix_cache import PrefixCache


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
    return lay_out(dict(zip(rows, output.last_hidden_state, strict=True)), packed)


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
