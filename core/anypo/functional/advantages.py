"""What a wrapper of `advantage` is given, whatever is below it."""

from collections.abc import Mapping

from jaxtyping import Bool, Float
from torch import Tensor

from anypo.functional.masking import masked, to_tokens


def split_advantages(
    answer: Tensor | Mapping[str, Tensor], mask: Bool[Tensor, "N T"]
) -> tuple[Float[Tensor, "N T"], dict[str, Tensor]]:
    """The advantages of every token, and what else came with them.

        advantages, others = F.split_advantages((yield), batch.mask)
        return {**others, "advantages": 0.5 * advantages}

    Args:
        answer: Of an `advantage` hook: [N], [N, T], or a dict with `advantages`.
        mask: Of the batch.
    """
    others = dict(answer) if isinstance(answer, Mapping) else {"advantages": answer}
    advantages = others.pop("advantages")
    per_row = advantages.dim() == 1
    return to_tokens(advantages, mask) if per_row else masked(advantages, mask), others
