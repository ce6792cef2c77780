"""What a rollout samples with: an engine, and what the run has to say of sampling."""

from collections.abc import Sequence
from dataclasses import replace

from transformers import PreTrainedModel

from anypo.hooks.batch import Prompt, Sample
from anypo.hooks.sampler import Engine, SamplingRequest


class PolicySampler:
    """Has an engine draw completions of any prompts, as the run's request says."""

    def __init__(self, engine: Engine, request: SamplingRequest) -> None:
        self.engine, self.request = engine, request

    @property
    def max_completion_length(self) -> int:
        """In tokens; a completion that reaches it without end is truncated."""
        return self.request.max_completion_length

    def sample(self, prompts: Sequence[Prompt], n: int) -> list[Sample]:
        """See `anypo.Sampler`."""
        return self.engine.sample(replace(self.request, prompts=prompts, n=n))

    def sync(self, model: PreTrainedModel) -> None:
        """Use the current weights of `model` from now on."""
        self.engine.sync(model)

    def close(self) -> None:
        """Release what the engine holds."""
        self.engine.close()
