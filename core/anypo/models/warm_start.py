"""Start a critic from a reward model, which knows already what completions are worth.

Source: InstructGPT, Ouyang et al. 2022, arXiv:2203.02155, appendix C.4.
"""

from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from anypo.errors import ConfigError
from anypo.hooks.runtime import Runtime
from anypo.models.adapters import own_name
from anypo.models.checks import check_same_tokens
from anypo.models.critic import Critic
from anypo.models.forward import text_scores
from anypo.models.load import has_scalar_head, load_config, load_model
from anypo.models.logits import decoder_of
from anypo.models.rope import stretching

TEXT = 32  # tokens, on which both are to say the same
SAME = {torch.float32: 1e-3, torch.bfloat16: 5e-2}  # of the largest state


def check_critic_model(
    path: str, policy: str, tokenizer: PreTrainedTokenizerBase, *, trusted: bool
) -> None:
    """Refuse a reward model that a critic of the policy cannot start from; no weights are loaded.

    Args:
        path: Of the reward model.
        policy: Directory or hub name.
        tokenizer: Of the policy.
        trusted: Whether code that comes with the models may run.

    Raises:
        ConfigError: It scores no texts, reads other tokens, or is built otherwise than the policy.
    """
    who = f"critic_model '{path}'"
    if not has_scalar_head(load_config(path, trust_remote_code=trusted)):
        raise ConfigError(
            f"{who} is a model that does not score texts: it is no sequence classifier with one "
            "label"
        )
    check_same_tokens(who, path, tokenizer, trusted=trusted)
    given = {"trust_remote_code": trusted, "empty": True}
    judge, model = load_model(path, scalar_head=True, **given), load_model(policy, **given)
    needed, held = (_shapes(decoder_of(one)) for one in (model, judge))
    for name in {**needed, **held}:
        if needed.get(name) != held.get(name):
            has, asks = (shapes.get(name, "nowhere") for shapes in (held, needed))
            raise ConfigError(
                f"{who} is built otherwise than the policy: '{name}' is {has} in it and {asks} in "
                "the policy, but a critic is the policy's body with other weights"
            )
    _head_of(judge, who)


@torch.no_grad()
def start_at(critic: Critic, path: str, runtime: Runtime) -> None:
    """Give a critic that has a body of its own the weights of a reward model, head included.

    Raises:
        ConfigError: With these weights it would not say what the reward model says.
    """
    assert critic.body is not None, "a body of its own"
    who, device = f"critic_model '{path}'", critic.head.weight.device
    judge: Any = load_model(path, scalar_head=True, trust_remote_code=runtime.trust_remote_code)
    judge.to(device)
    body: Any = decoder_of(judge)
    head = _head_of(judge, who)
    weights = body.state_dict()
    for name, tensor in critic.body.state_dict().items():
        if own := own_name(name):
            tensor.copy_(weights[own])
    critic.head.weight.copy_(head.weight)
    vocabulary = judge.config.get_text_config().vocab_size
    ids = torch.arange(TEXT, device=device).unsqueeze(0) % vocabulary
    states = body(input_ids=ids, use_cache=False).last_hidden_state
    score = text_scores(judge, ids, torch.tensor([TEXT], device=device))
    if not torch.allclose(head(states)[:, -1, 0].float(), score, rtol=1e-3, atol=1e-3):
        raise ConfigError(f"{who} makes its scores otherwise than by a linear head on its body")
    if stretching(critic.body):  # the policy's positions are those of its longest text
        return
    exact = all(weight.dtype == torch.float32 for weight in critic.body.parameters())
    dtype = torch.float32 if exact else runtime.dtype
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=dtype != torch.float32):
        found = critic.body(input_ids=ids, use_cache=False).last_hidden_state
    if (found - states).abs().max() > SAME[dtype] * states.abs().max():
        raise ConfigError(
            f"{who} is built otherwise than the policy: with the same weights, their bodies say "
            "different things of a text, so their configurations differ"
        )


def _shapes(body: nn.Module) -> dict[str, list[int]]:
    return {name: list(tensor.shape) for name, tensor in body.state_dict().items()}


def _head_of(judge: PreTrainedModel, who: str) -> nn.Linear:
    """What makes the score of a state."""
    inside = set(decoder_of(judge).modules())
    beside = [m for m in judge.modules() if isinstance(m, nn.Linear) and m not in inside]
    if [(head.out_features, head.bias is None) for head in beside] != [(1, True)]:
        raise ConfigError(
            f"{who} makes its scores otherwise than by one linear head without bias, which is what "
            "a critic has"
        )
    return beside[0]
