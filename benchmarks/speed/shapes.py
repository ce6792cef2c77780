"""The models and prompts that speed is measured with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

HEADS = {"num_attention_heads": 8, "num_key_value_heads": 2, "tie_word_embeddings": True}
MODELS: dict[str, dict[str, Any]] = {
    "vocabulary": {
        "vocab_size": 151936,
        "hidden_size": 256,
        "intermediate_size": 704,
        "num_hidden_layers": 4,
        **HEADS,
    },
    "mid": {
        "vocab_size": 8192,
        "hidden_size": 512,
        "intermediate_size": 1408,
        "num_hidden_layers": 8,
        **HEADS,
    },
    "small": {
        "vocab_size": 32000,
        "hidden_size": 512,
        "intermediate_size": 2048,
        "num_hidden_layers": 6,
        **HEADS,
    },
    "0.5b": {  # Qwen2.5-0.5B
        "vocab_size": 151936,
        "hidden_size": 896,
        "intermediate_size": 4864,
        "num_hidden_layers": 24,
        "num_attention_heads": 14,
        "num_key_value_heads": 2,
        "max_position_embeddings": 32768,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
        "tie_word_embeddings": True,
    },
    "1.5b": {  # Qwen2.5-1.5B
        "vocab_size": 151936,
        "hidden_size": 1536,
        "intermediate_size": 8960,
        "num_hidden_layers": 28,
        "num_attention_heads": 12,
        "num_key_value_heads": 2,
        "max_position_embeddings": 32768,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
        "tie_word_embeddings": True,
    },
}


@dataclass(frozen=True)
class Shape:
    """A model, and how much of what a step of GRPO is given."""

    model: str  # one of `MODELS`, or the built-in task
    prompt_tokens: int  # of a prompt, about
    tokens: int  # of a completion, at most
    prompts: int = 4  # of a step
    group: int = 8  # completions of each
    steps: int = 6
    learning_rate: float = 1e-6
    vocabulary: int | None = None  # in place of the model's
    reward: str = "peers.rewards:of_tokens"

    @property
    def rows(self) -> int:
        """The completions of a step."""
        return self.prompts * self.group


SHAPES = {
    "embedded": Shape(
        "addition", 12, 40, prompts=16, steps=40, learning_rate=5e-4, reward="peers.rewards:right"
    ),
    "vocabulary": Shape("vocabulary", 16, 64),
    "mid": Shape("mid", 16, 64),
    "long": Shape("mid", 220, 48),
}
GPU_SHAPES = {
    "0.5b": Shape("0.5b", 256, 256, prompts=32, steps=8),
    "1.5b": Shape("1.5b", 256, 256, prompts=32, steps=8),
}


@dataclass(frozen=True)
class Made:
    """A directory with a model and its tokenizer, and a file of prompts."""

    model: str
    data: str
    parameters: int
