"""Every causal architecture of transformers as a tiny random model: one recipe, and what single ones need beside."""

from typing import Any

import torch
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from fakes import IM_END_ID, IM_START_ID

KINDS = tuple(sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES))
VOCAB = 264
"""A few more than the byte tokenizer has: for some kinds transformers adds a mark of theirs when it loads it."""

_HEADS, _HEAD = 4, 8
_SIZES = {
    32: """hidden_size n_embd d_model emb_dim embedding_size word_embed_proj_dim embedding_dim attention_hidden_size
        mamba_d_ssm lru_width""",
    2: """num_hidden_layers n_layer n_layers num_layers decoder_layers encoder_layers num_decoder_layers
        num_encoder_layers num_blocks num_key_value_heads num_kv_heads linear_num_key_heads swa_num_key_value_heads
        num_experts_per_tok num_experts_per_token moe_topk moe_k top_k_experts index_n_heads type_vocab_size""",
    _HEADS: """num_attention_heads n_head n_heads num_heads decoder_attention_heads encoder_attention_heads
        attention_heads num_decoder_attention_heads num_encoder_attention_heads mamba_num_heads mamba_n_heads
        linear_num_heads linear_num_value_heads swa_num_attention_heads num_experts n_routed_experts num_local_experts
        moe_num_experts""",
    _HEAD: """head_dim attention_head_dim kv_channels mamba_d_head mamba_head_dim linear_head_dim swa_head_dim
        linear_key_head_dim linear_value_head_dim v_head_dim qk_nope_head_dim qk_rope_head_dim d_head dim_head
        attention_head_size rotary_dim index_topk mamba_d_state state_size ssm_state_size""",
    48: """intermediate_size n_inner ffn_dim decoder_ffn_dim encoder_ffn_dim dff dim_ff d_inner ffn_hidden_size
        dense_intermediate_size intermediate_size_mlp shared_intermediate_size shared_expert_intermediate_size
        prefix_dense_intermediate_size feed_forward_size""",
    16: """moe_intermediate_size expert_ffn_hidden_size moe_shared_expert_intermediate_size qk_head_dim kv_lora_rank
        q_lora_rank index_head_dim sliding_window attention_window_size local_attention sliding_window_size window_size
        attention_chunk_size mamba_chunk_size chunk_size""",
    1: """n_group topk_group num_expert_group first_k_dense_replace n_shared_experts num_shared_experts
        moe_num_shared_experts mamba_n_groups n_groups mamba_ngroups""",
    256: """max_position_embeddings n_positions max_seq_len n_ctx model_max_length max_target_positions
        context_length""",
    VOCAB: "vocab_size vocab_size_per_layer_input unpadded_vocab_size",
}
"""Sizes of a tiny model: the fields that have them, whichever of these a config knows."""
_SMALL = {name: size for size, names in _SIZES.items() for name in names.split()}

_LATENT = """axk1 axk2 deepseek_v2 deepseek_v3 deepseek_v32 dots3_note_text glm4_moe_lite glm_moe_dsa longcat_flash
    minicpm3 youtu"""
"""Kinds whose latent attention makes a key for every head."""
_LINEAR = "olmo_hybrid qwen3_5_moe_text qwen3_5_text qwen3_next"
"""Kinds with layers of linear attention beside those of full attention."""
_GEMMA4: dict[str, Any] = {"global_head_dim": _HEAD, "hidden_size_per_layer_input": 8}
_ADDED: dict[str, dict[str, Any]] = {
    **{kind: {"num_key_value_heads": _HEADS} for kind in _LATENT.split()},
    **{kind: {"layer_types": ["linear_attention", "full_attention"]} for kind in _LINEAR.split()},
    **{
        kind: {"text_config": {"layer_types": ["linear_attention", "full_attention"]}}
        for kind in ("qwen3_5", "qwen3_5_moe")
    },
    "bamba": {"mamba_n_heads": 8, "attn_layer_indices": [1]},
    "granitemoehybrid": {"mamba_n_heads": 8, "layer_types": ["mamba", "attention"]},
    "mamba2": {"num_heads": 8},
    "blt": {"encoder_hash_byte_group_vocab": 64, "decoder_config": {"hidden_size_global": 32}},
    "cohere_compass_text": {
        "layer_types": ["sliding_attention", "full_attention"],
        "rope_parameters": {
            kind: {"rope_type": "default", "rope_theta": 1e4} for kind in ("sliding_attention", "full_attention")
        },
    },
    "dbrx": {"attn_config": {"rope_theta": 1e4, "clip_qkv": 8.0}},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "gemma4_text": _GEMMA4,
    "gemma4_unified_text": _GEMMA4,
    "gemma4": {"text_config": _GEMMA4},
    "gemma4_unified": {"text_config": _GEMMA4},
    "gemma3n_text": {"num_kv_shared_layers": 0, "hidden_size_per_layer_input": 8, "intermediate_size": 48},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"], "num_dense_layers": 1},
    "roc_bert": {
        "pronunciation_vocab_size": VOCAB,
        "shape_vocab_size": VOCAB,
        "pronunciation_embed_dim": 8,
        "shape_embed_dim": 8,
    },
    "xmod": {"default_language": "en_XX"},
    "zamba": {
        "layers_block_type": ["mamba", "hybrid", "hybrid"],
        "num_hidden_layers": 3,
        "attention_hidden_size": 64,
        "attention_head_dim": 16,
    },
    "zamba2": {
        "attention_hidden_size": 64,
        "attention_head_dim": 16,
        "layers_block_type": ["mamba", "hybrid", "hybrid"],
        "num_hidden_layers": 3,
        "n_mamba_heads": 8,
        "num_key_value_heads": _HEADS,
    },
    "bailing_hybrid": {"layer_group_size": 2, "num_key_value_heads": _HEADS},
    "kimi_linear": {"layer_types": ["linear_attention", "full_attention"], "num_key_value_heads": _HEADS},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1},
    "lfm2": {"layer_types": ["conv", "full_attention"]},
    "recurrent_gemma": {"num_hidden_layers": 3},
    "zaya": {"num_experts_per_tok": 1},
    "reformer": {"axial_pos_embds_dim": [8, 24], "axial_pos_shape": [16, 16]},
}
"""What single architectures need beside: fields that depend on each other."""


def tiny_config(kind: str, **fields: Any) -> PreTrainedConfig:
    """The config of a tiny model of this kind."""
    return _shrunk(CONFIG_MAPPING[kind], _ADDED.get(kind, {}) | fields)


def tiny_architecture(kind: str, **fields: Any) -> PreTrainedModel:
    """A random model of this kind, in eval mode; `fields` replace those of its config."""
    config = tiny_config(kind, **fields)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return AutoModelForCausalLM.from_config(config).eval()


def _shrunk(kind: type[PreTrainedConfig], added: dict[str, Any]) -> PreTrainedConfig:
    default = kind()
    known = vars(default)
    fields: dict[str, Any] = {
        name: size for name, size in _SMALL.items() if isinstance(known.get(name, ""), int | float | type(None))
    }
    parts = {name: known[name] for name in kind.sub_configs if known.get(name) is not None}
    # A part may be given by its fields, which stand beside the recipe's.
    own = {name: value for name, value in added.items() if name not in parts}
    fields |= {name: _shrunk(type(part), added.get(name, {})).to_dict() for name, part in parts.items()}
    fields |= {"bos_token_id": IM_START_ID, "eos_token_id": IM_END_ID, "pad_token_id": IM_END_ID}
    if "initializer_range" in known:
        # Wide, so that attention and logits are far from uniform and a wrong mask or position shows.
        fields["initializer_range"] = 0.2
    if "is_decoder" in known:
        fields["is_decoder"] = True
    return kind(**fields | own)
