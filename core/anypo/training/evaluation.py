"""What is measured on held-out prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from anypo.hooks.batch import Prompt
from anypo.hooks.rollout import Sampler, Scorer
from anypo.training.learner import Learner
from anypo.training.metrics import Meter, reward_metrics


@dataclass(frozen=True)
class SampledScore:
    """The mean reward of one completion to every prompt, and of several rewards each one's own."""

    prompts: Sequence[Prompt]
    sampler: Sampler
    scorer: Scorer

    def __call__(self) -> dict[str, float]:
        """`score`, and as `score/NAME` what it is the sum of, if that is several."""
        samples = self.scorer(self.prompts, self.sampler.sample(self.prompts, 1))
        metrics = reward_metrics(samples)
        score = {"score": metrics.pop("mean")}
        if len(metrics) > 1:
            score |= {f"score/{name}": value for name, value in metrics.items()}
        return score


@dataclass(frozen=True)
class HeldOutLoss:
    """The loss on the completions that held-out rows hold, and what the plugins watch."""

    prompts: Sequence[Prompt]
    learner: Learner
    sampler: Sampler
    scorer: Scorer

    def __call__(self) -> dict[str, float]:
        """`loss`, its terms, and the metrics of training."""
        samples = self.learner.algorithm.rollout(self.prompts, self.sampler, self.scorer, {})
        meter = Meter()
        self.learner.measure(self.learner.prepare(samples, {}), meter)
        return meter.means()
