import copy

import pytest
import torch
from tiny_models import tiny_config, tiny_model

from anypo.hooks.batch import Sample, collate
from anypo.hooks.runtime import Runtime
from anypo.models.checks import sharing_of
from anypo.models.critic import Critic
from anypo.models.forward import TokenScorer

NUMBERS = iter(range(1, 250))
GROUPS = [(5, [3, 1, 4]), (2, [2, 0, 6]), (7, [3])]  # a prompt's length, and its completions'


def numbers(length):
    return [next(NUMBERS) for _ in range(length)]


PROMPTS = [numbers(length) for length, _ in GROUPS]
BATCH = collate(
    [Sample(PROMPTS[g], numbers(n), g) for g, (_, own) in enumerate(GROUPS) for n in own]
)


BY_PARTS = {"qwen2", "gpt2", "opt", "deepseek_v3", "cohere"}  # gemma2 caps its scores


@pytest.mark.parametrize("by_parts", [True, False])
@pytest.mark.parametrize("kind", [*sorted(BY_PARTS), "gemma2"])
def test_packed_rows_have_the_scores_and_the_gradient_of_rows_alone(kind, by_parts, tokenizer):
    model = tiny_model(tiny_config(kind, tokenizer))
    sharing = sharing_of(model, 12, Runtime(token_budget=100))
    assert sharing is not None
    assert sharing.by_parts == (kind in BY_PARTS)
    if by_parts and kind not in BY_PARTS:
        pytest.skip("it attends to the line alone")
    scorer = TokenScorer(model, Critic(model, shares_body=False))
    torch.nn.init.normal_(scorer.critic.head.weight)
    found = []
    for line in (None, torch.tensor([0, 0, 0, 1, 1, 1, 2])):
        scores = scorer(BATCH, line, by_parts=by_parts)
        scorer.zero_grad()
        (scores.logprobs + scores.values).sum().backward()
        found.append((*scores[:3], [p.grad.clone() for p in scorer.parameters()]))
    torch.testing.assert_close(*found, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("by_parts", [True, False])
def test_neither_the_order_nor_the_number_of_lines_matters(model, by_parts):
    scorer, rows = TokenScorer(model), [1, 2, 0, 5, 3, 4, 6]
    alone = scorer(BATCH).logprobs
    line = torch.tensor([0, 0, 1, 2, 2, 3, 4])
    together = scorer(BATCH.rows(torch.tensor(rows)), line, by_parts=by_parts)
    torch.testing.assert_close(together.logprobs, alone[rows], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "kind", ["mamba", "lfm2", "recurrent_gemma", "bloom", "mistral with a sliding_window"]
)
def test_what_cannot_read_its_tokens_so_is_recognised(kind, tokenizer):
    model = tiny_model(tiny_config(kind, tokenizer))
    assert sharing_of(model, 40, Runtime(token_budget=100)) is None


def test_a_window_of_places_in_the_line_is_recognised_too(tokenizer):
    model = tiny_model(tiny_config("gpt_neo", tokenizer))  # of 16
    assert sharing_of(model, 12, Runtime(token_budget=100)) is None
    assert sharing_of(model, 3, Runtime(token_budget=100)) is not None


@pytest.mark.parametrize("kind", ["recurrent_gemma", "mamba"])
def test_what_a_model_is_does_not_hide_in_rounding(kind, tokenizer):
    runtime = Runtime(dtype=torch.bfloat16, token_budget=100)
    assert sharing_of(tiny_model(tiny_config(kind, tokenizer)), 12, runtime) is None


def test_the_mask_is_as_precise_as_the_layers(model):
    masks, take = [], lambda _, __, given: masks.append(given["attention_mask"].dtype)
    scorer = TokenScorer(model)
    model.get_decoder().register_forward_pre_hook(take, with_kwargs=True)
    for dtype in (torch.float32, torch.bfloat16):
        with torch.no_grad(), Runtime(dtype=dtype).autocast():
            scorer(BATCH, torch.tensor([0, 0, 0, 1, 1, 1, 2]))
    assert masks == [torch.float32, torch.bfloat16]


def test_a_window_that_no_row_is_as_long_as_does_not_matter(tokenizer):
    model = tiny_model(tiny_config("mistral with a sliding_window", tokenizer))
    assert sharing_of(model, 12, Runtime(token_budget=100)) is not None


@pytest.mark.parametrize("by_parts", [True, False])
def test_a_packed_pass_is_the_same_under_activation_checkpointing(model, by_parts):
    line, found = torch.tensor([0, 0, 0, 1, 1, 1, 2]), []
    for checkpoints in (False, True):
        scorer = TokenScorer(copy.deepcopy(model))
        if checkpoints:
            scorer.model.train()
            scorer.model.activation_checkpointing_enable({"use_reentrant": False})
        scorer(BATCH, line, by_parts=by_parts).logprobs.sum().backward()
        found.append([p.grad for p in scorer.parameters()])
    torch.testing.assert_close(*found)
