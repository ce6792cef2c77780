"""What must hold for every algorithm installed, whoever wrote it."""

from itertools import chain

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from learning import built_in, whole
from shapes import of_each

from anypo import Batch
from anypo.hooks import registry
from anypo.hooks.specs import beginning
from anypo.training.shares import that_learn

NAMES = built_in()
every_algorithm = pytest.mark.parametrize("name", of_each(NAMES))
ORDERLY = [name for name in NAMES if "random_choice" not in registry.load(name).claims]

STATISTICS = ("jsd", "reverse_kl", "soft")
row = st.tuples(st.integers(0, 5), st.integers(0, 2), st.floats(-2, 2))  # length, group, reward
rows = st.lists(st.tuples(row, row), min_size=1, max_size=3).map(lambda two: [*chain(*two)])


def made_batch(rows, padding=0.0, width=6):
    random = torch.Generator().manual_seed(len(rows))
    shape = (len(rows), width)
    lengths = torch.tensor([length for length, _, _ in rows])
    mask = torch.arange(width) < lengths.unsqueeze(-1)

    def tensor():
        values = -2 * torch.rand((len(rows), 6), generator=random, dtype=torch.float64)
        wide = torch.full(shape, padding, dtype=torch.float64)
        wide[:, :6] = values
        return torch.where(mask, wide, padding)

    names = ("old_logprobs", "ref_logprobs", "sampler_logprobs", "values", "step_rewards")
    names += ("teacher_logprobs", "old_entropy")
    step_ends = mask & (torch.arange(width) % 2 == 1)
    group = torch.tensor([group for _, group, _ in rows])
    scores = torch.rand((2, len(rows)), generator=random, dtype=torch.float64)
    batch = Batch(
        mask=mask,
        max_completion_length=6,
        scores=dict(zip(("one", "two"), scores, strict=True)),
        step_ends=step_ends.double(),
        group=group,
        rewards=torch.tensor([reward for *_, reward in rows], dtype=torch.float64),
        truncated=torch.tensor([length == 5 for length, *_ in rows]),
        preference=torch.where(torch.arange(len(rows)) % 2 == 0, 1.0, -1.0),
        label=torch.arange(len(rows)) % 3 - 1.0,
        margin=0.5 * group.double(),
        told=torch.arange(len(rows)) % 2,
        of_reference=torch.arange(len(rows)) % 2,
        pair=torch.zeros(len(rows), dtype=torch.long),
        shown=torch.arange(len(rows)) % 2,
        baseline=0.5 * group.double(),
        v_star=0.5 * group.double(),
        **{name: tensor() for name in names},
    )
    named = ("logprobs", "values", "entropy", *STATISTICS)
    inputs = {name: tensor().requires_grad_() for name in named}
    return batch, inputs


def prepare(algorithm, batch, inputs):
    """The batch with its advantages, and weights that may see the policy now."""
    now = {name: inputs[name].detach() for name in ("logprobs", "entropy")}
    return algorithm.prepare(batch, beginning(), **now)


def loss_and_gradients(algorithm, batch, inputs, parts):
    """Totals and gradients when the prepared batch is cut into parts of rows."""
    prepared = prepare(algorithm, batch, inputs)
    total = 0.0
    for part in parts:
        given = {name: x[part] for name, x in inputs.items()}
        said = {name: given.pop(name) for name in STATISTICS}
        loss = algorithm.loss(batch=prepared.rows(part), **given, token_statistics=said)
        loss.total.backward()
        total += loss.total.item()
    return total, {name: x.grad for name, x in inputs.items() if x.grad is not None}


def undivided(batch):
    return [torch.arange(len(batch))]


def same(one, other):
    assert one[0] == pytest.approx(other[0], rel=1e-6, abs=1e-9)
    assert one[1].keys() == other[1].keys()
    for name in one[1]:
        torch.testing.assert_close(one[1][name][:, :6], other[1][name][:, :6], rtol=1e-6, atol=1e-9)


@every_algorithm
@settings(max_examples=20)
@given(rows=rows, data=st.data())
def test_any_split_into_micro_batches_or_ranks_gives_the_same_loss_and_gradient(name, rows, data):
    algorithm = whole(name)
    reference = loss_and_gradients(algorithm, *made_batch(rows), undivided(rows))
    owner = data.draw(st.lists(st.integers(0, 3), min_size=len(rows), max_size=len(rows)))
    if algorithm.couples_groups:
        groups = [group for _, group, _ in rows]
        owner = [owner[groups.index(group)] for group in groups]
    parts = [torch.tensor([i for i, o in enumerate(owner) if o == part]) for part in set(owner)]
    same(loss_and_gradients(algorithm, *made_batch(rows), parts), reference)


@every_algorithm
@settings(max_examples=20)
@given(rows=rows)
def test_rows_that_teach_nothing_may_be_left_out(name, rows):
    algorithm = whole(name)
    batch, inputs = made_batch(rows)
    learning = that_learn(algorithm, prepare(algorithm, batch, inputs))
    reference = loss_and_gradients(algorithm, batch, inputs, undivided(rows))
    if not learning:
        assert reference[0] == 0
        return
    some = [torch.tensor([row for unit in learning for row in unit])]
    same(loss_and_gradients(algorithm, *made_batch(rows), some), reference)


@every_algorithm
@settings(max_examples=20)
@given(rows=rows, padding=st.sampled_from([1e3, -1e3, torch.inf, torch.nan]))
def test_padding_changes_nothing(name, rows, padding):
    algorithm = whole(name)
    reference = loss_and_gradients(algorithm, *made_batch(rows), undivided(rows))
    padded = made_batch(rows, padding, width=9)
    same(loss_and_gradients(algorithm, *padded, undivided(rows)), reference)


@pytest.mark.parametrize("name", of_each(ORDERLY))
@settings(max_examples=20)
@given(rows=rows, data=st.data())
def test_the_order_of_rows_changes_nothing(name, rows, data):
    algorithm = whole(name)
    batch, inputs = made_batch(rows)
    total, gradients = loss_and_gradients(algorithm, batch, inputs, undivided(rows))
    order = torch.tensor(data.draw(st.permutations(range(len(rows)))))
    shuffled = {k: x.detach()[order].requires_grad_() for k, x in inputs.items()}
    moved = loss_and_gradients(algorithm, batch.rows(order), shuffled, undivided(rows))
    same(moved, (total, {k: x[order] for k, x in gradients.items()}))


@every_algorithm
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_low_precision_log_probs_give_finite_gradients(name, dtype):
    batch, inputs = made_batch([(5, 0, 1.0), (0, 0, 0.0), (3, 1, 2.0), (4, 1, 2.0)])
    inputs = {k: x.detach().to(dtype).requires_grad_() for k, x in inputs.items()}
    _, gradients = loss_and_gradients(whole(name), batch, inputs, undivided(batch))
    assert all(x.isfinite().all() for x in gradients.values())
