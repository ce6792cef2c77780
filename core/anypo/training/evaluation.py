"""What is measured on held-out prompts."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from anypo.hooks.batch import Prompt, Sample
from anypo.hooks.rollout import Sampler, Scorer
from anypo.hooks.specs import beginning
from anypo.training.learner import Learner
from anypo.training.metrics import Meter, reward_metrics

ONLY = "eval"  # what a held-out set is called that needs no name
EMA = "ema"  # what stands before its name where the averaged policy is evaluated


@dataclass(frozen=True)
class Evaluated:
    """What one evaluation of a held-out set found."""

    metrics: dict[str, float]
    name: str = ""  # of the set; nothing where there is only one
    prompts: Sequence[Prompt] = ()
    samples: Sequence[Sample] = ()  # what the policy said; `group` indexes the prompts

    @property
    def title(self) -> str:
        """What the set is called among the samples of a run."""
        return self.name or ONLY

    def of_average(self) -> "Evaluated":
        """The same, found of the averaged policy: as of a set `ema`, or `ema/SET`."""
        return replace(self, name="/".join(filter(None, (EMA, self.name))))

    def named_metrics(self) -> dict[str, float]:
        """The metrics as `eval/METRIC`, or `eval/SET/METRIC` of a set that has a name."""
        before = f"{ONLY}/{self.name}/" if self.name else f"{ONLY}/"
        return {before + name: value for name, value in self.metrics.items()}


def sampled_score(
    prompts: Sequence[Prompt], sampler: Sampler, scorer: Scorer, n: int = 1, name: str = ""
) -> Evaluated:
    """`score`, the mean reward of `n` completions to every prompt; `score/NAME` if it is a sum."""
    samples = scorer(prompts, sampler.sample(prompts, n))
    metrics = reward_metrics(samples)
    score = {"score": metrics.pop("mean")}
    if len(metrics) > 1:
        score |= {f"score/{name}": value for name, value in metrics.items()}
    return Evaluated(score, name, prompts, samples)


def held_out_loss(
    prompts: Sequence[Prompt], learner: Learner, sampler: Sampler, scorer: Scorer, name: str = ""
) -> Evaluated:
    """`loss` on the completions that held-out rows hold, its terms, and the metrics of training."""
    state, meter = beginning(learner.config.steps or 1), Meter()
    samples = learner.algorithm.rollout(prompts, sampler, scorer, state)
    learner.measure(learner.prepare(samples, state), meter, state)
    return Evaluated(meter.means(learner.world), name)
