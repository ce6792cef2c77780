"""Keep the experts of a mixture equally busy.

Source: Switch Transformers, Fedus et al. 2021, arXiv:2101.03961, equations 4 to 6.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from inspect import signature
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel

from anypo.errors import ConfigError
from anypo.models.logits import decoder_of

ARGUMENTS = ["gate_logits", "num_experts", "top_k", "attention_mask"]
COEFFICIENTS = ("router_aux_loss_coef", "aux_loss_coef")  # as configurations call it


def router_coefficient(model: PreTrainedModel, asked: float | None) -> float:
    """The weight of the load-balancing loss: what is asked for, or what the configuration says.

    Raises:
        ConfigError: It is asked for, but transformers has no such loss for this model.
    """
    if not _balances(model):
        if asked:
            raise ConfigError(
                f"router_loss is set, but no load-balancing loss of transformers is known for "
                f"{type(model).__name__}: leave it out"
            )
        return 0.0
    config = model.config.get_text_config()
    own = [getattr(config, name, None) for name in COEFFICIENTS]
    return next(filter(None, own), 0.0) if asked is None else asked


@contextmanager
def recorded_balance(model: nn.Module) -> Iterator[list[Float[Tensor, ""]]]:
    """The load-balancing loss of every forward pass in the block, over its real tokens.

    It is that of transformers: as many as the experts that a token is sent to where all are equally
    busy, and more elsewhere. Gradient flows through it.
    """
    losses: list[Tensor] = []
    decoder = decoder_of(model)
    balance = _balance(decoder)

    def ask(_: nn.Module, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        return args, {**kwargs, "output_router_logits": True}

    def take(_: nn.Module, __: Any, kwargs: dict[str, Any], output: Any) -> None:
        if balance and (routes := output.router_logits):
            mask = kwargs["attention_mask"]
            losses.append(balance(routes, num_experts=routes[0].shape[-1], attention_mask=mask))

    hooks = (
        decoder.register_forward_pre_hook(ask, with_kwargs=True),
        decoder.register_forward_hook(take, with_kwargs=True),
    )
    try:
        yield losses
    finally:
        for hook in hooks:
            hook.remove()


def _balance(decoder: nn.Module) -> Callable[..., Tensor] | None:
    """The loss that the module of a decoder defines; None where it does not, or another one."""
    loss = getattr(sys.modules[type(decoder).__module__], "load_balancing_loss_func", None)
    if loss is None or list(signature(loss).parameters) != ARGUMENTS:
        return None
    config: Any = decoder.config
    chosen = getattr(config.get_text_config(), "num_experts_per_tok", None)
    return None if chosen is None else partial(loss, top_k=chosen)


@torch.no_grad()
def _balances(model: PreTrainedModel) -> bool:
    """Whether a forward pass comes with the loss: a configuration may leave the experts out."""
    decoder = decoder_of(model)
    if _balance(decoder) is None:
        return False
    ids = torch.ones((1, 2), dtype=torch.long, device=model.device)
    with recorded_balance(model) as losses:
        decoder(input_ids=ids, attention_mask=ids, use_cache=False)
    return bool(losses)
