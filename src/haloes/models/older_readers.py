"""
A saved model in the spelling of transformers 4 as well, which many programs still read with.

transformers 5 writes the settings of rotary positions as `rope_parameters`; an older version passes over them without a
word and takes another base. It also names a class of tokenizers that an older version does not know. Both spellings
stand side by side where transformers reads the folder as before; a change that it would read otherwise is left out.
"""

import json
from pathlib import Path
from typing import Any

from haloes.models.own_logits import FAILURES
from haloes.models.quiet import quiet
from haloes.store import write_json

_CONFIG, _TOKENIZER = "config.json", "tokenizer_config.json"
_PLAIN = "PreTrainedTokenizerFast"
"""The class that reads a tokenizer.json in both versions."""


def make_readable(folder: Path) -> None:
    """Add what transformers 4 reads to a saved model and its tokenizer, in place."""
    _rewrite(folder / _CONFIG, _with_old_rope, _config_of)
    _rewrite(folder / _TOKENIZER, _with_plain_class, _tokenizer_of)


def _rewrite(path: Path, change: Any, read: Any) -> None:
    """Change a JSON file, unless what transformers reads from its folder would be another."""
    if not path.is_file():
        return
    before = path.read_bytes()
    wanted = read(path.parent)
    write_json(path, change(json.loads(before)))
    try:
        same = read(path.parent) == wanted
    except (*FAILURES, OSError):
        same = False
    if not same:
        path.write_bytes(before)


def _config_of(folder: Path) -> Any:
    from transformers import AutoConfig

    with quiet():
        content = AutoConfig.from_pretrained(folder, trust_remote_code=False).to_dict()
    # The kind of scaling is read under both of its names, and kept under both.
    for part in (content, *(value for value in content.values() if isinstance(value, dict))):
        rope = part.get("rope_parameters")
        if isinstance(rope, dict) and rope.get("type") == rope.get("rope_type"):
            rope.pop("type", None)
    return {key: value for key, value in content.items() if key not in _OLD}


def _tokenizer_of(folder: Path) -> Any:
    from transformers import AutoTokenizer

    with quiet():
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    rules = tokenizer.backend_tokenizer.to_str() if tokenizer.is_fast else sorted(tokenizer.get_vocab().items())
    return rules, tokenizer.special_tokens_map, tokenizer.all_special_tokens, tokenizer.chat_template


_OLD = {"rope_theta", "rope_scaling", "rope_local_base_freq", "partial_rotary_factor", "_name_or_path"}


def _with_old_rope(config: dict[str, Any]) -> dict[str, Any]:
    """Return a config, and those of its parts, with the settings of rotary positions in the old spelling too."""
    content = {
        key: _with_old_rope(value) if key.endswith("_config") and isinstance(value, dict) else value
        for key, value in config.items()
    }
    rope = content.get("rope_parameters")
    if not isinstance(rope, dict):
        return content
    # Gemma 3 has other positions in its layers with a window.
    whole, local = rope.get("full_attention", rope), rope.get("sliding_attention")
    if not isinstance(whole, dict) or "rope_theta" not in whole:
        return content
    old: dict[str, Any] = {"rope_theta": whole["rope_theta"], "rope_scaling": _old_scaling(whole)}
    if "partial_rotary_factor" in whole:
        old["partial_rotary_factor"] = whole["partial_rotary_factor"]
    if isinstance(local, dict) and "rope_theta" in local:
        old["rope_local_base_freq"] = local["rope_theta"]
    return content | old


def _old_scaling(rope: dict[str, Any]) -> dict[str, Any] | None:
    """Return the old field of the same settings; None for positions that are not scaled."""
    kind = rope.get("rope_type", "default")
    if kind == "default":
        return None
    # Phi-3 of transformers 4 refuses anything but these three.
    if kind == "longrope":
        return {"type": kind, "short_factor": rope.get("short_factor"), "long_factor": rope.get("long_factor")}
    return {key: value for key, value in rope.items() if key not in {"rope_theta", "partial_rotary_factor"}}


def _with_plain_class(config: dict[str, Any]) -> dict[str, Any]:
    """Return a tokenizer's configuration that names the class and the fields of transformers 4."""
    content = dict(config)
    if content.get("tokenizer_class") == "TokenizersBackend":
        content["tokenizer_class"] = _PLAIN
    extra = content.get("extra_special_tokens")
    # A list of names there is an error to transformers 4, which has a dictionary by that name.
    if isinstance(extra, list):
        del content["extra_special_tokens"]
        if extra:
            content["additional_special_tokens"] = extra
    return content
