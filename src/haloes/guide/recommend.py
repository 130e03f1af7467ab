"""Recommendation of a loss for a feedback file: the KTO paper's advice, applied to what the file holds."""

import shlex
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from math import isfinite

from haloes.errors import DataError
from haloes.feedback.doctor.duplicates_and_contradictions import Contradictions, count_contradictions
from haloes.feedback.doctor.examine import examine
from haloes.feedback.doctor.findings import Findings, LabelCounts
from haloes.feedback.proposals import as_typed
from haloes.feedback.weights import HIGHEST_RATIO, LOWEST_RATIO, is_in_paper_range
from haloes.guide.explain import needs_of
from haloes.losses._contract import Needs
from haloes.losses.table import LOSSES
from haloes.progress.contract import NullProgress, Progress
from haloes.records import Feedback, Record, memory_name
from haloes.runs.config import FeedbackSettings
from haloes.runs.feedback_rows import open_for_doctor, tell_reading
from haloes.runs.held_out import held_out_share
from haloes.training.choose_steps import choose_steps, describe_steps, too_few_steps

NOISY = 0.05
"""The share of pairs in contradiction, of those that can be checked, from which preferences count as noisy."""

_OURS = f"{NOISY:.0%} is ours; the paper gives no number"

_WHEN = "KTO paper, section 4.4"

_THEOREM = "KTO paper, Theorem 4.3 (`haloes losses theory`)"

_RULE = "KTO paper, eq. 9"

_BETA = "KTO paper, section 4.2"

_SCORES = "KTO paper, section 4.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class LossAdvice:
    """A loss to train with, or a setting of it, with the reason."""

    topic: str
    """Subject of the advice: "loss", "or", "labels", "weights", "beta"."""
    what: str
    why: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFacts:
    """Facts about a feedback file that the advice rests on."""

    findings: Findings
    pairs: Contradictions
    scores: tuple[float, float] | None
    """The lowest and the highest score, if there are scores."""
    threshold: float | None = None
    """Lowest score of answers that were taken for desirable, where scores had to be made labels."""

    @property
    def balance(self) -> LabelCounts:
        """Count the answers of each label."""
        return self.findings.balance

    @property
    def is_paired(self) -> bool:
        """Return whether most rows are pairs."""
        return 2 * self.findings.num_pairs >= self.findings.num_accepted

    @property
    def is_noisy(self) -> bool:
        """Return whether pairs contradict each other often."""
        return self.pairs.num_contradicted >= max(1.0, NOISY * self.pairs.num_checkable)

    @property
    def num_prompts(self) -> int:
        """Count the different prompts."""
        return self.findings.prompts.num if self.findings.prompts else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """A file's contents, the losses that can be trained on it, and the advice which to take."""

    holds: tuple[str, ...]
    """Findings, a fact each."""
    applies: tuple[tuple[str, tuple[str, ...]], ...]
    """Names of losses, by how they can take the file."""
    advice: tuple[LossAdvice, ...]
    command: str
    """Command that follows the advice."""


def recommend_losses(settings: FeedbackSettings, progress: Progress | None = None) -> Recommendation:
    """
    Read a feedback file and say which losses apply, which suits, with which weights and beta, and why.

    Scores without labels are looked at as labels too, by a threshold in the middle of them.
    `progress` is told how far the reading is. Raises DataError when there is nothing in it to train on, or the file
    cannot be read.
    """
    rows = open_for_doctor(settings)
    facts = FileFacts(
        findings=examine(tell_reading(rows, progress or NullProgress(), "reading feedback")),
        pairs=count_contradictions(rows),
        scores=_score_range(rows),
    )
    if not facts.findings.num_accepted:
        name = memory_name(settings.source)
        doctor = f"haloes doctor {settings.source}" if name is None else "haloes.doctor(...)"
        raise DataError(f"{name or settings.source}: no row can be used; `{doctor}` says why")
    if facts.scores is not None and facts.balance.num_desirable + facts.balance.num_undesirable == 0:
        facts = _labelled(facts, settings)
    given = advice(facts)
    loss = next(step.what for step in given if step.topic == "loss")
    return Recommendation(
        holds=tuple(_holds(facts)),
        applies=tuple(_applies(facts)),
        advice=(*given, _steps(facts, settings, needs_of(LOSSES[loss]))),
        command=_command(settings, loss, facts.threshold),
    )


def advice(facts: FileFacts) -> tuple[LossAdvice, ...]:
    """Advise on the loss first, then on its settings."""
    if facts.is_paired:
        return tuple(_for_pairs(facts))
    if facts.balance.ratio is None:
        return tuple(_for_one_label(facts))
    return tuple(_for_labels(facts))


def _command(settings: FeedbackSettings, loss: str, threshold: float | None) -> str:
    """Write the command to type (of rows in memory: the call), which repeats what was said of the file."""
    words = ["haloes", "train", settings.source, "--loss", loss]
    if settings.columns:
        words += ["--columns", ",".join(f"{name}={column or ''}" for name, column in settings.columns.items())]
    rule = settings.labels_from if threshold is None else {"rule": "threshold", "tau": threshold}
    given = {"preference_scale": settings.preference_scale, "sessions": settings.sessions, "labels_from": rule}
    further = {name: value for name, value in given.items() if value is not None}
    if memory_name(settings.source) is not None:
        call = ["feedback", f"loss={loss!r}"]
        call += [f"columns={dict(settings.columns)}"] if settings.columns else []
        call += [f"settings={ {'feedback': further} }"] if further else []
        return f"haloes.train({', '.join(call)})"
    for name, value in further.items():
        words += ["--set", f"feedback.{name}={as_typed(value)}"]
    return shlex.join(words)


def _labelled(facts: FileFacts, settings: FeedbackSettings) -> FileFacts:
    low, high = facts.scores or (0.0, 0.0)
    middle = float(f"{(low + high) / 2:.6g}")
    rows = open_for_doctor(replace(settings, labels_from={"rule": "threshold", "tau": middle}))
    return replace(facts, findings=examine(rows), threshold=middle)


def _score_range(rows: Iterable[Record]) -> tuple[float, float] | None:
    low, high = float("inf"), float("-inf")
    for row in rows:
        if isinstance(row, Feedback) and row.score is not None and isfinite(row.score):
            low, high = min(low, row.score), max(high, row.score)
    return (low, high) if low <= high else None


def _holds(facts: FileFacts) -> Iterator[str]:
    findings, balance, pairs = facts.findings, facts.balance, facts.pairs
    if pairs.num_pairs:
        checked = f"others bear on {pairs.num_checkable}, and {pairs.num_contradicted} are in contradiction"
        yield f"{pairs.num_pairs} pairs; {checked if pairs.num_checkable else 'no answers are compared twice'}"
    num_single = findings.num_accepted - findings.num_pairs
    if num_single:
        scores = "" if facts.scores is None else f", with scores from {facts.scores[0]:g} to {facts.scores[1]:g}"
        yield f"{num_single} single answers{scores}"
    how = "" if facts.threshold is None else f" by a threshold of {facts.threshold:g}"
    yield f"{balance.num_desirable} desirable and {balance.num_undesirable} undesirable answers{how}"
    if findings.prompts is not None:
        both = findings.prompts.num_with_both_labels
        yield f"{findings.prompts.num} prompts, of which {both} have answers of both labels"
    if findings.repeats.conflicts.num and not findings.num_pairs:
        repeats = findings.repeats
        yield f"{repeats.conflicts.num} answers were rated both ways, with {repeats.num_conflicting_votes} votes"
    if findings.num_refused:
        yield f"{findings.num_refused} rows cannot be used (`haloes doctor` says why)"


def _applies(facts: FileFacts) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Group losses by how they can take what the file holds; leave out a group without losses."""
    balance, paired = facts.balance, facts.pairs.num_pairs > 0
    both = facts.findings.prompts.num_with_both_labels if facts.findings.prompts else 0
    made = "" if facts.threshold is None else " once scores are made labels"
    groups: tuple[tuple[str, bool, Callable[[Needs], bool]], ...] = (
        ("on the pairs", paired, lambda needs: needs.pairs),
        ("on scores", facts.scores is not None, lambda needs: _takes_scores(needs, facts)),
        (f"on single answers{made}", balance.ratio is not None, lambda needs: _takes_labels(needs, facts)),
        (f"on pairs of answers to one prompt ({both} prompts)", both > 0 and not paired, lambda needs: needs.pairs),
        ("on desirable answers alone", balance.num_undesirable == 0, lambda needs: _takes_one_label(needs, facts)),
        (
            "on undesirable answers alone",
            balance.num_desirable == 0,
            lambda needs: needs.undesirable and _takes_one_label(needs, facts),
        ),
    )
    for how, is_there, fits in groups:
        # Asked of the losses only where the file has such rows at all.
        needs_by_name = {name: needs_of(maker) for name, maker in LOSSES.items()} if is_there else {}
        names = tuple(
            name
            for name, needs in needs_by_name.items()
            if fits(needs) and (facts.num_prompts > 1 or not needs.mismatched)
        )
        if names:
            yield how, names


def _takes_scores(needs: Needs, facts: FileFacts) -> bool:
    if facts.scores is None or not needs.scores:
        return False
    low, high = needs.score_range or facts.scores
    return low <= facts.scores[0] and facts.scores[1] <= high


def _takes_labels(needs: Needs, facts: FileFacts) -> bool:
    """Return whether a loss takes labels; one on scores does where there are none: as the best and the worst score."""
    return not needs.pairs and not (needs.scores and facts.scores is not None)


def _takes_one_label(needs: Needs, facts: FileFacts) -> bool:
    """Return whether answers of one label are enough: not where a step's examples are held against each other."""
    return _takes_labels(needs, facts) and not needs.whole_step


def _for_pairs(facts: FileFacts) -> Iterator[LossAdvice]:
    pairs = facts.pairs
    share = f"{pairs.num_contradicted} of {pairs.num_checkable} pairs that others bear on are in contradiction"
    if facts.is_noisy:
        yield LossAdvice(
            topic="loss",
            what="kto",
            why=f"the preferences are noisy: {share} ({_OURS}). Each pair becomes a good and a bad answer. DPO's "
            "optimum can go with the minority; KTO's goes with the majority and ignores what it cannot fit",
            source=f"{_WHEN}; {_THEOREM}",
        )
        yield LossAdvice(topic="weights", what="1 and 1", why="as many good answers as bad ones", source=_RULE)
        yield _kto_beta()
        return
    if pairs.num_checkable:
        yield LossAdvice(
            topic="loss",
            what="dpo",
            why=f"the pairs are clean: {share}. KTO may underfit such data",
            source=_WHEN,
        )
    else:
        yield LossAdvice(
            topic="loss",
            what="dpo",
            why="they are pairs, and nothing in them speaks for noise; but no answers are compared twice, so that the "
            "file could not show it",
            source=_WHEN,
        )
        yield LossAdvice(
            topic="or",
            what="kto",
            why="if you know that raters disagree or err, as in votes of a forum, crowd work or a model's judgements: "
            "each pair becomes a good and a bad answer, with weights of 1",
            source=f"{_WHEN}; {_THEOREM}",
        )
    yield LossAdvice(
        topic="beta",
        what="0.1",
        why="DPO's default; larger keeps the policy nearer to the reference. DPO has no class weights",
        source="DPO paper, arXiv 2305.18290",
    )


def _for_labels(facts: FileFacts) -> Iterator[LossAdvice]:
    balance, conflicts = facts.balance, facts.findings.repeats
    about_scores = tuple(_about_scores(facts)) if facts.threshold is not None else ()
    yield from about_scores[:1]
    reasons = ["feedback on single answers needs no pairs"]
    if balance.ratio is not None and not is_in_paper_range(balance.ratio):
        reasons.append(f"it copes with imbalance, here {balance.ratio:.3g} good answers to a bad one")
    if conflicts.conflicts.num:
        reasons.append(
            f"it ignores what it cannot fit, and {conflicts.num_conflicting_votes} votes are on answers rated both ways"
        )
    source = f"{_WHEN}; {_THEOREM}" if conflicts.conflicts.num else _WHEN
    if facts.num_prompts > 1:
        yield LossAdvice(topic="loss", what="kto", why="; ".join(reasons), source=source)
    else:
        reasons.append("KTO's reference point needs answers to other prompts, and there is one prompt only")
        yield LossAdvice(topic="loss", what="kto-no-reference-point", why="; ".join(reasons), source=source)
    yield from about_scores[1:]
    yield _weights(balance)
    yield _kto_beta()


def _about_scores(facts: FileFacts) -> Iterator[LossAdvice]:
    low, high = facts.scores or (0.0, 0.0)
    yield LossAdvice(
        topic="labels",
        what=f"threshold {facts.threshold:g}",
        why=f"scores go from {low:g} to {high:g}; this is their middle, and makes {facts.balance.num_desirable} "
        f"answers desirable and {facts.balance.num_undesirable} undesirable. "
        "Choose the score from which you are content",
        source=_SCORES,
    )
    fits = low >= 0 and high <= 1
    yield LossAdvice(
        topic="or",
        what="dro" + (" or una-score" if fits else ""),
        why="if how good an answer is matters, and not only on which side of the threshold: they learn the score "
        "itself" + ("" if fits else "; scaled to 0 to 1, una-score takes them too"),
        source="DRO, arXiv 2405.19107; UNA, arXiv 2408.15339",
    )


def _for_one_label(facts: FileFacts) -> Iterator[LossAdvice]:
    if facts.balance.num_desirable:
        yield LossAdvice(
            topic="loss",
            what="sft",
            why="all answers are desirable: there is nothing to tell them from, and likelihood is the plain way to "
            "imitate them. Add bad answers for KTO",
            source="arXiv 2203.02155, step 1",
        )
        return
    yield LossAdvice(
        topic="loss",
        what="npo",
        why="all answers are undesirable: it unlearns them, and lets go of those that are unlikely already, where "
        "likelihood turned around would wreck the model. Add good answers for KTO",
        source="NPO, arXiv 2404.05868",
    )
    yield LossAdvice(topic="beta", what="0.1", why="the default of its paper", source="NPO, arXiv 2404.05868")


def _weights(balance: LabelCounts) -> LossAdvice:
    good, bad = balance.weights.desirable, balance.weights.undesirable
    bounds = f"[{LOWEST_RATIO:g}, {HIGHEST_RATIO:g}]"
    if balance.ratio is not None and is_in_paper_range(balance.ratio):
        why = f"n_D / n_U is {balance.ratio:.3g}, within {bounds} already"
    else:
        why = f"so that lambda_D n_D / (lambda_U n_U), {balance.ratio:.3g} without weights, lies in {bounds}"
    return LossAdvice(
        topic="weights",
        what=f"{good:.4g} and {bad:.4g}",
        why=f"{why}; `auto`, the default, sets them. Where bad answers must be avoided, raise the undesirable weight",
        source=_RULE,
    )


def _steps(facts: FileFacts, settings: FeedbackSettings, needs: Needs) -> LossAdvice:
    """Say how many steps the file gives, of its examples that are not held out."""
    balance = facts.balance
    answers = balance.num_desirable + (balance.num_undesirable if needs.undesirable else 0)
    num_examples = facts.findings.num_pairs if needs.pairs else answers
    held_out = 0.0 if settings.validation is not None else held_out_share(settings, facts.num_prompts)
    trained = max(1, round(num_examples * (1 - held_out)))
    steps = choose_steps(trained, batch_size="auto", epochs="auto")
    made_of, few = describe_steps(trained, steps), too_few_steps(trained, steps)
    return LossAdvice(
        topic="steps",
        what=f"about {steps.num_steps:,}",
        why=f"{made_of}, by train.batch_size=auto and train.epochs=auto{f'; {few}' if few else ''}",
        source="KTO paper, section 4.2; `haloes settings train.epochs`",
    )


def _kto_beta() -> LossAdvice:
    return LossAdvice(
        topic="beta",
        what="0.1",
        why="works well in most cases; 0.01 to 0.1 if the model was finetuned on the same data, 0.1 to 0.5 if it is "
        "aligned already, as an instruct model is",
        source=_BETA,
    )
