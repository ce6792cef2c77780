"""The options of a run, and the TOML file that repeats it."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from anypo.composition.algorithm import Algorithm
from anypo.errors import ConfigError, nearest
from anypo.support.validation import refusal


class RunConfig(BaseModel):
    """What to train on what, and how; the knobs of the algorithm are not here but on its plugins.

    Without `model`, the built-in model is used, and `BUILT_IN_DEFAULTS` replace some defaults.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    model: str | None = Field(
        None, description="Model directory or hub name; without it, a built-in tiny model."
    )
    data: str | None = Field(
        None, description="A file, directory or hub name; without it, a built-in task."
    )
    reward: list[str] = Field(
        [],
        description="exact, regex:PATTERN, length, math, file.py:function, package.module:function "
        "or a model that scores texts; =WEIGHT may follow. Repeat it to add rewards up.",
    )
    eval_data: str | None = Field(None, description="Held-out rows, like --data.")
    steps: int | None = Field(
        None, ge=1, description="Rollouts; without it, what data_epochs says."
    )
    data_epochs: int = Field(1, ge=1, description="Passes over the data.")
    prompts_per_step: int = Field(16, ge=1, description="Prompts per rollout.")
    epochs: int = Field(1, ge=1, description="Passes over each rollout.")
    minibatches: int = Field(1, ge=1, description="Optimizer steps per pass.")
    learning_rate: float = Field(1e-6, gt=0, description="Peak learning rate of AdamW.")
    warmup_steps: int = Field(10, ge=0, description="Steps over which the learning rate rises.")
    schedule: Literal["linear", "cosine", "constant"] = Field(
        "linear", description="How the learning rate goes on after the warm-up."
    )
    weight_decay: float = Field(0.0, ge=0, description="Of AdamW.")
    max_grad_norm: float = Field(1.0, gt=0, description="Gradients are clipped to this norm.")
    temperature: float = Field(1.0, gt=0, description="Of sampling and of every log-prob.")
    max_completion_length: int = Field(256, ge=1, description="Tokens; longer is cut.")
    max_prompt_length: int = Field(512, ge=1, description="Tokens; longer is an error.")
    token_budget: int = Field(
        16384, ge=1, description="Tokens at a time through a model, padding included."
    )
    sampler: Literal["transformers", "vllm"] = Field(
        "transformers", description="What samples completions; vllm has to be installed."
    )
    vllm_url: str | None = Field(
        None, description="URLs of vLLM servers, separated by commas; without it, in this process."
    )
    vllm_timeout: float = Field(
        600.0, gt=0, description="Seconds that a vLLM server may take for an answer."
    )
    vllm_exchange: str | None = Field(
        None,
        description="Directory through which vLLM servers get the weights; without it, one in the "
        "memory of this machine.",
    )
    vllm_memory: float = Field(
        0.3, gt=0, le=1, description="Share of the device's memory that vLLM may take."
    )
    vllm_max_length: int | None = Field(
        None, ge=2, description="Tokens of prompt and completion; without it, what the limits say."
    )
    vllm_tensor_parallel: int = Field(1, ge=1, description="GPUs that share the model in vLLM.")
    vllm_eager: bool = Field(False, description="No CUDA graphs in vLLM; on a CPU, always.")
    vllm_sleep: bool = Field(
        False, description="vLLM frees its GPU memory whenever it is not sampling."
    )
    reward_timeout: float = Field(60.0, ge=0, description="Seconds per reward call; 0: no limit.")
    max_rounds: int = Field(
        8, ge=1, description="Rollouts per step at most, where the algorithm drops prompts."
    )
    ref_sync_every: int | None = Field(
        None, ge=1, description="Steps between updates of the reference model from the policy."
    )
    ref_sync_alpha: float = Field(
        1.0, gt=0, le=1, description="Share of the policy in the updated reference; 1: a copy."
    )
    precompute_reference: bool = Field(
        False,
        description="Compute the reference's log-probs of a data set once, and keep them in the "
        "cache; spares the memory and the time of a reference model.",
    )
    lora_rank: int | None = Field(
        None,
        ge=1,
        description="Train low-rank adapters of this rank instead of all weights; peft has to be "
        "installed.",
    )
    lora_alpha: int = Field(
        32, gt=0, description="The adapters' update is scaled by lora_alpha / lora_rank."
    )
    lora_modules: list[str] = Field(
        [],
        description="Names of the layers that get adapters, such as q_proj; repeat it for several. "
        "Without it, all linear layers.",
    )
    critic: Literal["own", "shared"] = Field(
        "own", description="A critic with a decoder of its own, or a head on the policy's."
    )
    critic_learning_rate: float = Field(1e-5, gt=0, description="Peak learning rate of the critic.")
    critic_warmup_steps: int = Field(
        0, ge=0, description="Steps at the start that train the critic alone."
    )
    seed: int = Field(0, ge=0, lt=2**32, description="Of sampling and shuffling.")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="Where the models live.")
    dtype: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="Of computation; weights are float32. auto: bfloat16 on a GPU."
    )
    trust_remote_code: bool = Field(False, description="Run Python code that comes with a model.")
    output: str | None = Field(None, description="Run directory; without it, one under runs/.")
    eval_every: int = Field(50, ge=1, description="Steps between evaluations.")
    save_every: int | None = Field(None, ge=1, description="Steps between saved models.")


BUILT_IN_DEFAULTS = {
    "steps": 150,
    "minibatches": 2,
    "learning_rate": 5e-4,
    "max_completion_length": 40,
    "eval_every": 25,
}


NEEDED_BY = {  # options that mean something only if the algorithm has what they are about
    "ref_sync_every": "reference model",
    "ref_sync_alpha": "reference model",
    "precompute_reference": "reference model",
    "critic": "critic model",
    "critic_learning_rate": "critic model",
    "critic_warmup_steps": "critic model",
    "max_rounds": "sampling in its rollout",
    "sampler": "completions to score",
    "reward": "completions to score",
    "reward_timeout": "completions to score",
    "temperature": "probabilities of tokens",
}


MEANT_FOR = {  # options that mean something only beside another one
    "ref_sync_alpha": "ref_sync_every",
    "lora_alpha": "lora_rank",
    "lora_modules": "lora_rank",
}


def idle(config: RunConfig) -> dict[str, str]:
    """The options that nothing would read, and the one that each is meant for."""
    return {option: of for option, of in MEANT_FOR.items() if getattr(config, of) is None}


def resolve(config: RunConfig, algorithm: Algorithm, *, built_in: bool) -> RunConfig:
    """The configuration with the defaults that suit its model and data.

    Args:
        config: As the user made it.
        algorithm: Whose plugins may prefer other options.
        built_in: Whether the model is the built-in one, or was trained from it.
    """
    defaults = algorithm.options
    if built_in:
        defaults |= {**BUILT_IN_DEFAULTS, **algorithm.task_options("addition")}
    if "data_epochs" in config.model_fields_set:
        defaults.pop("steps", None)
    update = {k: v for k, v in defaults.items() if k not in config.model_fields_set}
    update.pop("reward", None)  # of the built-in task, not of the built-in model
    if config.data is None and algorithm.generates:
        suited = algorithm.task_options("addition").get("reward", ["exact"])
        update["reward"] = config.reward or suited
    return config.model_copy(update=update)


def inapplicable(algorithm: Algorithm) -> dict[str, str]:
    """The options that mean nothing to an algorithm, and what it would need to have for them."""
    lacks = {
        "reference model": "reference" not in algorithm.requires,
        "critic model": "critic" not in algorithm.requires,
        "sampling in its rollout": not algorithm.inputs.sampler,
        "completions to score": not algorithm.generates,
        "probabilities of tokens": not algorithm.generates,
    }
    return {option: needed for option, needed in NEEDED_BY.items() if lacks[needed]}


def make_config(options: Mapping[str, Any]) -> RunConfig:
    """The run configuration of some options.

    Raises:
        ConfigError: An option is unknown or out of range.
    """
    unknown = options.keys() - RunConfig.model_fields.keys()
    if unknown:
        name = min(unknown)
        raise ConfigError(
            f"there is no run option '{name}'{nearest(name, RunConfig.model_fields)} "
            "(in a file, the knobs of the algorithm go under [knobs])"
        )
    try:
        return RunConfig(**options)
    except ValidationError as error:
        raise ConfigError(refusal(error)) from error


@dataclass
class Recipe:
    """All that a run is told: the algorithm, its knobs and swapped stages, the run options."""

    algorithm: str = ""  # plugin names joined by `+`
    options: dict[str, Any] = field(default_factory=dict)
    knobs: dict[str, Any] = field(default_factory=dict)
    hooks: dict[str, str] = field(default_factory=dict)


def read_recipe(path: str) -> Recipe:
    """The recipe in a TOML file.

    Raises:
        ConfigError: The file does not exist, is no TOML, or holds what no recipe does.
    """
    try:
        content = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"config '{path}' cannot be read: {error}") from error
    tables = {name: content.pop(name, {}) for name in ("knobs", "hooks")}
    algorithm = content.pop("algorithm", "")
    if not isinstance(algorithm, str) or not all(isinstance(t, dict) for t in tables.values()):
        raise ConfigError(f"config '{path}': algorithm is a text, [knobs] and [hooks] are tables")
    return Recipe(algorithm, content, **tables)


def write_recipe(path: Path, recipe: Recipe) -> None:
    """Write the recipe as TOML."""
    import tomli_w

    content = {
        "algorithm": recipe.algorithm,
        **{name: value for name, value in recipe.options.items() if value is not None},
        "knobs": recipe.knobs,
        "hooks": recipe.hooks,
    }
    path.write_text(tomli_w.dumps(content), encoding="utf-8")
