"""Find the sampler that a run asks for, and refuse options that it would not read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from transformers import PreTrainedModel

from anypo.errors import ConfigError
from anypo.models.load import context_length, sensible_threads
from anypo.runs.options import RunConfig
from anypo.sampling.transformers import TransformersSampler
from anypo.support.extras import WITHOUT_GPU, check_installed
from anypo.training.trainer import SyncedSampler
from anypo_vllm.sampler import Engine, VLLMSampler


@dataclass(frozen=True)
class Policy:
    """What is sampled from.

    Attributes:
        path: Directory or hub name of its configuration.
        model: The model in training.
        end_tokens: Token ids that end a completion.
        accelerator: Owns its device and precision.
    """

    path: str
    model: PreTrainedModel
    end_tokens: list[int]
    accelerator: Accelerator

    @property
    def device(self) -> str:
        """`cpu` or `cuda`."""
        return str(self.accelerator.device.type)

    @property
    def dtype(self) -> str:
        """What the trainer computes in."""
        return "bfloat16" if self.accelerator.mixed_precision == "bf16" else "float32"


def _with_transformers(config: RunConfig, policy: Policy) -> SyncedSampler:
    return TransformersSampler(
        policy.model,
        end_tokens=policy.end_tokens,
        temperature=config.temperature,
        max_completion_length=config.max_completion_length,
        token_budget=config.token_budget,
        autocast=policy.accelerator.autocast,
    )


def _with_vllm(config: RunConfig, policy: Policy) -> SyncedSampler:
    from anypo_vllm.engine import LocalEngine, check_unchanged  # imports vLLM

    if policy.device == "cuda":
        torch.cuda.empty_cache()  # vLLM measures what is free
    engine = LocalEngine(
        policy.path,
        policy.model.config,
        device=policy.device,
        dtype=policy.dtype,
        max_length=config.vllm_max_length or _longest(config, policy.model),
        memory=config.vllm_memory,
        tensor_parallel=config.vllm_tensor_parallel,
        eager=config.vllm_eager,
        sleeps=config.vllm_sleep,
        trust_remote_code=config.trust_remote_code,
    )
    check_unchanged(policy.model)
    return _vllm_sampler(config, policy, engine)


def _with_vllm_servers(config: RunConfig, policy: Policy) -> SyncedSampler:
    from anypo_vllm.servers import Servers

    urls = [url.strip() for url in (config.vllm_url or "").split(",")]
    engine = Servers(
        urls, policy.model.config, timeout=config.vllm_timeout, exchange=config.vllm_exchange
    )
    return _vllm_sampler(config, policy, engine)


def _vllm_sampler(config: RunConfig, policy: Policy, engine: Engine) -> SyncedSampler:
    sampler = VLLMSampler(
        engine,
        end_tokens=policy.end_tokens,
        temperature=config.temperature,
        max_completion_length=config.max_completion_length,
    )
    sampler.sync(policy.model)  # whatever the engine holds, it starts with the trainer's weights
    return sampler


def _longest(config: RunConfig, model: PreTrainedModel) -> int:
    """Tokens of the longest prompt and completion that the run allows."""
    longest = config.max_prompt_length + config.max_completion_length
    return min(longest, context_length(model.config) or longest)


@dataclass(frozen=True)
class Way:
    """A way of sampling: how it is set up, and the options that only it and its like read."""

    make: Callable[[RunConfig, Policy], SyncedSampler]
    options: frozenset[str] = frozenset()
    needs: str | None = None  # a package that must be installed


WAYS = {
    "transformers": Way(_with_transformers),
    "vllm": Way(
        _with_vllm,
        frozenset(name for name in RunConfig.model_fields if name.startswith("vllm_"))
        - {"vllm_url", "vllm_timeout", "vllm_exchange"},
        needs="vllm",
    ),
    "vllm servers": Way(
        _with_vllm_servers, frozenset({"vllm_url", "vllm_timeout", "vllm_exchange"})
    ),
}


def way_of(config: RunConfig) -> str:
    """Which of the `WAYS` the options ask for."""
    served = config.sampler == "vllm" and config.vllm_url
    return f"{config.sampler} servers" if served else config.sampler


def make_sampler(config: RunConfig, policy: Policy) -> SyncedSampler:
    """The sampler that the options ask for, with the weights of the policy.

    Raises:
        AnypoError: It cannot be started or reached, or does not fit the policy.
    """
    with sensible_threads(policy.model):
        return WAYS[way_of(config)].make(config, policy)


def unread_options(config: RunConfig) -> set[str]:
    """The options that only other ways of sampling read."""
    every = {option for way in WAYS.values() for option in way.options}
    return every - WAYS[way_of(config)].options


def check_sampler(config: RunConfig, device: torch.device) -> None:
    """Refuse what cannot work before anything is loaded.

    Raises:
        ConfigError: A package is missing, or an option means nothing here.
    """
    if unread := config.model_fields_set & unread_options(config):
        option, way = min(unread), way_of(config)
        advice = "; it is for anypo serve" if way == "vllm servers" else ""
        raise ConfigError(
            f"{option} is set, but the sampler is {way}, so nothing would read it{advice}"
        )
    if needed := WAYS[way_of(config)].needs:
        check_installed(needed, f"sampler '{config.sampler}'", WITHOUT_GPU)
    if device.type == "cpu" and (config.vllm_sleep or config.vllm_tensor_parallel > 1):
        option = "vllm_sleep" if config.vllm_sleep else "vllm_tensor_parallel"
        raise ConfigError(f"{option} is set, but it is about GPUs, and this run has none")
    if config.sampler == "vllm" and config.temperature < COLDEST:
        raise ConfigError(
            f"temperature is {config.temperature:g}, but vLLM samples at {COLDEST:g} or more"
        )


COLDEST = 0.01  # vLLM takes this in place of a lower temperature
