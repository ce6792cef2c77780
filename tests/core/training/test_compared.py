"""Teachers and other references: who says what, of which tokens."""

import copy
from dataclasses import replace

import pytest
import torch

from anypo import Plugin, hookimpl
from anypo.errors import ModelError, TrainingError
from anypo.hooks.batch import collate
from anypo.models.forward import TokenScorer, score_tokens
from anypo.runs.options import RunConfig
from anypo.training.compared import Other
from anypo.training.distributed import Distributed
from anypo.training.learner import Learner
from anypo.training.metrics import Meter


class Taught(Plugin):
    """Learns from a teacher, and remembers nothing."""

    @hookimpl(wrapper=True)
    def advantage(self, batch):
        return (yield)[:, None] + batch.teacher_logprobs


def changed(model, by=0.05):
    other = copy.deepcopy(model).requires_grad_(False)
    for weight in other.parameters():
        weight.add_(by * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)))
    return other


def said(model, samples):
    return score_tokens(model, collate(samples), temperature=1.0).logprobs.detach()


def test_the_policy_itself_may_teach(model, make_trainer, samples):
    learner = make_trainer(model, "grpo", Taught, teacher="policy").learner
    batch = learner.prepare(samples, {})
    torch.testing.assert_close(batch.teacher_logprobs, said(model, samples), rtol=1e-4, atol=1e-5)


def test_it_may_read_a_prompt_of_its_own(model, make_trainer, samples):
    learner = make_trainer(model, "grpo", Taught, teacher="policy", minibatches=2).learner
    told = [replace(s, teacher_prompt_ids=[7, 8, 9, *s.prompt_ids]) for s in samples[:5]]
    batch = learner.prepare([*told, *samples[5:]], {})
    shown = [replace(s, prompt_ids=s.teacher_prompt_ids) for s in told]
    expected = said(model, [*shown, *samples[5:]])
    torch.testing.assert_close(batch.teacher_logprobs, expected, rtol=1e-4, atol=1e-5)
    assert (expected - said(model, samples))[:5].abs().max() > 1e-3
    plain = learner.prepare(samples, {})
    torch.testing.assert_close(batch.old_logprobs, plain.old_logprobs, rtol=1e-4, atol=1e-5)


def test_what_it_does_not_attend_to_is_refused(model, make_trainer, samples):
    learner = make_trainer(model, "grpo", Taught, teacher="policy").learner
    context = model.config.max_position_embeddings
    long = [replace(s, teacher_prompt_ids=[7] * context) for s in samples]
    with pytest.raises(
        TrainingError, match=f"the teacher reads has .* but it attends to {context}"
    ):
        learner.prepare(long, {})


@pytest.mark.parametrize(
    ("role", "tensor"), [("teacher", "teacher_logprobs"), ("reference", "ref_logprobs")]
)
def test_another_model_may_stand_for_either(model, make_trainer, samples, role, tensor):
    other = changed(model)
    algorithm = make_trainer(model, "grpo", Taught, teacher="policy").learner.algorithm
    config = RunConfig(device="cpu", teacher="a/model" if role == "teacher" else "policy")
    learner = Learner(
        algorithm, model, config, Distributed(config), 64, others={role: Other(other)}
    )
    batch = learner.prepare(samples, {})
    torch.testing.assert_close(batch[tensor], said(other, samples), rtol=1e-4, atol=1e-5)
    assert not learner.compared.moving


def test_the_average_follows_the_policy(model, make_trainer, samples, weights):
    options = {"teacher": "average", "teacher_decay": 0.75}
    trainer = make_trainer(model, "grpo", Taught, **options)
    learner = trainer.learner
    start = weights(model)
    learner.update(learner.prepare(samples, {}), Meter(), {})
    own = weights(model)
    with learner.compared.teaching():
        assert torch.equal(weights(model), start)
    assert torch.equal(weights(model), own)
    learner.compared.follow(1)
    with learner.compared.teaching():
        torch.testing.assert_close(weights(model), 0.75 * start + 0.25 * own)
    assert torch.equal(weights(model), own)


def test_an_average_in_float32_follows_a_policy_in_bfloat16(model, make_trainer):
    policy = model.to(torch.bfloat16)
    learner = make_trainer(policy, "grpo", Taught, teacher="average").learner
    name, weight = next(iter(policy.named_parameters()))
    before = weight.detach().float().clone()
    with torch.no_grad():
        weight.mul_(1.02)
    for step in range(500):
        learner.compared.follow(step)
    moved = learner.compared.moving[f"teacher.{name}"] - before
    torch.testing.assert_close(moved, weight.float() - before, rtol=0.02, atol=1e-6)


def test_a_teacher_in_bfloat16_says_what_the_policy_does(model, make_trainer, samples):
    learner = make_trainer(model, "gkd", teacher="policy", dtype="bfloat16", warmup_steps=0).learner
    meter = Meter()
    learner.update(learner.prepare(samples, {}), meter, {})
    assert meter.norms[0] < 1e-5


def test_a_teacher_may_have_a_wider_head(model, make_trainer, samples):
    wider = copy.deepcopy(model).requires_grad_(False)
    wider.resize_token_embeddings(model.config.vocab_size + 8, mean_resizing=False)
    algorithm = make_trainer(model, "gkd", teacher="policy").learner.algorithm
    config = RunConfig(device="cpu", teacher="a/model", warmup_steps=0)
    others = {"teacher": Other(wider)}
    learner = Learner(algorithm, model, config, Distributed(config), 64, others=others)
    meter = Meter()
    learner.update(learner.prepare(samples, {}), meter, {})
    assert meter.norms[0] < 1e-4


def test_what_a_teacher_reads_fits_the_token_budget(model, make_trainer, samples, monkeypatch):
    learner = make_trainer(model, "gkd", teacher="policy", token_budget=200).learner
    told = [replace(s, teacher_prompt_ids=[7] * 150) for s in samples]
    read = []
    plain = TokenScorer.forward

    def noting(scorer, batch, *line, **how):
        read.append(len(batch) * int(batch.sequence_lengths.max()))
        return plain(scorer, batch, *line, **how)

    monkeypatch.setattr(TokenScorer, "forward", noting)
    learner.update(learner.prepare(told, {}), Meter(), {})
    assert max(read) <= 200


def test_a_teacher_whose_distribution_cannot_be_had_is_refused(model, make_trainer, monkeypatch):
    monkeypatch.setattr(TokenScorer, "find_making", lambda scorer: None)
    with pytest.raises(ModelError, match="the teacher makes its logits in a way of its own"):
        make_trainer(model, "gkd", teacher="policy")


def test_the_average_is_in_checkpoints(model, make_trainer, kept):
    trainer = make_trainer(model, "grpo", Taught, teacher="average")
    names = {name for name in kept(trainer) if name.startswith("weights/teacher.")}
    assert len(names) == len([*model.parameters()])


class OldEntropy(Plugin):
    """Reads what was before the update."""

    @hookimpl(wrapper=True)
    def weight(self, batch, logprobs, entropy, state):
        state["seen"] = batch.old_entropy, batch.square, logprobs, entropy
        return (yield)

    @hookimpl
    def distribution(self, log_distribution):
        return {"square": (2 * log_distribution).exp().sum(-1)}


def test_what_plugins_ask_of_the_policy_is_that_of_before_and_of_now(model, make_trainer, samples):
    options = {"minibatches": 2, "learning_rate": 1e-2, "warmup_steps": 0}
    learner = make_trainer(model, "grpo", OldEntropy, **options).learner
    state = {}
    batch = learner.prepare(samples, state)
    learner.update(batch, Meter(), state)
    before = state["seen"]
    for then, now in ((before[0], before[3]), (batch.old_logprobs, before[2])):
        torch.testing.assert_close(then, now, rtol=1e-4, atol=1e-5)
    assert batch.mask.sum() == (before[1] > 0).sum()
    assert ((before[1] <= 1) & (before[1] >= 0)).all()
    learner.update(batch, Meter(), state)
    after = state["seen"]
    assert torch.equal(before[0], after[0])
    assert (after[2] - before[2]).abs().max() > 1e-6
    assert not after[2].requires_grad
