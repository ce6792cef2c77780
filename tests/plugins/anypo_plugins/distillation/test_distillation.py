"""What learns from a teacher: opd, minillm, gkd, sdft and sdpo, by formulas written anew."""

import math
from dataclasses import replace
from statistics import fmean

import pytest
import torch

from anypo import Batch, Prompt, Sample, compose
from anypo.hooks.batch import Completion

MASK = [[1, 1, 1, 0], [1, 1, 1, 1], [1, 0, 0, 0]]


def drawn(seed, *shape):
    random = torch.Generator().manual_seed(seed)
    return -3 * torch.rand(shape, generator=random, dtype=torch.float64)


@pytest.fixture
def batch():
    """Three rows, of which a teacher has said something."""
    return Batch(
        mask=torch.tensor(MASK),
        group=torch.tensor([0, 0, 1]),
        old_logprobs=drawn(1, 3, 4),
        teacher_logprobs=drawn(2, 3, 4),
    )


def lines(tensor, batch):
    return [row[: int(n)].tolist() for row, n in zip(tensor, batch.lengths, strict=True)]


def test_opd_rewards_each_token_by_what_the_teacher_thinks_of_it(batch):
    algorithm = compose("opd")
    prepared = algorithm.prepare(batch, {})
    expected = lines(batch.teacher_logprobs - batch.old_logprobs, batch)
    assert lines(prepared.advantages, batch) == expected
    logprobs = batch.old_logprobs.clone().requires_grad_()
    loss = algorithm.loss(logprobs, prepared)
    loss.total.backward()  # at a ratio of 1: - mean over tokens of A
    assert loss.total.item() == pytest.approx(-sum(map(sum, expected)) / 8)
    assert lines(logprobs.grad, batch)[1] == pytest.approx([-a / 8 for a in expected[1]])


def chances(logits):
    powers = [math.exp(x) for x in logits]
    return [x / sum(powers) for x in powers]


def divergence(p, q):
    return sum(x * math.log(x / y) for x, y in zip(p, q, strict=True))


def jsd(policy, teacher, beta):
    """Of two lists of logits."""
    p, q = chances(policy), chances(teacher)
    if beta in (0.0, 1.0):
        return divergence(p, q) if beta else divergence(q, p)
    mixed = [beta * y + (1 - beta) * x for x, y in zip(p, q, strict=True)]
    return beta * divergence(q, mixed) + (1 - beta) * divergence(p, mixed)


def gkd_by_hand_with(beta):
    def by_hand(rows, policy, teacher):
        return fmean(
            jsd(policy[row.index][t], teacher[row.index][t], beta)
            for row in rows
            for t in row.tokens
        )

    return by_hand


def sdpo_by_hand(rows, policy, teacher):
    return fmean(
        row.told * jsd(policy[row.index][t], teacher[row.index][t], 1.0)
        for row in rows
        for t in row.tokens
    )


def minillm_by_hand(rows, policy, teacher):
    losses = []
    for row in rows:
        gains = [row.teacher[t] - row.old[t] for t in row.tokens]
        for n, t in enumerate(row.tokens):
            p, q = chances(policy[row.index][t]), chances(teacher[row.index][t])
            ratio, later = p[row.said[t]] / math.exp(row.old[t]), gains[n + 1 :]
            advantage = fmean(later) if later else 0.0
            gain = min(ratio * advantage, min(max(ratio, 0.8), 1.2) * advantage)
            losses.append(0.5 * divergence(p, q) - gain)
    return fmean(losses)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("beta", [0.0, 0.3, 1.0])
def test_gkd_agrees_with_the_equation_worked_by_hand(
    random_distributions, agrees_in_logits, seed, beta
):
    algorithm = compose("gkd", knobs={"beta": beta})
    agrees_in_logits(algorithm, gkd_by_hand_with(beta), *random_distributions(seed))


@pytest.mark.parametrize("seed", range(2))
def test_sdft_agrees_with_the_equation_worked_by_hand(random_distributions, agrees_in_logits, seed):
    agrees_in_logits(compose("sdft"), gkd_by_hand_with(1.0), *random_distributions(seed))


@pytest.mark.parametrize("seed", range(2))
def test_sdpo_agrees_with_the_equation_worked_by_hand(random_distributions, agrees_in_logits, seed):
    policy, teacher, batch = random_distributions(seed)
    batch = batch.replace(told=(batch.rewards > 0.5).double())
    agrees_in_logits(compose("sdpo"), sdpo_by_hand, policy, teacher, batch)


@pytest.mark.parametrize("seed", range(2))
def test_minillm_agrees_with_the_equation_worked_by_hand(
    random_distributions, agrees_in_logits, seed
):
    algorithm = compose("minillm", knobs={"single_coef": 0.5})
    agrees_in_logits(algorithm, minillm_by_hand, *random_distributions(seed))


class Scripted:
    """Says the same each time, and puts tokens 7 to 9 behind a prompt for what follows it."""

    max_completion_length = 8

    def __init__(self):
        self.followed = []

    def sample(self, prompts, n):
        return [
            Sample(prompt.ids, [97 + i], group, feedback="" if i else "too low")
            for group, prompt in enumerate(prompts)
            for i in range(n)
        ]

    def followed_by(self, prompt, more):
        self.followed.append(more)
        return Prompt([*prompt.ids, 7, 8, 9], None)

    def text(self, sample):
        return chr(sample.completion_ids[0])


@pytest.mark.parametrize(("share", "sampled"), [(1.0, 3), (2 / 3, 2), (0.1, 1), (0.9, 2), (0.0, 0)])
def test_gkd_completes_a_share_of_the_prompts(share, sampled):
    algorithm = compose("gkd", knobs={"on_policy": share})
    held = {"completion": Completion([50, 51])}
    prompts = [Prompt([i], "a", completions=held) for i in range(3)]
    samples = algorithm.rollout(prompts, Scripted(), None, {})
    assert [s.completion_ids == [97] for s in samples] == [True] * sampled + [False] * (3 - sampled)
    assert [s.group for s in samples] == [0, 1, 2]
    needs = algorithm.inputs.completions
    assert needs == (set() if share == 1 else {"completion"})


def test_gkd_completes_a_share_of_the_prompts_where_each_step_has_one():
    algorithm = compose("gkd", knobs={"on_policy": 0.25})
    prompts = [Prompt([0], "a", completions={"completion": Completion([50, 51])})]
    torch.manual_seed(0)
    drawn = [algorithm.rollout(prompts, Scripted(), None, {})[0] for _ in range(400)]
    assert 75 < sum(sample.completion_ids == [97] for sample in drawn) < 125


def test_sdft_has_the_teacher_read_the_context(rolls_out_by_hand):
    def by_hand(draw):
        rows = draw(3)
        for row in rows:
            row.teacher = [*row.prompt, *f"say {row.prompt[0]}".encode()]
            row.reward = None
        return rows

    algorithm = compose("sdft", knobs={"group_size": 3})
    rolls_out_by_hand(algorithm, by_hand, steps=2)
    assert algorithm.inputs.columns == {"privileged_context"}


def rewarded(prompts, samples):
    """The last of each group is right."""
    return [replace(s, reward=float(s.completion_ids == [99])) for s in samples]


ASKED = [{"role": "user", "content": "1+1, between 1 and 9"}]
HELD = [{"role": "assistant", "content": "3"}, {"role": "user", "content": "no"}]
MESSAGES = [{"role": "user", "content": "1+1"}]


@pytest.mark.parametrize("content", ["1+1=", MESSAGES])
def test_sdpo_tells_the_teacher_of_a_better_completion_and_of_feedback_but_not_of_the_attempt(
    content,
):
    sampler = Scripted()
    algorithm = compose("sdpo", knobs={"group_size": 3})
    samples = algorithm.rollout([Prompt([5], content)], sampler, rewarded, {})
    assert [s.columns["told"] for s in samples] == [1.0, 1.0, 0.0]
    assert [s.teacher_prompt_ids for s in samples] == [[5, 7, 8, 9], [5, 7, 8, 9], None]
    solution = "\n\nA correct solution:\nc"
    feedback = "\n\nFeedback on an earlier attempt:\ntoo low"
    told = [solution + feedback, solution]
    assert sampler.followed == [words + "\n\nNow solve it.\n" for words in told]


def test_a_teacher_reads_what_a_conversation_was_opened_with():
    class Talking(Scripted):
        def sample(self, prompts, n):
            held = {"asked": ASKED, "messages": HELD, "feedback": "wrong: ones"}
            return [replace(s, **held) for s in super().sample(prompts, n)]

        def followed_by(self, prompt, more):
            self.followed.append((prompt.content, more))
            return prompt

    sampler = Talking()
    algorithm = compose("sdpo", knobs={"group_size": 2, "shows": False})
    algorithm.rollout([Prompt([5], MESSAGES)], sampler, rewarded, {})
    asked, told = sampler.followed[0]
    assert asked == ASKED
    assert told == "\n\nFeedback on an earlier attempt:\nwrong: ones\n\nNow solve it.\n"
    prompts = [Prompt([5], MESSAGES, {"privileged_context": "it is 7"})]
    compose("sdft").rollout(prompts, sampler, None, {})
    assert sampler.followed[-1] == (ASKED, "it is 7")


def test_sdpo_tells_nothing_of_what_nobody_said_anything_about():
    algorithm = compose("sdpo", knobs={"shows": False})
    samples = algorithm.rollout([Prompt([5], "1+1=")], Scripted(), rewarded, {})
    assert [s.columns["told"] for s in samples] == [1.0] + 7 * [0.0]


def test_a_teacher_is_required_by_all_of_them():
    for name in ("opd", "minillm", "gkd", "sdft", "sdpo"):
        assert "teacher" in compose(name).requires
