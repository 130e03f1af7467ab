"""Answers for the store of `haloes serve`."""

from typing import Any

from haloes.serving.records import Answer


def answer(name: str, words: str, **more: Any) -> Answer:
    """An answer to the question of this name."""
    turns = [{"role": "user", "content": f"Question of {name}?"}]
    said = {"role": "assistant", "content": words}
    given = {"model": "after", "finish_reason": "stop", "created_at": 1.0, "messages": turns} | more
    return Answer(completion_id=name, message=said, **given)
