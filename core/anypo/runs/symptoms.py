"""Signs that a run learns nothing, told with a completion that shows them."""

from collections import Counter
from collections.abc import Iterator

from anypo.composition.explain import first_line
from anypo.functional.groups import EQUAL_REWARDS
from anypo.hooks.batch import Sample
from anypo.rewards.load import Reward
from anypo.runs.setup import Setup
from anypo.training.trainer import Report

LASTING = 5  # steps
MOST = 0.8  # of the completions
TOO_SHORT = (
    "raise --max-completion-length, ask for shorter answers, or turn thoughts off where the chat "
    "template can (--chat-template-kwargs enable_thinking=false)"
)
NOT_ASKED_FOR = "ask for it in the prompts, or take a reward that reads what the model writes"
ALL_ALIKE = (
    "none is better than another, so there is nothing to learn; if that is what the reward should "
    "say, take prompts of which the model gets some right and some wrong, or have it imitate good "
    "completions first"
)


class Symptoms:
    """Tells each once, when it has shown in several steps in a row; those of a step in one note.

    Args:
        setup: Of the run.
    """

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.lasting = min(LASTING, setup.config.steps or LASTING)
        self._unfound = [reward for reward in setup.scorer.rewards if reward.finds]
        self._steps = Counter[str]()  # in a row, by symptom
        self._told = set[str]()

    def of(self, report: Report) -> Iterator[str]:
        """What is to be told after a step."""
        if "reward/std" not in report.metrics:  # nothing was scored
            return
        found = dict(self._found(report))
        self._steps = Counter({symptom: self._steps[symptom] + 1 for symptom in found})
        lasting = [s for s in found if self._steps[s] >= self.lasting and s not in self._told]
        if lasting:
            self._told.update(lasting)
            said = "".join(f"\n- {found[symptom]}" for symptom in lasting)
            first = report.step - self.lasting + 1
            yield f"since step {first}:{said}\n{self._example(report)}"

    def _found(self, report: Report) -> Iterator[tuple[str, str]]:
        """The symptoms of a step, and what to say of each."""
        metrics, limit = report.metrics, self.setup.config.max_completion_length
        if (share := metrics["length/truncated"]) >= MOST:
            yield "length", f"{share:.0%} of completions are cut at {limit} tokens: {TOO_SHORT}"
        self._unfound = [reward for reward in self._unfound if not self._is_done(reward, report)]
        for reward in self._unfound:
            what = first_line(reward.finds).rstrip(".")
            yield (
                f"format {reward.name}",
                f"reward '{reward.source}' finds in no completion what it looks for ({what}): "
                f"{NOT_ASKED_FOR}",
            )
        if metrics["reward/std"] <= EQUAL_REWARDS:
            mean = f"{metrics['reward/mean']:.6g}"
            yield f"reward {mean}", f"every completion is given the reward {mean}: {ALL_ALIKE}"

    def _is_done(self, reward: Reward, report: Report) -> bool:
        """Whether it has found something, or been told to find nothing."""
        if f"format {reward.name}" in self._told:
            return True
        return any(self.setup.scorer.finds(reward, *each) for each in report.completions)

    def _example(self, report: Report) -> str:
        """One of the completions, a truncated one if there is one, and how it was scored."""
        _, sample = max(report.completions, key=lambda each: each[1].truncated)
        text = self.setup.tokenizer.decode(sample.completion_ids)
        return f"such as this one of step {report.step}, {_scored(sample)}:\n{text}"


def _scored(sample: Sample) -> str:
    scores = ", ".join(f"{name} {score:.4g}" for name, score in sample.scores.items())
    cut = ", cut" if sample.truncated else ""
    return f"of {sample.length} tokens{cut}, reward {sample.reward:.4g} ({scores})"
