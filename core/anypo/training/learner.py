"""What is trained, what it is compared with, and how an optimizer step is made."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from anypo.composition.algorithm import Algorithm
from anypo.composition.loss import Loss
from anypo.hooks.batch import Batch, Sample, collate
from anypo.hooks.specs import State
from anypo.models.adapters import without_lora
from anypo.models.checks import sharing_of
from anypo.models.forward import TokenScorer, TokenScores
from anypo.models.lines import MicroBatch, cut
from anypo.models.router import router_coefficient
from anypo.training.average import average_of
from anypo.training.compared import NONE, Compared, Others, check_chunks
from anypo.training.distributed import Distributed
from anypo.training.first_critic import first_critic
from anypo.training.metrics import Meter
from anypo.training.optimizer import clipped, make_optimizer, make_schedule
from anypo.training.options import LearnerOptions
from anypo.training.replica import Replica
from anypo.training.shares import Units, check_same, shared_out, that_learn, tokens_of

BEFORE = {"logprobs": "old_logprobs", "entropy": "old_entropy"}  # what a batch calls them


class Learner:
    """The policy, and the reference and critic that the algorithm requires, and their optimizer.

    Args:
        algorithm: What says the loss.
        model: The policy; what else there is, is made from it.
        config: The options of the run.
        distributed: Where it trains.
        longest: Tokens of the longest prompt and completion of the run.
        replica: Of the policy, if its weights are to be sharded; the policy has none yet.
        others: Models that stand for the reference or the teacher, if some do.
    """

    def __init__(
        self,
        algorithm: Algorithm,
        model: PreTrainedModel,
        config: LearnerOptions,
        distributed: Distributed,
        longest: int,
        replica: Replica | None = None,
        others: Others = NONE,
    ) -> None:
        self.algorithm, self.config, self.distributed = algorithm, config, distributed
        self.runtime, self.world = distributed.runtime, distributed.world
        self.updates_per_rollout = config.epochs * config.minibatches
        self.frozen: dict[str, Callable[[Batch], Tensor]] = {}  # who says a tensor of the batch
        self.compared = Compared(algorithm, model, config, distributed, others)
        critic, body = None, None
        if "critic" in algorithm.requires:
            critic, body = first_critic(model, config, distributed, replica)
        self.model, self.critic, self.replica = model, critic, replica
        scorer = TokenScorer(
            model,
            critic,
            temperature=config.temperature,
            learns_entropy="entropy" in algorithm.requires,
            whole_entropy=self._reads_entropy,
            statistics=lambda *both: self.algorithm.statistics(*both),
        )
        if replica is None:
            self.scorer = distributed.prepare(scorer)
        else:
            self.scorer = distributed.shard(scorer, replica.model, body)
        balance = partial(router_coefficient, asked=config.router_loss)
        self.router_coefficient = scorer.asked(balance)
        self.sharing = None
        if algorithm.generates and not self.router_coefficient:  # whose loss is of all tokens
            self.sharing = scorer.asked(partial(sharing_of, longest=longest, runtime=self.runtime))
        self.optimizer = make_optimizer(config, model, critic)  # of weights that may be sharded now
        self.schedule = make_schedule(self.optimizer, config)
        self.average = average_of(model, config.ema, config.bema)
        if "reference" in self.compared.models:
            reference = self._scorer_of("reference", others)
            self.frozen["ref_logprobs"] = partial(self._said_by, reference)
        if "teacher" in self.compared.models:
            self.teacher = self._scorer_of("teacher", others)
            if algorithm.findings.statistics:
                check_chunks(getattr(self.teacher, "module", self.teacher))
            self.frozen["teacher_logprobs"] = partial(self._taught_by, self.teacher)

    def _scorer_of(self, name: str, others: Others) -> Any:
        """What scores by a model that the policy is compared with."""
        model = self.compared.models[name]
        if model is self.model:
            return self.scorer
        scorer = TokenScorer(model, temperature=self.config.temperature)
        replica = others[name].replica if name in others else self.replica
        return self.distributed.shard(scorer, replica.model) if replica else scorer

    def prepare(self, samples: Sequence[Sample], state: State) -> Batch:
        """The batch of a whole rollout, with all that the models and the plugins say of it."""
        batch = collate(samples, max_completion_length=self.config.most_written)
        batch = batch.to(self.runtime.device)
        check_same(batch, self.world)
        said = {name: says(batch) for name, says in self.frozen.items()}
        algorithm, findings = self.algorithm, self.algorithm.findings
        old = self.updates_per_rollout > 1 and "old_logprobs" in algorithm.requires
        soon = "old_logprobs" in algorithm.prepare_requires or "old_entropy" in algorithm.requires
        if self.critic is not None or soon or findings.old_statistics:
            found = self._without_gradient(self.scorer, batch, measured=findings.old_statistics)
            said |= {BEFORE.get(name, name): x for name, x in found.items()}
        batch = algorithm.advantage(batch.replace(**said), state)
        check_same(batch, self.world)
        if old and "old_logprobs" not in batch:  # only now is it known who learns something
            found = self._without_gradient(self.scorer, batch, self._units(batch))
            batch = batch.replace(old_logprobs=found["logprobs"])
        return batch

    def weigh(self, batch: Batch, state: State) -> Batch:
        """The batch of an optimizer step with its weights, for which plugins may ask the policy."""
        found = self._without_gradient(self.scorer, batch) if self._asked_now else {}
        return self.algorithm.weigh(batch, state, **{name: found[name] for name in self._asked_now})

    @property
    def _asked_now(self) -> set[str]:
        """What plugins want to know of the policy before every optimizer step."""
        return self.algorithm.asks("weight") & {"logprobs", "entropy"}

    @property
    def _reads_entropy(self) -> bool:
        """Whether plugins read the entropy, beside those that learn from it."""
        return "old_entropy" in self.algorithm.requires or "entropy" in self._asked_now

    @property
    def learning_rate(self) -> float:
        """Of the policy in the next update."""
        return float(self.schedule.get_last_lr()[0])

    def whole(self) -> PreTrainedModel:
        """The policy in one piece; all processes must ask."""
        return self.replica.refresh(self.model) if self.replica else self.model

    @contextmanager
    def averaged(self) -> Iterator[PreTrainedModel]:
        """The policy in one piece, with its averaged weights as long as the block runs."""
        assert self.average is not None, "there is one"
        try:
            with self.average.shown():
                self.weights_move()
                yield self.whole()
        finally:
            self.weights_move()
        self.whole()  # whoever samples from a copy goes on with the policy

    def weights_move(self) -> None:
        """Be told that those of the policy are about to change."""
        if self.replica:
            self.replica.is_stale = True

    def logprobs(self, batch: Batch) -> Float[Tensor, "N T"]:
        """What the policy says of a whole batch, without gradient."""
        return self._without_gradient(self.scorer, batch.to(self.runtime.device))["logprobs"]

    def _said_by(self, scorer: TokenScorer, batch: Batch) -> Float[Tensor, "N T"]:
        """The log-probs of a model without its adapters."""
        with without_lora(self.model):
            return self._without_gradient(scorer, batch)["logprobs"]

    def _taught_by(self, scorer: TokenScorer, batch: Batch) -> Float[Tensor, "N T"]:
        """The log-probs of the teacher, after the prompts that it reads."""
        read = batch.taught()
        self.compared.check_taught(read)
        with self.compared.teaching():
            return self._without_gradient(scorer, read)["logprobs"]

    @torch.no_grad()
    def measure(self, batch: Batch, meter: Meter, state: State) -> None:
        """Add the loss of a prepared batch to the meter, and learn nothing."""
        weighed = self.weigh(batch, state)
        units = self._units(weighed)
        for micro_batch in self._micro_batches(weighed, units):
            meter.add(self._loss(weighed, micro_batch, tokens_of(weighed, units), meter))

    def update(
        self, minibatch: Batch, meter: Meter, state: State, *, only_critic: bool = False
    ) -> None:
        """One optimizer step: the losses of the micro-batches add up to that of the minibatch.

        Raises:
            TrainingError: The gradient is not finite; no weight has changed.
        """
        weighed = self.weigh(minibatch, state)
        units = self._units(weighed)
        if self.world.is_first:
            rows = torch.tensor([sum(map(len, units)), len(weighed)], device=weighed.mask.device)
            meter.count("rows/learning", *rows)
        micro_batches = self._micro_batches(weighed, units)
        for number, micro_batch in enumerate(micro_batches, 1):
            with self.distributed.adding_up(self.scorer, more=number < len(micro_batches)):
                loss = self._loss(weighed, micro_batch, tokens_of(weighed, units), meter)
                self.distributed.backward(loss.total)
            meter.add(loss)
        norm = clipped(self.model, self.config.max_grad_norm, self.distributed, meter)
        meter.norms.append(norm)
        if self.critic is not None:
            clipped(self.critic, self.config.max_grad_norm, self.distributed, meter)
        if only_critic or norm == 0:  # without a gradient, momentum would move the weights
            self.model.zero_grad()
        self.weights_move()
        self.optimizer.step()
        self.schedule.step()
        self.optimizer.zero_grad()
        if self.average:
            self.average.follow()

    def _loss(self, batch: Batch, micro_batch: MicroBatch, tokens: Tensor, meter: Meter) -> Loss:
        """The loss of a micro-batch of a weighed batch, of which so many tokens are learnt from."""
        part = batch.rows(micro_batch.rows)
        measured = "token_statistics" in self.algorithm.asks("clip", "regularizer")
        how = {"balanced": self.router_coefficient > 0, "measured": measured}
        scores = self._score(self.scorer, part, micro_batch, **how)
        if not micro_batch.counts:
            made = [x for x in (scores.logprobs, scores.values, scores.balance) if x is not None]
            return Loss(0 * torch.stack([x.sum() for x in made]).sum(), {}, {})
        logprobs = scores.logprobs.detach()
        if "old_logprobs" in self.algorithm.requires and "old_logprobs" not in part:
            # The policy has not moved since the rollout, so its old log-probs are these.
            part = part.replace(old_logprobs=logprobs)
        is_old = "old_logprobs" in part or not meter.norms
        if "sampler_logprobs" in part and is_old and not self.algorithm.inputs.otherwise:
            ours = part.tensors.get("old_logprobs", logprobs)
            meter.compare(ours, part.sampler_logprobs, part.mask)
        said = scores.values, scores.entropy, scores.statistics
        loss = self.algorithm.loss(scores.logprobs, part, *said)
        if scores.balance is not None:  # a mean over tokens, where all else is a sum
            share = self.router_coefficient * part.sequence_lengths.sum() / tokens
            loss = loss.plus("router", share * scores.balance)
        return loss

    def _units(self, batch: Batch) -> Units:
        """Those that have a part in the loss: where experts are balanced, whatever has a weight."""
        return that_learn(self.algorithm, batch, without_advantage=self.router_coefficient > 0)

    def _score(
        self, scorer: TokenScorer, part: Batch, micro_batch: MicroBatch, **how: bool
    ) -> TokenScores:
        """Of the rows of a micro-batch."""
        with self.runtime.autocast():
            teacher = None
            if how.get("measured") and "teacher" in self.compared.models:
                copied = self.replica is not None or self.compared.average is not None
                with torch.no_grad(), self.compared.teaching():
                    teacher = self.teacher(part.taught(), saying=True, copied=copied)
            given = {"by_parts": micro_batch.by_parts, "teacher": teacher, **how}
            scores: TokenScores = scorer(part, micro_batch.line, **given)
            return scores

    @torch.no_grad()
    def _without_gradient(
        self,
        scorer: TokenScorer,
        batch: Batch,
        units: Units | None = None,
        *,
        measured: bool = False,
    ) -> dict[str, Float[Tensor, "N T"]]:
        """What a model says of all rows, or of those of some units, without gradient, by name.

        That is `logprobs`; of the policy also `values` and `entropy` where somebody reads them, and
        statistics, if they are to be measured.
        """
        units = self.algorithm.units(batch) if units is None else units
        names = ["logprobs"]
        if scorer is self.scorer:
            names += ["values"] if self.critic is not None else []
            names += ["entropy"] if self._reads_entropy else []
            names += sorted(self.algorithm.findings.statistics) if measured else []
        shape, device = batch.mask.shape, self.runtime.device
        found = {name: torch.zeros(shape, device=device) for name in names}
        for part in self._micro_batches(batch, units):
            scores = self._score(scorer, batch.rows(part.rows), part, measured=measured)
            said = {**scores._asdict(), **scores.statistics}
            for name in names if part.counts else ():
                found[name][part.rows] = said[name]
        return {name: self.world.sum_(x) for name, x in found.items()}

    def _micro_batches(self, batch: Batch, units: Units) -> list[MicroBatch]:
        """Those of this process."""
        sharing = self.sharing
        if "teacher_input_ids" in batch:  # it reads more than was tried, and maybe than the policy
            lengths = torch.maximum(batch.sequence_lengths, batch.teacher_sequence_lengths)
            batch, sharing = batch.replace(sequence_lengths=lengths), None
        mine = partial(cut, batch, token_budget=self.runtime.token_budget, sharing=sharing)
        return shared_out(batch, units, mine, self.world)
