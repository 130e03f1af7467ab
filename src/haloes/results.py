"""
Measured numbers, one frozen record each: a score with its interval, a difference, a held-out answer, a calibration.

Code that computes, shows or stores a number uses its record here, so that a new number is added in one place.
`haloes.evaluation_results` holds what an evaluation is made of, `haloes.results_json` writes and reads them all. The
fields of a record are its keys on disk, in this order:

- `scores.jsonl` of a run: a `Score` a line;
- `evaluation.json` of a run, or beside a file of judgements: `Evaluation`;
- `held_out.jsonl`: a `HeldOutRow` a line;
- `ratings.jsonl`: an `AnswerRating` a line;
- `calibration.json` of a reward model: `Reliability`;
- "taste" in `data.json`: `Taste`.

To add a number, add a field with a default (so that files from before it are still read), fill it where the record is
made (`stats` or `evaluation`), and show it (`report`, `cli/views`).
"""

from dataclasses import dataclass

LEVEL = 0.95
"""Coverage of every interval that haloes makes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """A measured number with its confidence interval."""

    name: str
    """Name of the quantity: "auc", "liked", "words", "kl" ..."""
    value: float
    low: float
    high: float
    level: float = LEVEL
    """Coverage of the interval [low, high]."""
    variant: str
    """Model that the number is about: "before", "after", "difference" ..."""
    num_rows: int
    num_clusters: int
    """Number of independent units (prompts) that the interval rests on."""
    method: str
    """Method that made the interval."""
    label: str = ""
    """Name of the number in a report; empty: `name`."""
    no_interval: str = ""
    """Why there is no interval, in the few words that stand in its place ("by definition"); `low` and `high` are the
    value then. Empty where there is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignTest:
    """Rows that went up, down, or stayed, and how surprising that is if up and down were equally likely."""

    up: int
    down: int
    same: int
    p_value: float
    """Two-sided and exact; 1 where nothing changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedDifference:
    """One model's (or run's) number minus another's, on what both were measured on."""

    model: str
    other: str
    score: Score
    """The model's number minus the other's."""
    p_value: float
    p_holm: float
    """The p-value corrected for all comparisons made together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerRating:
    """The rater's verdict on one sampled answer."""

    prompt_id: str
    model: str
    """The model that answered, as in `Completion`."""
    liked: bool
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOutRow:
    """One held-out answer and its implied reward."""

    where: str
    """The file:line that it was read from."""
    label: bool
    """True for desirable."""
    group: str
    """Hash of the prompt; equal wherever the prompt is."""
    answer: str
    """Hash of the answer's tokens: equal in runs with the same tokenizer wherever the answer is."""
    reward: float
    """The implied reward: log p of the model minus log p of the model before training, in nats. Of a reward model, what
    it gives."""
    logp: float | None
    """log p of the answer, in nats; None of a reward model."""
    tokens: int
    """Tokens of the answer, those that are trained."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReliabilityBin:
    """Rows with similar predicted probabilities: how many of them are desirable?"""

    predicted: float
    """Mean predicted probability."""
    desirable: float
    """Share of desirable rows."""
    low: float
    """Wilson's interval of that share, as if the rows were independent."""
    high: float
    num_rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reliability:
    """Predicted probabilities against shares of desirable rows."""

    expected_error: float
    """Expected calibration error: the mean distance of the bins' shares from their predictions, weighted by rows."""
    expected_error_by_chance: float
    """The error that 95 % of perfectly calibrated models would stay below on as many rows; it is never zero."""
    bins: tuple[ReliabilityBin, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """The implied reward as a probability: its scale, and how far it is off."""

    scale: float
    """Factor of the reward in P(desirable) = sigmoid(scale * reward); negative where it ranks the wrong way round."""
    brier: Score
    """Mean squared error of the probabilities: 0 is perfect, 0.25 is saying one half throughout."""
    expected_error: float
    """As in `Reliability`."""
    expected_error_by_chance: float
    bins: tuple[ReliabilityBin, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeFree:
    """The numbers of one run or one file of answers that need no judge."""

    source: str
    scores: tuple[Score, ...]
    calibration: Calibration | None


@dataclass(frozen=True, slots=True, kw_only=True)
class VotesOf:
    """The thumbs that answers of one kind got: those of one model, of some length, of one month."""

    by: str
    """What the kinds differ in: "model", "length", "hour" or "time"."""
    name: str
    num_votes: int
    share_up: float
    up: Score | None
    """The same share with its interval; None where all votes are one person's, so that there is no spread to see."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RatedOf:
    """How many of the answers of one kind are rated: those of one model, of some length, at one place of the chat."""

    by: str
    """What the kinds differ in: "model", "length", "number", "code" or "hour"."""
    name: str
    num_shown: int
    num_rated: int
    rated: Score | None
    """The share that is rated, with its interval; None where all answers were shown to one person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownAndRated:
    """Which of the answers that people were shown they rated, and what rows weigh by 1 / P(rated)."""

    num_shown: int
    num_rated: int
    rated: Score | None
    """The share that is rated; None where all answers were shown to one person."""
    kinds: tuple[RatedOf, ...]
    shown_if: str = ""
    """Which unrated answers were taken as shown, in words, where the export holds others; empty where all are."""
    num_not_shown: int = 0
    """Those others."""
    too_little: str = ""
    """Why there are no weights; empty where there are."""
    up: Score | None = None
    """Share of up votes on an answer, over answers with thumbs."""
    up_of_all: Score | None = None
    """The same of all that were shown, by weights: if it depends on nothing that P(rated) does not know."""
    num_rows: int = 0
    """Verdicts that weigh by these weights."""
    num_effective: float = 0.0
    """How many rows of equal weight say as much (Kish): (sum w)^2 / sum w^2."""
    most: float = 1.0
    """The largest weight; their mean over the rows is 1."""
    num_clipped: int = 0
    """Rated answers whose weight was clipped."""
    is_applied: bool = False
    """Whether the rows weigh by it (feedback.reweight=rated)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taste:
    """Whose verdicts a set of feedback holds: how they spread over people, and what they go with."""

    num_votes: int
    """Verdicts: thumbs, scores and comparisons."""
    num_unnamed: int
    """Those of them that name nobody."""
    num_people: int
    num_even: float
    """How many people with equally many votes would be as concentrated (1 / sum of squared shares); 0 without names."""
    num_for_half: int
    """The fewest people who together gave half of the votes that name somebody."""
    largest_share: float
    """The most active person's share of the votes that name somebody; 0 without names."""
    up: Score | None
    """Share of the thumbs that are up; None without thumbs, or where all are one person's."""
    kinds: tuple[VotesOf, ...]
    """The same by answering model, by length, by hour of the day and by time."""
    length: Score | None
    """AUC with which the length of an answer alone predicts the thumb, in the direction that is above one half."""
    num_again: int
    """Answers on which one person voted more than once."""
    num_changed: int
    """Those of them on which that person voted both ways."""
    num_shared: int
    """Answers on which several people voted."""
    agreed: Score | None
    """Share of these on which all agree."""
    shown: ShownAndRated | None = None
    """Which answers were rated; None where no answers stand in the file that nobody rated."""
