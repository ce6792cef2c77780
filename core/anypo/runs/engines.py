"""What samples and what trains: checked before anything is loaded; and samplers started."""

from collections.abc import Sequence
from dataclasses import replace

from transformers import PreTrainedModel

from anypo.errors import ConfigError, PluginError
from anypo.hooks.runtime import Runtime
from anypo.hooks.sampler import Engine, SamplingRequest
from anypo.models.load import sensible_threads
from anypo.models.precision import stored_as
from anypo.runs.options import RunConfig, sampler_of
from anypo.sampling.agreement import check_agreement
from anypo.sampling.options import SamplingOptions
from anypo.support.extras import check_installed
from anypo.training.distributed import Distributed
from anypo.training.optimizer import optimizer_class


def check_sampler(
    config: SamplingOptions, requests: Sequence[SamplingRequest], runtime: Runtime
) -> None:
    """Refuse a sampler that cannot sample so, or there; raises AnypoError."""
    entry, sampler = sampler_of(config)
    with entry.answerable():
        for request in requests:
            sampler.check(request, runtime)


def check_engines(config: RunConfig, runtime: Runtime) -> None:
    """Refuse what cannot work before anything is loaded.

    Raises:
        AnypoError: A package is missing, or the sampler cannot sample so.
    """
    request = training_request(config)
    check_sampler(config, [request, evaluation_request(config, request)], runtime)
    if config.lora_rank is not None:
        check_installed("peft", "lora_rank")
    if config.quantize is not None:
        check_installed("bitsandbytes", "quantize")
    stored_as(config.weights, config.quantize, runtime)
    kind, _ = optimizer_class(config)
    if config.sharding == "fsdp" and not kind.__module__.startswith("torch.optim"):
        raise ConfigError(
            f"optimizer '{config.optimizer}' does not work on sharded weights: take one of torch, "
            "such as adamw"
        )
    if config.sharding == "fsdp" and config.quantize:
        raise ConfigError("weights of 4 bits cannot be sharded: leave quantize or sharding out")


def start_engine(
    config: SamplingOptions,
    model: PreTrainedModel | None,
    request: SamplingRequest,
    distributed: Distributed,
    max_length: int,
    longest: int,
) -> Engine | None:
    """What samples for this process, if one engine does not serve them all.

    Args:
        config: Names the sampler, and has its options.
        model: What it samples from; None in a process that has none of its own.
        request: As it will be made, but for the prompts.
        distributed: Where the model runs, and in how many processes.
        max_length: Tokens of the longest prompt and completion.
        longest: Tokens of the longest prompt that will be completed; 0 if none will be.

    Raises:
        PluginError, SamplerError: It cannot be started, or means another model.
    """
    entry, plugin = sampler_of(config)
    if model is None or (plugin.outside and not distributed.world.is_first):
        return None
    with sensible_threads(model), entry.answerable():
        engine = plugin.start(model, distributed.runtime, max_length)
        if not isinstance(engine, Engine):
            raise PluginError(f"{entry} started {engine!r:.60}, which is no anypo.Engine")
        if plugin.draws and longest:
            check_agreement(engine, model, request, distributed.runtime, longest)
    return engine


def training_request(config: RunConfig, end_tokens: tuple[int, ...] = ()) -> SamplingRequest:
    """Of all the distribution: of a part of it, log-probs are not those that training computes."""
    return SamplingRequest(
        end_tokens=end_tokens,
        max_completion_length=config.max_completion_length,
        temperature=config.temperature,
    )


def evaluation_request(config: RunConfig, request: SamplingRequest) -> SamplingRequest:
    """The same for held-out prompts."""
    return replace(
        request,
        temperature=config.eval_temperature or config.temperature,
        top_p=config.eval_top_p,
        top_k=config.eval_top_k,
        stop=tuple(config.eval_stop),
    )
