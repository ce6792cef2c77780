from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from anypo import Plugin, Prompt, hookimpl
from anypo.hooks.batch import Completion
from anypo.training import evaluation

LENGTHS = (1, 6, 2, 3)  # of the held-out completions, so that means of means are wrong
HELD_OUT = [
    Prompt([50 + i], "", {}, {"completion": Completion(list(range(97, 97 + n)))})
    for i, n in enumerate(LENGTHS)
]


def scored(*scores):
    """A scorer whose rewards are the sum of scores, of names and values."""

    def scorer(prompts, samples):
        reward = sum(score for _, score in scores)
        return [replace(s, reward=reward + s.group, scores=dict(scores)) for s in samples]

    return scorer


@pytest.fixture
def held_out_loss(make_trainer, scripted, scorer):
    """The evaluation of a trainer on rows that hold completions."""

    def held_out_loss(model, *plugins, **options):
        trainer = make_trainer(model, *plugins, **options)

        def measure(sampler=scripted, scorer=scorer):
            found = evaluation.held_out_loss(HELD_OUT, trainer.learner, sampler, scorer)
            return found.metrics

        return measure, trainer

    return held_out_loss


# -- scores of what the policy says --------------------------------------------------------------


def test_the_score_is_the_mean_reward_of_one_completion_to_every_prompt(scripted):
    prompts = [Prompt([1], "a"), Prompt([2], "b"), Prompt([3], "c")]
    seen = []
    scripted.sample = lambda prompts, n, plain=scripted.sample: seen.append(n) or plain(prompts, n)
    assert evaluation.sampled_score(prompts, scripted, scored(("mine", 2.0))).metrics == {
        "score": 3.0
    }
    assert seen == [1]


def test_of_several_completions_it_is_the_mean_of_all_and_they_are_given_back(scripted, scorer):
    prompts = [Prompt([1], "a"), Prompt([2], "b")]
    found = evaluation.sampled_score(prompts, scripted, scorer, n=3, name="hard")
    assert found.metrics == {"score": 2.0}  # of lengths 1, 2 and 3
    assert [s.group for s in found.samples] == [0, 0, 0, 1, 1, 1]
    assert (found.prompts, found.title) == (prompts, "hard")


def test_several_rewards_are_told_apart(scripted):
    scorer = scored(("right", 1.0), ("short", -0.5))
    score = evaluation.sampled_score([Prompt([1], "a")], scripted, scorer).metrics
    assert score == {"score": 0.5, "score/right": 1.0, "score/short": -0.5}


def test_no_reward_hides_the_sum_of_all_by_its_name(scripted):
    scorer = scored(("score", 1.0), ("short", -0.5))
    score = evaluation.sampled_score([Prompt([1], "a")], scripted, scorer).metrics
    assert score["score"] == 0.5


# -- the loss on completions of a data set -------------------------------------------------------


@torch.no_grad()
def log_probs(model, prompt):
    """Of the completion's tokens, one row at a time and by the whole model."""
    ids = torch.tensor([prompt.ids + prompt.completions["completion"].ids])
    start = len(prompt.ids)
    predicted = model(ids).logits[0, start - 1 : -1].log_softmax(-1)
    return predicted.gather(-1, ids[0, start:].unsqueeze(-1)).squeeze(-1)


@pytest.mark.parametrize("budget", [1, 9, 10_000])
@pytest.mark.parametrize("average", ["tokens", "completions"])
def test_it_is_the_loss_of_the_whole_set_however_it_is_cut(model, held_out_loss, budget, average):
    options = {"knobs": {"average": average}, "token_budget": budget, "minibatches": 3}
    evaluate, _ = held_out_loss(model, "sft", **options)
    rows = [log_probs(model, prompt) for prompt in HELD_OUT]
    mean = torch.cat(rows).mean()
    if average == "completions":
        mean = torch.stack([row.mean() for row in rows]).mean()
    metrics = evaluate()
    assert metrics["loss"] == pytest.approx(-mean.item(), rel=1e-4)
    assert metrics["loss/policy"] == metrics["loss"]


def test_it_says_nothing_of_gradients_that_are_not_there(model, held_out_loss):
    evaluate, _ = held_out_loss(model, "sft")
    assert evaluate().keys() == {"loss", "loss/policy", "entropy"}


def test_what_the_plugins_watch_is_measured_too(model, held_out_loss):
    class Watching(Plugin):
        @hookimpl
        def metrics(self, batch):
            return {"length": batch.lengths.double()}

    evaluate, _ = held_out_loss(model, "sft", Watching, token_budget=9)
    assert evaluate()["length"] == pytest.approx(sum(LENGTHS) / len(LENGTHS))


class Counting(Plugin):
    """Remembers how often it was asked."""

    @hookimpl(wrapper=True)
    def rollout(self, state):
        """As below."""
        state["rollouts"] = state.get("rollouts", 0) + 1
        return (yield)

    @hookimpl(wrapper=True)
    def advantage(self, state):
        """As below."""
        state["advantages"] = state.get("advantages", 0) + 1
        return (yield)


def test_it_changes_neither_the_state_of_the_algorithm_nor_the_weights(
    model, held_out_loss, weights
):
    evaluate, trainer = held_out_loss(model, "sft", Counting)
    trainer.state = {"rollouts": 5}
    before = weights(model)
    assert evaluate() == evaluate()
    assert trainer.state == {"rollouts": 5}
    assert torch.equal(weights(model), before)


def test_it_follows_the_weights(model, held_out_loss):
    evaluate, _ = held_out_loss(model, "sft")
    before = evaluate()["loss"]
    with torch.no_grad():
        model.model.embed_tokens.weight.mul_(0)
    assert evaluate()["loss"] == pytest.approx(torch.tensor(263.0).log().item(), rel=1e-5) != before


def test_nothing_is_sampled_or_scored_for_it(model, held_out_loss):
    evaluate, _ = held_out_loss(model, "sft")
    nobody = SimpleNamespace()
    assert evaluate(sampler=nobody, scorer=nobody) == evaluate()
