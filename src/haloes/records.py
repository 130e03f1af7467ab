"""
The rows that pass between the stages (feedback, answers, judgements): typed, frozen, and the same in memory as on disk.

What they are on disk is in `haloes.records_json`. Measured numbers are in `haloes.results`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

_MEMORY = ".rows.jsonl"
"""Ending of the files of rows that were in memory: line 17 is "row 17 of the DataFrame" to who gave that."""


def memory_file(folder: Path, *, kind: str, part: str) -> Path:
    """Return the file for rows that were in memory, from their type's name and what they are for ("feedback" ...)."""
    return folder / f"{re.sub(r'[^A-Za-z0-9_]+', '-', kind)}.{part}{_MEMORY}"


def memory_name(path: str) -> str | None:
    """Return what the rows of a file were in memory, such as "the DataFrame"; None for a file of the user's own."""
    if not path.endswith(_MEMORY):
        return None
    kind, _, part = Path(path).name.removesuffix(_MEMORY).rpartition(".")
    return f"the {kind}" if part == "feedback" else f"the {part} {kind}"


@dataclass(frozen=True, slots=True)
class Where:
    """The file and line that a row was read from (or the row's number, from 1, in containers without lines)."""

    path: str
    line: int

    def __str__(self) -> str:
        name = memory_name(self.path)
        return f"{self.path}:{self.line}" if name is None else f"row {self.line} of {name}"


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a chat."""

    role: str
    """"system", "user", "assistant" or "tool"."""
    content: str
    tool_calls: tuple[Mapping[str, Any], ...] = field(default=(), hash=False)
    """Calls that an assistant turn makes, in the OpenAI shape; chat templates render them."""
    extra: tuple[tuple[str, Any], ...] = field(default=(), hash=False)
    """Every other key of the turn and its value, such as a tool's name and tool_call_id: chat templates read them."""


MESSAGE_KEYS = frozenset({"role", "content", "tool_calls"})
"""Keys of a turn that `Message` has fields for."""

Text: TypeAlias = str | tuple[Message, ...]
"""A prompt or a completion: plain text, or the messages of a chat."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt with what its chat template is given beside it."""

    text: Text
    tools: tuple[Mapping[str, Any], ...] = ()
    chat_template_kwargs: Mapping[str, Any] | None = None


Asked: TypeAlias = Text | Prompt
"""A prompt to answer; where tools or variables of the chat template belong to it, with these."""


def as_prompt(asked: Asked) -> Prompt:
    """Return a prompt with what belongs to it; nothing does to a text or messages."""
    return asked if isinstance(asked, Prompt) else Prompt(asked)


def as_asked(prompt: Prompt) -> Asked:
    """Return the text or messages of a prompt to which nothing else belongs; others unchanged."""
    return prompt if prompt.tools or prompt.chat_template_kwargs else prompt.text


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """One completion of a prompt and a person's verdict on it: a label, a score, or both."""

    prompt: Text
    completion: Text
    label: bool | None = None
    """True: desirable, False: undesirable, None: only a score is known so far."""
    score: float | None = None
    """The rating on whatever scale the raters used; a rule turns it into a label."""
    finished: bool | None = None
    """False when the completion was cut off (at a token limit, by a stop button): its end of turn is not trained. True
    trains it as a token of the answer, so that an answer of one word, such as Yes, is two tokens. None: nobody said;
    `feedback.cut_off` decides."""
    weight: float = 1.0
    """Factor on this row's loss, positive."""
    id: str | None = None
    group: str | None = None
    """Name of the prompt: rows with the same group answer the same prompt. None: the prompt's words decide."""
    conversation: str | None = None
    """Name of the conversation; its rows stay on one side of a train/validation split."""
    user: str | None = None
    """Name of the person who gave the feedback."""
    source: str | None = None
    """Name of the place that the row comes from, for the reader's own use."""
    model: str | None = None
    """Name of the model that answered."""
    rated_at: str | None = None
    """Time of the verdict: ISO 8601 in UTC, such as "2026-03-02T11:22:33Z"."""
    comment: str | None = None
    """The person's reason, in words."""
    hindsight: str | None = None
    """What the user wrote next, after the rated answer; no part of what is trained."""
    tools: tuple[Mapping[str, Any], ...] = ()
    """Definitions of the tools that the prompt offers, as JSON schemas."""
    chat_template_kwargs: Mapping[str, Any] | None = None
    """Values of the chat template's variables for this row, such as {"enable_thinking": False}."""
    where: Where | None = field(default=None, compare=False)
    """Place that the row was read from; no part of its identity."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two completions of one prompt, of which a person preferred the first; other fields as in `Feedback`."""

    prompt: Text
    chosen: Text
    rejected: Text
    chosen_finished: bool | None = None
    """False when the chosen completion was cut off, as in `Feedback.finished`."""
    rejected_finished: bool | None = None
    margin: float | None = None
    """Difference between the ratings of chosen and rejected, on whatever scale; None where nobody gave it."""
    weight: float = 1.0
    id: str | None = None
    group: str | None = None
    conversation: str | None = None
    user: str | None = None
    source: str | None = None
    chosen_model: str | None = None
    """Name of the model whose answer is the chosen one; of a correction the person's, there is none."""
    rejected_model: str | None = None
    rated_at: str | None = None
    comment: str | None = None
    hindsight: str | None = None
    tools: tuple[Mapping[str, Any], ...] = ()
    chat_template_kwargs: Mapping[str, Any] | None = None
    where: Where | None = field(default=None, compare=False)


def prompt_of(row: Feedback | Pair) -> Asked:
    """Return the prompt of a row, with what belongs to it."""
    return as_asked(Prompt(row.prompt, row.tools, row.chat_template_kwargs))


@dataclass(frozen=True, slots=True)
class Refusal:
    """A row that was read and cannot be used, with the reason."""

    where: Where
    reason: str
    """Short, stable name of the kind of fault, for counting (the parsers' are `haloes.feedback.refusals.Reason`)."""
    message: str
    """Description of the fault of this row: the value, and what to do."""

    def __str__(self) -> str:
        return f"{self.where}: {self.message}"


FeedbackRow: TypeAlias = Feedback | Pair
"""A row that can be trained on."""
Record: TypeAlias = Feedback | Pair | Refusal
"""The result of reading a row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """Decoding settings of a completion; completions sampled with different settings are not one sample of a model."""

    engine: str
    """Engine that ran the model: "transformers", "vllm", "http"."""
    model: str = ""
    """Folder or name that the model was loaded or requested by; empty for a model that was in training."""
    max_new_tokens: int
    temperature: float
    """Softmax temperature; 0 is greedy decoding."""
    top_p: float
    control: str = ""
    """Control text after the prompt, written by the chat template or by haloes."""
    chat_template_kwargs: Mapping[str, Any] | None = None
    """Values of the chat template's variables, where the user set some."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """One completion that a model sampled."""

    prompt_id: str
    prompt: Text
    completion: str
    model: str
    """Model that was sampled from: "before" or "after" training, or a name."""
    num_tokens: int
    finished: bool
    """True when the model ended its turn itself, False when it was cut off at the token limit."""
    reasoning: str = ""
    """Words of the thought before the answer, where the model wrote one; `completion` holds none of them."""
    seed: int | None = None
    """Seed used for sampling."""
    sampling: Sampling | None = None
    """Decoding settings; None where they are unknown."""
    tools: tuple[Mapping[str, Any], ...] = ()
    """Definitions of the tools that the prompt offers."""
    chat_template_kwargs: Mapping[str, Any] | None = None
    """Values of the chat template's variables for this prompt."""

    @property
    def text(self) -> Text:
        """Return the answer as feedback has it: its words, or a turn with its reasoning beside them."""
        if not self.reasoning:
            return self.completion
        return (Message("assistant", self.completion, extra=(("reasoning_content", self.reasoning),)),)

    @property
    def only_thinks(self) -> bool:
        """Return whether the answer was cut off inside its thought."""
        return bool(self.reasoning) and not self.completion and not self.finished


Verdict: TypeAlias = Literal["first", "second", "tie"]
"""The completion that a judge prefers, by the position in which it saw the two."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """A judge's comparison of two completions of one prompt, shown in one of the two orders."""

    prompt_id: str
    candidate: str
    """Model under test, whose completion may have become better."""
    baseline: str
    """Model that it is compared with."""
    candidate_first: bool
    """True when the candidate's completion was shown first."""
    verdict: Verdict | None = None
    """The judge's verdict. None: unscored, as the reply holds no verdict; it is neither a win nor a loss nor a tie."""
    preference: float | None = None
    """Probability in [0, 1] that the candidate is better, from judges that give a number."""
    reply: str = ""
    """Raw reply of the judge."""
    reason: str = ""
    """Part of the reply that was read as the verdict, or the reason why there is none."""
    judge: str
    """Name of the judge."""
    template: str = ""
    """Name of the judge's prompt template; empty for judges that read none."""
    seed: int | None = None
    """Seed used for judging."""
    draw: int = 0
    """Number of the compared completions among those of the prompt, from 0, where each model gave several."""
    fingerprint: str = ""
    """Hash of the prompt, both completions, their order and the judge; another fingerprint is another question."""
    candidate_length: int | None = None
    """Characters of the candidate's completion."""
    baseline_length: int | None = None
    """Characters of the baseline's completion."""
    prompt_tokens: int = 0
    """Tokens that the judge read, where it counts them."""
    completion_tokens: int = 0
    """Tokens that the judge wrote, where it counts them."""
    cost: float | None = None
    """Cost in the currency of the configured prices; None where there are none."""
    one_order: bool = False
    """True where the order was drawn, and is the only one: of people, who are not asked twice."""

    @property
    def points(self) -> float | None:
        """Return the candidate's points: 1 for a win, 1/2 for a tie, 0 for a loss; None where it is unscored."""
        if self.verdict is None or self.verdict == "tie":
            return None if self.verdict is None else 0.5
        # The verdict names a position, and the candidate stood in either: it wins where the two agree.
        return float((self.verdict == "first") == self.candidate_first)


def plain_text(text: Text) -> str:
    """Return the words of a prompt or completion without roles, as a person reads them."""
    return text if isinstance(text, str) else "\n".join(message.content for message in text)
