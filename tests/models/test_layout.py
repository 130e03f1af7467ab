"""The packed layout, by hand; and that any sequences can be read back from it."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from haloes.models.layout import WORTH, Packed, make_packed

CPU = torch.device("cpu")
COMMON = list(range(20, 20 + WORTH))
"""A beginning that is just long enough to be shared."""

Sequence = tuple[list[int], list[int], list[bool]]


def pack(*sequences: Sequence, share: bool = True) -> Packed:
    arrays = [(np.array(p, np.int32), np.array(c, np.int32), np.array(t, np.bool_)) for p, c, t in sequences]
    return make_packed(arrays, CPU, share=share)


def test_sequences_lie_end_to_end_and_their_last_tokens_are_only_predicted():
    packed = pack(([5, 6], [7, 8, 9], [True, True, True]), ([4], [3, 2], [True, True]))

    assert packed.ids_T.tolist() == [5, 6, 7, 8, 4, 3]
    assert packed.position_T.tolist() == [0, 1, 2, 3, 0, 1]
    assert packed.piece_lengths == [4, 2]
    assert packed.num_tokens == 6
    # 7 is predicted from the 6 at place 1, 8 from the 7 at 2 ...; 3 from the 4 that stands at place 4.
    assert packed.predictor_N.tolist() == [1, 2, 3, 4, 5]
    assert packed.target_N.tolist() == [7, 8, 9, 3, 2]
    assert packed.trained == [3, 2]


def test_tokens_that_are_not_trained_are_fed_but_not_predicted():
    packed = pack(([5], [6, 7, 8, 9], [True, False, False, True]))

    assert packed.ids_T.tolist() == [5, 6, 7, 8]
    assert packed.target_N.tolist() == [6, 9]
    assert packed.predictor_N.tolist() == [0, 3]


def test_a_sequence_without_trained_tokens_keeps_its_place():
    packed = pack(([5], [6, 7], [False, False]), ([4], [3], [True]))

    assert packed.trained == [0, 1]
    assert packed.target_N.tolist() == [3]


@pytest.mark.parametrize("completion", [[7], [7, 8]])
def test_the_first_token_after_an_empty_prompt_cannot_be_predicted(completion: list[int]):
    packed = pack(([], completion, [True] * len(completion)), ([4], [3], [True]))

    assert packed.target_N.tolist() == [*completion[1:], 3]
    assert packed.piece_lengths == [len(completion) - 1, 1]
    assert packed.trained == [len(completion) - 1, 1]


def test_a_common_beginning_of_prompts_is_laid_out_once():
    one = ([*COMMON, 5, 6], [7, 8], [True, True])
    two = ([*COMMON, 5, 9], [7], [True])
    other = ([4], [3], [True])

    packed = pack(one, other, two)

    # First the sequence that shares nothing, then the beginning (up to the 5), then what follows it in each.
    assert packed.ids_T.tolist() == [4, *COMMON, 5, 6, 7, 9]
    assert packed.position_T.tolist() == [0, *range(WORTH + 1), WORTH + 1, WORTH + 2, WORTH + 1]
    assert packed.piece_lengths == [1, WORTH + 1, 2, 1]
    assert packed.prefix_pieces == [[], [], [1], [1]]
    # The targets stay in the order of the sequences.
    assert packed.target_N.tolist() == [7, 8, 3, 7]
    assert packed.predictor_N.tolist() == [WORTH + 2, WORTH + 3, 0, WORTH + 4]
    assert packed.trained == [2, 1, 1]


def test_the_last_token_of_a_prompt_is_never_shared_because_it_predicts():
    packed = pack(([*COMMON, 5], [7], [True]), ([*COMMON, 5], [8], [True]))

    assert packed.piece_lengths == [WORTH, 1, 1]
    assert packed.prefix_pieces == [[], [0], [0]]
    assert packed.predictor_N.tolist() == [WORTH, WORTH + 1]


def test_a_beginning_that_is_too_short_is_not_shared():
    packed = pack((COMMON, [7], [True]), (COMMON, [8], [True]))

    assert packed.piece_lengths == [WORTH, WORTH]
    assert packed.prefix_pieces == [[], []]


def test_beginnings_are_shared_at_every_depth():
    deep = [*COMMON, *COMMON]
    rows = [([*deep, 5], [1], [True]), ([*deep, 6], [1], [True]), ([*COMMON, 9, 9, 9], [1], [True])]

    packed = pack(*rows)

    assert packed.ids_T.tolist() == [*COMMON, 9, 9, 9, *COMMON, 5, 6]
    assert packed.prefix_pieces == [[], [0], [0], [0, 2], [0, 2]]


def test_nothing_is_shared_on_request():
    packed = pack(([*COMMON, 5], [7], [True]), ([*COMMON, 5], [8], [True]), share=False)

    assert packed.piece_lengths == [WORTH + 1, WORTH + 1]
    assert packed.prefix_pieces == [[], []]


@st.composite
def batches(draw: st.DrawFn) -> list[Sequence]:
    """Sequences whose prompts often begin alike."""
    stems = draw(st.lists(st.lists(st.integers(0, 2), max_size=30), min_size=1, max_size=3))
    found = []
    for _ in range(draw(st.integers(1, 6))):
        stem = draw(st.sampled_from(stems))
        prompt = [*stem[: draw(st.integers(0, len(stem)))], *draw(st.lists(st.integers(0, 2), max_size=4))]
        trained = draw(st.lists(st.booleans(), min_size=1, max_size=4))
        completion = draw(st.lists(st.integers(0, 9), min_size=len(trained), max_size=len(trained)))
        found.append((prompt, completion, trained))
    return found


@given(batches())
def test_every_sequence_can_be_read_back_along_its_path(rows: list[Sequence]):
    packed = pack(*rows)
    pieces = [piece.tolist() for piece in torch.split(packed.ids_T, packed.piece_lengths)]
    starts = np.cumsum([0, *packed.piece_lengths])
    wholes = [[token for k in [*path, i] for token in pieces[k]] for i, path in enumerate(packed.prefix_pieces)]

    # Every sequence but its last token is the end of some path, as often as it occurs.
    inner = {k for path in packed.prefix_pieces for k in path}
    ends = [whole for i, whole in enumerate(wholes) if i not in inner]
    assert sorted(ends) == sorted([*prompt, *completion][:-1] for prompt, completion, _ in rows)
    for i, path in enumerate(packed.prefix_pieces):
        begin = sum(packed.piece_lengths[k] for k in path)
        positions = packed.position_T[starts[i] : starts[i + 1]].tolist()
        assert positions == list(range(begin, begin + packed.piece_lengths[i]))

    # What predicts a trained token is the sequence up to it.
    predictors = iter(packed.predictor_N.tolist())
    targets = iter(packed.target_N.tolist())
    for (prompt, completion, trained), count in zip(rows, packed.trained, strict=True):
        whole = [*prompt, *completion]
        places = [len(prompt) + i for i, is_trained in enumerate(trained) if is_trained and len(prompt) + i > 0]
        assert count == len(places)
        for place in places:
            predictor = next(predictors)
            piece = int(np.searchsorted(starts, predictor, side="right")) - 1
            seen = wholes[piece][: int(packed.position_T[predictor]) + 1]
            assert seen == whole[:place]
            assert next(targets) == whole[place]
            assert piece not in inner


@given(batches())
def test_sharing_saves_tokens_and_is_never_of_less_than_it_is_worth(rows: list[Sequence]):
    shared, apart = pack(*rows), pack(*rows, share=False)

    assert shared.num_tokens <= apart.num_tokens
    assert shared.trained == apart.trained
    assert shared.target_N.tolist() == apart.target_N.tolist()
    assert all(shared.piece_lengths[k] >= WORTH for path in shared.prefix_pieces for k in path)
    assert apart.num_tokens == sum(len(prompt) + len(completion) - 1 for prompt, completion, _ in rows)
