"""What samples: checked before anything is loaded, and started."""

from collections.abc import Sequence

from transformers import PreTrainedModel

from anypo.errors import PluginError
from anypo.hooks.runtime import Runtime
from anypo.hooks.sampler import Engine, SamplingRequest
from anypo.models.load import sensible_threads
from anypo.runs.options import sampler_of
from anypo.sampling.agreement import check_agreement
from anypo.sampling.options import SamplingOptions
from anypo.training.distributed import Distributed


def check_sampler(
    config: SamplingOptions, requests: Sequence[SamplingRequest], runtime: Runtime
) -> None:
    """Refuse a sampler that cannot sample so, or there; raises AnypoError."""
    entry, sampler = sampler_of(config)
    with entry.answerable():
        for request in requests:
            sampler.check(request, runtime)


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
