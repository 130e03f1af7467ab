"""The KL divergence to the reference along answers, against full logits in float64."""

from typing import Any

import numpy as np
import pytest
import torch

from fakes import byte_tokenizer, tiny_model
from haloes.models.adapters import LoRA
from haloes.models.policy import Policy, make_policy
from haloes.records import Completion
from haloes.runs.answer_kl import kl_scores
from haloes.tokens.encode import Encoded, make_encoder


def answers(*texts: str) -> list[Completion]:
    made: dict[str, Any] = {"model": "after", "num_tokens": 3, "finished": True}
    return [Completion(prompt_id=f"p{i}", prompt=f"Q{i}", completion=text, **made) for i, text in enumerate(texts)]


def policy_with(lora: LoRA | None) -> Policy:
    policy = make_policy(tiny_model(), lora=lora, reference=True, seed=0)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for weight in policy.trainable().values():
            weight.add_(torch.randn(weight.shape, generator=generator), alpha=0.05)
    return policy


def kl_by_hand(policy: Policy, rows: list[Encoded]) -> list[np.ndarray]:
    """Of each trained token, from full logits of the plain model in float64."""

    def logp(model: torch.nn.Module, ids: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return model(ids[None]).logits[0].double().log_softmax(-1)

    found = []
    for row in rows:
        ids = torch.tensor([*row.prompt.tolist(), *row.completion.tolist()])
        own = logp(policy.model, ids)
        assert policy.reference is not None
        with policy.reference() as scorer:
            reference = logp(scorer.model, ids)
        kl = (own.exp() * (own - reference)).sum(-1)
        found.append(kl[len(row.prompt) - 1 : -1].numpy()[row.trained])
    return found


@pytest.mark.parametrize("lora", [LoRA(rank=2), None], ids=["adapter off", "frozen copy"])
@pytest.mark.parametrize("budget", [64, 10_000])
def test_the_kl_is_exact_at_each_token_of_the_answers_whatever_the_packing(lora: LoRA | None, budget: int):
    policy, encoder = policy_with(lora), make_encoder(byte_tokenizer(), max_length=256)
    given = answers("yes", "a longer answer", "", "no no")
    rows = [row for row in encoder.encode([(a.prompt, a.completion, ()) for a in given]) if isinstance(row, Encoded)]
    expected = kl_by_hand(policy, rows)
    kl, per_token = kl_scores(policy, encoder, given, budget=budget)

    assert kl.value == pytest.approx(np.mean([part.sum() for part in expected]), rel=1e-4)
    assert per_token.value == pytest.approx(np.mean([part.mean() for part in expected]), rel=1e-4)
    assert (kl.name, kl.variant, kl.num_rows) == ("kl", "after", 4)


def test_before_training_the_kl_is_zero():
    policy = make_policy(tiny_model(), lora=LoRA(rank=2), reference=True, seed=0)
    found = kl_scores(policy, make_encoder(byte_tokenizer(), max_length=256), answers("a", "b"), budget=512)

    assert [score.value for score in found] == pytest.approx([0, 0], abs=1e-6)
