"""Fixtures of the plugin tests: golden numbers, and mathematics done a second way."""

import random
import statistics
from types import SimpleNamespace

import numpy
import pytest
import torch
from dealing import Dealer, plainly

from anypo import Batch
from anypo.hooks.specs import beginning

GROUPS = (7, 2, 7, 9, 5, 7, 2, 9, 7, 2)  # unequal, interleaved; 5 has one row, 9 equal rewards
LENGTHS = (6, 3, 0, 5, 4, 1, 6, 2, 4, 5)  # of the rows, one of them empty

PAIRS = (3, 8, 3, 5, 0, 5, 8, 0)  # interleaved
PREFERENCES = (1, -1, -1, -1, 1, 1, 1, -1)
PAIR_LENGTHS = (4, 2, 6, 1, 5, 3, 6, 2)

COLUMNS = {  # of the batch, as attributes of a row in plain numbers
    "old": "old_logprobs",
    "ref": "ref_logprobs",
    "sampler": "sampler_logprobs",
    "teacher": "teacher_logprobs",
    "entropy": "old_entropy",
    "said": "said",
    "told": "told",
    "preference": "preference",
    "label": "label",
    "margin": "margin",
}


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
def paper_batch(papers):
    """Makes the log-probs and the batch that golden cases of papers share.

    `rows` are the numbers of those that it shall have; `changes` replace its tensors.
    """

    def make(dtype=torch.float64, rows=(0, 1, 2, 3), **changes):
        data = {name: _precise(values) for name, values in papers["fixture"].items()}
        floats = {name: x.to(dtype) for name, x in data.items() if x.is_floating_point()}
        floats |= {"old_entropy": floats["entropy"], "text_scores": floats.pop("scores")}
        batch = Batch(**{**data, **floats, "scores": None})
        logprobs, chosen = batch["logprobs"], torch.tensor(rows)
        return logprobs[chosen], batch.rows(chosen).replace(**changes)

    return make


@pytest.fixture
def reproduces_paper(papers, paper_batch, loss_and_gradient, precision):
    """Checks that an algorithm gives the loss, and the gradient if it is known, of a paper's case.

    `state` is what plugins remember, `more` what else the loss is given, such as the entropy.
    `now` are tensors of the batch, by what weights that see the policy now take them for.
    """

    def check(algorithm, case, *, rows=(0, 1, 2, 3), state=None, more=None, now=None, **changes):
        dtype, tolerance = precision
        expected = papers["cases"][case]
        logprobs, batch = paper_batch(dtype, rows, **changes)
        seen = {name: batch[taken] for name, taken in (now or {}).items()}
        prepared = algorithm.prepare(batch, state, **seen)
        loss, gradient = loss_and_gradient(algorithm, logprobs, prepared, **(more or {}))
        near = pytest.approx(expected["loss"], rel=tolerance, abs=tolerance)
        assert loss.total.item() == near
        if expected["grad"] is not None:
            wanted = torch.tensor(expected["grad"], dtype=dtype)[torch.tensor(rows)]
            torch.testing.assert_close(gradient, wanted, rtol=tolerance, atol=tolerance)

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
    What else a loss is given (`values`, `entropy`) are more arguments of it. Rows are added up one
    by one, or group by group where the algorithm couples them. `now` is what weights see of the
    policy now, `state` what plugins remember.
    """

    def check(algorithm, by_hand, logprobs, batch, h=1e-6, now=None, state=None, **given):
        seen = {"logprobs": logprobs, **(now or {})}
        rows, prepared = _rows(batch), algorithm.prepare(batch, state, **seen)
        more = {name: x.clone().requires_grad_() for name, x in given.items()}
        loss, gradient = loss_and_gradient(algorithm, logprobs, prepared, **more)
        new, frozen = logprobs.tolist(), logprobs.tolist()
        told = {name: x.tolist() for name, x in more.items()}
        assert loss.total.item() == pytest.approx(by_hand(rows, new, frozen, **told), abs=1e-6)
        parts = [
            algorithm.loss(logprobs[part], prepared.rows(part), **_part(more, part)).total
            for part in _parts(algorithm, batch)
        ]
        assert sum(parts).item() == pytest.approx(loss.total.item(), abs=1e-12)
        slopes = [(new, gradient), *((told[name], x.grad) for name, x in more.items())]
        for inputs, slope in slopes:
            _agrees_with_differences(slope, inputs, lambda: by_hand(rows, new, frozen, **told), h)

    return check


@pytest.fixture
def random_distributions(random_batch):
    """Makes logits of a policy and of a teacher over three tokens, and a batch of what was `said`.

    The batch is that of `random_batch`, told the teacher's log-probs of the tokens said.
    """

    def make(seed=0):
        _, batch = random_batch(seed)
        random, shape = torch.Generator().manual_seed(seed), (*batch.mask.shape, 3)
        policy, teacher = torch.randn(2, *shape, generator=random, dtype=torch.float64)
        said = torch.randint(3, batch.mask.shape, generator=random)
        believed = _of_said(teacher.log_softmax(-1), said)
        return policy, teacher, batch.replace(said=said, teacher_logprobs=believed)

    return make


@pytest.fixture
def agrees_in_logits():
    """Checks as `agrees_by_hand` does what depends on whole distributions; gradient in the logits.

    `by_hand(rows, policy, teacher)` gets the rows and two lists of logits, by row, token and
    vocabulary, and returns the loss. The plugin's own `distribution` makes its token statistics.
    """

    def check(algorithm, by_hand, policy, teacher, batch):
        rows, prepared = _rows(batch), algorithm.prepare(batch)
        logits = policy.clone().requires_grad_()
        beliefs = logits.log_softmax(-1)
        said = algorithm.statistics(beliefs.flatten(0, 1), teacher.log_softmax(-1).flatten(0, 1))
        more = {name: x.view(batch.mask.shape) for name, x in said.items()}
        logprobs = _of_said(beliefs, batch["said"])
        loss = algorithm.loss(logprobs, prepared, token_statistics=more).total
        parts = [
            algorithm.loss(
                logprobs[part], prepared.rows(part), token_statistics=_part(more, part)
            ).total
            for part in _parts(algorithm, batch)
        ]
        assert sum(parts).item() == pytest.approx(loss.item(), abs=1e-12)
        loss.backward()
        new, fixed = policy.tolist(), teacher.tolist()
        assert loss.item() == pytest.approx(by_hand(rows, new, fixed), abs=1e-9)
        tokens = [token for row in new for token in row]
        slope = logits.grad.flatten(0, 1)
        _agrees_with_differences(slope, tokens, lambda: by_hand(rows, new, fixed))

    return check


@pytest.fixture
def rolls_out_by_hand():
    """Checks which samples come out of rollouts against a function of plain numbers, step by step.

    What is said and how it is rewarded is random, but the same where the same is asked for.
    `by_hand(draw)` says `draw(n, **how)` for n completions of every prompt, as rows whose fields
    are those of `dealing.plainly`, and returns the rows of the samples that it expects.
    """

    def check(algorithm, by_hand, steps=1):
        state = beginning(steps)
        for step in range(1, steps + 1):
            state["step"], dealer = step, Dealer(step)
            prompts = dealer.prompts()
            samples = algorithm.rollout(prompts, dealer, dealer.score, state)
            assert [plainly(sample) for sample in samples] == by_hand(dealer.draw), step

    return check


@pytest.fixture(params=[(0, 3, 1, 4, 2, 5), (4, 2, 3, 0, 5, 1)], ids=["paired", "shuffled"])
def pair_order(request):
    """The order of P1's rows in the batch: 0 to 2 are the chosen ones, 3 to 5 the rejected ones."""
    return list(request.param)


@pytest.fixture
def golden_pairs(fixtures, pair_order):
    """Makes the log-probs and the batch of P1."""

    def make(dtype=torch.float64):
        p1 = fixtures["P1"]
        policy, reference = (
            torch.tensor(p1[f"{model}_chosen"] + p1[f"{model}_rejected"], dtype=dtype)
            for model in ("pol", "ref")
        )
        batch = Batch(
            mask=torch.tensor(p1["chosen_mask"] + p1["rejected_mask"]).bool(),
            group=torch.tensor([4, 1, 7, 4, 1, 7]),
            preference=torch.tensor([1.0, 1, 1, -1, -1, -1]),
            ref_logprobs=reference,
        )
        return policy[pair_order], batch.rows(torch.tensor(pair_order))

    return make


@pytest.fixture
def reproduces_pairs(golden, golden_pairs, pair_order, loss_and_gradient, precision):
    """Checks that an algorithm gives a golden case's loss, gradient, and all it says of pairs."""

    def check(algorithm, case_id):
        dtype, tolerance = precision
        expected = golden(case_id)["expected"]
        near = {"rel": tolerance, "abs": tolerance}
        logprobs, batch = golden_pairs(dtype)
        prepared = algorithm.prepare(batch)
        loss, gradient = loss_and_gradient(algorithm, logprobs, prepared)
        assert loss.total.item() == pytest.approx(expected["loss"], **near)
        per_row = expected["grad_logp_chosen"] + expected["grad_logp_rejected"]
        wanted = torch.tensor(per_row, dtype=dtype)[pair_order].unsqueeze(-1) * batch.mask
        torch.testing.assert_close(gradient, wanted, rtol=tolerance, atol=tolerance)
        for pair in range(3):
            rows = torch.tensor([pair_order.index(pair), pair_order.index(pair + 3)])
            part = algorithm.loss(logprobs[rows], prepared.rows(rows))
            of_pair = 3 * part.terms["policy"] + loss.terms.get("sft", 0)
            assert of_pair.item() == pytest.approx(expected["per_pair"][pair], **near)

    return check


@pytest.fixture
def one_pair():
    """Makes the log-probs and the batch of a pair of one token each; the reference's are 0."""

    def make(chosen, rejected, dtype=torch.float64):
        batch = Batch(
            mask=torch.ones(2, 1).bool(),
            group=torch.tensor([0, 0]),
            preference=torch.tensor([1.0, -1.0]),
            ref_logprobs=torch.zeros(2, 1, dtype=dtype),
        )
        return torch.tensor([[chosen], [rejected]], dtype=dtype), batch

    return make


@pytest.fixture
def random_pairs():
    """Makes log-probs and a batch of four pairs, interleaved, of unequal lengths.

    One row has a hole in its mask, and one does not begin with the first token.
    """

    def make(seed=0, scale=1.5):
        draw = random.Random(seed)

        def drawn(width):
            return torch.tensor(
                [[draw.uniform(-width, width) for _ in range(6)] for _ in PAIRS],
                dtype=torch.float64,
            )

        mask = torch.arange(6) < torch.tensor(PAIR_LENGTHS).unsqueeze(-1)
        mask[2, 3] = mask[6, 0] = False
        reference = drawn(1.5) - 2
        batch = Batch(
            mask=mask,
            group=torch.tensor(PAIRS),
            preference=torch.tensor(PREFERENCES).float(),
            ref_logprobs=reference,
        )
        return reference + drawn(scale), batch

    return make


@pytest.fixture
def agrees_pair_by_pair(agrees_by_hand):
    """Checks loss and gradient against a function of the pairs (chosen, rejected).

    A row's `new` and `ref` are lists, of the log-probs of the tokens that count.
    """

    def check(algorithm, by_hand, logprobs, batch):
        def of_rows(rows, new, sg):
            return by_hand(_pairs(rows, new))

        agrees_by_hand(algorithm, of_rows, logprobs, batch)

    return check


def _agrees_with_differences(slope, inputs, loss, h=1e-6):
    """Checks a gradient against differences of the loss of lists, which are changed in place."""
    for i, row in enumerate(inputs):
        for t, middle in enumerate(row):
            row[t] = middle + h
            above = loss()
            row[t] = middle - h
            below = loss()
            row[t] = middle
            difference = (above - below) / (2 * h)
            assert slope[i, t].item() == pytest.approx(difference, abs=1e-6), (i, t)


def _of_said(log_distribution, said):
    return log_distribution.gather(-1, said.unsqueeze(-1)).squeeze(-1)


def _precise(values):
    """A tensor of the digits that are given; numbers that are no whole ones are float64."""
    return torch.from_numpy(numpy.array(values))


def _pairs(rows, new):
    pairs = {}
    for row in rows:
        live = SimpleNamespace(
            new=[new[row.index][t] for t in row.tokens],
            ref=[row.ref[t] for t in row.tokens],
            margin=getattr(row, "margin", 0.0),
        )
        pairs.setdefault(row.group, {})[row.preference] = live
    return [(pair[1.0], pair[-1.0]) for pair in pairs.values()]


def _part(tensors, part):
    return {name: x[part] for name, x in tensors.items()}


def _parts(algorithm, batch):
    if not algorithm.couples_groups:
        return [torch.tensor([i]) for i in range(len(batch))]
    return [(batch.group == group).nonzero().squeeze(-1) for group in batch.group.unique()]


def _rows(batch):
    """The rows in plain numbers, with GRPO's advantage worked out by the book."""
    groups = batch.group.tolist()
    rewards = batch.rewards.tolist() if "rewards" in batch else [0.0] * len(batch)
    columns = {short: batch[name].tolist() for short, name in COLUMNS.items() if name in batch}
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
                **{name: column[i] for name, column in columns.items()},
            )
        )
    return rows
