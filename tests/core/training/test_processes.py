"""A step is the same in one process and in several."""

import copy
import math
from dataclasses import replace
from pathlib import Path
from unittest.mock import ANY

import pytest
import torch
from accelerate import debug_launcher
from learning import built_in, whole
from shapes import first_of_each

from anypo import compose
from anypo.errors import TrainingError
from anypo.hooks.specs import beginning
from anypo.models.adapters import add_lora
from anypo.models.load import load_model
from anypo.models.weights import whole_weights
from anypo.runs.options import RunConfig
from anypo.testing.cases import roll_out
from anypo.training.distributed import Distributed
from anypo.training.learner import Learner
from anypo.training.metrics import Meter
from anypo.training.replica import Replica

pytestmark = pytest.mark.skipif(
    not torch.distributed.is_gloo_available(), reason="processes on a CPU talk by gloo"
)


SLOW = [pytest.mark.slow, pytest.mark.timeout(900)]
SPARE = "grpo, with weights that nothing reads"
JUDGED = "ppo, from a reward model"
AVERAGED = "rloo, averaged"
VARIANTS = {
    JUDGED: {},
    AVERAGED: {"ema": 0.5, "optimizer": "sgd", "learning_rate": 1.0, "warmup_steps": 0},
    SPARE: {},
    "ppo, shared": {"critic": "shared"},
    "ppo, adapters": {"lora_rank": 2},
    "dpo, adapters": {"lora_rank": 2},
    "minillm, of itself": {"teacher": "policy"},
}
COMPARED = {"rewards/chosen", "rewards/rejected", "rewards/margins"}
RUN = {"device": "cpu", "token_budget": 40, "max_grad_norm": 1e9}  # several micro-batches


def write_steps(folder, algorithms, model, judge, scorer_dir, sharding):
    """Write down the gradients and the metrics of a step of every algorithm."""
    torch.set_num_threads(1)
    distributed = Distributed(RunConfig(sharding=sharding, **RUN))
    found = {}
    for name, algorithm in algorithms.items():
        teacher = {"teacher": "average"} if "teacher" in algorithm.requires else {}
        options = RUN | teacher | VARIANTS.get(name, {})
        if name == JUDGED:
            options["critic_model"] = scorer_dir
        config = RunConfig(sharding=sharding, **options)
        policy = copy.deepcopy(model if algorithm.generates else judge)
        if config.lora_rank:
            torch.manual_seed(0)
            add_lora(policy, "base", config)
        if name == SPARE:
            policy.spare = torch.nn.Linear(2, 2)
        given = policy, None
        if distributed.shards:
            given = without_weights(policy), Replica(policy if distributed.world.is_first else None)
        learner = Learner(algorithm, given[0], config, distributed, 64, given[1])
        found[name] = step(learner)
    refusal = refused_step(learner)
    if distributed.world.is_first:
        torch.save((found, refusal), Path(folder, "steps.pt"))


def without_weights(model):
    """The same, on torch's `meta`."""
    lacking = {
        **{id(x): torch.nn.Parameter(x.to("meta"), x.requires_grad) for x in model.parameters()},
        **{id(x): x.to("meta") for x in model.buffers()},
    }
    return copy.deepcopy(model, lacking)


def step(learner):
    """The gradients that the optimizer is given, and what is told of the step."""
    gradients = {}

    def note(*_):
        for name, weight in learner.scorer.named_parameters():
            if weight.requires_grad:
                gradients[name.removeprefix("module.")] = whole_gradient(weight)

    learner.optimizer.register_step_pre_hook(note)
    meter, state = Meter(), beginning()
    samples = roll_out(learner.algorithm, 3, state=state)
    if "teacher" in learner.compared.models:  # which reads something else than the policy
        samples = [replace(s, teacher_prompt_ids=[*s.prompt_ids, 7, 8]) for s in samples]
    learner.update(learner.prepare(samples, state), meter, state)
    if learner.average:
        gradients |= averaged(learner)
    return gradients, meter.means(learner.world)


def averaged(learner):
    """The weights of the policy and of its average, which it shows and hides again."""
    found = {}
    with learner.averaged():
        shown = [("average", name, weight) for name, weight in whole_weights(learner.model)]
        found |= {f"{kind} {name}": weight.detach().clone() for kind, name, weight in shown}
    copied = {}
    if learner.replica and learner.replica.model:  # which is what samples
        copied = {f"policy {n}": weight for n, weight in whole_weights(learner.replica.model)}
    own = whole_weights(learner.model)
    found |= {f"policy {name}": weight.detach().clone() for name, weight in own}
    assert all(torch.equal(found[name], weight) for name, weight in copied.items())
    assert any(not torch.equal(found[f"average {n}"], found[f"policy {n}"]) for _, n, _ in shown)
    return found


def refused_step(learner):
    """What is said of one whose gradient is not finite."""
    learner.distributed.clip_gradients = lambda *_: math.inf
    with pytest.raises(TrainingError, match="the gradient is not finite") as raised:
        step(learner)
    assert raised.value.of_all
    return str(raised.value)


def whole_gradient(weight):
    """Put together if it is sharded."""
    gradient = torch.zeros_like(weight) if weight.grad is None else weight.grad
    return (gradient.full_tensor() if hasattr(gradient, "full_tensor") else gradient).clone()


@pytest.fixture
def given(model, scorer_dir, monkeypatch):
    """A policy, and a model that scores texts; and what keeps the launcher quiet."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("MKL_NUM_THREADS", "1")
    return model, load_model(scorer_dir, scalar_head=True), scorer_dir


@pytest.fixture(scope="module", params=["one of each shape", pytest.param("all", marks=SLOW)])
def algorithms(request):
    """Composed once: processes that are forked have them, too."""
    names = built_in() if request.param == "all" else first_of_each(built_in())
    made = {name: whole(name.partition(",")[0]) for name in (*names, *VARIANTS)}
    wide = {"mis_low": 0.0, "mis_high": 1e9}  # else it drops all that a made-up sampler says
    return made | {"mis": compose("grpo", "mis", knobs=wide)}


@pytest.fixture(scope="module")
def alone(algorithms):
    """What one process finds, once it has been asked for."""
    return {}


@pytest.mark.parametrize("sharding", ["none", "fsdp"])
@pytest.mark.parametrize("processes", [2, 3])
def test_every_algorithm_makes_the_same_step(
    processes, sharding, algorithms, given, alone, tmp_path
):
    if not alone:
        write_steps(tmp_path, algorithms, *given, "none")
        alone["found"] = torch.load(tmp_path / "steps.pt")
    debug_launcher(write_steps, (tmp_path, algorithms, *given, sharding), num_processes=processes)
    steps, refusal = alone["found"]
    together, refusal_together = torch.load(tmp_path / "steps.pt")
    assert together.keys() == steps.keys()
    for name, (gradients, metrics) in steps.items():
        same(name, gradients, together[name][0])
        assert together[name][1] == as_told(metrics), name
    assert refusal_together == refusal


def as_told(metrics):
    """The metrics of a step, to what float32 rounds; of a margin, to what it rounds of rewards."""
    near = {name: pytest.approx(value, rel=3e-6, abs=1e-6) for name, value in metrics.items()}
    if "rewards/margins" in metrics:
        sizes = [abs(x) for name, x in metrics.items() if name in COMPARED]
        margin, rounding = metrics["rewards/margins"], max(1e-6, 3e-6 * max(sizes))
        near["rewards/margins"] = pytest.approx(margin, rel=0, abs=rounding)
        if 0 < abs(margin) < rounding:  # the policy still is its reference
            near["rewards/accuracies"] = ANY
    return near


def same(name, gradients, others):
    """Equal, to what float32 rounds in sums whose terms come in another order."""
    assert gradients.keys() == others.keys()
    norm = torch.stack([gradient.norm() for gradient in gradients.values()]).norm()
    assert norm > 0, f"{name} learns nothing here"
    for weight, gradient in gradients.items():
        error = float((gradient - others[weight]).abs().max())
        assert error <= 1e-6 * max(1.0, float(norm)), f"{name}: {weight} is off by {error:.2g}"
