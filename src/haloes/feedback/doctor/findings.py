"""What is known about a set of feedback after reading it once: plain values, ready for JSON."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Literal, TypeAlias

from haloes.feedback.weights import ClassWeights

Severity: TypeAlias = Literal["error", "warning", "note"]
"""error: training cannot use this; warning: the result suffers; note: good to know."""


@dataclass(frozen=True, slots=True)
class Tally:
    """How often something was seen, and where first."""

    num: int = 0
    examples: tuple[str, ...] = ()
    """The first few places, as `file:line` with what is to be said about them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelCounts:
    """How many votes there are of each label, and the class weights that follow."""

    num_desirable: int
    num_undesirable: int
    num_unlabelled: int
    """Answers with a score and no label (yet)."""
    ratio: float | None
    """`n_D / n_U`, each row counted with its weight; None unless both labels occur."""
    weights: ClassWeights
    """The weights that bring the ratio into the paper's interval."""
    weighted_ratio: float | None
    """The ratio with these weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptCounts:
    """How answers spread over prompts, and prompts over conversations."""

    num: int
    num_with_several_answers: int
    num_with_both_labels: int
    median_answers: int
    p95_answers: int
    max_answers: int
    largest_share: float
    """The share of all answers that the most frequent prompt has."""
    num_wide_groups: int
    """Explicit groups that hold more than one prompt."""
    num_torn_prompts: int
    """Prompts whose rows carry different groups."""
    num_conversations: int
    num_units: int
    """Sets of rows that hang together by prompt or conversation: what a train/validation split can move."""
    largest_unit_share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeats:
    """The same thing more than once."""

    duplicates: Tally
    """Rows that repeat an earlier row: the same prompt, answer and label (of pairs: both answers)."""
    conflicts: Tally
    """Answers that were rated desirable as well as undesirable."""
    num_conflicting_votes: int
    """Votes on such answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextFaults:
    """Answers that may not be what a model should learn from."""

    empty: Tally
    """Answers of no characters but whitespace."""
    wordless: Tally
    """Answers without a letter or digit."""
    padded: Tally
    """Answers with whitespace at their beginning or end."""
    echoes: Tally
    """Answers that begin with the whole last user turn."""
    markers: Mapping[str, Tally]
    """Rows whose text holds what looks like part of a chat template, by marker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LengthSummary:
    """How long texts are."""

    text: Literal["prompt", "completion"]
    label: Literal["desirable", "undesirable", "unlabelled"]
    unit: Literal["characters", "words"]
    median: int
    p95: int
    maximum: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UserVotes:
    """How one user votes."""

    name: str
    num_votes: int
    share: float
    """Of all votes that name a user."""
    share_desirable: float


@dataclass(frozen=True, slots=True, kw_only=True)
class UserCounts:
    """Who votes."""

    num: int
    largest: UserVotes | None
    """Who votes most."""
    num_one_sided: int
    """Users who vote always the same, more often than chance explains."""
    one_sided: tuple[UserVotes, ...]
    """The most active of these."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """All that one reading of the rows shows."""

    num_accepted: int
    num_refused: int
    num_pairs: int
    num_labelled: int
    num_scored: int
    """Rows with a score, labelled or not."""
    refusals: Mapping[str, Tally]
    """Refused rows by reason, the most frequent first."""
    balance: LabelCounts
    prompts: PromptCounts | None
    """None when no row was accepted."""
    repeats: Repeats
    texts: TextFaults
    lengths: tuple[LengthSummary, ...]
    length_auc: float | None
    """How well the length of an answer (in characters) alone predicts its label: 0.5 not at all, 1 longer is better."""
    users: UserCounts

    @property
    def num_read(self) -> int:
        """Rows that were read, usable or not."""
        return self.num_accepted + self.num_refused

    @property
    def num_answers(self) -> int:
        """Single answers, a pair being two."""
        return self.balance.num_desirable + self.balance.num_undesirable + self.balance.num_unlabelled


@dataclass(frozen=True, slots=True, kw_only=True)
class DataAdvice:
    """One thing that the findings mean for training."""

    severity: Severity
    name: str
    """A short, stable name."""
    finding: str
    """What was found."""
    meaning: str
    """What it does to training."""
    action: str
    """What to do."""


def as_json(value: object) -> object:
    """Findings, advice, or a collection of such, as values that the json module writes."""
    if is_dataclass(value):
        return {f.name: as_json(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {key: as_json(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [as_json(item) for item in value]
    return value
