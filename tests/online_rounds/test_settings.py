"""Which prompts belong to which round, and which to none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haloes.errors import ConfigError, DataError
from haloes.online_rounds.settings import OnlineSettings, hold_out, of_round
from haloes.sampling._contract import Decoding

PROMPTS = {f"p{i}": f"Prompt {i}" for i in range(10)}


def test_held_out_prompts_are_never_learnt_on():
    rest, held_out = hold_out(PROMPTS, 3, seed=0)

    assert len(held_out) == 3
    assert rest | held_out == PROMPTS
    assert not set(rest) & set(held_out)


def test_the_division_depends_on_the_ids_and_the_seed_alone():
    turned = dict(reversed(PROMPTS.items()))

    assert [list(part) for part in hold_out(turned, 3, seed=0)] == [list(part) for part in hold_out(PROMPTS, 3, seed=0)]
    assert list(hold_out(PROMPTS, 3, seed=1)[0]) != list(hold_out(PROMPTS, 3, seed=0)[0])


def test_too_few_prompts_are_refused():
    with pytest.raises(DataError, match="there are 10 prompts, and 9 are to be held out"):
        hold_out(PROMPTS, 9, seed=0)
    with pytest.raises(ConfigError, match="held_out must be at least 2, got 1"):
        hold_out(PROMPTS, 1, seed=0)


def test_rounds_take_the_next_prompts_and_begin_again():
    names = list("abcde")

    assert [of_round(names, number, 2) for number in (1, 2, 3, 4)] == [["a", "b"], ["c", "d"], ["e", "a"], ["b", "c"]]
    assert of_round(names, 2, 64) == names


@given(st.integers(2, 30), st.integers(2, 40), st.integers(1, 9))
def test_no_prompt_is_in_a_round_twice(count: int, size: int, number: int):
    names = [str(i) for i in range(count)]
    found = of_round(names, number, size)

    assert len(found) == len(set(found)) == min(count, size)


def test_every_round_draws_with_seeds_of_its_own_and_none_with_that_of_the_held_out_prompts():
    settings = OnlineSettings(per_prompt=3, seed=7)
    seeds = [seed for number in (1, 2, 3) for seed in settings.seeds(number)]

    assert len(seeds) == len(set(seeds)) == 9
    assert settings.seed not in seeds


@pytest.mark.parametrize("name", ["rounds", "per_prompt", "prompts_per_round", "batch_size"])
def test_settings_out_of_range_are_refused_by_name(name: str):
    with pytest.raises(ConfigError, match=f"online.{name} must be at least"):
        OnlineSettings(**{name: 0})


def test_answers_that_cannot_differ_are_refused():
    with pytest.raises(ConfigError, match="temperature must be positive"):
        OnlineSettings(decoding=Decoding(temperature=0.0))
