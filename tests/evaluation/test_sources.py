"""What is said where answers that are taken together were not made alike."""

from dataclasses import replace

from haloes.evaluation.sources import sampling_differences
from haloes.records import Completion, Sampling

GREEDY = Sampling(engine="transformers", model="runs/kto/model", max_new_tokens=256, temperature=0.0, top_p=1.0)
DRAWN = replace(GREEDY, temperature=0.7)


def answers(*ways: Sampling | None) -> list[Completion]:
    return [
        Completion(prompt_id=f"p{i}", prompt="?", completion="a", model="m", num_tokens=1, finished=True, sampling=way)
        for i, way in enumerate(ways)
    ]


def test_answers_that_were_made_alike_need_no_word():
    other = replace(GREEDY, model="runs/sft/model", control="<|good|>")

    assert sampling_differences({"kto": answers(GREEDY, GREEDY), "sft": answers(other, other)}) == []
    assert sampling_differences({"kto": answers(None, None), "sft": answers(None)}) == []
    assert sampling_differences({"kto": []}) == []


def test_answers_of_one_model_that_were_made_in_two_ways_are_counted():
    [note] = sampling_differences({"kto": answers(GREEDY, GREEDY, DRAWN)})

    assert note == "the answers of kto are a mixture (2 and 1): temperature 0.0 and 0.7"


def test_of_one_model_its_place_and_control_text_count_too():
    [note] = sampling_differences({"kto": answers(GREEDY, GREEDY, replace(GREEDY, model="elsewhere", control="<+>"))})

    assert "model runs/kto/model and elsewhere, control  and <+>" in note


def test_two_models_that_were_not_sampled_alike_are_named_with_the_difference():
    [note] = sampling_differences({"kto": answers(GREEDY), "sft": answers(replace(DRAWN, engine="http"))})

    assert note == (
        "the answers of kto and of sft were not made alike: engine transformers and http, temperature 0.0 and 0.7"
    )


def test_answers_of_which_it_is_not_known_are_named_beside_those_of_which_it_is():
    assert sampling_differences({"kto": answers(GREEDY), "old": answers(None)}) == [
        "how the answers of old were made is not recorded"
    ]
    [note] = sampling_differences({"kto": answers(GREEDY, None)})
    assert note == "the answers of kto are a mixture (1 and 1): of some it is not recorded how they were made"
