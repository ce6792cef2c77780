"""The policy as a run begins with it: in every process, or in one that hands out parts of it."""

import copy
from collections.abc import Callable
from functools import partial

import torch
from transformers import PreTrainedModel

from anypo.composition.algorithm import Algorithm
from anypo.hooks.runtime import Runtime
from anypo.models.adapters import add_lora
from anypo.models.checkpointing import checkpoint_activations
from anypo.models.checks import check_head
from anypo.models.load import load_model
from anypo.models.precision import shrink_frozen, stored_as
from anypo.models.rope import rotate_as_at
from anypo.runs.options import RunConfig
from anypo.runs.setup import Setup
from anypo.support.world import World
from anypo.training.compared import Other, Others
from anypo.training.distributed import Distributed
from anypo.training.handout import Handout
from anypo.training.replica import Replica


def load_policy(
    algorithm: Algorithm,
    path: str,
    max_length: int,
    config: RunConfig,
    distributed: Distributed,
    *,
    all_sample: bool,
) -> tuple[PreTrainedModel, Replica | None]:
    """The model to be trained, and a copy if its weights are to be sharded: then it has none yet.

    Args:
        algorithm: What trains it.
        path: Of the model.
        max_length: Tokens of a prompt and its completion.
        config: Of the run.
        distributed: Where it trains.
        all_sample: Whether every process needs a copy on its device, to sample from.
    """
    load = partial(_load, algorithm, path, max_length, config, distributed.runtime)
    device, replica = distributed.runtime.device, None
    if distributed.shards:
        model, replica = _load_once(load, distributed, all_sample=all_sample)
    else:
        model = load()
        model.to(device)  # type: ignore[arg-type]
    checkpoint_activations(model, config.gradient_checkpointing, device)
    return model, replica


def load_others(algorithm: Algorithm, found: Setup, distributed: Distributed) -> Others:
    """The models that stand for the reference or the teacher, where the options name some.

    Raises:
        ModelError: There is none, or it does not load.
    """
    config, runtime = found.config, distributed.runtime
    others: dict[str, Other] = {}
    for role, path in config.others.items():
        load = partial(_load_other, algorithm, path, found.max_length, config, runtime)
        if distributed.shards:
            others[role] = Other(*_load_once(load, distributed, all_sample=False))
        else:
            others[role] = Other(load().to(runtime.device))  # type: ignore[arg-type]
    return others


def _load_other(
    algorithm: Algorithm,
    path: str,
    max_length: int,
    config: RunConfig,
    runtime: Runtime,
    **how: bool,
) -> PreTrainedModel:
    """One that is frozen, and small."""
    whole = config.model_copy(update={"lora_rank": None, "quantize": None})
    model = _load(algorithm, path, max_length, whole, runtime, **how)
    shrink_frozen(model.requires_grad_(False), runtime.dtype)
    return model


def _load_once(
    load: Callable[..., PreTrainedModel], distributed: Distributed, *, all_sample: bool
) -> tuple[PreTrainedModel, Replica]:
    world, device = distributed.world, distributed.runtime.device
    with world.agreed():
        whole = load() if world.is_first else None
    model = load(empty=True)
    _store_alike(model, whole, world)
    if all_sample:
        sampled = copy.deepcopy(model)
        Handout(world, device, {sampled: whole}).fill(sampled)
        whole = whole or sampled
        del sampled  # the first process had its own, which knows more than weights
        whole.to(device)  # type: ignore[arg-type]
    return model, Replica(whole)


def _store_alike(model: PreTrainedModel, whole: PreTrainedModel | None, world: World) -> None:
    """Some weights are loaded in more precision than asked for."""
    named = whole.named_parameters() if whole else ()
    kinds = world.on_first(lambda: {name: weight.dtype for name, weight in named})
    for name, weight in model.named_parameters():
        weight.data = weight.data.to(kinds[name])


def _load(
    algorithm: Algorithm,
    path: str,
    max_length: int,
    config: RunConfig,
    runtime: Runtime,
    *,
    empty: bool = False,
) -> PreTrainedModel:
    """It is checked, and what is frozen is made small, before it goes to a device."""
    stored = stored_as(config.weights, config.quantize, runtime)
    model = load_model(
        path,
        scalar_head=not algorithm.generates,
        trust_remote_code=config.trust_remote_code,
        empty=empty,
        **stored,
    )
    if algorithm.generates:
        rotate_as_at(model, max_length)
    if not empty:
        check_head(model, rounded=stored != {"dtype": torch.float32})
    if config.lora_rank is not None:
        add_lora(model, path, config)
        shrink_frozen(model, runtime.dtype)
    return model
