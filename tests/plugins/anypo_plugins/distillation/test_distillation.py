"""What learns from a teacher: opd, minillm, gkd, sdft and sdpo, by formulas written anew."""

import math
from dataclasses import replace

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
        told=torch.tensor([1.0, 0.0, 1.0]),
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


def test_minillm_blames_a_token_for_later_ones_and_pays_the_whole_divergence(batch):
    algorithm = compose("minillm", knobs={"single_coef": 0.5})
    prepared = algorithm.prepare(batch, {})
    gains = lines(batch.teacher_logprobs - batch.old_logprobs, batch)
    expected = [
        [sum(row[t + 1 :]) / max(1, len(row) - t - 1) for t in range(len(row))] for row in gains
    ]
    for found, row in zip(lines(prepared.advantages, batch), expected, strict=True):
        assert found == pytest.approx(row)
    kl = torch.ones(3, 4, dtype=torch.float64)
    loss = algorithm.loss(batch.old_logprobs, prepared, token_statistics={"reverse_kl": kl})
    assert loss.terms["single"].item() == pytest.approx(0.5)


def divergence(p, q):
    return sum(x * math.log(x / y) for x, y in zip(p, q, strict=True))


@pytest.mark.parametrize("beta", [0.0, 0.3, 1.0])
def test_gkd_measures_the_generalised_divergence(beta):
    student, teacher = [0.7, 0.2, 0.1], [0.25, 0.25, 0.5]
    logs = (torch.tensor([p], dtype=torch.float64).log() for p in (student, teacher))
    found = compose("gkd", knobs={"beta": beta}).statistics(*logs)["jsd"].item()
    mixed = [beta * t + (1 - beta) * s for s, t in zip(student, teacher, strict=True)]
    expected = {
        0.0: divergence(teacher, student),
        0.3: 0.3 * divergence(teacher, mixed) + 0.7 * divergence(student, mixed),
        1.0: divergence(student, teacher),
    }[beta]
    assert found == pytest.approx(expected)


def test_gkd_pays_it_per_token_and_by_nothing_else(batch):
    algorithm = compose("gkd")
    prepared = algorithm.prepare(batch, {})
    logprobs = drawn(3, 3, 4).requires_grad_()
    jsd = torch.arange(12, dtype=torch.float64).view(3, 4).requires_grad_()
    loss = algorithm.loss(logprobs, prepared, token_statistics={"jsd": jsd})
    loss.total.backward()
    assert loss.total.item() == pytest.approx((0 + 1 + 2 + 4 + 5 + 6 + 7 + 8) / 8)
    assert logprobs.grad is None
    assert jsd.grad.tolist() == [[x / 8 for x in row] for row in MASK]


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


def test_sdft_has_the_teacher_read_the_context():
    sampler = Scripted()
    prompts = [Prompt([1, 2], "a", {"privileged_context": "it is b"})]
    samples = compose("sdft").rollout(prompts, sampler, None, {})
    assert [s.teacher_prompt_ids for s in samples] == [[1, 2, 7, 8, 9]] * 2
    assert [s.prompt_ids for s in samples] == [[1, 2]] * 2
    assert sampler.followed == ["it is b"] * 2
    assert compose("sdft").inputs.columns == {"privileged_context"}


def rewarded(prompts, samples):
    """The last of each group is right."""
    return [replace(s, reward=float(s.completion_ids == [99])) for s in samples]


ASKED = [{"role": "user", "content": "1+1, between 1 and 9"}]
HELD = [{"role": "assistant", "content": "3"}, {"role": "user", "content": "no"}]
MESSAGES = [{"role": "user", "content": "1+1"}]


@pytest.mark.parametrize("content", ["1+1=", MESSAGES])
def test_sdpo_tells_the_teacher_of_feedback_and_of_a_better_completion(content):
    sampler = Scripted()
    algorithm = compose("sdpo", knobs={"group_size": 3})
    samples = algorithm.rollout([Prompt([5], content)], sampler, rewarded, {})
    assert [s.columns["told"] for s in samples] == [1.0, 1.0, 0.0]
    assert [s.teacher_prompt_ids for s in samples] == [[5, 7, 8, 9], [5, 7, 8, 9], None]
    first, second = sampler.followed
    if isinstance(content, str):
        assert first == (
            "\n\nAn attempt:\na\n\ntoo low\n\nA correct solution:\nc\n\nNow solve it.\n"
        )
    else:
        assert first == [
            {"role": "assistant", "content": "a"},
            {"role": "user", "content": "too low\n\nA correct solution:\nc"},
        ]
    assert "A correct solution:\nc" in str(second).replace("\\n", "\n")


def test_a_conversation_teaches_as_it_was_held():
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
    assert sampler.followed[0] == (ASKED, [*HELD, {"role": "user", "content": "wrong: ones"}])
    prompts = [Prompt([5], MESSAGES, {"privileged_context": "it is 7"})]
    compose("sdft").rollout(prompts, sampler, None, {})
    assert sampler.followed[-1] == (ASKED, "it is 7")


def test_sdpo_learns_nothing_of_what_nobody_said_anything_about(batch):
    algorithm = compose("sdpo", knobs={"shows": False})
    assert algorithm.prepare(batch, {}).advantages[:, 0].tolist() == [1.0, 0.0, 1.0]
    samples = algorithm.rollout([Prompt([5], "1+1=")], Scripted(), rewarded, {})
    assert [s.columns["told"] for s in samples] == [1.0] + 7 * [0.0]


def test_a_teacher_is_required_by_all_of_them():
    for name in ("opd", "minillm", "gkd", "sdft", "sdpo"):
        assert "teacher" in compose(name).requires
