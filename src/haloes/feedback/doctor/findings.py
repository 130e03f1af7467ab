"""The findings about a set of feedback, as plain values that are ready for JSON."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Literal, TypeAlias

from haloes.feedback.raters.reliability import Raters
from haloes.feedback.refusals import NO_FAULT
from haloes.feedback.weights import ClassWeights
from haloes.results import Score, Taste

Severity: TypeAlias = Literal["error", "warning", "note"]
"""error: training cannot use this; warning: the result suffers; note: good to know."""


@dataclass(frozen=True, slots=True)
class Tally:
    """A count, with the first places counted."""

    num: int = 0
    examples: tuple[str, ...] = ()
    """The first few places, as `file:line`, with details."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelCounts:
    """Votes of each label, and the class weights that follow."""

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
    """The spread of answers over prompts, and of prompts over conversations."""

    num: int
    num_with_several_answers: int
    num_with_both_labels: int
    median_answers: int
    p95_answers: int
    max_answers: int
    largest_share: float
    """Share of all answers that the most frequent prompt has."""
    num_wide_groups: int
    """Explicit groups that hold more than one prompt."""
    num_torn_prompts: int
    """Prompts whose rows carry different groups."""
    num_conversations: int
    num_units: int
    """Components of rows that share prompts or conversations: the units that a train/validation split can move."""
    largest_unit_share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeats:
    """Rows and answers that occur more than once."""

    duplicates: Tally
    """Rows that repeat an earlier row: the same prompt, answer and label (of pairs: both answers)."""
    conflicts: Tally
    """Answers that were rated desirable as well as undesirable."""
    num_conflicting_votes: int
    """Votes on such answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextFaults:
    """Answers that a model should perhaps not learn from."""

    empty: Tally
    """Answers of no characters but whitespace."""
    wordless: Tally
    """Answers without a letter or digit."""
    padded: Tally
    """Answers with whitespace at their beginning or end."""
    echoes: Tally
    """Answers that begin with the whole last user turn."""
    markers: Mapping[str, Tally]
    """Rows whose text holds a part of a chat template, by marker."""
    cut_off: Tally = field(default_factory=Tally)
    """Answers that break off (`text_signs.is_cut_off`) and are not marked as such; none where most answers of the file
    do not end like sentences."""
    html: Tally = field(default_factory=Tally)
    """Answers with HTML outside of code, and prompts, each of these counted once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LengthSummary:
    """Median, 95th percentile and maximum of the lengths of texts."""

    text: Literal["prompt", "completion"]
    label: Literal["desirable", "undesirable", "unlabelled"]
    unit: Literal["characters", "words"]
    median: int
    p95: int
    maximum: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UserVotes:
    """The votes of one user."""

    name: str
    num_votes: int
    share: float
    """Share of all votes that name a user."""
    share_desirable: float


@dataclass(frozen=True, slots=True, kw_only=True)
class UserCounts:
    """The users and how they vote."""

    num: int
    largest: UserVotes | None
    """The user with the most votes."""
    num_one_sided: int
    """Users who always vote the same, more often than chance explains."""
    one_sided: tuple[UserVotes, ...]
    """The most active of these."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """Everything that one reading of the rows shows."""

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
    length_auc: Score | None
    """AUC with which an answer's length in characters alone predicts its label, in the direction its `label` names."""
    users: UserCounts
    reasoning: Tally = Tally()
    """Rows with an answer that came with reasoning; all else that is said of answers is of the words after it."""
    personal: Mapping[str, Tally] = field(default_factory=dict)
    """Rows that hold personal data by pattern, by kind of it (`haloes.feedback.personal`), with their places."""
    raters: Raters | None = None
    """How far each person can be relied on, where votes overlap; None when no row was accepted."""
    taste: Taste | None = None
    """Whose verdicts these are; None when no row was accepted."""

    @property
    def num_read(self) -> int:
        """Return the number of rows that were read, usable or not."""
        return self.num_accepted + self.num_refused

    @property
    def num_left_out(self) -> int:
        """Return the number of rows that nobody rated, or that say neither good nor bad: refused for no fault."""
        return sum(tally.num for reason, tally in self.refusals.items() if reason in NO_FAULT)

    @property
    def num_answers(self) -> int:
        """Return the number of single answers, a pair being two."""
        return self.balance.num_desirable + self.balance.num_undesirable + self.balance.num_unlabelled


@dataclass(frozen=True, slots=True, kw_only=True)
class DataAdvice:
    """One consequence of the findings for training, with what to do about it."""

    severity: Severity
    name: str
    """Short, stable name."""
    finding: str
    """The facts, with numbers and places."""
    meaning: str
    """Effect on training."""
    action: str
    """Recommended action."""


def as_json(value: object) -> object:
    """Return findings, advice, or a collection of these, as values that the json module writes."""
    if is_dataclass(value):
        return {f.name: as_json(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {key: as_json(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [as_json(item) for item in value]
    return value
