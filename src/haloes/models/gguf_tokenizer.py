"""The tokenizer that a GGUF file describes: vocabulary, merges, special tokens and chat template."""

import json
from pathlib import Path
from typing import Any

SPLITS_DIGITS = frozenset({"smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"})
"""
Values of `tokenizer.ggml.pre` for which llama.cpp splits off every digit before it applies GPT-2's pattern.

transformers (5.17 to 5.23) applies the pattern alone. The digits come out the same, the white space before them does
not: a blank line before "1." would be two tokens, where the model was trained on one.
"""

CONTROL, USER_DEFINED = 3, 4
"""Kinds of token in `tokenizer.ggml.token_type`."""

SPECIAL = {"bos_token": "bos", "eos_token": "eos", "unk_token": "unknown", "pad_token": "padding"}
"""The names of special tokens in transformers, and in a GGUF file."""


def read_tokenizer(path: Path) -> Any:
    """
    Return the transformers tokenizer of the GGUF file at `path`.

    Byte-level vocabularies that split digits (SmolLM2's) are built here, other kinds by transformers; the special
    tokens are always the file's own.

    Raises:
        ValueError, KeyError, IndexError, TypeError: the file cannot be read, or holds a kind that is not supported.
    """
    from transformers import PreTrainedTokenizerFast
    from transformers.integrations.gguf.reader import read_gguf_metadata

    metadata, _ = read_gguf_metadata(str(path), ("tokenizer.ggml.tokens", "tokenizer.ggml.merges"))
    tokens = metadata["tokenizer.ggml.tokens"]
    if metadata.get("tokenizer.ggml.pre") in SPLITS_DIGITS:
        backend = _digit_splitting(metadata)
    else:
        backend = _by_transformers(path, num_tokens=len(tokens))
    ids = {name: metadata.get(f"tokenizer.ggml.{key}_token_id") for name, key in SPECIAL.items()}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        add_bos_token=metadata.get("tokenizer.ggml.add_bos_token", metadata["tokenizer.ggml.model"] == "llama"),
        clean_up_tokenization_spaces=False,
        **{name: None if number is None else tokens[number] for name, number in ids.items()},
    )
    tokenizer.chat_template = metadata.get("tokenizer.chat_template")
    return tokenizer


def _digit_splitting(metadata: dict[str, Any]) -> Any:
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    tokens, kinds = metadata["tokenizer.ggml.tokens"], metadata["tokenizer.ggml.token_type"]
    merges = [tuple(merge.split(" ")) for merge in metadata["tokenizer.ggml.merges"]]
    backend = Tokenizer(models.BPE(vocab={token: number for number, token in enumerate(tokens)}, merges=merges))
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    backend.decoder = decoders.ByteLevel()
    for token, kind in zip(tokens, kinds, strict=True):
        if kind in {CONTROL, USER_DEFINED}:
            backend.add_tokens([AddedToken(token, special=kind == CONTROL, normalized=False)])
    return backend


def _by_transformers(path: Path, *, num_tokens: int) -> Any:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    converted = PreTrainedTokenizerFast.from_pretrained(str(path.parent), gguf_file=path.name)
    state = json.loads(converted.backend_tokenizer.to_str())
    # It adds an <|endoftext|> to every byte-level vocabulary without one, and the model has no row for it.
    state["added_tokens"] = [token for token in state["added_tokens"] if token["id"] < num_tokens]
    return Tokenizer.from_str(json.dumps(state))
