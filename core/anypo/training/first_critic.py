"""The critic as a run begins with it."""

from functools import partial

from torch import nn
from transformers import PreTrainedModel

from anypo.models.critic import Critic
from anypo.models.logits import decoder_of
from anypo.models.options import CriticOptions
from anypo.models.warm_start import start_at
from anypo.training.distributed import Distributed
from anypo.training.replica import Replica


def first_critic(
    model: PreTrainedModel,
    config: CriticOptions,
    distributed: Distributed,
    replica: Replica | None,
) -> tuple[Critic, nn.Module | None]:
    """A critic that expects nothing yet, or what a reward model has learnt to.

    Where the policy is to be sharded, a body of its own has no weights yet: with it comes one like
    it that has, in the processes that have a whole policy.

    Raises:
        ConfigError: The reward model does not fit.
    """
    path, runtime, world = config.critic_model, distributed.runtime, distributed.world
    shares_body = config.critic == "shared"
    make = partial(Critic, shares_body=shares_body, shares_frozen=path is None)
    critic = make(model, device=runtime.device)
    whole = replica.model if replica else None
    origin = decoder_of(whole) if whole and not shares_body else None
    if path is not None:
        full = critic
        with world.agreed():
            if replica and world.is_first:
                assert whole is not None, "the first process hands out the weights"
                full = make(whole)
                origin = full.body
            if not replica or world.is_first:
                start_at(full, path, runtime)
        critic.head.weight.data.copy_(full.head.weight.data)
        world.from_first_(critic.head.weight.data)
    return critic, origin
