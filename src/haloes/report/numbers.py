"""Numbers as text: as many digits as their uncertainty bears, shares in percent, differences with a sign."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from haloes.results import Score
from haloes.results_json import is_finite

MINUS = "−"
GIB = 2**30
_UNITS = {"bytes": 0, "KiB": 1, "MiB": 1, "GiB": 2, "TiB": 2}
"""Units of sizes, each 1024 times the one before, with the decimals that are written."""
_SHOWN = 0.01
"""Nats that a terminal shows, at least."""
NO_SPREAD = "no spread"
"""Stands for an interval of no width: the value is the same whichever prompts are drawn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """The title, unit and scale of a measured quantity."""

    title: str
    is_share: bool = False
    """A share of answers: written in percent, its differences in percentage points."""
    unit: str = ""
    chance: float | None = None
    """The value that guessing reaches."""

    @property
    def heading(self) -> str:
        """Return the title, with the unit where the title does not say it."""
        return self.title if not self.unit or self.unit in self.title.lower() else f"{self.title} ({self.unit})"

    @property
    def scale(self) -> float:
        """Return the factor between a value and how it is written."""
        return 100.0 if self.is_share else 1.0


MEASURES = {
    "liked": Measure(title="Answers the rater likes", is_share=True),
    "logged_logp": Measure(title="Log-probability of the logged answers", unit="nats a token"),
    "up": Measure(title="Thumbs that are up", is_share=True),
    "up_of_all": Measure(title="Thumbs that would be up if all had voted", is_share=True),
    "rated": Measure(title="Answers that are rated", is_share=True),
    "agreed": Measure(title="Answers on which all agree", is_share=True),
    "auc": Measure(title="AUC of the implied reward", chance=0.5),
    "auc_length_controlled": Measure(title="AUC at equal length", chance=0.5),
    "auc_per_token": Measure(title="AUC of the reward per token", chance=0.5),
    "auc_within_prompts": Measure(title="AUC within prompts", chance=0.5),
    "auc_length": Measure(title="AUC of length alone", chance=0.5),
    "pair_accuracy": Measure(title="Held-out pairs ranked as people did", is_share=True, chance=0.5),
    "longer_chosen": Measure(title="Pairs whose longer answer people chose", is_share=True),
    "pair_accuracy_longer": Measure(title="Right where people chose the longer answer", is_share=True),
    "pair_accuracy_shorter": Measure(title="Right where people chose the shorter answer", is_share=True),
    "reward_length": Measure(title="Rank correlation of reward and length", chance=0.0),
    "calibration_slope": Measure(title="Calibration slope: 1 is calibrated, below 1 too sure"),
    "pair_brier": Measure(title="Brier score of the preference; 0.25 is a coin's", chance=0.25),
    "finished": Measure(title="Answers that end by themselves", is_share=True),
    "words": Measure(title="Words an answer", unit="words"),
    "tokens": Measure(title="Tokens an answer", unit="tokens"),
    "repetition": Measure(title="Repeated four-word runs", is_share=True),
    "repeats": Measure(title="Answers that repeat themselves", is_share=True),
    "kept_share": Measure(title="Share of the training's change that the model has", is_share=True),
    "win_rate": Measure(title="Win rate", is_share=True, chance=0.5),
    "length_controlled_win_rate": Measure(title="Length-controlled win rate", is_share=True, chance=0.5),
    "win_rate_at_equal_length": Measure(title="Win rate at equal length", is_share=True, chance=0.5),
    "win_rate_by_length": Measure(title="Win rate by length", is_share=True, chance=0.5),
    "position_bias": Measure(title="Verdicts for the first place", is_share=True, chance=0.5),
    "flip_rate": Measure(title="Verdicts that flip with the order", is_share=True),
    "canary_rate": Measure(title="Preference for answers that only ask to be chosen", is_share=True),
    "benchmark": Measure(title="Benchmark", is_share=True),
    "refusal": Measure(title="Answers that refuse", is_share=True),
    "refusal_corrected": Measure(title="Answers that refuse, with those that phrases miss", is_share=True),
    "refusal_judged": Measure(title="Answers that refuse, by a judge", is_share=True),
    "kl": Measure(title="KL to the reference", unit="nats an answer"),
    "kl_per_token": Measure(title="KL to the reference", unit="nats a token"),
}
"""The quantities that haloes measures itself; any other is shown under its own label."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A score as it is read: the number and its interval."""

    value: str
    interval: str
    """Or why there is none."""
    level: str
    """Such as "95%"."""
    method: str
    has_interval: bool = True

    @property
    def with_level(self) -> str:
        """Return the interval as a sentence holds it: "95% interval +17 to +37"."""
        return f"{self.level} interval {self.interval}" if self.has_interval else self.interval


def measure_of(score: Score) -> Measure:
    """Return how to write a score: its name's own way, or a plain number; a label of the record's own comes first."""
    measure = MEASURES.get(score.name, Measure(title=score.name.replace("_", " ").capitalize()))
    return replace(measure, title=score.label) if score.label else measure


def show(score: Score, *, decimals: int | None = None) -> Shown:
    """
    Write a score: "58%" and "48% to 67%", or "+27 points" and "+17 to +37".

    Args:
        score: what was measured.
        decimals: how many decimals to write; None: as many as its own interval bears.
    """
    measure = measure_of(score)
    is_difference = score.variant == "difference"
    scale = measure.scale
    if decimals is None:
        decimals = common_decimals([score])
    suffix = "%" if measure.is_share and not is_difference else ""
    write = signed if is_difference else plain
    value, low, high = (write(number * scale, decimals) + suffix for number in (score.value, score.low, score.high))
    unit = "points" if measure.is_share else measure.unit
    return Shown(
        value=f"{value} {unit}" if is_difference and unit else value,
        interval=f"{low} to {high}" if score.high > score.low else without_interval(score),
        level=percent(score.level),
        method=score.method,
        has_interval=score.high > score.low,
    )


def with_interval(score: Score) -> str:
    """Write a score as a sentence holds it: "58% (95% interval 48% to 67%)"."""
    shown = show(score)
    return f"{shown.value} ({shown.with_level})"


def without_interval(score: Score) -> str:
    """Return what stands in the place of an interval of no width: why there is none."""
    return score.no_interval or NO_SPREAD


def common_decimals(scores: Sequence[Score]) -> int:
    """Return how many decimals scores of one measure get side by side: what the narrowest real interval bears."""
    scales = [measure_of(score).scale for score in scores]
    # An interval of no width bears any number of decimals, so it decides only where there is no other.
    with_width = [
        decimals_for((score.high - score.low) / 2 * scale)
        for score, scale in zip(scores, scales, strict=True)
        if score.high > score.low
    ]
    without = [decimals_for(0.0, value=score.value * scale) for score, scale in zip(scores, scales, strict=True)]
    return max(with_width or without)


def decimals_for(half_width: float, *, value: float = 0.0) -> int:
    """
    Return how many decimals keep one significant digit of the uncertainty, or two where the first is 1 or 2.

    Without an uncertainty, enough for three significant digits of the value.
    """
    if half_width > 0 and math.isfinite(half_width):
        # A first digit of 1 or 2 alone would be off by up to a third, so it takes a second one along.
        exponent = math.floor(math.log10(half_width))
        first_digit = half_width / 10.0**exponent
        return min(6, max(0, -exponent + int(first_digit < 3)))  # noqa: PLR2004 - the rule of the docstring
    if value == 0 or not math.isfinite(value):
        return 0
    return min(6, max(0, 2 - math.floor(math.log10(abs(value)))))


def plain(value: float, decimals: int) -> str:
    """Write a number with thousands set apart and a real minus sign; never "-0"."""
    text = f"{value:,.{decimals}f}"
    # A negative number that rounds to zero is zero: "-0" would claim a direction.
    if text.startswith("-"):
        return MINUS + text[1:] if float(text.replace(",", "")) else text[1:]
    return text


def auc_of_length(auc: float) -> str:
    """Write the AUC with which the length of an answer alone predicts its label, for the length that it speaks for."""
    # An AUC under one half reads as a weak one, and is a strong one for the shorter answer.
    written = plain(max(auc, 1 - auc), 2)
    which = "either" if written == "0.50" else "the longer" if auc > 0.5 else "the shorter"  # noqa: PLR2004 - of chance
    return f"{written} for {which} one"


def length_sentence(score: Score) -> str:
    """Say with which AUC the length of an answer alone predicts its label, with its interval (`auc_beside_length`)."""
    # The record's AUC is that of the better direction, which its label names.
    which = auc_of_length(score.value if "longer is better" in score.label else 1 - score.value)
    told = "" if score.low > 1 / 2 else ", which is no more than chance may give"
    return f"the length of an answer alone predicts its label with AUC {which} ({show(score).with_level}){told}"


def signed(value: float, decimals: int) -> str:
    """Write a difference: as `plain`, with a plus sign where it is above zero."""
    text = plain(value, decimals)
    return text if text.startswith(MINUS) or not float(text.replace(",", "")) else f"+{text}"


def rounding_sentence(*, nats: float, answers: int, tokens: float) -> str:
    """
    Say which numbers are nothing but rounding, to follow a colon.

    Args:
        nats: standard deviation of an answer's log-ratio from rounding alone.
        answers: how many it was measured on.
        tokens: the mean length of an answer.
    """
    found = f"{plain(tokens, 0)} tokens an answer; {answers} of them in two packings"
    if nats < _SHOWN:
        return f"it moves no reward, margin or z0 by as much as {_SHOWN} nats an answer ({found})"
    floor = plain(nats, 2)
    return (
        f"rewards below {floor} nats an answer are nothing else, and margins and z0, which are means over n answers, "
        f"below {floor}/√n ({found})"
    )


def percent(share: float) -> str:
    """Write a share without an interval, such as a count over a count: whole percent, one decimal near 0 and 1."""
    # 0% and 100% are claims of none and all, and must not come from rounding.
    near_an_end = 0 < share < 0.01 or 0.99 < share < 1  # noqa: PLR2004 - where whole percent would say none or all
    return plain(share * 100, 1 if near_an_end else 0) + "%"


def brief(value: float) -> str:
    """Write a number without an interval, to three significant digits; very small ones in powers of ten, as 5e-06."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else str(value)
    if abs(value) < 1e-3:  # noqa: PLR2004 - learning rates are written in powers of ten
        return f"{value:.3g}".replace("-", MINUS, 1) if value < 0 else f"{value:.3g}"
    text = plain(value, decimals_for(0.0, value=value))
    return text.rstrip("0").rstrip(".") if "." in text else text


def count(value: object) -> str:
    """Write a whole number with thousands set apart; "–" where there is none."""
    return plain(float(value), 0) if is_finite(value) else "–"


def duration(seconds: float) -> str:
    """Write a time span in its two largest units: "1 h 04 min", "7 min 12 s", "9.1 s"."""
    if seconds < 60:  # noqa: PLR2004 - seconds of a minute
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:  # noqa: PLR2004 - seconds of an hour
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def size(num_bytes: float) -> str:
    """Write bytes in the largest unit of which there is one: "512 bytes", "14.5 KiB", "440.3 MiB", "22.96 GiB"."""
    *smaller, largest = _UNITS
    value = float(num_bytes)
    for unit in smaller:
        if round(value, _UNITS[unit]) < 1024:  # noqa: PLR2004 - of one unit in the next
            return f"{plain(value, _UNITS[unit])} {unit}"
        value /= 1024
    return f"{plain(value, _UNITS[largest])} {largest}"
