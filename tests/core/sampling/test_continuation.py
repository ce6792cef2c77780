from inspect import signature

import pytest
import torch
from tiny_models import WINDOW, tiny_config, tiny_model

from anypo.hooks.runtime import Runtime
from anypo.models.adapters import add_lora
from anypo.models.options import AdapterOptions
from anypo.models.precision import shrink_frozen
from anypo.sampling.continuation import Continuation, can_pad, can_remember

PADDED = ("llama", "gpt2", "gemma3_text", "llama with a leftover sliding_window")
ALIKE = ("mamba", "lfm2", "qwen3_next", "bloom", "falcon_h1")
ELSEWHERE = ("recurrent_gemma", "minimax")  # state in its modules, or a cache of its own
PROMPT = [40 + i for i in range(WINDOW - 2)]  # which leaves the window soon


def text_lengths(kind):
    return (1, len(PROMPT)) if kind in PADDED else (len(PROMPT), len(PROMPT))


@pytest.fixture(params=[*PADDED, *ALIKE, *ELSEWHERE])
def kind(request):
    return request.param


@torch.no_grad()
def test_what_it_says_of_growing_texts_is_what_the_model_says_of_each_alone(kind, tokenizer):
    model = tiny_model(tiny_config(kind, tokenizer))
    assert can_pad(model) == (kind in PADDED)
    remembers = can_remember(model)
    assert remembers == (kind not in ELSEWHERE)
    prompts = [PROMPT[:length] for length in text_lengths(kind)]
    texts = Continuation(model, prompts, remembers=remembers)
    texts.logits()
    rows = [prompts[0], prompts[1], prompts[1]]
    texts.select(torch.tensor([0, 1, 1]))
    for step in range(8):
        tokens = torch.tensor([50, 60, 70]) + step
        rows = [[*row, int(token)] for row, token in zip(rows, tokens[-len(rows) :], strict=True)]
        texts.append(tokens[-len(rows) :])
        expected = [model(input_ids=torch.tensor([row])).logits[0, -1] for row in rows]
        torch.testing.assert_close(texts.logits(), torch.stack(expected), rtol=1e-4, atol=1e-4)
        if step == 3:
            rows = rows[1:]
            texts.select(torch.tensor([1, 2]))


@torch.no_grad()
def test_nothing_is_read_twice(model, monkeypatch):
    read, forward = [], model.model.forward

    def counting(**given):
        read.append(given["input_ids"].shape[1])
        return forward(**given)

    counting.__signature__ = signature(forward)
    monkeypatch.setattr(model.model, "forward", counting)
    texts = Continuation(model, [PROMPT])
    for _ in range(3):
        texts.logits()
        texts.append(torch.tensor([7]))
    assert read == [len(PROMPT), 1, 1]


def test_prompts_of_one_length_have_no_mask(model):
    assert "attention_mask" not in Continuation(model, [PROMPT, PROMPT]).given
    assert "attention_mask" in Continuation(model, [PROMPT, PROMPT[:3]]).given


@pytest.mark.parametrize("weights", [torch.float32, torch.bfloat16])
def test_the_rounding_of_bfloat16_is_no_reason_to_read_all_anew(weights, tokenizer):
    mamba = tiny_model(tiny_config("mamba2", tokenizer)).to(weights)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert can_remember(mamba)


def test_a_frozen_base_in_bfloat16_under_adapters_is_read_as_it_is_trained(model):
    add_lora(model, "base", AdapterOptions(lora_rank=2))
    shrink_frozen(model, torch.bfloat16)
    assert can_remember(model, Runtime(dtype=torch.bfloat16))
