"""The sampler that is always there."""

from typing import ClassVar

from torch import nn

from anypo.hooks.runtime import Runtime
from anypo.hooks.sampler import Engine, SamplerPlugin


class Transformers(SamplerPlugin):
    """Samples with the policy itself, a model of transformers."""

    draws: ClassVar = True

    def start(self, model: nn.Module, runtime: Runtime, max_length: int) -> Engine:
        """See `SamplerPlugin`."""
        from anypo.sampling.generate import TransformersEngine  # takes a second to import

        return TransformersEngine(model, runtime)
