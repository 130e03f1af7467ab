"""The rows that pass between the stages: typed, frozen, and the same in memory as on disk."""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Literal, TypeAlias, get_args

from haloes.errors import DataError


@dataclass(frozen=True, slots=True)
class Where:
    """Where a row was read: the file and its line (or the row's number, from 1, in formats without lines)."""

    path: str
    line: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line}"


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a chat."""

    role: str
    """"system", "user", "assistant" or "tool"."""
    content: str
    tool_calls: tuple[Mapping[str, Any], ...] = ()
    """Calls that an assistant turn makes, in the OpenAI shape; chat templates render them."""


Text: TypeAlias = str | tuple[Message, ...]
"""A prompt or a completion: plain text, or the messages of a chat."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """One answer and what a person thought of it."""

    prompt: Text
    completion: Text
    label: bool | None = None
    """True: desirable, False: undesirable, None: only a score is known so far."""
    score: float | None = None
    finished: bool = True
    """False when the answer was cut off (at a token limit, by a stop button): its end of turn is not trained then."""
    weight: float = 1.0
    id: str | None = None
    group: str | None = None
    """Names the prompt: rows with the same group answer the same prompt. None: the prompt itself decides."""
    conversation: str | None = None
    user: str | None = None
    source: str | None = None
    tools: tuple[Mapping[str, Any], ...] = ()
    where: Where | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two answers to one prompt, of which a person preferred the first."""

    prompt: Text
    chosen: Text
    rejected: Text
    chosen_finished: bool = True
    """False when it was cut off, as in `Feedback.finished`."""
    rejected_finished: bool = True
    margin: float | None = None
    """By how much the person found the chosen answer better, on whatever scale; None where nobody said."""
    weight: float = 1.0
    id: str | None = None
    group: str | None = None
    conversation: str | None = None
    user: str | None = None
    source: str | None = None
    tools: tuple[Mapping[str, Any], ...] = ()
    where: Where | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A row that was read and cannot be used, and why."""

    where: Where
    reason: str
    """A short, stable name of the kind of fault, for counting: "label", "empty completion", "no user turn" ..."""
    message: str
    """What is wrong with this row: the value, and what to do."""

    def __str__(self) -> str:
        return f"{self.where}: {self.message}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How an answer was made. Answers of one model that were made in two ways are not a sample of one thing."""

    engine: str
    """What ran the model: "transformers", "vllm", "http"."""
    model: str = ""
    """The folder or name by which it was loaded or asked for; empty for a model that was in training."""
    max_new_tokens: int
    temperature: float
    """0: the likeliest token each time."""
    top_p: float
    control: str = ""
    """Control text after the prompt, whether the chat template wrote it or haloes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """One sampled answer."""

    prompt_id: str
    prompt: Text
    completion: str
    model: str
    """Which model answered: "before", "after", or a name."""
    num_tokens: int
    finished: bool
    """Whether the model ended its turn itself; False when it was cut off at the token limit."""
    seed: int | None = None
    sampling: Sampling | None = None
    """How it was made; None where that is not known."""


Verdict: TypeAlias = Literal["first", "second", "tie"]
"""Which of two answers a judge prefers, by the place in which it saw them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What a judge said of two answers to one prompt, which it saw in one of the two orders."""

    prompt_id: str
    candidate: str
    """Whose answer it is that may have become better."""
    baseline: str
    """Whose answer it is compared with."""
    candidate_first: bool
    """Whether the candidate's answer stood first."""
    verdict: Verdict | None = None
    """None: unscored. The judge replied, and its reply holds no verdict; it is neither a win nor a loss nor a tie."""
    preference: float | None = None
    """For the candidate, in [0, 1], where the judge gives a number."""
    reply: str = ""
    """The judge's raw reply."""
    reason: str = ""
    """What in the reply was taken for the verdict, or why there is none."""
    judge: str
    """The judge's name."""
    template: str = ""
    """The name of the judge's prompt; empty for judges that read none."""
    seed: int | None = None
    """Of the judging."""
    draw: int = 0
    """Which of the prompt's answers were compared, counted from 0, where each model gave several."""
    fingerprint: str = ""
    """Of the prompt, both answers, their order and the judge: another fingerprint is another question."""
    candidate_length: int | None = None
    """Characters of the candidate's answer."""
    baseline_length: int | None = None
    """Characters of the baseline's answer."""
    prompt_tokens: int = 0
    """That the judge read, where it counts them."""
    completion_tokens: int = 0
    """That the judge wrote, where it counts them."""
    cost: float | None = None
    """In the currency of the prices that were given; None where none were."""

    @property
    def points(self) -> float | None:
        """For the candidate: 1 for a win, 1/2 for a tie, 0 for a loss; None where it is unscored."""
        if self.verdict is None or self.verdict == "tie":
            return None if self.verdict is None else 0.5
        return float((self.verdict == "first") == self.candidate_first)


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """A number that was measured, with its uncertainty."""

    name: str
    """What was measured: "auc", "liked", "words", "kl" ..."""
    value: float
    low: float
    high: float
    level: float = 0.95
    """The coverage of the interval [low, high]."""
    variant: str
    """Which model it is about: "before", "after", "difference" ..."""
    num_rows: int
    num_clusters: int
    """How many independent units (prompts) the interval rests on."""
    method: str
    """How the interval was made."""
    label: str = ""
    """How to call the number in a report; empty: its name."""


def to_json(record: object) -> dict[str, Any]:
    """A record as JSON-ready values; fields at their default are left out, and so is where a row was read."""
    out: dict[str, Any] = {}
    for f in fields(record):  # type: ignore[arg-type]
        value = getattr(record, f.name)
        if f.name == "where" or value == f.default:
            continue
        out[f.name] = _plain(value)
    return out


def _plain(value: object) -> object:
    if isinstance(value, Message | Sampling):
        return to_json(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return value


def text_to_json(text: Text) -> object:
    """A prompt or completion as JSON-ready values: a string, or a list of messages."""
    return _plain(text)


def text_from_json(value: Any) -> Text:
    """The inverse of `text_to_json`."""
    if isinstance(value, str):
        return value
    return tuple(Message(turn["role"], turn["content"], tuple(turn.get("tool_calls", ()))) for turn in value)


def completion_from_json(row: Mapping[str, Any], *, where: str, model: str = "") -> Completion:
    """
    The inverse of `to_json`; fields that it does not know are left aside.

    Args:
        row: a line of a file of answers.
        where: the file and its line, with which the message of a fault begins.
        model: what the model is called where the row does not say.

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
    seed, tokens = row.get("seed"), row.get("num_tokens", 0)
    return Completion(
        prompt_id=str(row["prompt_id"]),
        prompt=prompt,
        completion=row["completion"],
        model=str(row.get("model", model)),
        num_tokens=tokens if isinstance(tokens, int) else 0,
        finished=row.get("finished", True) is not False,
        seed=seed if isinstance(seed, int) else None,
        sampling=sampling_from_json(row.get("sampling"), where=where),
    )


def sampling_from_json(value: object, *, where: str) -> Sampling | None:
    """
    The inverse of `to_json`; None for None.

    Raises DataError where it is anything else than the fields of a `Sampling`.
    """
    if value is None:
        return None
    kinds = {"engine": str, "model": str, "max_new_tokens": int, "temperature": int | float, "top_p": int | float}
    if not isinstance(value, Mapping):
        raise DataError(f"{where}: sampling must be named fields, got {type(value).__name__}")
    known = {f.name: value[f.name] for f in fields(Sampling) if f.name in value}
    for name, kind in (kinds | {"control": str}).items():
        if name not in known and name not in {"model", "control"}:
            raise DataError(f"{where}: sampling has no {name!r}")
        if name in known and (not isinstance(known[name], kind) or isinstance(known[name], bool)):
            raise DataError(f"{where}: sampling.{name} cannot be {known[name]!r}")
    return Sampling(**known)


def judgement_from_json(row: Mapping[str, Any], *, where: str) -> Judgement:
    """
    The inverse of `to_json`; fields that it does not know are left aside.

    Args:
        row: a line of a file of judgements.
        where: the file and its line, with which the message of a fault begins.

    Raises:
        DataError: a field is missing, or its value is not what it must be.
    """
    known = {f.name: row[f.name] for f in fields(Judgement) if f.name in row}
    missing = [f.name for f in fields(Judgement) if f.default is MISSING and f.name not in known]
    if missing:
        raise DataError(f"{where}: this is not a judgement: it has no {missing[0]!r}")
    for name, value in known.items():
        if not _JUDGEMENT_CHECKS.get(name, _is_any)(value):
            raise DataError(f"{where}: {name} cannot be {value!r} in a judgement")
    return Judgement(**known)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_any(value: object) -> bool:
    return value is None or isinstance(value, str | int | float)


def _is_share(value: object) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1)


_JUDGEMENT_CHECKS: Mapping[str, Callable[[object], bool]] = {
    **dict.fromkeys(("prompt_id", "candidate", "baseline", "judge", "reply", "reason", "template"), _is_text),
    "candidate_first": lambda value: isinstance(value, bool),
    "verdict": lambda value: value is None or value in get_args(Verdict),
    "preference": _is_share,
}


def plain_text(text: Text) -> str:
    """The words of a prompt or completion, without roles: what a person reads."""
    return text if isinstance(text, str) else "\n".join(message.content for message in text)
