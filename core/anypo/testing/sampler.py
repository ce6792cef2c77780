"""Go through all properties of a sampler."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import torch
from pydantic import ValidationError

from anypo.errors import ConfigError
from anypo.hooks.runtime import Runtime
from anypo.hooks.sampler import SamplerPlugin, load_sampler
from anypo.support.validation import refusal
from anypo.testing import completions
from anypo.testing.bench import Bench, bench_of
from anypo.testing.report import NotApplicable, Report, Result, Status, result_of

_CHECKS: tuple[Callable[[Bench], None], ...] = (
    completions.samples,  # without these, the others are nonsense
    completions.logprobs,
    completions.temperature,
    completions.prompt_lengths,
    completions.frequencies,
    completions.top_k,
    completions.top_p,
    completions.ends,
    completions.stop,
    completions.length_limit,
    completions.seeds,
    completions.unknown_parameters,
    completions.model_untouched,
    completions.sync,  # the last one, because it changes the weights
)


def check_sampler(
    sampler: str | type[SamplerPlugin] | SamplerPlugin,
    *,
    options: Mapping[str, Any] | None = None,
    model: str | None = None,
    runtime: Runtime | None = None,
) -> Report:
    """Try a sampler on a tiny model and say of every property whether it holds.

        check_sampler(MySampler).raise_if_failed()
        check_sampler("vllm", options={"memory": 0.2})

    Args:
        sampler: A name, class or instance.
        options: Its own options, without its name before them; not for an instance.
        model: Directory of a model whose shape the tiny one shall have, say because a server has
            it; the weights are made up all the same.
        runtime: Where and how the trainer runs the model; as a run does by itself if None.

    Raises:
        AnypoError: There is no such sampler, it refuses to work here, or it does not start.
    """
    plugin = _made(sampler, options or {})
    name = sampler if isinstance(sampler, str) else type(plugin).__name__
    with bench_of(plugin, model, runtime or _usual_runtime()) as bench:
        return Report(name, tuple(_results(bench)))


def _results(bench: Bench) -> Iterator[Result]:
    first, *others = _CHECKS
    form = result_of(first, partial(first, bench))
    yield form
    for check in others:
        attempt = check if form.status is Status.PASSED else _of_no_use
        yield result_of(check, partial(attempt, bench))


def _of_no_use(_: Bench) -> None:
    raise NotApplicable("the completions are not what they should be, see samples")


def _made(
    sampler: str | type[SamplerPlugin] | SamplerPlugin, options: Mapping[str, Any]
) -> SamplerPlugin:
    if isinstance(sampler, SamplerPlugin):
        return sampler
    kind = load_sampler(sampler)[1] if isinstance(sampler, str) else sampler
    try:
        plugin: SamplerPlugin = kind(**options)
    except ValidationError as error:
        raise ConfigError(refusal(error)) from error
    return plugin


def _usual_runtime() -> Runtime:
    if torch.cuda.is_available():
        return Runtime(torch.device("cuda"), torch.bfloat16)
    return Runtime()
