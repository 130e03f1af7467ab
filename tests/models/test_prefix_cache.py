"""Other completions of prompts whose keys and values a pass has left behind."""

import numpy as np
import pytest
import torch

from fakes import tiny_model
from haloes.models.kernels import Kernel, reference_attention
from haloes.models.layout import make_packed
from haloes.models.policy import Policy, make_policy
from haloes.models.prefix_cache import PrefixCache, make_continued
from haloes.models.quiet import quiet

CPU = torch.device("cpu")


@pytest.fixture
def policy() -> Policy:
    return make_policy(tiny_model(), lora=None, reference=False, seed=0)


def rows(*, shared: bool) -> tuple[list, list]:
    """Prompts with their completions, and with others: of all lengths, with a token that is not trained."""
    rng = np.random.default_rng(0)
    common = rng.integers(3, 200, 12).astype(np.int32)
    matched, others = [], []
    for k, (asked, own, other) in enumerate([(5, 4, 7), (14, 9, 2), (1, 3, 6), (14, 2, 1), (6, 1, 5)]):
        prompt = rng.integers(3, 200, asked).astype(np.int32)
        prompt = np.concatenate([common, prompt]) if shared and k % 2 else prompt
        answers = [rng.integers(3, 200, n).astype(np.int32) for n in (own, other)]
        matched.append((prompt, answers[0], np.ones(own, np.bool_)))
        others.append((prompt, answers[1], np.arange(other) != 1))
    return matched, others


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("kernel", [None, Kernel("plain", reference_attention)])
def test_continuing_a_pass_gives_the_log_probabilities_of_a_pass_from_the_start(
    policy: Policy, shared: bool, kernel: Kernel | None
):
    matched, others = rows(shared=shared)
    packed, prefix_cache = make_packed(matched, CPU), PrefixCache()
    scorer = policy.scorer if kernel is None else type(policy.scorer)(policy.scorer.model, packs=True, kernel=kernel)
    first = scorer.token_logps(packed, prefix_cache)
    prefix_cache.continues = True
    with torch.no_grad():
        continued = scorer.token_logps(make_continued(packed, others, CPU), prefix_cache)
        expected = scorer.token_logps(make_packed(others, CPU))

    assert torch.allclose(continued, expected, atol=1e-5)
    assert torch.equal(first, scorer.token_logps(packed))


def test_it_feeds_in_the_other_completions_and_the_last_tokens_of_their_prompts_alone():
    matched, others = rows(shared=True)
    continued = make_continued(make_packed(matched, CPU), others, CPU)

    assert continued.piece_lengths == [len(completion) for _, completion, _ in others]
    assert continued.num_tokens == 7 + 2 + 6 + 1 + 5


def test_an_empty_prompt_leaves_the_first_token_untrained_as_ever(policy: Policy):
    empty, answer = np.empty(0, np.int32), np.array([4, 5, 6], np.int32)
    matched, others = [(empty, answer[:2], np.ones(2, np.bool_))], [(empty, answer, np.ones(3, np.bool_))]
    packed, prefix_cache = make_packed(matched, CPU), PrefixCache()
    policy.token_logps(packed, prefix_cache)
    prefix_cache.continues = True
    with torch.no_grad():
        continued = policy.token_logps(make_continued(packed, others, CPU), prefix_cache)
        expected = policy.token_logps(make_packed(others, CPU))

    assert len(continued) == 2
    assert torch.allclose(continued, expected, atol=1e-5)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_what_is_remembered_is_cut_off_from_the_gradient(policy: Policy, checkpointing: bool):
    matched, others = rows(shared=True)
    packed, prefix_cache = make_packed(matched, CPU), PrefixCache()
    policy.token_logps(packed).sum().backward()
    expected = {name: p.grad.clone() for name, p in policy.model.named_parameters()}
    policy.model.zero_grad()
    if checkpointing:
        with quiet():  # its name changes with transformers 6
            policy.model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    policy.model.train()
    tokens = policy.token_scores(packed, prefix_cache=prefix_cache)
    prefix_cache.continues = True
    with policy.scoring():
        assert not policy.token_logps(make_continued(packed, others, CPU), prefix_cache).isnan().any()
    prefix_cache.clear()
    tokens.logp.sum().backward()

    for name, parameter in policy.model.named_parameters():
        assert torch.allclose(parameter.grad, expected[name], atol=1e-6), name
