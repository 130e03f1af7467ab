"""A GGUF file as llama.cpp reads it: prompts by its chat template, tokens, and greedy answers (xllamacpp)."""

import http.client
import json
import secrets
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from haloes.errors import RunError
from haloes.exports import llama_server
from haloes.exports.child import end, last_line, offline, python
from haloes.exports.reader import Step
from haloes.records import Prompt
from haloes.records_json import text_to_json

_TIMEOUT = 3600.0
"""Seconds for one answer: a large model on few processors is slow."""
_TOP = 20
"""Likeliest tokens whose log-probabilities are asked for."""
_CERTAIN = 1e4
"""Added to the logit of a token that is to come next."""


def is_installed() -> bool:
    """Return whether llama.cpp can be asked on this machine."""
    return find_spec("xllamacpp") is not None


@dataclass(frozen=True, slots=True)
class LlamaCpp:
    """A server of llama.cpp on this machine, with one model."""

    host: str
    port: int
    api_key: str
    log: Path
    """The file with what the server prints."""

    @property
    def by(self) -> Literal["llama.cpp"]:
        """Return the program's name."""
        return "llama.cpp"

    def prompt_ids(self, prompt: Prompt, *, chat: bool) -> list[int]:
        """
        Return the ids that the server makes of a prompt in a chat, or of a text.

        Raises RunError where it refuses the prompt.
        """
        text = prompt.text
        if chat:
            turns = [{"role": "user", "content": text}] if isinstance(text, str) else text_to_json(text)
            body = {
                "messages": turns,
                **({"tools": [dict(tool) for tool in prompt.tools]} if prompt.tools else {}),
                **({"chat_template_kwargs": prompt.chat_template_kwargs} if prompt.chat_template_kwargs else {}),
            }
            text = str(self._post("/apply-template", body)["prompt"])
        elif not isinstance(text, str):
            raise RunError("messages need a chat template, and the file has none")
        # As the server does for a chat: it puts BOS before the text where the file says so.
        found = self._post("/tokenize", {"content": text, "add_special": True, "parse_special": True})
        return [int(token) for token in found["tokens"]]

    def greedy(self, ids: Sequence[int], *, most: int) -> list[Step]:
        """Return the likeliest next tokens, one after the other, until the turn ends."""
        found = self._complete(ids, n_predict=most, n_probs=_TOP)
        told = list(found.get("completion_probabilities", ()))
        steps = []
        for token in map(int, found["tokens"]):
            # Of tokens that end amid a character, such as the bytes of an emoji, the server tells no probabilities.
            tops = told.pop(0)["top_logprobs"] if told and int(told[0]["id"]) == token else ()
            steps.append(Step(token, {int(top["id"]): float(top["logprob"]) for top in tops}))
        return steps

    def stops_at(self, ids: Sequence[int], token: int) -> bool:
        """Return whether an answer is over with this token."""
        found = self._complete(ids, n_predict=2, logit_bias=[[token, _CERTAIN]])
        return found["stop_type"] == "eos" and len(found["tokens"]) <= 1

    def _complete(self, ids: Sequence[int], **more: Any) -> Any:
        plain = {"temperature": 0, "top_k": 0, "samplers": ["temperature"], "cache_prompt": False}
        return self._post("/completion", {"prompt": list(ids), "return_tokens": True, **plain, **more})

    def _post(self, path: str, body: Mapping[str, Any]) -> Any:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=_TIMEOUT)
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self.api_key}"}
        try:
            connection.request("POST", path, json.dumps(body).encode(), headers)
            reply = connection.getresponse()
            content = reply.read()
        except (OSError, http.client.HTTPException) as error:
            raise RunError(f"llama.cpp ended while it read the file: {last_line(self.log) or error}") from error
        finally:
            connection.close()
        if reply.status != http.client.OK:
            raise RunError(f"llama.cpp refuses {path}: {content.decode(errors='replace')[:300]}")
        return json.loads(content)


@contextmanager
def llama_cpp(file: Path, *, window: int, threads: int) -> Iterator[LlamaCpp]:
    """
    Yield a server with the model of a GGUF file; it ends with the block.

    Args:
        file: the GGUF file.
        window: most tokens of a prompt and its answer.
        threads: how many it computes with.

    Raises:
        RunError: llama.cpp cannot load the file.
    """
    key = secrets.token_hex(16)
    given = {"model": str(file), "n_ctx": window, "threads": threads, "api_key": key}
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with log.open("wb") as errors:
            process = subprocess.Popen(  # noqa: S603 - the interpreter that runs this, with a script of this package
                python(str(llama_server.__file__)),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=offline(),
            )
            try:
                yield LlamaCpp(*_address(process, given, log), key, log)
            finally:
                end(process)
                for pipe in (process.stdin, process.stdout):
                    pipe.close()  # type: ignore[union-attr] # they are pipes


def _address(process: "subprocess.Popen[bytes]", given: Mapping[str, Any], log: Path) -> tuple[str, int]:
    try:
        process.stdin.write(json.dumps(given).encode() + b"\n")  # type: ignore[union-attr]
        process.stdin.flush()  # type: ignore[union-attr]
        line = process.stdout.readline().decode().strip()  # type: ignore[union-attr]
    except BrokenPipeError:
        line = ""
    address = urlsplit(line)
    if not address.hostname or not address.port:
        raise RunError(f"llama.cpp cannot load the file: {last_line(log) or line or 'it ended without a word'}")
    return address.hostname, address.port
