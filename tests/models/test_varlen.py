"""Which keys each piece sees, by hand."""

import torch

from haloes.models.varlen import make_spans

CPU = torch.device("cpu")


def test_pieces_that_share_nothing_see_their_own_tokens_where_they_stand():
    spans = make_spans([3, 1, 2], [[], [], []], CPU)

    assert spans.key_K is None
    assert spans.query_ends.tolist() == spans.key_ends.tolist() == [0, 3, 4, 6]
    assert spans.query_ends.dtype == spans.key_ends.dtype == torch.int32
    assert (spans.most_queries, spans.most_keys) == (3, 3)


def test_a_piece_sees_the_beginnings_before_it_and_then_itself():
    # Tokens 0-3 are shared by all; 4-5 by the pieces of tokens 6-8 and 9; token 10 follows the first beginning alone.
    spans = make_spans([4, 2, 3, 1, 1], [[], [0], [0, 1], [0, 1], [0]], CPU)

    assert spans.queries == [4, 2, 3, 1, 1]
    assert spans.keys == [4, 6, 9, 7, 5]
    assert spans.query_ends.tolist() == [0, 4, 6, 9, 10, 11]
    assert spans.key_ends.tolist() == [0, 4, 10, 19, 26, 31]
    assert spans.key_K is not None
    assert spans.key_K.tolist() == [
        *(0, 1, 2, 3),
        *(0, 1, 2, 3, 4, 5),
        *(0, 1, 2, 3, 4, 5, 6, 7, 8),
        *(0, 1, 2, 3, 4, 5, 9),
        *(0, 1, 2, 3, 10),
    ]
    assert (spans.most_queries, spans.most_keys) == (4, 9)


def test_no_pieces_and_a_piece_of_no_tokens_are_fine():
    nothing, empty = make_spans([], [], CPU), make_spans([0, 2], [[], []], CPU)

    assert nothing.query_ends.tolist() == [0]
    assert (nothing.most_queries, nothing.most_keys) == (0, 0)
    assert empty.query_ends.tolist() == [0, 0, 2]
