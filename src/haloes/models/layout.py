"""
Sequences end to end, nothing padded and no shared beginning computed twice: how completions go through a model.

Sequences whose prompts begin alike (a common system prompt, the chosen and the rejected answer of a pair, several
answers to one prompt) share that beginning: it stands in the layout once, as a piece, and the pieces after it attend to
it. Causal attention makes that exact, values and gradients.

Shape suffixes: T tokens of all pieces, N trained tokens among them, B sequences, H hidden size, V vocabulary.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from haloes.models.device import to_device
from haloes.models.varlen import Varlen, make_varlen

Ids: TypeAlias = NDArray[np.int32]

WORTH = 8
"""A beginning is shared when it has at least this many tokens: each piece is one attention call more."""


@dataclass(frozen=True, slots=True)
class Packed:
    """
    Prompts with their completions as pieces, one after the other.

    The last token of a sequence is predicted, and fed in only where its own hidden state is asked for.
    """

    ids_T: Tensor
    position_T: Tensor
    """Position of each token within its own sequence."""
    piece_lengths: list[int]
    """Tokens of each piece; they add up to T."""
    prefix_pieces: list[list[int]]
    """For each piece the pieces that come before it in its sequences, from the first on; attention sees these and, up
    to itself, the piece's own tokens."""
    last_piece: list[int]
    """The piece in which each sequence ends."""
    predictor_N: Tensor
    """Index among the T tokens of the hidden state that predicts each trained token."""
    target_N: Tensor
    """The trained tokens, sequence by sequence."""
    trained: list[int]
    """Trained tokens of each sequence; they add up to N."""
    varlen: Varlen
    """The same as `piece_lengths` and `prefix_pieces`, for kernels that compute the attention of all pieces at once."""
    last_B: Tensor | None = None
    """Index among the T tokens of each sequence's last token, where it was fed in."""

    @property
    def num_tokens(self) -> int:
        """Return T."""
        return len(self.ids_T)


def make_packed(
    sequences: Sequence[tuple[Ids, Ids, NDArray[np.bool_]]],
    device: torch.device,
    *,
    share: bool = True,
    last: bool = False,
) -> Packed:
    """
    Lay sequences end to end, and what their prompts have in common once.

    Args:
        sequences: prompt ids, completion ids, and which completion tokens are trained, of each sequence.
        device: where the tensors shall live.
        share: whether beginnings that prompts have in common are laid out once.
        last: whether the last token of each sequence, which predicts nothing, is fed in too.
    """
    whole = [np.concatenate([prompt, completion]) for prompt, completion, _ in sequences]
    fed = whole if last else [ids[:-1] for ids in whole]
    # The last token of a prompt predicts the first of the completion. It stays with its sequence, so that a position
    # that predicts belongs to one sequence only.
    shareable = [max(len(prompt) - 1, 0) if share else 0 for prompt, _, _ in sequences]
    pieces = _Pieces(fed, shareable)
    pieces.grow(list(range(len(fed))), 0, [])
    starts = np.cumsum([0, *pieces.lengths])
    predictors, targets = [], []
    # Sequence by sequence, whatever the order of the pieces: N is in the order in which the caller asked.
    for i, (prompt, _, trained) in enumerate(sequences):
        # A token can only be predicted from one before it: with an empty prompt the first goes untrained.
        where = np.flatnonzero(trained) + len(prompt)
        where = where[where > 0]
        piece = pieces.last[i]
        # From a position in the sequence to one in its last piece, and from there to one in T.
        predictors.append(where - 1 - pieces.begins[piece] + starts[piece])
        targets.append(whole[i][where])
    return Packed(
        ids_T=_tensor(np.concatenate([np.empty(0, np.int32), *pieces.ids]), device),
        position_T=_tensor(_positions(pieces), device),
        piece_lengths=pieces.lengths,
        prefix_pieces=pieces.prefixes,
        last_piece=[pieces.last[i] for i in range(len(fed))],
        predictor_N=_tensor(np.concatenate([np.empty(0, np.int64), *predictors]), device),
        target_N=_tensor(np.concatenate([np.empty(0, np.int32), *targets]), device),
        trained=[len(target) for target in targets],
        varlen=make_varlen(pieces.lengths, pieces.prefixes, device),
        last_B=_tensor(_ends(pieces, starts), device) if last else None,
    )


def shared_length(prompt_length: int) -> int:
    """Return how many tokens of a prompt of this length several completions of it share: all but the last."""
    return prompt_length - 1 if prompt_length > WORTH else 0


@dataclass(slots=True)
class _Pieces:
    """Grows a tree of shared beginnings over the sequences; its leaves are one a sequence."""

    fed: list[Ids]
    shareable: list[int]
    """The number of each sequence's first tokens that may be shared."""
    ids: list[Ids] = field(default_factory=list)
    begins: list[int] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    prefixes: list[list[int]] = field(default_factory=list)
    last: dict[int, int] = field(default_factory=dict)
    """The piece in which each sequence ends."""

    def grow(self, members: list[int], begin: int, path: list[int]) -> None:
        """Lay out these sequences from position `begin` on; up to there they are alike, as the pieces of `path`."""
        # Deeper only where at least two sequences are alike: every piece is one attention call more.
        for group in self._alike(members, begin):
            if len(group) == 1:
                self.last[group[0]] = self._add(self.fed[group[0]][begin:], begin, path)
                continue
            end = self._common_end(group, begin)
            piece = self._add(self.fed[group[0]][begin:end], begin, path)
            self.grow(group, end, [*path, piece])

    def _alike(self, members: list[int], begin: int) -> list[list[int]]:
        """Group the sequences whose next `WORTH` tokens are alike; those that may not share them are alone."""
        groups: defaultdict[bytes, list[int]] = defaultdict(list)
        alone: list[list[int]] = []
        for i in members:
            if self.shareable[i] >= begin + WORTH:
                groups[self.fed[i][begin : begin + WORTH].tobytes()].append(i)
            else:
                alone.append([i])
        return [*alone, *groups.values()]

    def _common_end(self, members: list[int], begin: int) -> int:
        """Return the position up to which all of these sequences are alike and may be shared."""
        end = min(self.shareable[i] for i in members)
        rows = np.stack([self.fed[i][begin:end] for i in members])
        differs = np.flatnonzero((rows != rows[0]).any(axis=0))
        return begin + int(differs[0]) if len(differs) else end

    def _add(self, ids: Ids, begin: int, path: list[int]) -> int:
        """Append a piece that begins at this position of its sequences; return its number."""
        self.ids.append(ids)
        self.begins.append(begin)
        self.lengths.append(len(ids))
        self.prefixes.append(path)
        return len(self.ids) - 1


def _positions(pieces: _Pieces) -> NDArray[np.int64]:
    """Return the position of each token within its own sequence, (T,)."""
    parts = [np.arange(begin, begin + n) for begin, n in zip(pieces.begins, pieces.lengths, strict=True)]
    return np.concatenate([np.empty(0, np.int64), *parts])


def _ends(pieces: _Pieces, starts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return where in T the last token of each sequence stands, (B,)."""
    return np.array([starts[pieces.last[i] + 1] - 1 for i in range(len(pieces.fed))], np.int64)


def _tensor(values: NDArray[np.generic], device: torch.device) -> Tensor:
    # int64 is what embedding and gather take; token ids are kept in int32 everywhere else.
    return to_device(values.astype(np.int64), device)
