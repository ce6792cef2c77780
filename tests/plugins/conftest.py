"""Fixtures of the plugin tests: golden numbers, and mathematics done a second way."""

import random
import statistics
from types import SimpleNamespace

import pytest
import torch

from anypo import Batch

GROUPS = (7, 2, 7, 9, 5, 7, 2, 9, 7, 2)  # unequal, interleaved; 5 has one row, 9 equal rewards
LENGTHS = (6, 3, 0, 5, 4, 1, 6, 2, 4, 5)  # of the rows, one of them empty


@pytest.fixture(params=[(torch.float64, 1e-9), (torch.float32, 1e-5)], ids=["f64", "f32"])
def precision(request):
    """A dtype and the tolerance that golden numbers have in it."""
    return request.param


@pytest.fixture
def golden_batch(fixtures):
    """Makes the batch of a golden fixture and its new log-probs: `golden_batch("F1", dtype)`."""

    def make(name, dtype=torch.float64, **changes):
        data = fixtures[name]
        tensors = {
            "rewards": torch.tensor(data["rewards"], dtype=dtype),
            "group": torch.tensor(data["group"]),
            "old_logprobs": torch.tensor(data["logp_old"], dtype=dtype),
            "ref_logprobs": torch.tensor(data["logp_ref"], dtype=dtype),
            "sampler_logprobs": torch.tensor(data["logp_rollout"], dtype=dtype),
            "values": torch.tensor(data["values"], dtype=dtype),
        }
        mask = torch.tensor(data["mask"]).bool()
        batch = Batch(**{"mask": mask, **tensors, **changes})
        return torch.tensor(data["logp_new"], dtype=dtype), batch

    return make


@pytest.fixture
def loss_and_gradient():
    """Calls an algorithm on a prepared batch: the loss, and its gradient in the log-probs."""

    def call(algorithm, logprobs, prepared, **more):
        logprobs = logprobs.clone().requires_grad_()
        loss = algorithm.loss(logprobs, prepared, **more)
        loss.total.backward()
        return loss, logprobs.grad

    return call


@pytest.fixture
def reproduces(golden, golden_batch, loss_and_gradient, precision):
    """Checks that an algorithm gives a golden case's advantages, loss and gradient."""

    def check(algorithm, case_id, *, advantages="computed", padding=None, **changes):
        dtype, tolerance = precision
        case = golden(case_id)
        close = {"rtol": tolerance, "atol": tolerance}
        logprobs, batch = golden_batch(case["fixture"], dtype, **changes)
        if padding is not None:
            logprobs = torch.where(batch.mask, logprobs, padding)
        prepared = algorithm.prepare(batch)
        wanted = torch.tensor(case["inputs"]["advantages"], dtype=dtype)
        wanted = (wanted if wanted.dim() == 2 else wanted.unsqueeze(-1)) * batch.mask
        if advantages == "computed":
            torch.testing.assert_close(prepared.advantages, wanted, **close)
        loss, gradient = loss_and_gradient(algorithm, logprobs, prepared.replace(advantages=wanted))
        # Advantages of 12 digits and opposite signs leave fewer digits of a small loss.
        near = pytest.approx(case["expected"]["loss"], rel=tolerance, abs=tolerance / 100)
        assert loss.total.item() == near
        expected = torch.tensor(case["expected"]["grad_logp_new"], dtype=dtype)
        torch.testing.assert_close(gradient, expected, **close)

    return check


@pytest.fixture
def random_batch():
    """Makes log-probs and a batch with unequal groups, a group of one, and an empty row.

    The log-ratios are up to `scale`; two rows are truncated, and one has a hole in its mask.
    """

    def make(seed=0, scale=0.7):
        draw = random.Random(seed)

        def around(centre, width):
            return [[centre + draw.uniform(-width, width) for _ in range(6)] for _ in LENGTHS]

        mask = torch.tensor([[t < length for t in range(6)] for length in LENGTHS])
        mask[0, 2] = False
        old = torch.tensor(around(-2.0, 1.5), dtype=torch.float64)
        near = {
            name: old + torch.tensor(around(0.0, scale), dtype=torch.float64)
            for name in ("logprobs", "ref_logprobs", "sampler_logprobs")
        }
        logprobs = near.pop("logprobs")
        rewards = [0.25 if group == 9 else draw.uniform(-1, 2) for group in GROUPS]
        batch = Batch(
            mask=mask,
            max_completion_length=8,
            group=torch.tensor(GROUPS),
            rewards=torch.tensor(rewards, dtype=torch.float64),
            truncated=torch.tensor([length == 6 for length in LENGTHS]),
            old_logprobs=old,
            values=torch.tensor(around(0.3, 0.8), dtype=torch.float64),
            **near,
        )
        return logprobs, batch

    return make


@pytest.fixture
def agrees_by_hand(loss_and_gradient):
    """Checks loss and gradient against a function of plain numbers, and that the rows add up.

    `by_hand(rows, new, sg)` gets the rows and the log-probs as lists, and returns the loss; what
    the gradient must not see, it reads from `sg` instead of `new`. Differences give the gradient.
    Where there is a critic, its new `values` are one more argument.
    """

    def check(algorithm, by_hand, logprobs, batch, h=1e-6, values=None):
        rows, prepared = _rows(batch), algorithm.prepare(batch)
        more = {} if values is None else {"values": values.clone().requires_grad_()}
        loss, gradient = loss_and_gradient(algorithm, logprobs, prepared, **more)
        new, frozen = logprobs.tolist(), logprobs.tolist()
        critic = {name: x.tolist() for name, x in more.items()}
        assert loss.total.item() == pytest.approx(by_hand(rows, new, frozen, **critic), abs=1e-6)
        parts = [
            algorithm.loss(logprobs[[i]], prepared.rows(torch.tensor([i])), **_row(more, i)).total
            for i in range(len(batch))
        ]
        assert sum(parts).item() == pytest.approx(loss.total.item(), abs=1e-12)
        slopes = [(new, gradient), *((critic[name], x.grad) for name, x in more.items())]
        for inputs, slope in slopes:
            for i, row in enumerate(inputs):
                for t, middle in enumerate(row):
                    row[t] = middle + h
                    above = by_hand(rows, new, frozen, **critic)
                    row[t] = middle - h
                    below = by_hand(rows, new, frozen, **critic)
                    row[t] = middle
                    difference = (above - below) / (2 * h)
                    assert slope[i, t].item() == pytest.approx(difference, abs=1e-6), (i, t)

    return check


def _row(tensors, i):
    return {name: x[[i]] for name, x in tensors.items()}


def _rows(batch):
    """The rows in plain numbers, with GRPO's advantage worked out by the book."""
    groups, rewards = batch.group.tolist(), batch.rewards.tolist()
    rows = []
    for i, group in enumerate(groups):
        mates = [reward for other, reward in zip(groups, rewards, strict=True) if other == group]
        spread = statistics.stdev(mates) if len(mates) > 1 else 0.0
        rows.append(
            SimpleNamespace(
                index=i,
                tokens=[t for t, kept in enumerate(batch.mask[i].tolist()) if kept],
                mates=mates,
                reward=rewards[i],
                advantage=(rewards[i] - statistics.mean(mates)) / (spread + 1e-6),
                group=group,
                old=batch.old_logprobs[i].tolist(),
                ref=batch.ref_logprobs[i].tolist(),
                sampler=batch.sampler_logprobs[i].tolist(),
            )
        )
    return rows
