"""What an evaluation is made of, as frozen records: judgements, AlpacaEval's table, benchmarks, all of it."""

from dataclasses import dataclass

from haloes.results import JudgeFree, PairedDifference, Score, SignTest

_EVEN = 0.5


# --- judgements


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedPair:
    """Two answers to one prompt, and what one judge preferred in each order."""

    prompt_id: str
    candidate: str
    baseline: str
    judge: str
    draw: int = 0
    """Number of the prompt's answers that were compared, as in `Judgement`."""
    shown_first: float | None = None
    """Preference in [0, 1] for the candidate's answer when it stood first; None where that was not scored."""
    shown_second: float | None = None
    """The same when it stood second."""
    preference: float | None = None
    """The mean of the two; None where one of them was not scored."""
    candidate_length: int | None = None
    """Characters of the candidate's answer."""
    baseline_length: int | None = None

    @property
    def outcome(self) -> str:
        """Return what became of the candidate: "won", "beaten", "tied" or "unscored"."""
        if self.preference is None:
            return "unscored"
        return "tied" if self.preference == _EVEN else "won" if self.preference > _EVEN else "beaten"

    @property
    def flipped(self) -> bool:
        """Return whether the two orders had different winners."""
        if self.shown_first is None or self.shown_second is None:
            return False
        return (self.shown_first - _EVEN) * (self.shown_second - _EVEN) < 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LengthControlled:
    """A length-controlled win rate and the regression it comes from."""

    score: Score
    theta: float
    """Log-odds of being preferred at equal length (and difficulty 0)."""
    phi_length: float
    """Weight of tanh(standardised baseline length - length): negative where the judge prefers longer answers."""
    psi_difficulty: float | None
    """Weight of the instruction's difficulty; 1 where that was fitted to several systems; None where not known."""
    caution: str = ""
    """What the rate may hold beside the answers' quality, or why it is extrapolated; empty where nothing is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Matchup:
    """One model against another by one judge, both orders taken together."""

    candidate: str
    baseline: str
    judge: str
    wins: int
    ties: int
    losses: int
    unscored: int
    """Comparisons in which one of the two orders has no verdict."""
    num_prompts: int
    sign_test: SignTest
    smallest_difference: float | None
    """Distance from one half that a win rate must have for this many prompts to show it in 4 of 5 tries."""
    win_rate: Score | None
    length_controlled: LengthControlled | None
    position_bias: Score | None
    flip_rate: Score | None
    canary_rate: Score | None
    """Preference for answers that only ask to be chosen; None where none were mixed in."""
    by_length: tuple[Score, ...]
    """The win rate where the candidate's answer is shorter, ..., longer; the label says by how many characters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedNumbers:
    """All that follows from judgements."""

    matchups: tuple[Matchup, ...]
    agreement: tuple[Score, ...]
    ratings: tuple[Score, ...] = ()
    """Bradley-Terry ratings of each model (`variant`), in log-odds; `label` names the judge."""
    differences: tuple[PairedDifference, ...] = ()
    """Paired, with p-values that are corrected by Holm's method within each judge and opponent."""
    comparisons: tuple[JudgedPair, ...]
    notes: tuple[str, ...] = ()
    refusals: tuple[Score, ...] = ()
    """How many answers of each model (`variant`) refuse, by each judge that was asked, and by phrases beside it; the
    label says by what."""


# --- AlpacaEval


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaderboardRow:
    """The numbers of one model on AlpacaEval's leaderboard; rates in percent."""

    win_rate: float
    standard_error: float | None
    """Sample standard deviation by the root of the number; None for a single preference."""
    discrete_win_rate: float
    """The win rate of the preferences rounded to win, draw or loss."""
    n_wins: int
    n_wins_base: int
    n_draws: int
    n_total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AlpacaEvalRow:
    """One model by one annotator; what AlpacaEval gives in percent is in percent."""

    generator: str
    annotator: str
    leaderboard: LeaderboardRow
    win_rate: Score | None
    """The same win rate as a share, with an interval from resampling instructions."""
    average_length: float | None
    length_controlled: float | None
    """From the weights that were given, in percent."""
    fitted: Score | None
    """Without such weights: at equal length, from a regression on the preferences, as a share."""
    fitted_with_difficulty: bool = False
    """Whether that regression knew each instruction's difficulty, given or fitted to several models together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlpacaEval:
    """The table, best first for each annotator, and the paired differences where few models are compared."""

    rows: tuple[AlpacaEvalRow, ...]
    differences: tuple[PairedDifference, ...]


# --- benchmarks


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkChange:
    """The change of scores on the same questions."""

    score: Score
    """The mean after minus the mean before."""
    test: SignTest
    """Questions that went up, down or stayed, and the exact p-value; with right/wrong scores, McNemar's exact test."""
    p_holm: float
    """The p-value corrected for all benchmarks that were compared together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkResult:
    """One benchmark."""

    name: str
    title: str
    label: str
    """Meaning of the score."""
    scores: tuple[Score, ...]
    """The score that counts, of each model (`variant`)."""
    change: BenchmarkChange | None
    """After minus before, on the same questions."""
    others: tuple[Score, ...]
    """Further metrics, of each model."""
    subtasks: tuple[Score, ...]
    """Scores of each model and subtask, where there are several; no interval where a subtask has one question."""
    questions: int
    of: int
    """Questions that the benchmark has."""
    asked: str
    """A sentence: which questions were asked, and how they were put."""
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkNumbers:
    """All benchmarks of a run or a model."""

    results: tuple[BenchmarkResult, ...]
    notes: tuple[str, ...]

    @property
    def corrected(self) -> int:
        """Return how many comparisons the p-values are corrected for."""
        return sum(result.change is not None for result in self.results)


# --- all of it


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """All numbers of one `haloes eval`."""

    judged: JudgedNumbers | None
    """None where there are no judgements."""
    judge_free: tuple[JudgeFree, ...]
    alpaca_eval: AlpacaEval | None
    benchmarks: BenchmarkNumbers | None = None
    """None where no benchmark was asked."""
    notes: tuple[str, ...] = ()
    """Warnings for a reader of the numbers, such as that answers were not made alike."""
