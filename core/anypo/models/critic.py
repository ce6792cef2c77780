"""A critic: what return is expected before each token."""

import copy

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import PreTrainedModel

from anypo.models.layout import Layout
from anypo.models.logits import decoder_of


class Critic(nn.Module):
    """A decoder and a linear head without bias that starts at 0, so that no return is expected.

    With `shares_body` the decoder is the policy's own; else it is a copy to be trained, but for
    what is frozen in the policy, which it shares unless it is to get other weights there. The head
    is on `device`, or where the policy is.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        *,
        shares_body: bool,
        shares_frozen: bool = True,
        device: torch.device | None = None,
    ) -> None:
        super().__init__()
        weights = model.parameters() if shares_frozen else ()
        frozen = {id(weight): weight for weight in weights if not weight.requires_grad}
        self.body = None if shares_body else copy.deepcopy(decoder_of(model), frozen)
        state_size = model.get_output_embeddings().weight.shape[1]  # not always the hidden size
        self.head = nn.Linear(state_size, 1, bias=False, device=device or model.device)
        nn.init.zeros_(self.head.weight)

    def forward(
        self,
        layout: Layout,
        before: Int[Tensor, " M"],
        policy_states: Float[Tensor, "M H"],
    ) -> Float[Tensor, " M"]:
        """The values at the places before M tokens, where the policy has the given states."""
        states = policy_states if self.body is None else layout.states(self.body)[before]
        values: Tensor = self.head(states).float().squeeze(-1)
        return values
