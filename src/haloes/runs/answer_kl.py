"""The KL divergence of the policy from its reference along answers, whoever gave them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf

import numpy as np

from haloes.batches.collate import packed_rows
from haloes.batches.pack import pack
from haloes.models.policy import Policy
from haloes.records import Completion
from haloes.results import Score
from haloes.stats.bootstrap import Floats
from haloes.stats.means import mean_with_interval
from haloes.tokens.encode import Encoded, Encoder
from haloes.tokens.store import TokenRow


def kl_scores(
    policy: Policy,
    encoder: Encoder,
    answers: Sequence[Completion],
    *,
    budget: int,
    advance: Callable[[int], None] = lambda _: None,
) -> list[Score]:
    """
    Measure KL(policy || reference) along the policy's own answers, in nats: summed over an answer, and per token.

    At each token of an answer that the policy gave it is the divergence of the two whole next-token distributions, so
    that it is exact there however the answer was decoded; for answers drawn at temperature 1 its mean over answers
    estimates the divergence of the distributions over answers.
    """
    divergences = answer_kl(policy, encoder, answers, budget=budget, advance=advance)
    total, tokens = np.array([kl.nats for kl in divergences]), np.array([kl.tokens for kl in divergences])
    keys = [kl.prompt_id for kl in divergences]
    scores = (
        mean_with_interval(
            total, keys, name="kl", variant="after", label="KL to the reference, nats an answer", bounds=(0, inf)
        ),
        mean_with_interval(
            total / np.maximum(tokens, 1),
            keys,
            name="kl_per_token",
            variant="after",
            label="KL to the reference, nats a token",
            bounds=(0, inf),
        ),
    )
    return [score for score in scores if score is not None]


@dataclass(frozen=True, slots=True)
class AnswerKL:
    """KL of the policy's distributions to the reference's along one of the policy's answers."""

    prompt_id: str
    seed: int | None
    """Seed of the answer's draw."""
    nats: float
    """Summed over the answer's tokens."""
    tokens: int


def answer_kl(
    policy: Policy,
    encoder: Encoder,
    answers: Sequence[Completion],
    *,
    budget: int,
    advance: Callable[[int], None] = lambda _: None,
) -> list[AnswerKL]:
    """
    Measure KL(policy || reference) along each answer, as `kl_scores`; an answer without a token is left out.

    `advance` is told how many further answers are measured.
    """
    encoded = encoder.encode(
        [(a.prompt, a.text, a.tools, a.chat_template_kwargs or {}) for a in answers],
        finished=[answer.finished for answer in answers],
    )
    rows = {i: TokenRow(e.prompt, e.completion, e.trained) for i, e in enumerate(encoded) if isinstance(e, Encoded)}
    total, tokens = row_kl(policy, list(rows.values()), budget=budget, advance=advance)
    return [
        AnswerKL(answers[i].prompt_id, answers[i].seed, float(nats), int(count))
        for i, nats, count in zip(rows, total, tokens, strict=True)
    ]


def row_kl(
    policy: Policy, rows: Sequence[TokenRow], *, budget: int, advance: Callable[[int], None] = lambda _: None
) -> tuple[Floats, Floats]:
    """
    Measure KL(policy || reference) along encoded answers, whoever gave them.

    Args:
        policy: with a reference.
        rows: prompts with completions.
        budget: tokens that go through the models together.
        advance: told how many further answers are measured.

    Returns:
        Of each row the sum over its trained tokens in nats, (n,), and their number, (n,).
    """
    # Packed as in training: answers share micro-batches, and each one's tokens are a slice of the result.
    total, tokens = np.zeros(len(rows)), np.zeros(len(rows))
    for members in pack([len(row.prompt) + len(row.completion) for row in rows], budget=budget):
        packed = packed_rows([rows[m] for m in members], policy.device)
        # Summed in float64: a long answer adds hundreds of small numbers.
        parts = np.split(policy.token_kl(packed).double().cpu().numpy(), np.cumsum(packed.trained)[:-1])
        total[members] = [part.sum() for part in parts]
        tokens[members] = packed.trained
        advance(len(members))
    return total, tokens
