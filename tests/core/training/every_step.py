"""One step of every algorithm that is installed, in as many processes as there are."""

import copy
from pathlib import Path

import torch
from learning import built_in, whole

from anypo.runs.options import RunConfig
from anypo.testing.cases import roll_out
from anypo.training.distributed import Distributed
from anypo.training.learner import Learner
from anypo.training.metrics import Meter


def write_steps(folder, model, judge, sharding):
    """Write down the gradients and the metrics of a step of every algorithm."""
    torch.set_num_threads(1)
    config = RunConfig(device="cpu", sharding=sharding, token_budget=40, max_grad_norm=1e9)
    distributed = Distributed(config)
    found = {}
    for name in built_in():
        algorithm = whole(name)
        policy = copy.deepcopy(model if algorithm.generates else judge)
        found[name] = step(Learner(algorithm, policy, config, distributed, longest=64))
    if distributed.world.is_first:
        torch.save(found, Path(folder, "steps.pt"))


def step(learner):
    """The gradients of the policy and the critic, before the optimizer makes use of them."""
    gradients = {}

    def note(*_):
        for name, weight in learner.scorer.named_parameters():
            gradient = weight.grad if weight.grad is not None else torch.zeros_like(weight)
            whole = gradient.full_tensor() if hasattr(gradient, "full_tensor") else gradient
            gradients[name.removeprefix("module.")] = whole.clone()

    learner.optimizer.register_step_pre_hook(note)
    meter, state = Meter(), {}
    samples = roll_out(learner.algorithm, 3, state=state)
    learner.update(learner.prepare(samples, state), meter)
    return gradients, meter.means(learner.world)
