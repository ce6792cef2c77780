"""The built-in model: a Qwen3 of a quarter million parameters and a byte-level tokenizer."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM
from transformers import get_linear_schedule_with_warmup as linear_schedule

import anypo.functional as F
from anypo import Sample, Tokens, collate, score_tokens, sensible_threads
from anypo_tasks.addition.problems import Row

STEPS = 1400
ROWS = 16  # demonstrations per step
LEARNING_RATE = 2e-3

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "<|{{ message['role'] }}|>{{ message['content'] }}"
    "{% if message['role'] == 'assistant' %}<|end|>{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


ROLES = ("system", "user", "assistant")
TAGS = ("<answer>", "</answer>")


def build_tokenizer(
    template: str = CHAT_TEMPLATE, roles: Sequence[str] = ROLES, tags: Sequence[str] = TAGS
) -> PreTrainedTokenizerFast:
    """One token per byte, plus the marks of the conversation and of the answer.

    Args:
        template: Of conversations.
        roles: Each has a mark of its own.
        tags: Further marks, which are text.
    """
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({byte: i for i, byte in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|pad|>", "<|end|>", *(f"<|{role}|>" for role in roles)])
    tokenizer.add_tokens([AddedToken(tag, normalized=False) for tag in tags])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<|pad|>",
        eos_token="<|end|>",
        model_max_length=512,
    )
    fast.chat_template = template
    return fast


def build_model(tokenizer: PreTrainedTokenizerFast, seed: int) -> Qwen3ForCausalLM:
    """The untrained model. Its heads have 32 dimensions, the fewest vLLM attends with on a CPU."""
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=96,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=3,
        num_key_value_heads=3,
        head_dim=32,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return cast(Qwen3ForCausalLM, Qwen3ForCausalLM(config).eval())


def make(
    folder: Path,
    tokenizer: PreTrainedTokenizerFast,
    conversations: list[Row],
    seed: int,
    progress: Callable[[int, int], None],
) -> None:
    """Write a directory `model` with one that imitates the replies of the conversations."""
    policy = build_model(tokenizer, seed)
    with sensible_threads(policy):
        warm_start(policy, tokenizer, conversations, seed, progress)
    policy.save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")


def warm_start(
    model: Qwen3ForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    conversations: list[Row],
    seed: int,
    progress: Callable[[int, int], None],
) -> None:
    """Train on the replies of the conversations; `progress` is told steps done and steps in all."""
    tokens = Tokens(tokenizer)
    samples = [_sample(tokens, row) for row in conversations]
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE)
    schedule = linear_schedule(optimizer, num_warmup_steps=20, num_training_steps=STEPS)
    draw = random.Random(seed)
    for step in range(STEPS):
        batch = collate(draw.sample(samples, ROWS))
        logprobs = score_tokens(model, batch, temperature=1.0).logprobs
        loss = -(F.token_mean(batch.mask).float() * logprobs).sum()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        progress(step + 1, STEPS)


def _sample(tokens: Tokens, row: Row) -> Sample:
    messages, roles = row["messages"], [message["role"] for message in row["messages"]]
    asked = roles.index("assistant")
    options = {"tools": row["tools"]} if "tools" in row else {}
    example = tokens.example(messages[:asked], {"replies": messages[asked:]}, options)
    replies = example.completions["replies"]
    return Sample(example.prompt, replies.ids, group=0, mask=replies.mask)
