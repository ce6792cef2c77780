"""Whether a sampler and the trainer mean the same model."""

from dataclasses import replace
from typing import Any

import torch

from anypo.errors import SamplerError
from anypo.hooks.batch import Prompt, collate
from anypo.hooks.runtime import Runtime
from anypo.hooks.sampler import Engine, SamplingRequest
from anypo.models.forward import score_tokens

# Nats that precision explains. Rounding of float32 is some 1e-5, or 1e-3 where logits are large; of
# bfloat16 it is 0.1, and more for unlikely tokens and where another expert is chosen. That may be
# so of one token, but a wrong sampler is wrong of most.
EXPLAINED = {torch.float32: 1e-2, torch.bfloat16: 1.0}
TOKENS = 4  # of each completion
PROMPTS = (3, 64)  # tokens, the longer one unless a run has only shorter ones
ORDINARY = 10  # the first of their tokens; those before may be special


@torch.no_grad()
def check_agreement(
    engine: Engine, model: Any, request: SamplingRequest, runtime: Runtime, longest: int
) -> None:
    """Refuse a sampler whose log-probs of its own completions are not those of the model.

    It completes two made-up prompts, and no random number of the run is used up.

    Args:
        engine: Of the sampler.
        model: What it samples from.
        request: As the run makes them; the prompts and how many completions do not matter.
        runtime: Where and in what precision the model is run.
        longest: Tokens of the longest prompt of the run: there may be no room for longer ones.

    Raises:
        SamplerError: They differ by more than the precision explains.
    """
    lengths = [min(length, longest) for length in PROMPTS]
    vocabulary = model.get_input_embeddings().weight.shape[0]
    ids = [[(ORDINARY + i) % vocabulary for i in range(length)] for length in lengths]
    prompts = [Prompt(prompt, "") for prompt in ids]
    limit = min(TOKENS, request.max_completion_length)
    whole = replace(request, top_p=1.0, top_k=0, stop=())  # of a part, log-probs are others
    short = replace(whole, prompts=prompts, n=2, max_completion_length=limit)
    devices = [runtime.device] if runtime.device.type == "cuda" else []
    with torch.random.fork_rng(devices), runtime.autocast():
        samples = engine.sample(short)
        if any(sample.logprobs is None for sample in samples):
            return
        batch = collate(samples).to(model.device)
        logprobs = score_tokens(model, batch, temperature=request.temperature).logprobs
    gaps = (logprobs - batch.sampler_logprobs)[batch.mask].abs()
    gap = float(gaps.max() if runtime.dtype == torch.float32 else gaps.median())
    if not gap <= EXPLAINED[runtime.dtype]:
        raise SamplerError(
            f"the sampler's log-probs of what it draws from {type(model).__name__} are "
            f"{gap:.2g} nats from those that would be trained, more than {str(runtime.dtype)[6:]} "
            f"explains ({EXPLAINED[runtime.dtype]:g}): sample with another one (--sampler), or "
            "train another model"
        )
