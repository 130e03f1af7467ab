"""What a run's numbers say is going wrong while it trains: plain sentences, each with what to do."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Any, ClassVar

from haloes.errors import ConfigError

JUDGE_ERROR = "sampled/judge/error"
"""In a line of a validation: why a judge's win rate is missing, or does not rest on all answers."""
ENDS_LOST, ENDS_GAINED = "sampled/finished/lost", "sampled/finished/gained"
"""How many of the watched prompts' answers ended by themselves before training and do not now, and the reverse."""
_STRICT: dict[str, Any] = {"extra": "forbid", "use_attribute_docstrings": True}
_IN_A_ROW = 3
_BY_CHANCE = 0.05
"""An exact test's p-value from which on a change may be chance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchSettings:
    """What is looked at while training, and when it is too much. All limits are ours."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    prompts: int = 0
    """Held-out prompts that are answered at every validation; 0 for none. They are of those in samples.prompts."""
    judge: dict[str, Any] | None = None
    """A judge that compares these answers with those before training, in both orders: `kind` (http, local, reward or
    rule) and its settings as in `haloes judge`, such as {kind: http, model: NAME, base_url: http://localhost:8000/v1,
    template: alpaca-eval}. Each validation asks it two questions a prompt; its win rate is `sampled/win_rate`, which
    train.keep_best can follow. A key comes from the environment variable that key_env names, and from nowhere else."""
    length: float = 2.0
    """Alarm when answers have more words than this times as many as before training, or fewer than that part."""
    repetition: float = 0.1
    """Alarm when the share of four-word runs that an answer repeats has risen by this."""
    finished: float = 0.2
    """Alarm when the share of answers that the model ends itself has fallen by this, and so many prompts lost their end
    that it is no chance (exact paired test, p < 0.05): at least 6, so that fewer prompts give no such alarm."""
    kl: float = 50.0
    """Alarm when the KL divergence to the reference passes this, in nats an answer."""

    def __post_init__(self) -> None:
        for name, fits, rule in (
            ("prompts", self.prompts >= 0, "at least 0"),
            ("length", 1 < self.length < inf, "above 1 and finite"),
            ("repetition", 0 < self.repetition <= 1, "above 0 and at most 1"),
            ("finished", 0 < self.finished <= 1, "above 0 and at most 1"),
            ("kl", 0 < self.kl < inf, "positive and finite"),
        ):
            if not fits:
                raise ConfigError(f"watch.{name} must be {rule}, got {getattr(self, name)}")
        if self.judge is not None and self.prompts < 2:  # noqa: PLR2004 - one prompt has no spread
            raise ConfigError(
                f"watch.judge has too little to compare while watch.prompts is {self.prompts}; set 2 or more"
            )


class Alarms:
    """Follows a run's metrics; each kind of alarm is given once."""

    def __init__(self, before: Mapping[str, float], limits: WatchSettings) -> None:
        """
        Nothing has been seen yet.

        Args:
            before: the numbers of the answers before training (`sampled/words` ...); empty if none were made.
            limits: when it is too much.
        """
        self._before, self._limits = before, limits
        self._falling = 0
        self.given: dict[str, str] = {}
        """By a short name, in the order in which they came."""

    def take(self, line: Mapping[str, Any]) -> list[str]:
        """Take in a line of the metrics; what is newly alarming."""
        found = self._of_rewards(line) if line["split"] == "train" else _of_answers(line, self._before, self._limits)
        new = {name: f"step {line['step']}: {text}" for name, text in found.items() if name not in self.given}
        self.given |= new
        return list(new.values())

    def _of_rewards(self, line: Mapping[str, Any]) -> dict[str, str]:
        """The paper's sign of a learning rate that is too high: the rewards of both classes fall."""
        good, bad = line.get("reward/desirable"), line.get("reward/undesirable")
        if good is None or bad is None:
            return {}
        self._falling = self._falling + 1 if good < -1 and bad < -1 else 0
        if self._falling < _IN_A_ROW:
            return {}
        text = (
            f"the rewards of both classes have fallen ({good:.1f} and {bad:.1f} nats): the learning rate is probably "
            "too high (KTO paper, section 4.2); lower train.lr"
        )
        return {"rewards": text}


def _of_answers(line: Mapping[str, Any], before: Mapping[str, float], limits: WatchSettings) -> dict[str, str]:
    found = {}
    words, words_before = line.get("sampled/words"), before.get("sampled/words")
    if words is not None and words_before:
        ratio = words / words_before
        if ratio > limits.length:
            found["longer"] = (
                f"answers have {words:.0f} words, {ratio:.1f} times as many as before training; are long answers liked "
                "more often in the feedback (`haloes doctor`)? Raise loss.beta, or lower train.lr"
            )
        if ratio < 1 / limits.length:
            found["shorter"] = (
                f"answers have {words:.0f} words, and {words_before:.0f} before training; raise loss.beta, or lower "
                "train.lr"
            )
    risen = _change("sampled/repetition", line, before)
    if risen is not None and risen > limits.repetition:
        found["repetition"] = (
            f"{line['sampled/repetition']:.0%} of an answer's four-word runs are repeated, {risen * 100:.0f} points "
            "more than before training; lower train.lr"
        )
    unended = _fewer_ends(line, before, limits)
    if unended is not None:
        found["end of turn"] = unended
    if JUDGE_ERROR in line:
        found["judge"] = f"the judge's win rate is missing or rests on fewer answers ({line[JUDGE_ERROR]})"
    kl = line.get("sampled/kl")
    if kl is not None and kl > limits.kl:
        found["kl"] = (
            f"the KL divergence to the reference is {kl:.0f} nats an answer, above watch.kl={limits.kl:g}; "
            "raise loss.beta, or lower train.lr"
        )
    return found


def _fewer_ends(line: Mapping[str, Any], before: Mapping[str, float], limits: WatchSettings) -> str | None:
    """What to say where the model ends fewer answers itself, by more than the limit and more than by chance."""
    change = _change("sampled/finished", line, before)
    lost, gained = line.get(ENDS_LOST), line.get(ENDS_GAINED)
    if change is None or change >= -limits.finished or lost is None or gained is None:
        return None
    from haloes.stats.rates import sign_test  # here, as scipy takes a second and the configuration imports this file

    p_value = sign_test([True] * lost + [False] * gained, [False] * lost + [True] * gained).p_value
    if p_value >= _BY_CHANCE:
        return None
    return (
        f"the model ends {line['sampled/finished']:.0%} of its answers itself, {-change * 100:.0f} points less than "
        f"before training ({lost} prompts lost their end, {gained} gained one, exact p = {p_value:.2g}); were answers "
        "in the feedback cut off without being marked (finished: false)?"
    )


def _change(name: str, line: Mapping[str, Any], before: Mapping[str, float]) -> float | None:
    return float(line[name]) - before[name] if name in line and name in before else None
