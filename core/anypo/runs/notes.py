"""What is worth telling the user beside the figures of a run; each once."""

from collections.abc import Iterator

from anypo.composition.algorithm import Algorithm
from anypo.hooks.runtime import Runtime
from anypo.runs.options import RunConfig
from anypo.sampling.agreement import EXPLAINED
from anypo.training.trainer import Report


def before(algorithm: Algorithm, config: RunConfig) -> Iterator[str]:
    """What can be told before the first step, of options whose steps are known."""
    if config.epochs * config.minibatches == 1 and "old_logprobs" in algorithm.loss_requires:
        yield (
            "one update per rollout: every importance ratio is 1, so clipping has no effect "
            "(--minibatches or --epochs above 1 make it matter)"
        )
    if config.warmup_steps >= (config.steps or 1):
        yield (
            f"the learning rate rises for {config.warmup_steps} steps, but the run has "
            f"{config.steps}: it never gets as far as learning_rate (--warmup-steps says how long "
            "it rises)"
        )


def of_step(report: Report, config: RunConfig, runtime: Runtime) -> Iterator[tuple[str, str]]:
    """What a step gives to tell: what it is about, and the sentence."""
    if report.missing:
        kept = config.prompts_per_step - report.missing
        learnt = "trained on those" if kept else "learnt nothing"
        yield (
            "missing",
            f"step {report.step} kept {kept} of {config.prompts_per_step} prompts in "
            f"{config.max_rounds} rounds and {learnt}; so may later steps (--max-rounds allows "
            "more)",
        )
    gap, explained = report.metrics.get("mismatch/max", 0.0), EXPLAINED[runtime.dtype]
    if not gap <= explained:
        yield (
            "mismatch",
            f"step {report.step}: the log-prob of a token is {gap:.2g} nats from the sampler's, "
            f"more than {str(runtime.dtype)[6:]} explains ({explained:g}): the sampler may be "
            "wrong for this model",
        )
    yield from zip(report.notes, report.notes, strict=True)
