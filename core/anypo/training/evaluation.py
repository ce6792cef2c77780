"""What is measured on held-out prompts."""

from collections.abc import Sequence

from anypo.hooks.batch import Prompt
from anypo.hooks.rollout import Sampler, Scorer
from anypo.training.learner import Learner
from anypo.training.metrics import Meter, reward_metrics


def sampled_score(prompts: Sequence[Prompt], sampler: Sampler, scorer: Scorer) -> dict[str, float]:
    """`score`, the mean reward of one completion to every prompt; `score/NAME` if it is a sum."""
    metrics = reward_metrics(scorer(prompts, sampler.sample(prompts, 1)))
    score = {"score": metrics.pop("mean")}
    if len(metrics) > 1:
        score |= {f"score/{name}": value for name, value in metrics.items()}
    return score


def held_out_loss(
    prompts: Sequence[Prompt], learner: Learner, sampler: Sampler, scorer: Scorer
) -> dict[str, float]:
    """`loss` on the completions that held-out rows hold, its terms, and the metrics of training."""
    samples = learner.algorithm.rollout(prompts, sampler, scorer, {})
    meter = Meter()
    learner.measure(learner.prepare(samples, {}), meter)
    return meter.means(learner.world)
