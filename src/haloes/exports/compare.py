"""Ask the run's model and an exported file the same, and note where they differ."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from haloes.errors import RunError
from haloes.exports.comparison import AnswerComparison, Comparison, Rendering
from haloes.exports.conversations import conversations
from haloes.exports.reader import Reader, Step
from haloes.exports.transformers_reader import distance, greedy_answer
from haloes.models.load import LoadedModel
from haloes.progress.contract import Progress
from haloes.records import Asked, Prompt, as_prompt
from haloes.tokens.encode import Encoder

NUM_TOKENS = 24
"""Most tokens of an answer that is compared."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What the run's model makes of everything that is compared."""

    encoder: Encoder
    prompts: Mapping[str, tuple[Prompt, list[int]]]
    """Held-out prompts and their token ids."""
    conversations: Mapping[str, tuple[Prompt, list[int]]]
    answers: Mapping[str, list[tuple[int, Tensor]]]
    """Greedy answers by prompt: each token with the log-probabilities (V,) that it was taken by."""

    @property
    def window(self) -> int:
        """Return the most tokens of a prompt and its answer."""
        rows = (*self.prompts.values(), *self.conversations.values())
        return max(len(ids) for _, ids in rows) + NUM_TOKENS + 8


def expect(loaded: LoadedModel, encoder: Encoder, prompts: Mapping[str, Asked], progress: Progress) -> Expected:
    """Return what the run's model makes of held-out prompts, which its template knows, and of made-up conversations."""
    given = {name: (as_prompt(asked), encoder.prompt_ids(as_prompt(asked))) for name, asked in prompts.items()}
    answers = {}
    progress.stage("answers of the run's model", total=len(given))
    for name, (_, ids) in given.items():
        answers[name] = greedy_answer(loaded, ids, most=NUM_TOKENS)
        progress.advance(1)
    return Expected(encoder, given, conversations(encoder), answers)


def compare(
    expected: Expected, opened: AbstractContextManager[Reader], *, quantize: str, progress: Progress
) -> Comparison:
    """
    Ask a file what the run's model was asked.

    Args:
        expected: what the run's model says.
        opened: the file's reader; it is closed at the end.
        quantize: what the file's weights are saved in, which decides how far they may lead.
        progress: told of each answer.

    Raises:
        RunError: the reader cannot read the file.
    """
    tokenizer = expected.encoder.template.tokenizer
    with opened as reader:
        chat = expected.encoder.template.chat
        progress.stage(f"answers of the exported file ({reader.by})", total=len(expected.prompts))
        rendered = {name: _rendering(reader, *row, chat=chat) for name, row in expected.prompts.items()}
        made_up = {name: _rendering(reader, *row, chat=chat) for name, row in expected.conversations.items()}
        answers = []
        for name, (_, ids) in expected.prompts.items():
            answers.append(
                _compare_answers(name, expected.answers[name], reader.greedy(ids, most=NUM_TOKENS), tokenizer)
            )
            progress.advance(1)
        end = tokenizer.convert_tokens_to_ids(expected.encoder.template.end_of_turn)
        some = next(ids for _, ids in expected.prompts.values())
        return Comparison(
            by=reader.by,
            quantize=quantize,
            prompts=rendered,
            conversations=made_up,
            answers=tuple(answers),
            runs_on=() if reader.stops_at(some, end) else (expected.encoder.template.end_of_turn,),
            needs_tools=any(prompt.tools for prompt, _ in expected.prompts.values()),
        )


def _rendering(reader: Reader, prompt: Prompt, ids: list[int], *, chat: bool) -> Rendering:
    # A text among the conversations is a user's turn where there is a chat template.
    try:
        return "equal" if reader.prompt_ids(prompt, chat=chat) == ids else "differs"
    except RunError:
        return "differs"


def _compare_answers(
    name: str, model: list[tuple[int, Tensor]], exported: list[Step], tokenizer: Any
) -> AnswerComparison:
    """Compare two greedy answers up to the first token in which they part: after it they answer other texts."""
    distances: list[float] = []
    gap, num_equal = 0.0, 0
    for (token, logprobs_V), step in zip(model, exported, strict=False):
        if step.logprobs:
            distances.append(distance(logprobs_V, step.logprobs))
        if step.token != token:
            gap = float(logprobs_V[token] - logprobs_V[step.token])
            break
        num_equal += 1
    else:
        # One is over before the other: it ended, where the other goes on.
        gap = 0.0 if len(model) == len(exported) else float("inf")
    words = (torch.tensor([token for token, _ in model]), torch.tensor([step.token for step in exported]))
    return AnswerComparison(
        prompt=name,
        num_equal=num_equal,
        num_tokens=len(model),
        distance=sum(distances) / len(distances) if distances else float("inf"),
        gap=gap,
        model=tokenizer.decode(words[0]),
        exported=tokenizer.decode(words[1]),
    )
