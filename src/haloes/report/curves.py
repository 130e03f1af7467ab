"""The charts of a run's metrics, and the sentence below each."""

from collections.abc import Iterable, Sequence
from typing import Literal, TypeAlias

from haloes.report.charts import Chart, Line
from haloes.report.load import RunRecords
from haloes.report.numbers import count, percent
from haloes.results_json import Fields, is_finite

Style: TypeAlias = Literal["noisy", "exact", "dots"]

_ERROR = "reference_point/standard_error"
_SAMPLED = {
    "sampled/liked": ("Sampled answers that the rater likes by step", "share"),
    "sampled/words": ("Words of sampled answers by step", "words"),
    "sampled/repetition": ("Repeated four-word runs in sampled answers by step", "share"),
    "sampled/finished": ("Sampled answers that end by themselves by step", "share"),
    "sampled/kl": ("KL of sampled answers to the reference by step", "nats an answer"),
}
"""Measures of a few answers while a run trains: metric to (title, unit)."""
_BEYOND_DRAWING = 1e100
"""Numbers that are finite, but whose differences need not be."""


def training_charts(run: RunRecords) -> tuple[Chart, ...]:
    """Build the charts of a run, the telling ones first; a chart whose metrics were not logged is not there."""
    charts = (
        _loss(run),
        _likelihood(run.train),
        _auc(run.validation),
        _accuracy(run),
        _rewards(run.train),
        _margin(run),
        _model_rewards(run.train),
        _reference_point(run.train),
        _log_probability(run.train),
        _win_rate(run.validation),
        *(_sampled(run.validation, key, title, unit) for key, (title, unit) in _SAMPLED.items()),
        _small("Learning rate by step", "", run.train, "learning_rate", style="exact"),
        _small("Gradient norm by step, before clipping", "L2 norm", run.train, "grad_norm"),
    )
    return tuple(chart for chart in charts if chart is not None)


def line(
    rows: Sequence[Fields],
    key: str,
    label: str,
    tone: str,
    *,
    ends: tuple[str, str] | None = None,
    style: Style = "noisy",
) -> Line | None:
    """
    Build one series of the metrics, over the steps that logged it as a finite number; None where no step did.

    Args:
        rows: metrics by step.
        key: the metric.
        label: how the chart calls it.
        tone: its colour.
        ends: the metrics of its interval's ends; steps without them are left out.
        style: how it is drawn.
    """
    keys = (key, *(ends or ()))
    # A value without its interval is left out: one dot without whiskers would look certain.
    kept = [row for row in rows if all(_can_be_drawn(row.get(k)) for k in keys)]
    if not kept:
        return None
    return Line(
        label=label,
        tone=tone,
        xs=[row["step"] for row in kept],
        ys=[row[key] for row in kept],
        low=[row[ends[0]] for row in kept] if ends else (),
        high=[row[ends[1]] for row in kept] if ends else (),
        style=style,
    )


def _can_be_drawn(value: object) -> bool:
    # Beyond that an axis overflows, though the number itself is finite.
    return is_finite(value) and abs(value) < _BEYOND_DRAWING


def _present(*lines: Line | None) -> tuple[Line, ...]:
    return tuple(series for series in lines if series is not None)


def _loss(run: RunRecords) -> Chart | None:
    lines = _present(
        line(run.train, "loss", "training", "train"), line(run.validation, "loss", "held-out", "held", style="dots")
    )
    # A loss that is no number cannot be drawn, and must not vanish: it is marked and counted.
    broken = [row["step"] for row in run.train if "loss" in row and not is_finite(row["loss"])]
    caption = "Mean over the examples of a step, weights included."
    if broken:
        caption += f" At {len(broken)} step(s) it was not a number, first at step {broken[0]}; marked along the bottom."
    return _chart("Loss by step", "loss an example", lines, caption, rug=broken)


def _likelihood(rows: Sequence[Fields]) -> Chart | None:
    """Build the chart of the loss by token, where the loss is a log-likelihood summed over an answer."""
    lines = _present(line(rows, "nll_per_token", "training", "train"))
    caption = "Minus the log-probability of an answer by the number of its tokens: the loss that other tools show."
    return _chart("Loss per token (NLL) by step", "nats a token", lines, caption)


def _auc(rows: Sequence[Fields]) -> Chart | None:
    caption = (
        "How often a desirable held-out answer is scored above an undesirable one: by the implied reward or, without "
        "a reference, by the log-probability per token."
    )
    with_interval = line(rows, "auc", "held-out", "held", ends=("auc/low", "auc/high"), style="dots")
    if with_interval is not None:
        caption += " Whiskers: 95% interval, counting prompts."
    lines = _present(with_interval or line(rows, "auc", "held-out", "held", style="dots"))
    return _chart("Held-out AUC by step", "AUC", lines, caption, guides=((0.5, "chance"),))


def _win_rate(rows: Sequence[Fields]) -> Chart | None:
    key = "sampled/win_rate"
    with_interval = line(rows, key, "sampled", "held", ends=(f"{key}/low", f"{key}/high"), style="dots")
    caption = (
        "A judge compares the answers of the step with those before training, in both orders; ties count half. "
        "Whiskers: interval over prompts."
    )
    counted = [(row.get(f"{key}/unscored"), row.get("sampled/judge/questions")) for row in rows]
    unscored = sum(number for number, _ in counted if is_finite(number))
    asked = sum(number for _, number in counted if is_finite(number))
    caption += f" It was asked {count(asked)} questions" + (
        f"; {count(unscored)} comparisons could not be scored and are left out." if unscored else "."
    )
    missing = [row["step"] for row in rows if key in row and not is_finite(row[key])]
    if missing:
        caption += f" At {len(missing)} validation(s) there is none, marked along the bottom; the alarms say why."
    return _chart(
        "Win rate against the start by step",
        "share",
        _present(with_interval),
        caption,
        guides=((0.5, "even"),),
        rug=missing,
    )


def _accuracy(run: RunRecords) -> Chart | None:
    """Build the chart of a reward model's accuracy; other losses on pairs log one too, but only while training."""
    held = line(run.validation, "accuracy", "held-out", "held", ends=("accuracy/low", "accuracy/high"), style="dots")
    if held is None:
        return None
    caption = (
        "How often the chosen answer of a pair gets the higher reward, ties counting half. Whiskers: interval from "
        "resampling prompts."
    )
    lines = _present(line(run.train, "accuracy", "training", "train"), held)
    return _chart("Pair accuracy by step", "share", lines, caption, guides=((0.5, "a coin"),))


def _model_rewards(rows: Sequence[Fields]) -> Chart | None:
    lines = _present(
        line(rows, "model_reward/desirable", "chosen", "desirable"),
        line(rows, "model_reward/undesirable", "rejected", "undesirable"),
    )
    caption = (
        "What the reward model gives the answers of a step, before it learns from them. Only differences mean "
        "something: the probability that one answer is better is the logistic function of it."
    )
    return _chart("Rewards of chosen and rejected answers by step", "log-odds", lines, caption)


def _rewards(rows: Sequence[Fields]) -> Chart | None:
    lines = _present(
        line(rows, "reward/desirable", "desirable", "desirable"),
        line(rows, "reward/undesirable", "undesirable", "undesirable"),
    )
    caption = (
        "The reward is the log-ratio to the reference, without beta: above zero, the model has become more likely to "
        "give the answer. Both may fall; what counts is that they part."
    )
    return _chart(
        "Reward of desirable and undesirable answers by step", "nats an answer", lines, caption, guides=((0.0, ""),)
    )


def _margin(run: RunRecords) -> Chart | None:
    lines = _present(
        line(run.train, "reward_margin", "training", "train"),
        line(run.validation, "reward_margin", "held-out", "held", style="dots"),
    )
    caption = "Mean reward of the desirable answers minus that of the undesirable ones."
    rounded = _rounded(run.train, "reward_margin")
    if rounded:
        caption += f" At {len(rounded)} of {len(run.train)} steps it is no more than rounding, marked along the bottom."
    return _chart("Reward margin by step", "nats an answer", lines, caption, guides=((0.0, ""),), rug=rounded)


def _rounded(rows: Sequence[Fields], key: str) -> list[int]:
    """Return the steps at which a number is nearer to 0 than rounding explains, and not 0 exactly."""
    both = ((row["step"], row.get(key), row.get(f"{key.partition('/')[0]}/rounding")) for row in rows)
    return [step for step, value, floor in both if is_finite(value) and is_finite(floor) and 0 < abs(value) < floor]


def _reference_point(rows: Sequence[Fields]) -> Chart | None:
    with_error = [
        {**row, "low": row["reference_point/raw"] - row[_ERROR], "high": row["reference_point/raw"] + row[_ERROR]}
        for row in rows
        if is_finite(row.get("reference_point/raw")) and is_finite(row.get(_ERROR))
    ]
    with_band = line(with_error, "reference_point/raw", "z0 before the clamp", "train", ends=("low", "high"))
    lines = _present(with_band or line(rows, "reference_point/raw", "z0 before the clamp", "train"))
    logged = [row for row in rows if row.get("reference_point/clamped") in {0, 1}]
    clamped = [row["step"] for row in logged if row["reference_point/clamped"]]
    caption = "Mean log-ratio of mismatched answers. Band: the standard error of a single step, either side."
    if logged:
        caption += (
            f" Below zero it counts as zero: so it did at {len(clamped)} of {len(logged)} steps "
            f"({percent(len(clamped) / len(logged))}), marked along the bottom. "
            "That is normal where the model has moved little."
        )
    if rounded := _rounded(rows, "reference_point/raw"):
        caption += f" At {len(rounded)} of {len(rows)} steps it is no more than rounding."
    return _chart("Reference point by step", "nats an answer", lines, caption, guides=((0.0, "clamp"),), rug=clamped)


def _log_probability(rows: Sequence[Fields]) -> Chart | None:
    lines = _present(
        line(rows, "logp_per_token/desirable", "desirable", "desirable"),
        line(rows, "logp_per_token/undesirable", "undesirable", "undesirable"),
    )
    caption = (
        "How likely the model finds the answers, whatever the reference. A steep fall of both means it is breaking."
    )
    return _chart("Log-probability per token by step", "nats a token", lines, caption)


def _small(title: str, unit: str, rows: Sequence[Fields], key: str, *, style: Style = "noisy") -> Chart | None:
    tone = "held" if style == "dots" else "train"
    lines = _present(line(rows, key, key.rpartition("/")[2].replace("_", " "), tone, style=style))
    return Chart(title=title, unit=unit, lines=lines, small=True) if lines else None


def _sampled(rows: Sequence[Fields], key: str, title: str, unit: str) -> Chart | None:
    label = key.rpartition("/")[2].replace("_", " ")
    with_interval = line(rows, key, label, "held", ends=(f"{key}/low", f"{key}/high"), style="dots")
    # Runs from before these had intervals, and answers to a single prompt.
    lines = _present(with_interval or line(rows, key, label, "held", style="dots"))
    caption = "" if with_interval is None else "Whiskers: 95% interval, counting prompts."
    return Chart(title=title, unit=unit, lines=lines, caption=caption, small=True) if lines else None


def _chart(
    title: str,
    unit: str,
    lines: tuple[Line, ...],
    caption: str,
    *,
    guides: tuple[tuple[float, str], ...] = (),
    rug: Iterable[float] = (),
) -> Chart | None:
    if not lines:
        return None
    return Chart(title=title, unit=unit, lines=lines, caption=caption, guides=guides, rug=tuple(rug))
