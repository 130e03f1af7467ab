"""
The rows that pass between the stages (feedback, answers, judgements): typed, frozen, and the same in memory as on disk.

There are millions of them, so `row_to_json` leaves out fields at their default. Measured numbers are in
`haloes.results`, and `results_json.numbers_to_json` writes every field.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from haloes.errors import DataError

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


def row_to_json(record: object) -> dict[str, Any]:
    """Return a record as JSON-ready values, without fields at their default and without the place it was read from."""
    out: dict[str, Any] = {}
    for f in fields(record):  # type: ignore[arg-type]
        value = getattr(record, f.name)
        # A file that is copied is still the same feedback, so its path and lines are no part of what is written.
        if f.name == "where" or value == f.default:
            continue
        out[f.name] = _plain(value)
    return out


def _plain(value: object) -> object:
    if isinstance(value, Message):
        return message_to_json(value)
    if isinstance(value, Sampling):
        return row_to_json(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return value


def message_to_json(message: Message) -> dict[str, Any]:
    """Return a turn as the mapping that chat templates, servers and files have of it."""
    turn: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        turn["tool_calls"] = _plain(message.tool_calls)
    for key, value in message.extra:
        turn[key] = _plain(value)
    return turn


def message_from_json(turn: Mapping[str, Any]) -> Message:
    """Rebuild a turn from what `message_to_json` returned."""
    extra = tuple((key, value) for key, value in turn.items() if key not in MESSAGE_KEYS)
    return Message(turn["role"], turn["content"], tuple(turn.get("tool_calls") or ()), extra)


def text_to_json(text: Text) -> object:
    """Return a prompt or completion as JSON-ready values: a string, or a list of messages."""
    return _plain(text)


def text_from_json(value: Any) -> Text:
    """Rebuild a prompt or completion from what `text_to_json` returned."""
    if isinstance(value, str):
        return value
    return tuple(map(message_from_json, value))


def asked_to_json(asked: Asked) -> dict[str, Any]:
    """Return a prompt, and what belongs to it, as named values."""
    prompt = as_prompt(asked)
    given = {"tools": _plain(prompt.tools), "chat_template_kwargs": prompt.chat_template_kwargs}
    return {"prompt": text_to_json(prompt.text), **{name: value for name, value in given.items() if value}}


def asked_from_json(row: Mapping[str, Any]) -> Asked:
    """Rebuild a prompt from what `asked_to_json` returned, other names beside it."""
    tools = tuple(row.get("tools") or ())
    return as_asked(Prompt(text_from_json(row["prompt"]), tools, row.get("chat_template_kwargs")))


def completion_from_json(row: Mapping[str, Any], *, where: str, model: str = "") -> Completion:
    """
    Rebuild a `Completion` from what `row_to_json` returned; unknown fields are ignored.

    Args:
        row: a line of a file of completions.
        where: the file and its line, for error messages.
        model: name of the model where the row has none.

    Raises:
        DataError: a field is missing, or its value is not what it must be.
    """
    for name in ("prompt_id", "prompt", "completion"):
        if name not in row:
            raise DataError(f"{where}: this is not an answer: it has no {name!r}")
    if not isinstance(row["completion"], str):
        raise DataError(f"{where}: completion must be text, got {type(row['completion']).__name__}")
    try:
        prompt = text_from_json(row["prompt"])
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{where}: prompt must be text or messages with role and content") from error
    # The rest is lenient: completions may come from other tools, which know nothing of seeds and decoding settings.
    seed, tokens = row.get("seed"), row.get("num_tokens", 0)
    return Completion(
        prompt_id=str(row["prompt_id"]),
        prompt=prompt,
        completion=row["completion"],
        model=str(row.get("model", model)),
        num_tokens=tokens if isinstance(tokens, int) else 0,
        finished=row.get("finished", True) is not False,
        reasoning=str(row.get("reasoning") or ""),
        seed=seed if isinstance(seed, int) else None,
        sampling=sampling_from_json(row.get("sampling"), where=where),
        tools=tuple(row.get("tools") or ()),
        chat_template_kwargs=row.get("chat_template_kwargs"),
    )


def sampling_from_json(value: object, *, where: str) -> Sampling | None:
    """
    Rebuild a `Sampling` from what `row_to_json` returned; None for None.

    Raises DataError for anything but the fields of a `Sampling`.
    """
    if value is None:
        return None
    kinds = {"engine": str, "model": str, "max_new_tokens": int, "temperature": int | float, "top_p": int | float}
    if not isinstance(value, Mapping):
        raise DataError(f"{where}: sampling must be named fields, got {type(value).__name__}")
    values = {f.name: value[f.name] for f in fields(Sampling) if f.name in value}
    for name, kind in (kinds | {"control": str}).items():
        if name not in values and name not in {"model", "control"}:
            raise DataError(f"{where}: sampling has no {name!r}")
        if name in values and (not isinstance(values[name], kind) or isinstance(values[name], bool)):
            raise DataError(f"{where}: sampling.{name} cannot be {values[name]!r}")
    if not isinstance(values.get("chat_template_kwargs", {}) or {}, Mapping):
        raise DataError(f"{where}: sampling.chat_template_kwargs cannot be {values['chat_template_kwargs']!r}")
    return Sampling(**values)


def judgement_from_json(row: Mapping[str, Any], *, where: str) -> Judgement:
    """
    Rebuild a `Judgement` from what `row_to_json` returned; unknown fields are ignored.

    Args:
        row: a line of a file of judgements.
        where: the file and its line, for error messages.

    Raises:
        DataError: a field is missing, or its value is not what it must be.
    """
    values = {f.name: row[f.name] for f in fields(Judgement) if f.name in row}
    missing = [f.name for f in fields(Judgement) if f.default is MISSING and f.name not in values]
    if missing:
        raise DataError(f"{where}: this is not a judgement: it has no {missing[0]!r}")
    for name, value in values.items():
        if not _JUDGEMENT_CHECKS.get(name, _is_any)(value):
            raise DataError(f"{where}: {name} cannot be {value!r} in a judgement")
    return Judgement(**values)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_any(value: object) -> bool:
    return value is None or isinstance(value, str | int | float)


def _is_share(value: object) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1)


_JUDGEMENT_CHECKS: Mapping[str, Callable[[object], bool]] = {
    **dict.fromkeys(("prompt_id", "candidate", "baseline", "judge", "reply", "reason", "template"), _is_text),
    "candidate_first": lambda value: isinstance(value, bool),
    "one_order": lambda value: isinstance(value, bool),
    "verdict": lambda value: value is None or value in get_args(Verdict),
    "preference": _is_share,
}


def plain_text(text: Text) -> str:
    """Return the words of a prompt or completion without roles, as a person reads them."""
    return text if isinstance(text, str) else "\n".join(message.content for message in text)
