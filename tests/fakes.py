"""Small stand-ins that many tests share: a byte tokenizer with a chat template, and tiny random models.

Both are the real classes of transformers, built in memory: nothing is downloaded and nothing is read from disk.
"""

from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

IM_START, IM_END = "<|im_start|>", "<|im_end|>"
IM_START_ID, IM_END_ID = 0, 1
VOCAB = 258
"""Two special tokens and the 256 bytes."""
SYSTEM = "You are helpful."
"""The system turn that the chat template adds where the messages have none, as SmolLM2's does."""

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\n" + SYSTEM + "<|im_end|>\n' }}"
    "{% endif %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

KINDS = ("llama", "qwen2", "qwen3", "gpt2", "gemma2", "gemma3_text")
"""The architectures that `tiny_model` builds."""


def byte_tokenizer(*, chat_template: str | None = CHAT_TEMPLATE) -> PreTrainedTokenizerFast:
    """One token a byte, plus the two marks of a turn; no BOS is added, and pad is the end of turn (as in SmolLM2)."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {IM_START: IM_START_ID, IM_END: IM_END_ID} | {letter: i + 2 for i, letter in enumerate(letters)}
    core = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens([AddedToken(mark, special=True, normalized=False) for mark in (IM_START, IM_END)])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token=IM_START,
        eos_token=IM_END,
        pad_token=IM_END,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = chat_template
    return tokenizer


def tiny_model(
    kind: str = "llama",
    *,
    seed: int = 0,
    vocab: int = VOCAB,
    dtype: torch.dtype = torch.float32,
    tied: bool = True,
    dropout: float = 0.0,
    **overrides: Any,
) -> PreTrainedModel:
    """
    A random model of one of `KINDS` with two layers, in eval mode; the same arguments give the same weights.

    The weights are wide (standard deviation 0.2), so that attention and logits are far from uniform and a wrong mask or
    position shows. `overrides` replace single fields of the config.
    """
    fields = _FIELDS[kind](dropout) | {
        "vocab_size": vocab,
        "bos_token_id": IM_START_ID,
        "eos_token_id": IM_END_ID,
        "pad_token_id": IM_END_ID,
        "tie_word_embeddings": tied,
        "initializer_range": 0.2,
    }
    config = CONFIG_MAPPING[kind](**fields | overrides)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config, dtype=dtype)
    return model.eval()


def _rotary_fields(dropout: float) -> dict[str, Any]:
    return {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "max_position_embeddings": 512,
        "attention_dropout": dropout,
    }


def _gpt2_fields(dropout: float) -> dict[str, Any]:
    return {
        "n_embd": 32,
        "n_layer": 2,
        "n_head": 4,
        "n_positions": 512,
        "resid_pdrop": dropout,
        "embd_pdrop": dropout,
        "attn_pdrop": dropout,
    }


def _gemma_fields(dropout: float) -> dict[str, Any]:
    # A window shorter than the tests' sequences, so that both kinds of layer (sliding, full) matter.
    layers = ["sliding_attention", "full_attention"]
    return _rotary_fields(dropout) | {"query_pre_attn_scalar": 8, "sliding_window": 16, "layer_types": layers}


_FIELDS = {
    "llama": _rotary_fields,
    "qwen2": _rotary_fields,
    "qwen3": _rotary_fields,
    "gpt2": _gpt2_fields,
    "gemma2": _gemma_fields,
    "gemma3_text": _gemma_fields,
}
