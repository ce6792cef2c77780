"""Tiny random models of any architecture of transformers: each kind of layer, and few of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

LAYERS = 4
LARGEST = 3_000_000  # parameters
WINDOW = 16  # tokens that a sliding layer sees
CONTEXT = 512  # tokens
SMALL = {  # what the attributes of a configuration become, by the whole of their names
    r"(num_)?(hidden_|decoder_|encoder_)?(n_)?(layers?|layer|blocks)": LAYERS,
    r"hidden_size|n_embd|d_model|n_embed|dim|emb_dim|embedding_dim|embedding_size": 32,
    r"word_embed_proj_dim|lru_width|attention_hidden_size|attn_hidden_size|dim_model": 32,
    r"(.*_)?(intermediate|ffn|ff)_(size|dim|hidden_size)|d_ff|n_inner|dim_ff": 48,
    r"(.*_)?(num|n)_(.*_)?heads?|(decoder_|encoder_)?attention_heads|n_head|.*_n_heads": 4,
    r"(.*_)?(num|n)_(.*_)?(key_value|kv|key)_heads?": 2,
    r"(.*_)?head_dim|head_size|.*d_head|.*headdim": 8,
    r"(q|kv|o)_lora_rank|.*adapter_rank|laurel_rank|hidden_size_per_layer_input": 8,
    r"(num|n)_(.*_)?experts": 4,
    r"num_experts_per_tok(en)?|moe_topk|top_k|num_selected_experts": 2,
    r"n_group|topk_group|num_expert_group|(.*_)?n_?groups": 1,
    r"(.*)sliding_window(_size)?|attention_window_size|attention_chunk_size|window_size": WINDOW,
    r"max_(position_embeddings|seq_len|sequence_length)|n_positions|n_ctx|context_length": CONTEXT,
    r"(.*_)?(d_state|state_size|ssm_state_size)|(.*_)?dt_rank|time_step_rank": 8,
    r"(.*_)?chunk_size|block_size": 8,
    r"index_topk|index_block_size": 8,
    r"rotary_dim": 4,
    r"index_n_heads": 16,  # of a few, all may say 0, and which are the highest is left to rounding
    r"vocab_size(_per_layer_input)?": 0,  # that of the tokenizer
}
DERIVED = ("head_dim", "num_key_value_heads")  # from sizes, where they are None
MAMBA = {"mamba_n_heads": 8, "mamba_d_head": 8, "mamba_d_state": 8}
MIXED = ["linear_attention", "full_attention"] * 2
OVERRIDES: dict[str, dict[str, Any]] = {  # where the rules do not fit, or show too little
    "bamba": {**MAMBA, "attn_layer_indices": [1, 3]},
    "cohere_compass_text": {
        "rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 1e4}}
    },
    "dbrx": {
        "attn_config": {"kv_n_heads": 2, "rope_theta": 1e4},
        "ffn_config": {"ffn_hidden_size": 48, "moe_num_experts": 4, "moe_top_k": 2},
    },
    "deepseek_v2": {"num_experts_per_tok": 2},
    "dots1": {"n_shared_experts": 1, "n_routed_experts": 4, "num_experts_per_tok": 2},
    "dots3_note_text": {"num_key_value_heads": 4},
    "falcon_h1": {**MAMBA, "mamba_d_ssm": 64},
    "gemma3n_text": {"num_kv_shared_layers": 2, "intermediate_size": 48},
    "gpt_neo": {"attention_types": [[["global", "local"], 2]]},
    "granitemoehybrid": {**MAMBA, "layer_types": MIXED},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1},
    "lfm2": {"layer_types": ["conv", "full_attention"] * 2},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"] * 2},
    "longcat_flash": {"zero_expert_num": 2, "qk_head_dim": 16},
    "mamba2": {"num_heads": 8},
    "minicpm3": {"dim_model_base": 32},
    "nemotron_h": {"mamba_num_heads": 8},
    "qwen4_exp_text": {
        "indexer_n_heads": 4,
        "indexer_kv_heads": 1,
        "indexer_head_dim": 8,
        "indexer_budget": 16,
        "indexer_compress_ratio": 4,
        "ngram_vocab_size_base": 100,
        "ple_embed_dim": 32,
        "hc_lowrank": 8,
        "split_ngram_parts": 2,
    },
    "recurrent_gemma": {"num_hidden_layers": 6},
    "roc_bert": {"shape_vocab_size": 300, "pronunciation_vocab_size": 300},
    "xlstm": {"hidden_size": 128, "embedding_dim": 128, "chunk_size": 16},
    "xmod": {"default_language": "en_XX"},
    "zamba": {"attention_hidden_size": 64, "attention_head_dim": 16},
    "zamba2": {
        "attention_hidden_size": 64,
        "attention_head_dim": 16,
        "mamba_headdim": 16,
        "hybrid_layer_ids": [1, 3],
    },
    "zaya": {"num_experts_per_tok": 1},
}


ORIGINAL = 32  # tokens of pretraining, for positions that stretch beyond
LONGROPE = {
    "rope_type": "longrope",
    "rope_theta": 1e4,
    "factor": 4.0,
    "short_factor": [1.0, 1.5, 2.0, 2.5],
    "long_factor": [2.0, 3.0, 5.0, 9.0],
    "original_max_position_embeddings": ORIGINAL,
}
DYNAMIC = {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {  # what the default configuration does not show
    "llama with dynamic positions": (
        "llama",
        {"rope_parameters": DYNAMIC, "max_position_embeddings": ORIGINAL},
    ),
    "bert as a decoder": ("bert", {"is_decoder": True}),
    "llama with a leftover sliding_window": ("llama", {"sliding_window": WINDOW}),
    "mistral with a sliding_window": ("mistral", {"sliding_window": WINDOW}),
    "phi3 with longrope": (
        "phi3",
        {"rope_parameters": LONGROPE, "original_max_position_embeddings": ORIGINAL},
    ),
    "phimoe with longrope": (
        "phimoe",
        {"rope_parameters": {**LONGROPE, "short_mscale": 1.1, "long_mscale": 1.3}},
    ),
}
OF_TEXT = ("dots3_note", "gemma3", "gemma3n", "qwen4_exp")
OF_MORE = ("emu3", "git", "got_ocr2", "mllama", "moss_transcribe_diarize", "phi4_multimodal")
OF_SOUND = ("musicgen", "musicgen_melody")
ASSISTANTS = ("gemma4_assistant", "gemma4_unified_assistant")
NOT_TRIED = {
    **{kind: f"it reads more than text: {kind}_text is tried" for kind in OF_TEXT},
    **dict.fromkeys(OF_MORE, "it reads more than text, and has no part for text alone"),
    **dict.fromkeys(OF_SOUND, "it writes sound"),
    **dict.fromkeys(ASSISTANTS, "it drafts for another model, and reads that one's states"),
    "blt": "it reads patches of bytes, not tokens",
    "reformer": "it has gradients in training mode alone, and no model is in it here: no dropout",
}
KINDS = [*MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, *VARIANTS]


class TooLargeError(Exception):
    """What the rules for shrinking leave is still no tiny model."""


def tiny_config(kind: str, tokenizer: PreTrainedTokenizerBase) -> PreTrainedConfig:
    """The configuration of a small model of a type, as `AutoConfig.for_model` names them."""
    kind, variant = VARIANTS.get(kind, (kind, {}))
    default = AutoConfig.for_model(kind)
    own = {**OVERRIDES.get(kind, {}), **variant}
    if (text := default.get_text_config()) is not default:
        sub = next(n for n, value in vars(default).items() if value is text)
        return AutoConfig.for_model(kind, **{sub: shrunk(text, tokenizer, own)})
    return AutoConfig.for_model(kind, **shrunk(default, tokenizer, own))


def shrunk(
    default: PreTrainedConfig, tokenizer: PreTrainedTokenizerBase, own: dict[str, Any]
) -> dict[str, Any]:
    """What to make a configuration anew with, so that all that follows from sizes follows again."""
    small: dict[str, Any] = {}
    for name, value in default.to_dict().items():
        sizes = [size for pattern, size in SMALL.items() if re.fullmatch(pattern, name)]
        if sizes and (type(value) is int or (name in DERIVED and value is None)):
            small[name] = sizes[-1] or len(tokenizer)
    if "kv_lora_rank" in small:  # latent attention has no groups of heads
        small["num_key_value_heads"] = small["num_attention_heads"]
    stored = default.attribute_map.get("layer_types", "layer_types")
    derived = isinstance(getattr(type(default), stored, None), property)
    kinds = list(dict.fromkeys(getattr(default, "layer_types", None) or []))
    if len(kinds) > 1 and not derived:  # each of them in a few layers
        layers = max(LAYERS, len(kinds))
        small |= {"num_hidden_layers": layers, "layer_types": (kinds * LAYERS)[:layers]}
    end, padding = tokenizer.eos_token_id, tokenizer.pad_token_id
    ids = {"bos_token_id": padding, "eos_token_id": end, "pad_token_id": padding}
    return {**small, **ids, **own}


def tiny_model(config: PreTrainedConfig, seed: int = 0) -> PreTrainedModel:
    """A model with random weights that are large enough for its choices to differ."""
    with torch.device("meta"):
        size = AutoModelForCausalLM.from_config(config).num_parameters()
    if size > LARGEST:
        raise TooLargeError(f"no tiny model: it still has {size:,} parameters")
    torch.manual_seed(seed)
    model: PreTrainedModel = AutoModelForCausalLM.from_config(config).float().eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.normal_(std=0.1)
    return model


def save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> str:
    """A model directory, as it is found on a hub."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)
