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
    for needed, name in (
        (needs.any_reference, "reference by token" if needs.reference_tokens else "reference"),
        (needs.reference_kl, "KL to the reference"),
        (needs.mismatched, "mismatched answers"),
        (needs.collision, "policy's peakedness"),
        (needs.values, "value head"),
        (needs.rewards, "reward head"),
        (needs.margins, "margins"),
        (needs.running_reward, "running mean reward"),
        (needs.whole_step, "undivided step"),
        (needs.control is not None, "control texts"),
        (needs.sync_every is not None, "reference synced"),
    ):
        if needed:
            yield name
