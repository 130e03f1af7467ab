"""Which keys each piece sees, by hand."""

import torch

from haloes.models.varlen import make_varlen

CPU = torch.device("cpu")


def test_pieces_that_share_nothing_see_their_own_tokens_where_they_stand():
    varlen = make_varlen([3, 1, 2], [[], [], []], CPU)

    assert varlen.key_K is None
    assert varlen.cu_seqlens_q.tolist() == varlen.cu_seqlens_k.tolist() == [0, 3, 4, 6]
    assert varlen.cu_seqlens_q.dtype == varlen.cu_seqlens_k.dtype == torch.int32
    assert (varlen.max_seqlen_q, varlen.max_seqlen_k) == (3, 3)


def test_a_piece_sees_the_beginnings_before_it_and_then_itself():
    # Tokens 0-3 are shared by all; 4-5 by the pieces of tokens 6-8 and 9; token 10 follows the first beginning alone.
    varlen = make_varlen([4, 2, 3, 1, 1], [[], [0], [0, 1], [0, 1], [0]], CPU)

    assert varlen.queries == [4, 2, 3, 1, 1]
    assert varlen.keys == [4, 6, 9, 7, 5]
    assert varlen.cu_seqlens_q.tolist() == [0, 4, 6, 9, 10, 11]
    assert varlen.cu_seqlens_k.tolist() == [0, 4, 10, 19, 26, 31]
    assert varlen.key_K is not None
    assert varlen.key_K.tolist() == [
        *(0, 1, 2, 3),
        *(0, 1, 2, 3, 4, 5),
        *(0, 1, 2, 3, 4, 5, 6, 7, 8),
        *(0, 1, 2, 3, 4, 5, 9),
        *(0, 1, 2, 3, 10),
    ]
    assert (varlen.max_seqlen_q, varlen.max_seqlen_k) == (4, 9)


def test_no_pieces_and_a_piece_of_no_tokens_are_fine():
    nothing, empty = make_varlen([], [], CPU), make_varlen([0, 2], [[], []], CPU)

    assert nothing.cu_seqlens_q.tolist() == [0]
    assert (nothing.max_seqlen_q, nothing.max_seqlen_k) == (0, 0)
    assert empty.cu_seqlens_q.tolist() == [0, 0, 2]
