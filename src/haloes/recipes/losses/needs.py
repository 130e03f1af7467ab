"""What a loss needs, in a few words each."""

from collections.abc import Iterator

from haloes.losses._contract import Needs


def needs_in_words(needs: Needs) -> tuple[str, ...]:
    """What has to be there: the kind of feedback first, then what the trainer computes or keeps for it."""
    return (_feedback(needs), *_computed(needs))


def _feedback(needs: Needs) -> str:
    if needs.pairs:
        return "pairs"
    if needs.scores and needs.score_range is not None:
        return f"scores {needs.score_range[0]:g} to {needs.score_range[1]:g} or labels"
    if needs.scores:
        return "scores or labels"
    return "labels" if needs.undesirable else "good answers"


def _computed(needs: Needs) -> Iterator[str]:
    if needs.any_reference:
        yield "reference by token" if needs.reference_tokens else "reference"
    if needs.reference_kl:
        yield "KL to the reference"
    if needs.mismatched:
        yield "mismatched answers"
    if needs.collision:
        yield "policy's peakedness"
    if needs.values:
        yield "value head"
    if needs.rewards:
        yield "reward head"
    if needs.margins:
        yield "margins"
    if needs.running_reward:
        yield "running mean reward"
    if needs.whole_step:
        yield "undivided step"
    if needs.control is not None:
        yield "control texts"
    if needs.sync_every is not None:
        yield "reference synced"
