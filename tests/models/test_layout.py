"""The packed layout, by hand."""

import numpy as np
import pytest
import torch

from haloes.models.layout import Packed, make_packed

CPU = torch.device("cpu")


def pack(*sequences: tuple[list[int], list[int], list[bool]]) -> Packed:
    return make_packed(
        [(np.array(p, np.int32), np.array(c, np.int32), np.array(t, np.bool_)) for p, c, t in sequences], CPU
    )


def test_sequences_lie_end_to_end_and_their_last_tokens_are_only_predicted():
    packed = pack(([5, 6], [7, 8, 9], [True, True, True]), ([4], [3, 2], [True, True]))

    assert packed.ids_T.tolist() == [5, 6, 7, 8, 4, 3]
    assert packed.position_T.tolist() == [0, 1, 2, 3, 0, 1]
    assert packed.documents == [4, 2]
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
    assert packed.documents == [len(completion) - 1, 1]
    assert packed.trained == [len(completion) - 1, 1]
