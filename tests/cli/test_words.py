"""`haloes words` on the terminal."""

import pytest

from haloes.cli.main import run
from haloes.words import WORDS


def test_all_words_are_listed(capsys: pytest.CaptureFixture[str]):
    assert run(["words"]) == 0

    shown = " ".join(capsys.readouterr().out.split())
    for word in WORDS:
        assert word in shown


def test_one_word_is_one_line_that_a_pipe_can_take(capsys: pytest.CaptureFixture[str]):
    assert run(["words", "z0"]) == 0

    assert capsys.readouterr().out == f"z0: {WORDS['z0']}\n"


def test_a_misspelt_word_is_guessed_with_exit_code_2(capsys: pytest.CaptureFixture[str]):
    assert run(["words", "nets"]) == 2

    assert 'Did you mean "nats"?' in capsys.readouterr().err
