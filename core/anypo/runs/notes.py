"""What is worth telling the user beside the figures of a run; each once."""

from collections.abc import Iterator, Sequence

from anypo.composition.algorithm import Algorithm
from anypo.data.found import PromptSet
from anypo.hooks.runtime import Runtime
from anypo.rewards.scorer import GIVEN
from anypo.runs.options import RunConfig
from anypo.runs.setup import Setup
from anypo.sampling.agreement import EXPLAINED
from anypo.training.trainer import Report

SUSPICIOUS = 3  # steps without two different rewards


def before(algorithm: Algorithm, setup: Setup) -> Iterator[str]:
    """What can be told before the first step."""
    config = setup.config
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
    if len(setup.prompts) < config.prompts_per_step:
        yield (
            f"a step takes {config.prompts_per_step} prompts, but there are only "
            f"{len(setup.prompts)}: it takes some of them several times (--prompts-per-step says "
            "how many it takes)"
        )
    if setup.shares:
        yield _drawn(setup.sets, setup.shares, (config.steps or 1) * config.prompts_per_step)
    columns = {column for prompts in setup.sets for column in prompts.tally.columns}
    if algorithm.inputs.scorer and (hidden := sorted(columns & GIVEN)):
        yield (
            f"no reward sees column '{hidden[0]}' of the data set: under that name it is given "
            "what is to be scored"
        )


def _drawn(sets: Sequence[PromptSet], shares: Sequence[float], total: int) -> str:
    """How much of a mixture each data set gives, and how often its prompts come."""
    parts = (
        f"{share:.0%} of '{prompts.name}', {total * share / len(prompts):.2g} passes over its "
        f"{len(prompts)} prompts"
        for share, prompts in zip(shares, sets, strict=True)
    )
    return f"{total} prompts are drawn: {'; '.join(parts)}"


class StepNotes:
    """What steps give to tell."""

    def __init__(self, config: RunConfig, runtime: Runtime) -> None:
        self.config, self.runtime = config, runtime
        self._told, self._rewards = set[str](), set[float]()

    def of(self, report: Report) -> Iterator[str]:
        """What a step gives to tell, unless one before it gave the same."""
        for topic, note in self._topics(report):
            if topic not in self._told:
                self._told.add(topic)
                yield note

    def _topics(self, report: Report) -> Iterator[tuple[str, str]]:
        config, step = self.config, report.step
        if report.missing:
            kept = config.prompts_per_step - report.missing
            learnt = "trained on those" if kept else "learnt nothing"
            yield (
                "missing",
                f"step {step} kept {kept} of {config.prompts_per_step} prompts in "
                f"{config.max_rounds} rounds and {learnt}; so may later steps (--max-rounds allows "
                "more)",
            )
        gap, explained = report.metrics.get("mismatch/max", 0.0), EXPLAINED[self.runtime.dtype]
        if not gap <= explained:
            yield (
                "mismatch",
                f"step {step}: the log-prob of a token is {gap:.2g} nats from the sampler's, "
                f"more than {str(self.runtime.dtype)[6:]} explains ({explained:g}): the sampler "
                "may be wrong for this model",
            )
        if step <= SUSPICIOUS and "reward/mean" in report.metrics:  # of what was dropped, too
            rewards = report.metrics["reward/mean"], *(s.reward or 0.0 for s in report.samples)
            self._rewards |= {round(reward, 9) for reward in rewards}
        if step == SUSPICIOUS and len(self._rewards) == 1:
            yield (
                "constant",
                f"every completion of {step} steps was given the reward {self._rewards.pop():g}: "
                "as long as none is better than another, there is nothing to learn",
            )
        yield from zip(report.notes, report.notes, strict=True)
