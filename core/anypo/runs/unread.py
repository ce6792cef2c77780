"""Which options mean nothing in a run, and why."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from anypo.composition.algorithm import Algorithm
from anypo.errors import ConfigError
from anypo.hooks import registry
from anypo.runs.options import RunConfig, sampler_of

NOBODY = ", so nothing would read it"


def refuse_unread(config: RunConfig, algorithm: Algorithm) -> None:
    """Refuse options that the user set and that nothing would read.

    Raises:
        ConfigError: Naming the first one, and why it means nothing here.
    """
    why = unread(config, algorithm)
    for option in sorted(config.model_fields_set & why.keys()):
        raise ConfigError(f"{option} is set, but {why[option]}")
    if {"steps", "data_epochs"} <= config.model_fields_set:
        raise ConfigError("steps and data_epochs are both set; one of them says how long to train")


def unread(config: RunConfig, algorithm: Algorithm) -> dict[str, str]:
    """The options that mean nothing in this run, and why; also when they are not set."""
    before = registry.find(config.sampler, "sampler").option_prefix
    of_sampler = {before + name: why for name, why in sampler_of(config).unread().items()}
    return of_sampler | {
        option: rule.why.format(name=algorithm.name)
        for rule in _RULES
        if rule.applies(config, algorithm)
        for option in rule.options.split()
    }


def _evaluates(run: RunConfig) -> bool:
    return run.data is None or run.eval_data is not None


def _scores(run: RunConfig) -> bool:
    return run.data is None or bool(run.reward and run.eval_data)


class Rule(NamedTuple):
    """When some options mean nothing, and why."""

    options: str
    applies: Callable[[RunConfig, Algorithm], bool]
    why: str  # the algorithm is {name}


_HELD_OUT = "there are no held-out prompts"
_RULES = (  # of several about one option the last counts
    Rule(
        "sampler",
        lambda run, of: not (of.inputs.sampler or _scores(run)),
        "{name} samples nothing, and nor does a held-out score: set reward and eval_data",
    ),
    Rule(
        "reward",
        lambda run, of: not (of.inputs.scorer or _evaluates(run)),
        "{name} learns without one and " + _HELD_OUT + " to score: set eval_data",
    ),
    Rule("eval_every", lambda run, _: not _evaluates(run), _HELD_OUT + ": set eval_data"),
    Rule("task", lambda run, _: bool(run.data and run.model), "model and data are given" + NOBODY),
    Rule(
        "ref_sync_every",
        lambda run, _: run.lora_rank is not None,
        "with lora_rank the reference is the model without its adapter, which never moves",
    ),
    Rule(
        "precompute_reference",
        lambda run, _: run.ref_sync_every is not None,
        "ref_sync_every moves the reference",
    ),
    Rule(
        "precompute_reference",
        lambda _, of: not of.inputs.fixed,
        "{name} makes new rows in every step: its reference model has to see those",
    ),
    Rule("ref_sync_alpha", lambda run, _: not run.ref_sync_every, "not ref_sync_every" + NOBODY),
    Rule("lora_alpha lora_modules", lambda run, _: not run.lora_rank, "not lora_rank" + NOBODY),
    Rule(
        "ref_sync_every ref_sync_alpha precompute_reference",
        lambda _, of: "reference" not in of.requires,
        "{name} has no reference model" + NOBODY,
    ),
    Rule(
        "critic critic_learning_rate critic_warmup_steps",
        lambda _, of: "critic" not in of.requires,
        "{name} has no critic model" + NOBODY,
    ),
    Rule(
        "max_rounds",
        lambda _, of: not of.inputs.sampler,
        "{name} has no sampling in its rollout" + NOBODY,
    ),
    Rule(
        "sampler reward reward_timeout",
        lambda _, of: not of.generates,
        "{name} has no completions to score" + NOBODY,
    ),
    Rule(
        "temperature",
        lambda _, of: not of.generates,
        "{name} has no probabilities of tokens" + NOBODY,
    ),
)
