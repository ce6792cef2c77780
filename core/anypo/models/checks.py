"""Whether a model can be trained: what is seen of it before the first step."""

from functools import partial

import torch
from transformers import PreTrainedModel

from anypo.errors import ModelError
from anypo.hooks.batch import Sample, collate
from anypo.hooks.runtime import Runtime
from anypo.models.layout import one_by_one, without_padding
from anypo.models.lines import Sharing
from anypo.models.logits import decoder_of, own_logits
from anypo.models.sharing import packed

ROUNDING = {torch.float32: 1e-4, torch.bfloat16: 2e-2}  # of the largest state


def check_head(model: PreTrainedModel, *, rounded: bool = False) -> None:
    """Refuse a model whose log-probs cannot be had from the hidden states of its decoder.

    Args:
        model: A model, of any kind.
        rounded: Whether its weights are less precise than float32.

    Raises:
        ModelError: It gives NaN, it sees later tokens, or its logits are made otherwise.
    """
    if model.get_output_embeddings() is None:
        return
    ids = torch.arange(1, 5, device=model.device).unsqueeze(0)
    with torch.no_grad():
        expected = model(input_ids=ids).logits.squeeze(0).float()
        before = model(input_ids=ids[:, :-1]).logits.squeeze(0).float()
        try:
            given = {"attention_mask": torch.ones_like(ids), "use_cache": False}
            hidden = decoder_of(model)(input_ids=ids, **given).last_hidden_state.squeeze(0)
            logits = own_logits(model, hidden).float()
        except (AttributeError, IndexError, TypeError):  # it has no such states, or wants more
            logits = expected.new_empty(0)
    gap = 0.05 if rounded else 1e-3
    name, close = type(model).__name__, partial(torch.allclose, rtol=gap, atol=gap)
    if expected.isnan().any():
        raise ModelError(f"{name} gives NaN as logits: its weights are broken, or not all loaded")
    if not close(expected[:-1], before):
        raise ModelError(
            f"{name} is not causal: what it says of a token depends on later ones (if it can be a "
            "decoder, its configuration does not say so)"
        )
    if logits.shape != expected.shape or not close(logits, expected):
        raise ModelError(
            f"{name} makes its logits not only of what its decoder says of the tokens; log-probs "
            "of such models are not supported"
        )


@torch.no_grad()
def sharing_of(model: PreTrainedModel, longest: int, runtime: Runtime) -> Sharing | None:
    """What rows with one prompt cost together; None where the model cannot read them so.

    It is tried at full length: what sees a window of the last tokens alone sees another one there,
    and what reads its tokens one after the other, or is not told their positions, sees it at once.

    Args:
        model: A causal language model.
        longest: Tokens of the longest row that may be in a line with others.
        runtime: How it is run: what is frozen may be as precise as the computation alone.
    """
    if without_padding(model):  # such attention takes no masks
        return None
    decoder, own = decoder_of(model), min(2, longest - 1)
    vocabulary = model.config.get_text_config().vocab_size
    ids = [i % vocabulary for i in range(longest + own)]
    prompt, first, second = ids[: longest - own], ids[longest - own : longest], ids[longest:]
    batch = collate([Sample(prompt, first, 0), Sample(prompt, second, 0)]).to(model.device)
    try:
        layouts = one_by_one(batch, masked=False), packed(batch, batch.group, model.dtype)
        with runtime.autocast():
            alone, together = (layout.states(decoder)[layout.places] for layout in layouts)
    except (AttributeError, IndexError, NotImplementedError, RuntimeError, TypeError, ValueError):
        return None
    if not (alone - together).abs().max() < ROUNDING[runtime.dtype] * alone.abs().max():
        return None
    body, config = decoder.named_parameters(), model.config.get_text_config()
    products = sum(x.numel() for name, x in body if x.dim() > 1 and "embed" not in name)
    attention = 4 * config.num_hidden_layers * config.hidden_size
    return Sharing(2 * products, attention, up_to=longest)
