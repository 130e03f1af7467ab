"""The implied reward of an answer that was logged: log p of the run's model minus log p of the one before, in nats."""

import json
import math
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from haloes.errors import DataError
from haloes.feedback.importers.content import read_messages
from haloes.feedback.importers.values import has_ended
from haloes.models.architecture import body_of, forget_lengths, window_of
from haloes.models.forward import head_of
from haloes.models.lm_head import target_logps
from haloes.sampling.transformers_engine import TransformersEngine
from haloes.tokens.encode import Encoded, make_encoder
from haloes.tokens.template import TextRow

_NO_WINDOW = 1 << 30


@dataclass(frozen=True, slots=True)
class Logged:
    """An answer of the store that waits for its reward."""

    number: int
    row: tuple[str | None, ...]
    """Messages, message, tools and variables of the template as the store has them, and the finish reason."""

    def as_row(self) -> tuple[TextRow, bool]:
        """
        Return it as a row of feedback, read as training reads it, and whether it came to its end.

        Raises:
            RefusalError: it holds more than words and calls of tools.
        """
        *texts, reason = self.row
        messages, message, tools, values = (json.loads(text) if text else None for text in texts)
        prompt, completion = read_messages(messages), read_messages([message], role="assistant")
        return (prompt, completion, tuple(tools or ()), values or {}), reason != "stopped" and has_ended(
            reason
        ) is not False


def next_logged(connection: sqlite3.Connection) -> Logged | None:
    """Return the newest answer that nobody rated and whose reward was not looked for; None where there is none."""
    row = connection.execute(
        "SELECT id, messages, message, tools, chat_template_kwargs, finish_reason "
        "FROM answers INDEXED BY answers_unscored WHERE voted = 0 AND purpose = 'chat' AND scored_by IS NULL "
        "ORDER BY id DESC LIMIT 1"
    ).fetchone()
    return None if row is None else Logged(row[0], row[1:])


def add_reward(connection: sqlite3.Connection, number: int, reward: float | None, run: str) -> None:
    """Add the reward of an answer by a run; None, or no finite number, for an answer that has none."""
    known = reward if reward is not None and math.isfinite(reward) else None
    connection.execute("UPDATE answers SET scored_by = ?, reward = ? WHERE id = ?", (run, known, number))


def forget_rewards(connection: sqlite3.Connection, run: str) -> None:
    """Forget the rewards of answers by other runs than this one."""
    connection.execute("UPDATE answers SET scored_by = NULL, reward = NULL WHERE scored_by <> ?", (run,))


def encoded(engine: TransformersEngine) -> Callable[[Logged], Encoded]:
    """
    Return what encodes answers for a model and the one that it was trained from.

    It raises RefusalError or DataError for an answer that cannot be encoded.
    """
    encoder = make_encoder(engine.tokenizer, max_length=window_of(engine.model) or _NO_WINDOW)

    def encode(logged: Logged) -> Encoded:
        row, finished = logged.as_row()
        (found,) = encoder.encode([row], finished=[finished])
        if not isinstance(found, Encoded):
            raise DataError(found.message)
        return found

    return encode


def logp(model: Any, answer: Encoded) -> float:
    """Return log p(answer | prompt) of the tokens that training would train, in nats, in one pass of it alone."""
    ids_T = torch.as_tensor(np.concatenate([answer.prompt, answer.completion]), dtype=torch.long, device=model.device)
    forget_lengths(model)
    with torch.no_grad():
        states_TH = body_of(model)(input_ids=ids_T[None, :-1], use_cache=False).last_hidden_state[0]
        # A token is predicted at the one before it.
        logp_C = target_logps(states_TH[len(answer.prompt) - 1 :], head_of(model), ids_T[len(answer.prompt) :])
    forget_lengths(model)
    return float(logp_C[torch.as_tensor(answer.trained, device=logp_C.device)].double().sum())
