"""What a run works with: found and checked."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain

from transformers import PreTrainedTokenizerBase

from anypo.composition.algorithm import Algorithm
from anypo.composition.synthetic import SyntheticSampler, SyntheticScorer
from anypo.data.dataset import Reader
from anypo.data.formats import Rows
from anypo.data.found import PromptSet
from anypo.data.load import load_rows
from anypo.data.mixture import parts_of, shares_of
from anypo.data.named import named_sets
from anypo.data.options import RowOptions
from anypo.data.tally import Limits
from anypo.data.template_defaults import set_defaults
from anypo.data.tokens import Tokens
from anypo.errors import ConfigError, DataError, nearest
from anypo.hooks.batch import Prompt
from anypo.hooks.runtime import Runtime
from anypo.hooks.specs import beginning
from anypo.hooks.task import ChosenTask
from anypo.models.checks import check_same_tokens, check_vocabulary
from anypo.models.load import (
    context_length,
    load_config,
    load_tokenizer,
)
from anypo.models.options import MachineOptions
from anypo.models.warm_start import check_critic_model
from anypo.rewards.scorer import Rewards
from anypo.runs.observer import Observer
from anypo.runs.options import RunConfig
from anypo.runs.talking import environments_of, rewards_of, talk_of, talking_of, tools_of
from anypo.runs.task import sources
from anypo.sampling.conversations import Talking
from anypo.sampling.options import ConversationOptions
from anypo.support.lazy import Joined
from anypo.support.world import ALONE, World
from anypo.training.evaluation import EMA
from anypo.training.options import AVERAGE, POLICY

TRIED_AT_ONCE = 1000  # rows of a rollout before the first step


@dataclass
class Setup:
    """What a run works with, all of it checked, but without the weights of the policy."""

    config: RunConfig  # with the steps that the passes of the data take, if none were given
    model: str
    tokenizer: PreTrainedTokenizerBase
    max_length: int  # of a prompt and its completion, in tokens
    scorer: Rewards
    sets: list[PromptSet]  # to learn from
    shares: list[float] | None = None  # of each in what is drawn; None: that of its size
    held_out: dict[str, Sequence[Prompt]] = field(default_factory=dict)  # by set: to be completed
    held_out_rows: dict[str, Sequence[Prompt]] = field(default_factory=dict)  # that have a loss
    talking: Talking | None = None  # where several turns are sampled
    forgets: bool = False  # whether the chat template leaves thoughts out of earlier replies

    @property
    def prompts(self) -> Sequence[Prompt]:
        """All that is learnt from."""
        return self.sets[0] if len(self.sets) == 1 else Joined(self.sets)

    @property
    def longest(self) -> int:
        """Tokens of the longest prompt and completion that may come."""
        return longest_of(self.learnt) + self.config.longest_sample

    @property
    def learnt(self) -> list[Sequence[Prompt]]:
        """The sets that have a loss."""
        return [*self.sets, *self.held_out_rows.values()]

    @property
    def completed(self) -> list[Sequence[Prompt]]:
        """The sets that are held out to be completed."""
        return [*self.held_out.values()]


def set_up(
    algorithm: Algorithm,
    config: RunConfig,
    task: ChosenTask | None,
    runtime: Runtime,
    observer: Observer,
    world: World = ALONE,
) -> Setup:
    """Find what a run works with, that of the task where none is named, and check it.

    Raises:
        AnypoError: Something does not exist, or does not fit the algorithm.
    """
    _check_named(algorithm, config)
    environments = environments_of(config)
    needed = algorithm.inputs.scorer or bool(config.eval_data)
    rewards = rewards_of(config, environments, runtime, needed=needed)
    named = [part.name for part in parts_of(config.data or [])]
    named += named_sets(config.eval_data).values()
    rows = {name: load_rows(name) for name in named}
    model, parts, held_out = sources(config, task, observer.warming_up, world)
    new = {*(part.name for part in parts), *held_out.values()} - rows.keys()
    rows |= {name: load_rows(name) for name in new}
    tokenizer = tokenizer_of(model, config, trusted=config.trust_remote_code)
    _check_others(config, model, tokenizer)
    limits = limits_of(model, config, trusted=config.trust_remote_code)
    patience = config.reward_timeout, world, config.reward_retries, observer.note
    scorer = Rewards(rewards, tokenizer, *patience, talks=environments is not None)
    tell = observer.note, config.bad_rows == "skip", scorer.check, observer.preparing
    spoken = tools_of(environments), talk_of(environments)
    reader = Reader(algorithm, tokenizer, limits, *tell, *spoken)
    sets = [reader.to_learn_from(rows[part.name]) for part in parts]
    longest = limits.prompt + config.longest_sample
    found = Setup(config, model, tokenizer, longest, scorer, sets, shares_of(parts))
    for name, source in held_out.items():
        _hold_out(found, algorithm, reader, name, rows[source])
    found.talking = talking_of(config, environments, tokenizer, limits)
    if found.talking:
        sampled = [*(found.sets if algorithm.inputs.sampler else ()), *found.completed]
        found.forgets = found.talking.check(sampled)
    check_rendered([*found.learnt, *found.completed], config)
    check_tokens(model, tokenizer, [*found.learnt, *found.completed], config)
    _check_best(found)
    _check_contexts(found)
    _try_rollouts(algorithm, found)
    if config.steps is None:
        steps = math.ceil(config.data_epochs * len(found.prompts) / config.prompts_per_step)
        found.config = config.model_copy(update={"steps": steps})
    return found


def _check_named(algorithm: Algorithm, config: RunConfig) -> None:
    """Refuse a run that lacks what nobody can choose for it; raises ConfigError."""
    if config.ema is not None and config.bema is not None:
        raise ConfigError("ema and bema are both set, but there is one average: leave one out")
    rewarded = config.reward or config.environment
    if config.data is not None and algorithm.inputs.scorer and not rewarded:
        raise ConfigError("data are given but no reward: name one with reward (--reward)")
    if "teacher" in algorithm.requires and config.teacher is None:
        raise ConfigError(
            f"{algorithm.name} needs a teacher: name a model with teacher (--teacher), or "
            f"{POLICY} or {AVERAGE}"
        )


def _check_others(config: RunConfig, model: str, tokenizer: PreTrainedTokenizerBase) -> None:
    """Refuse models beside the policy that do not fit it; raises AnypoError."""
    trusted = config.trust_remote_code
    if config.critic_model is not None:
        check_critic_model(config.critic_model, model, tokenizer, trusted=trusted)
    for role, path in config.others.items():
        check_same_tokens(f"{role} '{path}'", path, tokenizer, trusted=trusted)


def _hold_out(found: Setup, algorithm: Algorithm, reader: Reader, name: str, rows: Rows) -> None:
    """Read a held-out set, as far as the run can be evaluated on it."""
    measured = reader.to_measure(rows) if algorithm.inputs.completions else []
    completed: Sequence[Prompt] = []
    if found.scorer.rewards or found.config.environment:
        completed = reader.to_complete(rows, has_loss=bool(measured))
    if found.config.eval_data and not (completed or measured):
        raise DataError(
            f"data set '{rows.name}' cannot be evaluated on: it lacks columns that "
            f"{algorithm.name} learns from, and no reward is set to score completions with"
        )
    found.held_out |= {name: completed} if completed else {}
    found.held_out_rows |= {name: measured} if measured else {}


def _check_contexts(found: Setup) -> None:
    """Refuse other models that attend to less than the run's rows have; raises ConfigError."""
    trusted = found.config.trust_remote_code
    for role, path in found.config.others.items():
        context = context_length(load_config(path, trust_remote_code=trusted))
        if context is not None and context < found.longest:
            raise ConfigError(
                f"{role} '{path}' attends to {context} tokens, but a prompt and its completion may "
                f"have {found.longest}: lower max_completion_length"
            )


def _check_best(found: Setup) -> None:
    """Refuse to keep the best by a set that is not there; the metrics of a set show later."""
    metric, names = found.config.keep_best or "", {*found.held_out, *found.held_out_rows}
    of_average = f"eval/{EMA}/"
    if metric.startswith(of_average) and not found.config.averages:
        raise ConfigError(
            f"keep_best names '{metric}', but no averaged weights are asked for: set ema (--ema)"
        )
    first, _, rest = metric.removeprefix(of_average).removeprefix("eval/").partition("/")
    if metric and "" not in names and not (rest and first in names):
        known = [f"eval/{name}/score" for name in found.held_out] or sorted(names)
        raise ConfigError(
            f"keep_best names '{metric}', which is of no held-out set{nearest(metric, known)}"
        )


def check_rendered(sets: Iterable[Sequence[Prompt]], config: RowOptions) -> None:
    """Refuse options of a chat template that renders nothing; raises ConfigError."""
    if config.chat_template_kwargs and all(isinstance(row.content, str) for row in chain(*sets)):
        raise ConfigError(
            "chat_template_kwargs is set, but every prompt is a text, which no chat template "
            "renders: make it a list of messages"
        )


def check_tokens(
    model: str,
    tokenizer: PreTrainedTokenizerBase,
    sets: Iterable[Sequence[Prompt]],
    config: MachineOptions,
) -> None:
    """Refuse a tokenizer that has tokens that the model does not know; raises ModelError."""
    known = load_config(model, trust_remote_code=config.trust_remote_code)
    largest = {prompts.tally.largest for prompts in sets if isinstance(prompts, PromptSet)}
    check_vocabulary(model, known, largest | Tokens(tokenizer).ends)


def longest_of(sets: Iterable[Sequence[Prompt]]) -> int:
    """Tokens of the longest prompt of some data sets."""
    found = (prompts.tally.longest for prompts in sets if isinstance(prompts, PromptSet))
    return max(found, default=0)


def _try_rollouts(algorithm: Algorithm, found: Setup) -> None:
    """Have the plugins refuse rows that hold their completions now, not when a step draws them."""
    if algorithm.inputs.sampler or algorithm.inputs.scorer:
        return
    for rows in (found.prompts, *found.held_out_rows.values()):
        for at in range(0, len(rows), TRIED_AT_ONCE):
            some = rows[at : at + TRIED_AT_ONCE]
            algorithm.rollout(some, SyntheticSampler(), SyntheticScorer(), beginning(), rows)


def tokenizer_of(model: str, config: RowOptions, *, trusted: bool) -> PreTrainedTokenizerBase:
    """The tokenizer of a model, whose chat template is told what the options say.

    Raises:
        ModelError, ConfigError: There is none, or its template knows nothing of that.
    """
    tokenizer = load_tokenizer(model, trust_remote_code=trusted)
    if config.chat_template_kwargs:
        set_defaults(tokenizer, config.chat_template_kwargs)
    return tokenizer


def limits_of(model: str, config: RowOptions, *, trusted: bool) -> Limits:
    """How long prompts and completions may be that a model reads.

    Args:
        model: Directory or hub name.
        config: What is asked for.
        trusted: Whether code that comes with the model may run.

    Raises:
        ConfigError: It attends to no more than the completions may have.
    """
    context = context_length(load_config(model, trust_remote_code=trusted))
    prompt, completion = config.max_prompt_length, config.max_completion_length
    option, longest = "max_completion_length", completion
    if isinstance(config, ConversationOptions) and config.environment is not None:
        option, longest = "max_conversation_length", config.longest_sample
        if longest < completion:
            raise ConfigError(
                f"max_conversation_length is {longest}, less than the max_completion_length of "
                f"{completion}: raise it, or lower the other"
            )
    if context is not None and longest >= context:
        raise ConfigError(
            f"{option} is {longest}, but the model attends to {context} tokens, of prompt and "
            "completion together: lower it"
        )
    prompt = prompt if context is None else min(prompt, context - longest)
    return Limits(prompt, completion, config.long_prompts)
