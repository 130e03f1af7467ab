"""The words with their sentences: plain, found where they are used, and guessed where they are misspelt."""

import pytest

from haloes.errors import ConfigError
from haloes.words import WORDS, explain, words_in


@pytest.mark.parametrize("word", WORDS)
def test_each_word_has_one_plain_sentence_that_can_follow_a_colon(word: str):
    sentence = WORDS[word]

    assert len(sentence) <= 150
    assert not sentence.endswith(".")
    assert "\n" not in sentence


@pytest.mark.parametrize("word", WORDS)
def test_each_word_is_found_by_its_own_name(word: str):
    assert explain(word) == {word: WORDS[word]}
    assert explain(word.upper()) == {word: WORDS[word]}


def test_words_are_sorted_so_that_a_reader_finds_them():
    assert list(WORDS) == sorted(WORDS, key=str.casefold)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("nat", ["nats"]),
        ("log ratio", ["log-ratio"]),
        ("reward", ["implied reward"]),
        ("rounding floor", ["rounding"]),
    ],
)
def test_a_word_may_be_typed_otherwise(typed: str, meant: list[str]):
    assert list(explain(typed)) == meant


def test_a_misspelt_word_is_guessed_and_one_like_none_is_not():
    with pytest.raises(ConfigError, match=r'"margn" .* Did you mean "margin"\?'):
        explain("margn")
    with pytest.raises(ConfigError, match="lists them all") as caught:
        explain("xyzzy")
    assert "Did you mean" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("loss 0.498  margin +0.12  z0 0.05  410 tok/s", ["margin", "z0"]),
        ("loss 105.266 an answer  NLL 1.983 a token", ["NLL"]),
        ("Reward margin by step, in nats", ["margin", "nats"]),
        ("p (Holm) is corrected", ["Holm", "p"]),
        ("Rounding: this is no more", ["rounding"]),
        ("watch.kl, reward_margin and reward/margins are names", []),
        ("marginal, zip and planats are other words", []),
        ("+27 points, held-out prompts", ["held-out"]),
    ],
)
def test_the_words_of_a_text_are_found(text: str, words: list[str]):
    assert list(words_in(text)) == words
