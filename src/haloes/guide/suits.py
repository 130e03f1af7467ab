"""The advice: which loss suits what a feedback file holds, with which weights and beta, why, and who says so."""

from collections.abc import Iterator
from dataclasses import dataclass

from haloes.feedback.doctor.duplicates_and_contradictions import Contradictions
from haloes.feedback.doctor.findings import Findings, LabelCounts
from haloes.feedback.weights import HIGHEST_RATIO, LOWEST_RATIO, is_in_paper_range

NOISY = 0.05
"""The share of pairs in contradiction, of those that can be checked, from which preferences count as noisy."""

_OURS = f"{NOISY:.0%} is ours; the paper gives no number"
_WHEN = "KTO paper, section 4.4"
_THEOREM = "KTO paper, Theorem 4.3 (`haloes losses theory`)"
_RULE = "KTO paper, eq. 9"
_BETA = "KTO paper, section 4.2"
_SCORES = "KTO paper, section 4.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """One thing to do."""

    topic: str
    """What it is about: "loss", "or", "labels", "weights", "beta"."""
    what: str
    why: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What is known about a file."""

    findings: Findings
    pairs: Contradictions
    scores: tuple[float, float] | None
    """The lowest and the highest score, if there are scores."""
    threshold: float | None = None
    """Where scores had to be made labels: from which score on answers were taken for desirable."""

    @property
    def balance(self) -> LabelCounts:
        """How many answers there are of each label."""
        return self.findings.balance

    @property
    def is_paired(self) -> bool:
        """Whether most rows are pairs."""
        return 2 * self.findings.num_pairs >= self.findings.num_accepted

    @property
    def is_noisy(self) -> bool:
        """Whether pairs contradict each other often."""
        return self.pairs.num_contradicted >= max(1.0, NOISY * self.pairs.num_checkable)

    @property
    def num_prompts(self) -> int:
        """Different prompts."""
        return self.findings.prompts.num if self.findings.prompts else 0


def advice(seen: Seen) -> tuple[Advice, ...]:
    """The loss first, then what to set."""
    if seen.is_paired:
        return tuple(_for_pairs(seen))
    if seen.balance.ratio is None:
        return tuple(_for_one_label(seen))
    return tuple(_for_labels(seen))


def _for_pairs(seen: Seen) -> Iterator[Advice]:
    pairs = seen.pairs
    found = f"{pairs.num_contradicted} of {pairs.num_checkable} pairs that others bear on are in contradiction"
    if seen.is_noisy:
        yield Advice(
            topic="loss",
            what="kto",
            why=f"the preferences are noisy: {found} ({_OURS}). Each pair becomes a good and a bad answer. DPO's "
            "optimum can go with the minority; KTO's goes with the majority and ignores what it cannot fit",
            source=f"{_WHEN}; {_THEOREM}",
        )
        yield Advice(topic="weights", what="1 and 1", why="as many good answers as bad ones", source=_RULE)
        yield _kto_beta()
        return
    if pairs.num_checkable:
        yield Advice(
            topic="loss",
            what="dpo",
            why=f"the pairs are clean: {found}. KTO may underfit such data",
            source=_WHEN,
        )
    else:
        yield Advice(
            topic="loss",
            what="dpo",
            why="they are pairs, and nothing in them speaks for noise; but no answers are compared twice, so that the "
            "file could not show it",
            source=_WHEN,
        )
        yield Advice(
            topic="or",
            what="kto",
            why="if you know that raters disagree or err, as in votes of a forum, crowd work or a model's judgements: "
            "each pair becomes a good and a bad answer, with weights of 1",
            source=f"{_WHEN}; {_THEOREM}",
        )
    yield Advice(
        topic="beta",
        what="0.1",
        why="DPO's default; larger keeps the policy nearer to the reference. DPO has no class weights",
        source="DPO paper, arXiv 2305.18290",
    )


def _for_labels(seen: Seen) -> Iterator[Advice]:
    balance, conflicts = seen.balance, seen.findings.repeats
    about_scores = tuple(_about_scores(seen)) if seen.threshold is not None else ()
    yield from about_scores[:1]
    reasons = ["feedback on single answers needs no pairs"]
    if balance.ratio is not None and not is_in_paper_range(balance.ratio):
        reasons.append(f"it copes with imbalance, here {balance.ratio:.3g} good answers to a bad one")
    if conflicts.conflicts.num:
        reasons.append(
            f"it ignores what it cannot fit, and {conflicts.num_conflicting_votes} votes are on answers rated both ways"
        )
    source = f"{_WHEN}; {_THEOREM}" if conflicts.conflicts.num else _WHEN
    if seen.num_prompts > 1:
        yield Advice(topic="loss", what="kto", why="; ".join(reasons), source=source)
    else:
        reasons.append("KTO's reference point needs answers to other prompts, and there is one prompt only")
        yield Advice(topic="loss", what="kto-no-reference-point", why="; ".join(reasons), source=source)
    yield from about_scores[1:]
    yield _weights(balance)
    yield _kto_beta()


def _about_scores(seen: Seen) -> Iterator[Advice]:
    low, high = seen.scores or (0.0, 0.0)
    yield Advice(
        topic="labels",
        what=f"threshold {seen.threshold:g}",
        why=f"scores go from {low:g} to {high:g}; this is their middle, and makes {seen.balance.num_desirable} answers "
        f"desirable and {seen.balance.num_undesirable} undesirable. Choose the score from which you are content",
        source=_SCORES,
    )
    fits = low >= 0 and high <= 1
    yield Advice(
        topic="or",
        what="dro" + (" or una-score" if fits else ""),
        why="if how good an answer is matters, and not only on which side of the threshold: they learn the score "
        "itself" + ("" if fits else "; scaled to 0 to 1, una-score takes them too"),
        source="DRO, arXiv 2405.19107; UNA, arXiv 2408.15339",
    )


def _for_one_label(seen: Seen) -> Iterator[Advice]:
    if seen.balance.num_desirable:
        yield Advice(
            topic="loss",
            what="sft",
            why="all answers are desirable: there is nothing to tell them from, and likelihood is the plain way to "
            "imitate them. Add bad answers for KTO",
            source="arXiv 2203.02155, step 1",
        )
        return
    yield Advice(
        topic="loss",
        what="npo",
        why="all answers are undesirable: it unlearns them, and lets go of those that are unlikely already, where "
        "likelihood turned around would wreck the model. Add good answers for KTO",
        source="NPO, arXiv 2404.05868",
    )
    yield Advice(topic="beta", what="0.1", why="the default of its paper", source="NPO, arXiv 2404.05868")


def _weights(balance: LabelCounts) -> Advice:
    good, bad = balance.weights.desirable, balance.weights.undesirable
    bounds = f"[{LOWEST_RATIO:g}, {HIGHEST_RATIO:g}]"
    if balance.ratio is not None and is_in_paper_range(balance.ratio):
        why = f"n_D / n_U is {balance.ratio:.3g}, within {bounds} already"
    else:
        why = f"so that lambda_D n_D / (lambda_U n_U), {balance.ratio:.3g} without weights, lies in {bounds}"
    return Advice(
        topic="weights",
        what=f"{good:.4g} and {bad:.4g}",
        why=f"{why}; `auto`, the default, sets them. Where bad answers must be avoided, raise the undesirable weight",
        source=_RULE,
    )


def _kto_beta() -> Advice:
    return Advice(
        topic="beta",
        what="0.1",
        why="works well in most cases; 0.01 to 0.1 if the model was finetuned on the same data, 0.1 to 0.5 if it is "
        "aligned already, as an instruct model is",
        source=_BETA,
    )
