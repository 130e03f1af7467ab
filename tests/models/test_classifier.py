"""Rewards of packed completions, against the sequence classifiers of transformers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer
from transformers import PreTrainedTokenizerFast as Fast
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from fakes import IM_END, IM_END_ID, IM_START, IM_START_ID, KINDS, byte_tokenizer, tiny_model
from haloes.errors import MissingInputError, ModelError
from haloes.models.adapters import LoRA
from haloes.models.classifier import PAD, as_classifier, padding_token, save_classifier
from haloes.models.kind import is_classifier
from haloes.models.layout import Packed, make_packed
from haloes.models.load import load_model
from haloes.models.policy import Policy, make_policy
from haloes.models.quiet import quiet
from haloes.models.scalar_heads import RewardHead


def rewarding(kind: str = "llama", *, lora: LoRA | None = None, **fields: Any) -> Policy:
    """A policy whose reward head is no longer zero."""
    policy = make_policy(tiny_model(kind, **fields), lora=lora, reference=False, seed=0, rewards=True)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for weight in policy.trainable().values():
            weight.add_(torch.randn(weight.shape, generator=generator), alpha=0.05)
    return policy


def texts() -> list[tuple[np.ndarray, np.ndarray]]:
    """Prompts with completions, of which the first two share a beginning that is worth sharing."""
    rng = np.random.default_rng(0)
    ids = [rng.integers(2, 258, n).astype(np.int32) for n in (30, 25, 14, 3)]
    ids[1][:15] = ids[0][:15]
    return [(row[:cut], row[cut:]) for row, cut in zip(ids, (16, 16, 5, 2), strict=True)]


def packed(*, share: bool = True) -> Packed:
    rows = [(prompt, completion, completion >= 0) for prompt, completion in texts()]
    return make_packed(rows, torch.device("cpu"), share=share, last=True)


@pytest.mark.parametrize("kind", KINDS)
def test_packed_rewards_are_those_of_the_classifier_of_transformers(kind: str):
    policy = rewarding(kind)
    classifier = as_classifier(policy.model, policy.reward_head.weight)
    with torch.no_grad():
        found = policy.rewards(packed())
        rows = [torch.from_numpy(np.concatenate(row)).long()[None] for row in texts()]
        own = torch.cat([classifier(input_ids=row).logits[0] for row in rows])

    assert found.std() > 0.02
    torch.testing.assert_close(found, own, rtol=1e-4, atol=1e-4)


def test_a_shared_beginning_and_log_probabilities_beside_them_change_no_reward():
    policy = rewarding()
    both = policy.token_scores(packed())
    alone = policy.token_scores(packed(), logps=False)

    assert alone.logp is None
    torch.testing.assert_close(both.reward, policy.rewards(packed(share=False)), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(both.reward, alone.reward, rtol=1e-6, atol=1e-6)
    without_last = make_packed([(p, c, c >= 0) for p, c in texts()], torch.device("cpu"))
    torch.testing.assert_close(both.logp, policy.token_logps(without_last), rtol=1e-4, atol=1e-5)


def test_the_layout_feeds_the_last_token_in_only_where_it_is_asked_to():
    rows = [(p, c, c >= 0) for p, c in texts()]
    plain, with_last = make_packed(rows, torch.device("cpu")), packed()

    assert plain.last_B is None
    assert with_last.num_tokens == plain.num_tokens + len(rows)
    assert with_last.ids_T[with_last.last_B].tolist() == [int(c[-1]) for _, c in texts()]
    assert with_last.position_T[with_last.last_B].tolist() == [len(p) + len(c) - 1 for p, c in texts()]
    assert torch.equal(with_last.target_N, plain.target_N)
    assert torch.equal(with_last.position_T[with_last.predictor_N], plain.position_T[plain.predictor_N])
    assert with_last.trained == plain.trained


@pytest.mark.parametrize("lora", [None, LoRA(rank=2)], ids=["full", "lora"])
def test_its_gradient_reaches_the_head_and_all_trained_weights_below_the_output_layer(lora: LoRA | None):
    policy = rewarding(lora=lora, tied=False)

    policy.rewards(packed()).sum().backward()

    trained = policy.trainable()
    without = {name for name, weight in trained.items() if weight.grad is None or not weight.grad.any()}
    assert "reward_head.weight" in trained
    assert without == ({"lm_head.weight"} if lora is None else set())


def test_before_training_every_reward_is_zero_and_the_head_learns_though_it_is_zero():
    policy = make_policy(tiny_model(), lora=None, reference=False, seed=0, rewards=True)
    found = policy.rewards(packed())

    assert found.tolist() == [0.0] * 4
    found[0].backward()
    assert policy.reward_head.weight.grad.any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_head_computes_in_float32_whatever_the_model_computes_in(dtype: torch.dtype):
    found = RewardHead(6)(torch.ones(3, 6, dtype=dtype))

    assert (found.dtype, found.shape) == (torch.float32, (3,))


def test_what_is_missing_is_named():
    plain = make_policy(tiny_model(), lora=None, reference=False, seed=0)

    assert plain.token_scores(packed()).reward is None
    with pytest.raises(MissingInputError, match="reward head"):
        plain.rewards(packed())
    with pytest.raises(MissingInputError, match="laid out with their last tokens"):
        rewarding().rewards(make_packed([(p, c, c >= 0) for p, c in texts()], torch.device("cpu")))


def test_an_architecture_without_a_classifier_is_refused():
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 4}
    config = CONFIG_MAPPING["granite"](vocab_size=258, num_key_value_heads=2, pad_token_id=1, **sizes)
    with torch.random.fork_rng(devices=[]):
        model = AutoModelForCausalLM.from_config(config).eval()

    with pytest.raises(ModelError, match="GraniteForCausalLM cannot become a reward model: transformers has no seq"):
        make_policy(model, lora=None, reference=False, seed=0, rewards=True)


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_saved_folder_scores_alike_whichever_side_is_padded(side: str, tmp_path: Path):
    policy, tokenizer = rewarding(), byte_tokenizer()
    said = ["a" + IM_END, "something longer" + IM_END, IM_START + "b" + IM_END + IM_END]
    rows = [np.array(tokenizer(text)["input_ids"], np.int32) for text in said]
    with torch.no_grad():
        laid = make_packed([(row[:1], row[1:], row[1:] >= 0) for row in rows], torch.device("cpu"), last=True)
        ours = policy.rewards(laid)
    save_classifier(policy.model, policy.reward_head.weight, tokenizer, tmp_path / "model", ends=IM_END)

    with quiet():
        model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "model")
        reader = AutoTokenizer.from_pretrained(tmp_path / "model")
    assert reader.padding_side == "right"
    assert (reader.pad_token_id, model.config.pad_token_id, model.config.num_labels) == (IM_START_ID, IM_START_ID, 1)
    reader.padding_side = side
    with torch.no_grad():
        found = model(**reader(said, padding=True, return_tensors="pt")).logits[:, 0]

    torch.testing.assert_close(found, ours, rtol=1e-4, atol=1e-4)


def test_padding_is_the_tokenizers_own_unless_a_text_may_end_with_it():
    tokenizer = byte_tokenizer()
    assert padding_token(tokenizer, IM_END) == IM_START  # of two marks, the one that ends nothing
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|tool|>"]})
    assert padding_token(tokenizer, IM_END) == "<|tool|>"  # rather than what begins a text
    tokenizer.add_special_tokens({"pad_token": "<|mine|>"})
    assert padding_token(tokenizer, IM_END) == "<|mine|>"


def test_where_every_mark_may_end_a_text_padding_is_added_to_the_vocabulary(tmp_path: Path):
    core = Tokenizer(models.WordLevel({"<|end|>": 0, "a": 1}, unk_token="a"))
    tokenizer = Fast(tokenizer_object=core, bos_token="<|end|>", eos_token="<|end|>")
    policy = rewarding(vocab=2, pad_token_id=0, bos_token_id=0, eos_token_id=0)
    save_classifier(policy.model, policy.reward_head.weight, tokenizer, tmp_path / "model", ends="<|end|>")
    with quiet():
        model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "model")
        reader = AutoTokenizer.from_pretrained(tmp_path / "model")

    assert (reader.pad_token, reader.pad_token_id, model.config.pad_token_id) == (PAD, 2, 2)
    with torch.no_grad():
        padded = model(input_ids=torch.tensor([[1, 0, 2, 2]])).logits
        plain = model(input_ids=torch.tensor([[1, 0]])).logits
    torch.testing.assert_close(padded, plain, rtol=1e-4, atol=1e-4)


def test_a_classifier_is_known_without_loading_it_and_is_no_language_model(tmp_path: Path):
    policy = rewarding()
    save_classifier(policy.model, policy.reward_head.weight, byte_tokenizer(), tmp_path / "reward", ends=IM_END)
    with quiet():
        tiny_model().save_pretrained(tmp_path / "language")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.json").write_text("{")

    kinds = {name: is_classifier(tmp_path / name) for name in ("reward", "language", "broken", "nothing")}
    assert kinds == {"reward": True, "language": False, "broken": False, "nothing": False}
    with pytest.raises(ModelError, match="reward: this is a reward model"):
        load_model(str(tmp_path / "reward"), dtype=torch.float32, device="cpu")


def test_the_ids_of_the_marks_are_what_these_tests_take_them_for():
    assert byte_tokenizer()(IM_START + IM_END)["input_ids"] == [IM_START_ID, IM_END_ID]
