"""What is worth telling the user beside the figures of a run; each once."""

from collections import Counter
from collections.abc import Iterator, Sequence

from anypo.composition.algorithm import Algorithm
from anypo.data.found import PromptSet
from anypo.hooks.batch import Prompt
from anypo.hooks.runtime import Runtime
from anypo.runs.setup import Setup
from anypo.runs.symptoms import Symptoms
from anypo.sampling.agreement import EXPLAINED
from anypo.training.trainer import Report


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
    yield from _met_again(algorithm, setup)
    if setup.tokenizer.chat_template:
        for prompts in (x for x in setup.sets if isinstance(x[0].content, str)):
            yield (
                f"prompts of '{prompts.name}' are texts, which are read as they are; messages "
                "would go through the chat template that the model has"
            )
    if setup.forgets:
        yield (
            "the chat template leaves out of earlier replies what was thought; in conversations "
            "they stay as the policy wrote them, and so they should where the model is used"
        )
    if setup.talking and setup.talking.environments.chosen.is_of_trl:
        yield (
            f"{setup.talking.environments.chosen} is a class for TRL's environment_factory: its "
            "public methods are tools, and it is asked as TRL asks it"
        )
    columns = {column for prompts in setup.sets for column in prompts.tally.columns}
    if algorithm.inputs.scorer and (hidden := sorted(columns & setup.scorer.given)):
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


def _met_again(algorithm: Algorithm, setup: Setup) -> Iterator[str]:
    """Which prompts are learnt from oftener than others, or measured although they are learnt."""
    learnt = Counter(map(_key, setup.prompts))
    if algorithm.inputs.sampler and (repeated := len(setup.prompts) - len(learnt)):
        yield f"{repeated} of {len(setup.prompts)} prompts to learn from repeat an earlier one"
    for name, prompts in (setup.held_out | setup.held_out_rows).items():
        if known := sum(_key(prompt) in learnt for prompt in prompts):
            which = f" of '{name}'" if name else ""
            yield (
                f"{known} of {len(prompts)} held-out prompts{which} are learnt from, too: what is "
                "measured on them is no measure of other prompts"
            )


def _key(prompt: Prompt) -> int:
    return hash(tuple(prompt.ids))


class StepNotes:
    """What steps give to tell."""

    def __init__(self, setup: Setup, runtime: Runtime) -> None:
        self.config, self.runtime, self.symptoms = setup.config, runtime, Symptoms(setup)
        self._told = set[str]()

    def of(self, report: Report) -> Iterator[str]:
        """What a step gives to tell, unless one before it gave the same."""
        for topic, note in self._topics(report):
            if topic not in self._told:
                self._told.add(topic)
                yield note

    def _topics(self, report: Report) -> Iterator[tuple[str, str]]:
        config, step = self.config, report.step
        if report.missing:
            kept = len({sample.group for sample in report.samples})
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
        never = [name for name in report.metrics if _is_score(name) and not report.metrics[name]]
        if step == 0 and never:
            yield (
                "unrewarded",
                f"{never[0]} is 0 before training: if the model should get some of it right, look "
                "at its completions and at what the reward makes of them; if it cannot yet, "
                "rewards alone hardly teach it: have it imitate good completions first",
            )
        yield from zip(report.notes, report.notes, strict=True)
        yield from ((note, note) for note in self.symptoms.of(report))


def _is_score(metric: str) -> bool:
    """Whether it is of held-out completions: eval/score, eval/SET/score, eval/score/REWARD."""
    return metric.startswith("eval/") and "score" in metric.split("/")
