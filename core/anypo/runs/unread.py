"""Which options mean nothing in a run, and why."""

from collections.abc import Mapping

from anypo.composition.algorithm import Algorithm
from anypo.errors import ConfigError
from anypo.runs.options import RunConfig, sampler_of
from anypo.sampling.options import ConversationOptions, SamplingOptions
from anypo.training.options import AVERAGE

Rule = tuple[str, bool, str]  # options, whether they mean nothing, and why: the last one counts

NOBODY = ", so nothing would read it"
NOT_HELD_OUT = "there are no held-out prompts"
TALK = "max_turns max_conversation_length environment_timeout"
DRAWN_TO_EVALUATE = "eval_samples eval_temperature eval_top_p eval_top_k eval_stop"


def refuse_unread(config: RunConfig, algorithm: Algorithm) -> None:
    """Refuse options that the user set and that nothing would read.

    Raises:
        ConfigError: Naming the first one, and why it means nothing here.
    """
    refuse(config, unread(config, algorithm))
    if {"steps", "data_epochs"} <= config.model_fields_set:
        raise ConfigError("steps and data_epochs are both set; one of them says how long to train")


def refuse(config: SamplingOptions, why: Mapping[str, str]) -> None:
    """Refuse the first option that is set and means nothing; raises ConfigError."""
    for option in sorted(config.model_fields_set & why.keys()):
        value = getattr(config, option)
        if not (value is None or value is False or value == []):  # which ask for nothing
            raise ConfigError(f"{option} is set, but {why[option]}")


def unread(config: RunConfig, algorithm: Algorithm) -> dict[str, str]:
    """The options that mean nothing in this run, and why; also when they are not set."""
    found = unread_by_sampler(config) | unread_without_environment(config)
    for options, is_unread, why in (*_beside_others(config), *_by(algorithm, config)):
        found |= dict.fromkeys(options.split(), why) if is_unread else {}
    return found


def unread_by_sampler(config: SamplingOptions) -> dict[str, str]:
    """The options of the sampler that mean nothing beside its others, and why."""
    entry, sampler = sampler_of(config)
    with entry.answerable():
        return {entry.option_prefix + name: why for name, why in sampler.unread().items()}


def unread_without_environment(config: ConversationOptions) -> dict[str, str]:
    """The options that mean nothing where nobody answers the policy, and why."""
    return {} if config.environment else dict.fromkeys(TALK.split(), f"not environment{NOBODY}")


def _beside_others(run: RunConfig) -> tuple[Rule, ...]:
    """What other options leave without meaning."""
    moves, rank = run.ref_sync_every is not None, run.lora_rank is not None
    never = "with lora_rank the reference is the model without its adapter, which never moves"
    averages = run.teacher == AVERAGE
    return (
        ("teacher_decay", not averages, f"teacher is not {AVERAGE}{NOBODY}"),
        ("ref_sync_every ref_sync_alpha", bool(run.reference), "reference names one that stays"),
        ("precompute_reference", bool(run.reference), "reference names another model"),
        ("eval_every keep_best", not _evaluates(run), f"{NOT_HELD_OUT}: set eval_data"),
        ("task", bool(run.data and run.model), f"model and data are given{NOBODY}"),
        ("ref_sync_every", rank, never),
        ("precompute_reference", moves, "ref_sync_every moves the reference"),
        ("ref_sync_alpha", not moves, f"not ref_sync_every{NOBODY}"),
        ("lora_alpha lora_modules", not rank, f"not lora_rank{NOBODY}"),
        ("critic_model", run.critic == "shared", "critic is shared: its body is the policy's own"),
        ("critic_model", run.quantize is not None, "quantize bars other weights from its body"),
        ("quantize", not rank, "not lora_rank: what has four bits is trained by adapters alone"),
    )


def _by(algorithm: Algorithm, run: RunConfig) -> tuple[Rule, ...]:
    """What the algorithm has no use for."""
    name, inputs, requires = algorithm.name, algorithm.inputs, algorithm.requires
    scores = run.data is None or bool((run.reward or run.environment) and run.eval_data)
    unscored = f"{name} samples nothing, and nor does a held-out score: set reward and eval_data"
    unrated = f"{name} learns without one and {NOT_HELD_OUT} to score: set eval_data"
    new_rows = f"{name} makes new rows in every step: its reference model has to see those"

    def lacks(what: str) -> str:
        return f"{name} has no {what}{NOBODY}"

    reference = "reference ref_sync_every ref_sync_alpha precompute_reference"
    critic = "critic critic_model critic_learning_rate critic_warmup_steps"
    talk = f"environment {TALK}"
    scored = f"sampler {talk} reward reward_timeout reward_retries {DRAWN_TO_EVALUATE}"
    return (
        (f"sampler {talk}", not (inputs.sampler or scores), unscored),
        (
            DRAWN_TO_EVALUATE,
            not scores,
            "no held-out completion is scored: set reward and eval_data",
        ),
        ("reward", not (inputs.scorer or _evaluates(run)), unrated),
        ("precompute_reference", not inputs.fixed, new_rows),
        (reference, "reference" not in requires, lacks("reference model")),
        ("teacher teacher_decay", "teacher" not in requires, lacks("teacher")),
        (critic, "critic" not in requires, lacks("critic model")),
        ("max_rounds", not inputs.sampler, lacks("sampling in its rollout")),
        (scored, not algorithm.generates, lacks("completions to score")),
        ("temperature", not algorithm.generates, lacks("probabilities of tokens")),
    )


def _evaluates(run: RunConfig) -> bool:
    return run.data is None or bool(run.eval_data)
