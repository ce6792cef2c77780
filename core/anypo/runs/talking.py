"""Who answers the policy of a run, and what is rewarded."""

from collections.abc import Sequence
from typing import Any

from transformers import PreTrainedTokenizerBase

from anypo.data.found import Check, accept
from anypo.data.tally import Limits
from anypo.data.tokens import Tokens
from anypo.errors import ConfigError
from anypo.hooks.runtime import Runtime
from anypo.rewards.load import Reward, load_reward
from anypo.rewards.options import RewardOptions
from anypo.sampling.conversations import Talking
from anypo.sampling.environment_factory import FactoryEnvironments
from anypo.sampling.environments import Environments
from anypo.sampling.load import load_environment
from anypo.sampling.options import ConversationOptions


def environments_of(config: ConversationOptions) -> Environments | None:
    """Those that options name; raises AnypoError if there are none such."""
    if config.environment is None:
        return None
    chosen = load_environment(config.environment)
    kind = FactoryEnvironments if chosen.is_of_trl else Environments
    return kind(chosen, config.environment_timeout)


def rewards_of(
    config: RewardOptions,
    environments: Environments | None,
    runtime: Runtime | None = None,
    *,
    needed: bool = True,
) -> list[Reward]:
    """The rewards that options name, and that of the environments, if they have one.

    Args:
        config: The options.
        environments: That answer the policy, if some do.
        runtime: Where reward models run.
        needed: Whether something is to be scored.

    Raises:
        ConfigError: There are none where they are needed, and environments do not reward turns.
        AnypoError: One does not exist, or cannot be used.
    """
    rewards = [load_reward(spec, runtime, config.reward_timeout) for spec in config.reward]
    if environments and environments.score:
        rewards.append(Reward(environments.chosen.name, environments.score))
    if needed and environments and not (rewards or environments.rewards):
        raise ConfigError(
            f"{environments.chosen} has no get_reward, and no reward is named: name one with "
            "reward (--reward)"
        )
    return rewards


def tools_of(environments: Environments | None) -> Sequence[Any]:
    """The schemas of what the policy may call."""
    return environments.schemas if environments else ()


def talk_of(environments: Environments | None) -> Check:
    """What refuses prompts that cannot be talked about."""
    return environments.check if environments else accept


def talking_of(
    config: ConversationOptions,
    environments: Environments | None,
    tokenizer: PreTrainedTokenizerBase,
    limits: Limits,
) -> Talking | None:
    """How conversations are held with environments, if there are any."""
    if environments is None:
        return None
    tokens = Tokens(tokenizer)
    return Talking(environments, tokens, config.max_turns, config.longest_sample, limits.prompt)
