"""An algorithm: a stack of plugins behind a typed face. Read this file second.

`Algorithm.loss` is the whole flow of a training step.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import pluggy
import torch
from jaxtyping import Float
from torch import Tensor

from anypo import functional as F
from anypo.composition.calls import Calls
from anypo.composition.explain import Explanation, explain
from anypo.composition.findings import Findings
from anypo.composition.knobs import Knob, build
from anypo.composition.loss import Loss, Metrics, guarded, weighted
from anypo.composition.schedules import Schedule
from anypo.composition.stack import Stack
from anypo.composition.token_metrics import token_metrics
from anypo.composition.tracing import trace_from
from anypo.errors import PluginError
from anypo.functional.groups import rows_by_group
from anypo.hooks.batch import Batch, Prompt, Sample
from anypo.hooks.plugin import recorded_knobs
from anypo.hooks.rollout import Sampler, Scorer
from anypo.hooks.specs import State, beginning

UNTRIED = Findings()


class Algorithm:
    """A composed algorithm. Make one with `anypo.compose`.

    Attributes:
        name: What it is called: the named plugins joined by `+`, then the swapped stages.
        layers: The stack, bottom first.
        knobs: Every knob with its value and where the value comes from.
        findings: What a trial of it found; `inputs`, `requires` and others are parts of it.
        share: Of the way from the first step to the last, for knobs that follow a schedule.
    """

    def __init__(
        self,
        stack: Stack,
        knobs: Mapping[str, Knob],
        findings: Findings = UNTRIED,
        share: float = 0.0,
    ) -> None:
        self.stack, self.name, self.layers = stack, stack.name, stack.layers
        self.knobs, self.share = dict(knobs), share
        self.findings = findings
        self.inputs, self.requires = findings.inputs, findings.requires
        self.prepare_requires = findings.prepare_requires
        self.loss_requires = findings.loss_requires
        self.active_knobs = findings.active_knobs
        left_out = {"regularizer": findings.overridden}
        self.calls = Calls(self.name, self.layers, build(self.layers, knobs, share), left_out)
        trace_from(2 if findings is UNTRIED else 1, self.manager)

    def knowing(self, findings: Findings) -> "Algorithm":
        """The same stack and knobs, made anew with what a trial found."""
        return Algorithm(self.stack, self.knobs, findings)

    def at(self, share: float) -> "Algorithm":
        """The same after a share of the way: knobs that follow a schedule have other values."""
        if not self.scheduled:
            return self
        return Algorithm(self.stack, self.knobs, self.findings, share)

    @property
    def scheduled(self) -> dict[str, float]:
        """The values of the knobs that follow a schedule."""
        values = {knob.name: knob.value for knob in self.knobs.values()}
        return {n: x.at(self.share) for n, x in values.items() if isinstance(x, Schedule)}

    def rollout(
        self,
        prompts: Sequence[Prompt],
        sampler: Sampler,
        scorer: Scorer,
        state: State,
        data: Sequence[Prompt] = (),
    ) -> list[Sample]:
        """Scored samples for the prompts, which are all of the data if none are given."""
        given = {"prompts": prompts, "sampler": sampler, "scorer": scorer, "state": state}
        samples = self.calls("rollout", **given, data=data or prompts)
        if not isinstance(samples, list) or not all(isinstance(s, Sample) for s in samples):
            who = self.blame("rollout")
            raise PluginError(f"{who} returned {samples!r:.60}, no list of Sample")
        return samples

    def prepare(self, batch: Batch, state: State | None = None, **now: Tensor) -> Batch:
        """The batch of one optimizer step with its `advantages` and `weights`."""
        state = beginning() if state is None else state
        return self.weigh(self.advantage(batch, state), state, **now)

    def advantage(self, batch: Batch, state: State) -> Batch:
        """The rollout's whole batch, of all ranks, with `advantages` and what comes with them."""
        n, t = batch.mask.shape
        answer = self.calls.named("advantage", "advantages", batch=batch, state=state)
        columns = self.calls.checked("advantage", answer, (n,), (n, t))
        if columns["advantages"].dim() == 1:
            columns["advantages"] = columns["advantages"].unsqueeze(-1).expand(n, t)
        return batch.replace(**{name: x.detach() for name, x in columns.items()})

    def weigh(
        self,
        batch: Batch,
        state: State,
        logprobs: Float[Tensor, "N T"] | None = None,
        entropy: Float[Tensor, "N T"] | None = None,
    ) -> Batch:
        """The whole batch of one optimizer step, of all ranks, with its `weights`.

        Args:
            batch: With advantages.
            state: What plugins remember.
            logprobs: Of the policy now, where some `weight` asks for them; see `asks`.
            entropy: The same.
        """
        now = {"logprobs": logprobs, "entropy": entropy}
        weights = self.calls.named("weight", "policy", batch=batch, state=state, **now)
        return batch.replace(weights=self.calls.checked("weight", weights, batch.mask.shape))

    def loss(
        self,
        logprobs: Float[Tensor, "N T"],
        batch: Batch,
        values: Float[Tensor, "N T"] | None = None,
        entropy: Float[Tensor, "N T"] | None = None,
        token_statistics: Mapping[str, Float[Tensor, "N T"]] | None = None,
    ) -> Loss:
        """The loss of some rows of a prepared batch; the losses of all its rows add up.

        Args:
            logprobs: Of the sampled tokens under the policy; gradient flows through them.
            batch: Rows of what `prepare` returned.
            values: The critic's estimates, where one is required.
            entropy: Of the policy's distribution at every token, where it is required.
            token_statistics: What `statistics` says of every token, where that is asked for.
        """
        logprobs = F.masked(logprobs, batch.mask)
        values = None if values is None else F.masked(values, batch.mask)
        entropy = None if entropy is None else F.masked(entropy, batch.mask)
        if not (entropy is None or entropy.requires_grad or "entropy" in self.requires):
            entropy = guarded(entropy, partial(self.blame, "regularizer"))
        said = {name: F.masked(x, batch.mask) for name, x in (token_statistics or {}).items()}
        log_ratio = self.log_ratio(logprobs, batch)
        given = {"logprobs": logprobs, "token_statistics": said}
        gain = self.gain(log_ratio, batch, **given)
        penalties = self._penalties(batch, values=values, entropy=entropy, **given)
        terms = {"policy": -weighted(gain, "policy", batch)}
        terms |= {name: weighted(x, name, batch) for name, x in penalties.items()}
        metrics = token_metrics(logprobs, log_ratio, gain, entropy, batch)
        metrics |= self._plugin_metrics(batch, logprobs=logprobs, log_ratio=log_ratio)
        total = torch.stack(list(terms.values())).sum()
        return Loss(total, {k: x.detach() for k, x in terms.items()}, metrics)

    def statistics(
        self,
        log_distribution: Float[Tensor, "m V"],
        teacher_log_distribution: Float[Tensor, "m V"] | None,
    ) -> dict[str, Float[Tensor, " m"]]:
        """What the plugins make of the distributions of some tokens, by name."""
        found = self.calls.merged(
            "distribution",
            log_distribution=log_distribution,
            teacher_log_distribution=teacher_log_distribution,
        )
        return self.calls.checked("distribution", found, (len(log_distribution),))

    def log_ratio(
        self, logprobs: Float[Tensor, "N T"], batch: Batch
    ) -> Float[Tensor, "N T"] | Float[Tensor, "N 1"]:
        """The logarithm of the importance ratio, per token or per sequence."""
        return self._per_token_or_row("ratio", batch, logprobs=logprobs)

    def gain(self, log_ratio: Tensor, batch: Batch, **given: Any) -> Tensor:
        """What is gained, where advantages are one per row if the ratio is, per token or row."""
        per_row = log_ratio.shape != batch.mask.shape
        advantages = F.first_token(batch.advantages, batch.mask) if per_row else batch.advantages
        given |= {"log_ratio": log_ratio, "advantages": advantages}
        return self._per_token_or_row("clip", batch, **given)

    @property
    def manager(self) -> pluggy.PluginManager:
        """Where the plugins are registered, by their labels."""
        return self.calls.manager

    def answers(self, stage: str) -> list[pluggy.HookImpl]:
        """The hook implementations of a stage, in the order in which they are called."""
        return self.calls.answers(stage)

    def asks(self, *stages: str) -> set[str]:
        """The arguments that plugins name which answer some stages."""
        impls = [impl for stage in stages for impl in self.calls.asked(stage)]
        return {name for impl in impls for name in impl.argnames}

    def blame(self, stage: str, *labels: str) -> str:
        """Who answers a stage, for an error message; of a merged one, those that are meant."""
        return self.calls.blame(stage, *labels)

    def explain(self) -> Explanation:
        """Stage by stage who answers, with what formula, and every knob with its origin."""
        return explain(self.calls, self.knobs, self.findings)

    @property
    def named(self) -> str:
        """The plugins it was composed of, joined by `+`, without swapped stages."""
        return self.name.partition("[")[0]

    @property
    def generates(self) -> bool:
        """Whether what it trains continues texts, and does not score them."""
        return "scalar_head" not in self.requires

    @property
    def couples_groups(self) -> bool:
        """Whether the rows of a group must share a micro-batch."""
        return any(getattr(layer.source, "couples", "") == "group" for layer in self.layers)

    def units(self, batch: Batch) -> list[list[int]]:
        """Rows that no split may separate."""
        if self.couples_groups:
            return rows_by_group(batch.group)
        return [[row] for row in range(len(batch))]

    @property
    def options(self) -> dict[str, Any]:
        """The run options that suit it, whatever the task."""
        return self.stack.preferred("options")

    def task_options(self, task: str) -> dict[str, Any]:
        """The run options that suit it on a task."""
        return self.stack.preferred("task_options", task)

    def _per_token_or_row(self, stage: str, batch: Batch, **arguments: Any) -> Tensor:
        answer = {"answer": self.calls(stage, batch=batch, **arguments)}
        n, t = batch.mask.shape
        return self.calls.checked(stage, answer, (n, t), (n, 1))["answer"]

    def _penalties(self, batch: Batch, **arguments: Any) -> dict[str, Tensor]:
        penalties = self.calls.merged("regularizer", batch=batch, **arguments)
        overridden = self.findings.overridden
        idle = [plugin for plugin, names in overridden.items() if names <= penalties.keys()]
        if len(idle) < len(overridden):  # fewer than on the made-up batch
            with self.calls.leaving_out("regularizer", idle):
                penalties = self.calls.merged("regularizer", batch=batch, **arguments)
        penalties = {name: x for name, x in penalties.items() if x is not None}
        late = "pays a penalty in some batches only: return it in all, 0 where there is none"
        refused = dict.fromkeys(penalties if self.findings.only_advantages_count else (), late)
        refused["policy"] = "calls a penalty 'policy', as the gain is called: give it another name"
        for name in sorted(penalties.keys() & refused.keys()):
            answers = self.calls.one_by_one("regularizer", batch=batch, **arguments)
            who = [label for label, answer in answers.items() if name in (answer or {})]
            raise PluginError(f"{self.blame('regularizer', *who[:1])} {refused[name]}")
        n, t = batch.mask.shape
        return self.calls.checked("regularizer", penalties, (n, t), (n, 1))

    @torch.no_grad()
    def _plugin_metrics(self, batch: Batch, **arguments: Tensor) -> Metrics:
        """What the plugins want logged, as sums and counts of what is not NaN."""
        metrics: Metrics = {}
        n, t = batch.mask.shape
        detached = {name: x.detach() for name, x in arguments.items()}
        with recorded_knobs():  # of no account: a knob that only a metric reads changes nothing
            answers = self.calls.merged("metrics", batch=batch, **detached)
        said = {name: x for name, x in answers.items() if x is not None}
        for name, x in self.calls.checked("metrics", said, (n, t), (n, 1), (n,)).items():
            known = ~x.isnan() & (batch.mask if x.shape == (n, t) else True)
            metrics[name] = (torch.where(known, x, 0).sum(), known.sum())
        return metrics

    def __repr__(self) -> str:
        knobs = ", ".join(f"{knob.name}={knob.value!r}" for knob in self.knobs.values())
        return f"Algorithm({self.name}: {knobs})"
