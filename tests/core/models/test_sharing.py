import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import tiny_config, tiny_model

from anypo.hooks.batch import Sample, collate
from anypo.hooks.runtime import Runtime
from anypo.models.checks import sharing_of
from anypo.models.critic import Critic
from anypo.models.forward import TokenScorer
from anypo.models.micro_batches import cut
from anypo.models.sharing import Sharing

CHEAP = Sharing(token=1.0, pair=0.0, up_to=100, budget=100)  # attention costs nothing


def batch_of(*groups):
    """Groups of a prompt's length and those of its completions; prompts of a length differ."""
    random = torch.Generator().manual_seed(1)

    def ids(n):
        return torch.randint(0, 256, (n,), generator=random).tolist()

    return collate(
        [
            Sample(prompt, ids(length), group)
            for group, (prompt_length, lengths) in enumerate(groups)
            for prompt in [ids(prompt_length)]
            for length in lengths
        ]
    )


BATCH = batch_of((5, [3, 1, 4]), (2, [2, 0, 6]), (7, [3]))


@pytest.mark.parametrize("kind", ["qwen2", "gpt2", "opt", "gemma2", "deepseek_v3", "cohere"])
def test_packed_rows_have_the_scores_and_the_gradient_of_rows_alone(kind, tokenizer):
    model = tiny_model(tiny_config(kind, tokenizer))
    assert sharing_of(model, 12, Runtime(token_budget=100)) is not None
    scorer = TokenScorer(model, Critic(model, shares_body=False))
    torch.nn.init.normal_(scorer.critic.head.weight)
    found = []
    for line in (None, torch.tensor([0, 0, 0, 1, 1, 1, 2])):
        scores = scorer(BATCH, line)
        scorer.zero_grad()
        (scores.logprobs + scores.values).sum().backward()
        found.append((*scores[:3], [p.grad.clone() for p in scorer.parameters()]))
    torch.testing.assert_close(*found, rtol=1e-3, atol=1e-4)


def test_neither_the_order_nor_the_number_of_lines_matters(model):
    scorer, rows = TokenScorer(model), [1, 2, 0, 5, 3, 4, 6]
    alone = scorer(BATCH).logprobs
    together = scorer(BATCH.rows(torch.tensor(rows)), torch.tensor([0, 0, 1, 2, 2, 3, 4]))
    torch.testing.assert_close(together.logprobs, alone[rows], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "kind", ["mamba", "lfm2", "recurrent_gemma", "bloom", "mistral with a sliding_window"]
)
def test_what_cannot_read_its_tokens_so_is_recognised(kind, tokenizer):
    model = tiny_model(tiny_config(kind, tokenizer))
    assert sharing_of(model, 40, Runtime(token_budget=100)) is None


def test_a_window_that_no_row_is_as_long_as_does_not_matter(tokenizer):
    model = tiny_model(tiny_config("mistral with a sliding_window", tokenizer))
    assert sharing_of(model, 12, Runtime(token_budget=100)) is not None


def test_a_packed_pass_is_the_same_under_activation_checkpointing(model):
    line, found = torch.tensor([0, 0, 0, 1, 1, 1, 2]), []
    for checkpoints in (False, True):
        scorer = TokenScorer(copy.deepcopy(model))
        if checkpoints:
            scorer.model.train()
            scorer.model.activation_checkpointing_enable({"use_reentrant": False})
        scorer(BATCH, line).logprobs.sum().backward()
        found.append([p.grad for p in scorer.parameters()])
    torch.testing.assert_close(*found)


def test_rows_share_a_line_where_prompts_are_long_and_not_where_completions_are():
    costs = Sharing(token=1000.0, pair=1.0, up_to=10_000, budget=10_000)
    long_prompts, long_completions = batch_of((200, [8] * 8)), batch_of((2, [2000] * 4))
    assert costs.lines(long_prompts, list(range(8))) == [list(range(8))]
    assert costs.lines(long_completions, list(range(4))) == [[0], [1], [2], [3]]


def test_a_line_has_no_more_tokens_than_the_budget():
    costs = Sharing(token=1.0, pair=0.0, up_to=100, budget=30)
    assert costs.lines(batch_of((10, [10] * 4)), [0, 1, 2, 3]) == [[0, 1], [2, 3]]


def test_longer_rows_than_were_tried_stay_alone():
    costs = Sharing(token=1.0, pair=0.0, up_to=12, budget=100)
    assert costs.lines(batch_of((10, [3, 2, 2])), [0, 1, 2]) == [[0], [1, 2]]


@given(
    st.lists(
        st.tuples(st.integers(1, 4), st.lists(st.integers(0, 5), min_size=1, max_size=5)),
        min_size=1,
        max_size=4,
    ),
    st.integers(1, 40),
    st.booleans(),
)
def test_micro_batches_hold_every_row_once_and_keep_units_and_lines_together(
    groups, budget, coupled
):
    batch = batch_of(*groups)
    rows = list(range(len(batch)))
    units = [[r for r in rows if batch.group[r] == g] for g in range(len(groups))]
    units = units if coupled else [[row] for row in rows]
    parts = list(cut(batch, units, budget, CHEAP))
    assert sorted(row for part in parts for row in part.rows.tolist()) == rows
    for part in parts:
        held = set(part.rows.tolist())
        assert all(held >= set(unit) or not held & set(unit) for unit in units)
        if part.line is not None:
            prompts = [
                batch.input_ids[row, : batch.prompt_lengths[row]].tolist() for row in part.rows
            ]
            lines = {
                (number, *ids) for number, ids in zip(part.line.tolist(), prompts, strict=True)
            }
            assert len(lines) == part.line.max() + 1
