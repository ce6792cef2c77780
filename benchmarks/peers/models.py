"""Small models with random weights, each in a directory with a tokenizer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification

from anypo_tasks.addition.model import build_tokenizer

SMALL = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
}
NO_DROPOUT = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0)
MODELS: dict[str, dict[str, Any]] = {
    "llama": SMALL,
    "mixtral": {**SMALL, "num_local_experts": 4},
    "qwen2": SMALL,
    "qwen3": {**SMALL, "head_dim": 8},
    "mistral": SMALL,
    "gemma3_text": {**SMALL, "head_dim": 8, "sliding_window": 64},
    "gemma2": {**SMALL, "head_dim": 8, "sliding_window": 64},
    "granite": {**SMALL, "logits_scaling": 4.0},
    "cohere": {**SMALL, "logit_scale": 0.25},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256, **NO_DROPOUT},
    "gpt_neox": {k: v for k, v in SMALL.items() if k != "num_key_value_heads"},
    "olmo2": SMALL,
    "phi3": SMALL,
    "smollm3": SMALL,
    "stablelm": SMALL,
    "starcoder2": SMALL,
}
MARKS = {"eos": "<|end|>", "pad": "<|pad|>", "bos": "<|user|>"}
STD = 0.15  # of the weights: large enough for the choices of the model to differ
LINE = r"{{ '\n' }}"  # a plain one is lost after a block
MESSAGE = (
    "{%% for message in messages %%}%s{%% if message['role'] == 'assistant' %%}"
    "{%% generation %%}{{ message['content'] + '<|end|>' }}{%% endgeneration %%}%s"
    "{%% else %%}{{ message['content'] }}%s{%% endif %%}{%% endfor %%}"
    "{%% if add_generation_prompt %%}%s{%% endif %%}"
)
TEMPLATES = {
    "plain": MESSAGE % ("<|{{ message['role'] }}|>", "", "", "<|assistant|>"),
    "lines": MESSAGE
    % (f"<|{{{{ message['role'] }}}}|>{LINE}", LINE, "<|end|>" + LINE, "<|assistant|>" + LINE),
}


def make_model(folder: Path, kind: str, *, template: str = "plain", scores: bool = False) -> str:
    """Write a model of a kind with its tokenizer, and say where.

    Args:
        folder: For the model and the tokenizer.
        kind: One of `MODELS`.
        template: One of `TEMPLATES`, for conversations.
        scores: Whether it has a head that scores a text.
    """
    tokenizer = build_tokenizer()
    tokenizer.chat_template = TEMPLATES[template]
    ids = {f"{k}_token_id": tokenizer.convert_tokens_to_ids(mark) for k, mark in MARKS.items()}
    config = AutoConfig.for_model(kind, vocab_size=len(tokenizer), **MODELS[kind], **ids)
    if scores:
        config.num_labels = 1
    auto = AutoModelForSequenceClassification if scores else AutoModelForCausalLM
    model = auto.from_config(config, dtype=torch.float32)
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=STD, generator=random)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)
