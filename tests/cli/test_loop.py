"""docs/loop.md: its commands and its program, in their order, on a tiny model."""

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

from haloes.cli.main import run
from haloes.report.facts import trained_on
from haloes.report.load import load_run
from tiny_runs import flags

LOOP = Path(__file__).parents[2] / "docs" / "loop.md"

pytestmark = [
    pytest.mark.skipif(not LOOP.exists(), reason="the documents are not beside the tests"),
    pytest.mark.skipif(find_spec("uvicorn") is None, reason="the extra web is not installed"),
]


def blocks(language: str) -> list[str]:
    text = LOOP.read_text(encoding="utf-8") if LOOP.exists() else ""
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


@contextmanager
def serving(words: list[str]) -> Iterator[str]:
    """The server as a program, on a port that is free; its address."""
    command = [sys.executable, "-m", "haloes", *words, "--port", "0"]
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as server:
        try:
            assert server.stdout is not None
            yield server.stdout.readline().rpartition(" ")[2].strip()
        finally:
            server.send_signal(signal.SIGINT)


def test_the_loop_goes_round_as_it_is_printed(model: Path):
    first, second = ([shlex.split(line, comments=True)[1:] for line in block.splitlines()] for block in blocks("bash"))
    (votes,) = blocks("python")
    tiny = flags(model, samples__prompts="4", feedback__validation_share="auto")

    def carry_out(words: list[str]) -> None:
        assert run([*words, *(tiny if words[0] in {"train", "plan"} else [])]) == 0, words

    *before, export, serve = first
    for words in before:
        carry_out(words)
    # The tokenizer of the tiny model is none that llama.cpp knows; tests/exports has one that it does.
    assert export[-2:] == ["--to", "gguf"]
    with serving(serve) as address:
        exec(votes.replace("http://127.0.0.1:8321", address), {"__name__": "votes"})
    *after, again = second
    for words in after:
        carry_out(words)

    assert again == ["serve", "runs/second"]
    told = load_run(Path("runs/second"))
    assert "It goes on from first (KTO" in trained_on(told)
    assert told.data["rows"]["export"] == "store of haloes serve"
    assert Path("adapter/adapter_model.safetensors").is_file()
