import copy
from itertools import islice

import pytest
import torch
from torch.distributed.device_mesh import init_device_mesh

from anypo.data.mixture import Mixture
from anypo.errors import SaveError
from anypo.hooks.batch import Prompt
from anypo.models.save import save_model
from anypo.support import tensor_files
from anypo.support.world import World
from anypo.training.state import load_state, save_state

PROMPTS = [Prompt([50 + i] * (1 + i), f"prompt {i}") for i in range(4)]
OPTIONS = {"steps": 6, "warmup_steps": 1, "schedule": "linear", "minibatches": 2}


def test_a_mixture_goes_on_where_it_was(make_trainer, model, tokenizer, tmp_path):
    def begun():
        trainer = make_trainer(copy.deepcopy(model), **OPTIONS, prompts_per_step=5)
        trainer.prompts = Mixture([PROMPTS[:2], PROMPTS[2:], PROMPTS], [0.5, 0.2, 0.3], seed=3)
        return trainer

    whole = [[p.content for p in report.prompts] for report in begun().train()]
    trainer, other = begun(), begun()
    before = [[p.content for p in report.prompts] for report in islice(trainer.train(), 3)]
    save_model(trainer.learner.model, tokenizer, tmp_path, World())
    save_state(trainer, tmp_path)
    load_state(other, tmp_path, pytest.fail)
    after = [[p.content for p in report.prompts] for report in other.train()]
    assert (before, after) == (whole[:3], whole[3:])


@pytest.fixture
def half_way(model, make_trainer, tokenizer, tmp_path):
    """A trainer after two steps, its checkpoint, and another one that has not begun."""

    def half_way(*plugins, **options):
        trainers = [make_trainer(m, *plugins, **OPTIONS, **options) for m in (model, copied)]
        trainer, other = trainers
        training = trainer.train()
        next(training), next(training)
        save_model(trainer.learner.model, tokenizer, tmp_path, World())
        save_state(trainer, tmp_path)
        return trainer, tmp_path, other

    copied = copy.deepcopy(model)
    return half_way


def state_of(trainer):
    """What the optimizer remembers, by the names of the weights."""
    state = trainer.learner.optimizer.state
    names = {weight: name for name, weight in trainer.learner.model.named_parameters()}
    return {names[weight]: dict(values) for weight, values in state.items()}


def test_all_that_a_trainer_remembers_is_read_back(half_way, weights):
    trainer, folder, other = half_way()
    trainer.state["mine"] = {"a": 1}
    save_state_again(trainer, folder)
    load_state(other, folder, pytest.fail)
    assert (other.done, other.state) == (2, {"mine": {"a": 1}, "step": 2, "steps": 6})
    assert other.prompts.drawn == trainer.prompts.drawn == 6
    assert torch.equal(weights(other.learner.model), weights(trainer.learner.model))
    ours, theirs = state_of(trainer), state_of(other)
    assert len(ours) == len(theirs) > 10
    for name, one in ours.items():
        two = theirs[name]
        assert one.keys() == two.keys() == {"step", "exp_avg", "exp_avg_sq"}
        assert all(torch.equal(one[key], two[key]) for key in one)
        assert all(one[key].dtype == two[key].dtype for key in one)
    rates = [group["lr"] for group in trainer.learner.optimizer.param_groups]
    assert [group["lr"] for group in other.learner.optimizer.param_groups] == rates
    assert other.learner.schedule.get_last_lr() == trainer.learner.schedule.get_last_lr() == rates
    assert [report.step for report in other.train()] == [3, 4, 5, 6]


def test_an_average_is_read_back(half_way, make_trainer, model):
    trainer, folder, other = half_way(ema=0.9)
    load_state(other, folder, pytest.fail)
    ours, theirs = trainer.learner.average.weights, other.learner.average.weights
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    without = make_trainer(copy.deepcopy(model), **OPTIONS)
    with pytest.raises(SaveError, match=r"is of another run: .*average\."):
        load_state(without, folder, pytest.fail)


def save_state_again(trainer, folder):
    import shutil

    shutil.rmtree(folder / "training")
    save_state(trainer, folder)


def test_the_sampler_gets_the_weights(half_way, scripted):
    _, folder, other = half_way()
    synced = scripted.synced
    load_state(other, folder, pytest.fail)
    assert scripted.synced == synced + 1


def test_files_have_a_bounded_size(half_way, monkeypatch, weights):
    monkeypatch.setattr(tensor_files, "LARGEST_FILE", 200_000)
    trainer, folder, other = half_way()
    sizes = [file.stat().st_size for file in (folder / "training").glob("*.safetensors")]
    assert len(sizes) > 5
    assert max(sizes) < 500_000
    load_state(other, folder, pytest.fail)
    assert state_of(other).keys() == state_of(trainer).keys()


def test_a_checkpoint_of_other_weights_is_refused(half_way, make_trainer, model):
    _, folder, other = half_way()
    other.learner.model.model.layers[0].mlp.up_proj.weight = None
    with pytest.raises(SaveError, match=r"is of another run: .*up_proj"):
        load_state(other, folder, pytest.fail)


def test_what_an_optimizer_keeps_that_is_no_tensor_is_refused_in_one_sentence(half_way):
    trainer, folder, _ = half_way()
    weight = next(trainer.learner.model.parameters())
    trainer.learner.optimizer.state[weight]["projector"] = object()
    with pytest.raises(SaveError, match=r"'adamw' remembers a object \('projector'\)"):
        save_state_again(trainer, folder)


def test_numbers_that_an_optimizer_keeps_are_read_back(half_way):
    trainer, folder, other = half_way()
    name, weight = next(iter(trainer.learner.model.named_parameters()))
    trainer.learner.optimizer.state[weight]["step"] = 7
    save_state_again(trainer, folder)
    load_state(other, folder, pytest.fail)
    theirs = dict(other.learner.model.named_parameters())[name]
    assert other.learner.optimizer.state[theirs]["step"] == 7


# -- shards --------------------------------------------------------------------------------------


@pytest.fixture
def mesh(tmp_path):
    """The processes of a run of one."""
    file = f"file://{tmp_path / 'store'}"
    torch.distributed.init_process_group("gloo", rank=0, world_size=1, init_method=file)
    yield init_device_mesh("cpu", (1,))
    torch.distributed.destroy_process_group()


def test_shards_are_put_together_and_shared_out_again(half_way, mesh, weights):
    from torch.distributed.tensor import DTensor, Shard, distribute_tensor

    def spread(tensor, shape):
        return distribute_tensor(tensor, mesh, [Shard(0)]) if tensor.shape == shape else tensor

    def share_out(trainer):
        model, state, known = trainer.learner.model, trainer.learner.optimizer.state, {}
        for module in model.modules():
            for name, weight in list(module.named_parameters(recurse=False)):
                if id(weight) not in known:
                    values = state.pop(weight, {})
                    shards = torch.nn.Parameter(spread(weight.detach(), weight.shape))
                    known[id(weight)] = shards
                    if values:
                        state[shards] = {k: spread(v, weight.shape) for k, v in values.items()}
                module.register_parameter(name, known[id(weight)])
        return known

    trainer, folder, other = half_way()
    whole, ours = weights(trainer.learner.model), state_of(trainer)
    alive = [share_out(one) for one in (trainer, other)]
    save_state_again(trainer, folder)
    load_state(other, folder, pytest.fail)
    theirs = state_of(other)
    assert theirs.keys() == ours.keys()
    for name, values in theirs.items():
        assert isinstance(values["exp_avg"], DTensor)
        assert torch.equal(values["exp_avg"].full_tensor(), ours[name]["exp_avg"])
    now = [w.full_tensor().detach().flatten() for w in other.learner.model.parameters()]
    assert torch.equal(torch.cat(now), whole)
    assert alive
