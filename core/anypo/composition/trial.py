"""Try an algorithm on a small made-up batch before any model is loaded.

The trial finds wrong shapes, missing answers and dead gradients, and it sees what the active stages
read: which models the run needs, and which knobs have an effect.
"""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from anypo import functional as F
from anypo.composition.algorithm import Algorithm
from anypo.composition.findings import Findings
from anypo.composition.kept import first_kept
from anypo.composition.loss import Loss
from anypo.composition.synthetic import LENGTHS, SyntheticSampler, SyntheticScorer, synthetic_prompt
from anypo.errors import PluginError
from anypo.hooks.batch import Batch, Sample, collate
from anypo.hooks.plugin import recorded_knobs
from anypo.hooks.requirements import REQUIRED_FOR, REQUIREMENTS
from anypo.hooks.rollout import Inputs
from anypo.hooks.specs import MERGED, STAGES, beginning

VOCABULARY = 11  # of made-up distributions
OF_MODELS = ("logprobs", "values", "entropy")  # what gradient flows through, beside statistics
Part = tuple[Batch, dict[str, Tensor]]  # rows of a batch, and leaves
BY_LENGTH = "by_length"  # the claim that long sequences shall count for more


@torch.enable_grad()
def trial(algorithm: Algorithm) -> Findings:
    """What an algorithm reads and requires.

    Raises:
        PluginError: A stage has no answer or a wrong one.
    """
    _refuse_a_missing_answer(algorithm)
    with recorded_knobs() as knobs:
        samples, inputs, models = _try_rollout(algorithm)
        batch, reads = _spied(samples)
        statistics = _try_distribution(algorithm, batch)
        batch = batch.replace(**statistics)
        leaves = _leaves(batch, statistics)
        now = {name: leaves[name].detach() for name in ("logprobs", "entropy")}
        prepared = algorithm.prepare(batch, beginning(), **now)
        prepare_reads = set(reads)
        reads.clear()
        found = _try_loss(algorithm, prepared, reads, leaves)
        named = _required_by_hooks(algorithm) | models
    if "teacher_log_distribution" in algorithm.asks("distribution"):
        named.add("teacher")
    return replace(
        found,
        inputs=inputs,
        prepare_requires=_providers(prepare_reads) | named,
        loss_requires=_providers(reads) | named,
        statistics=frozenset(statistics),
        old_statistics=not statistics.keys().isdisjoint(prepare_reads | reads),
        active_knobs=frozenset(knobs),
    )


def _refuse_a_missing_answer(algorithm: Algorithm) -> None:
    for stage in STAGES:
        if stage not in MERGED and all(impl.wrapper for impl in algorithm.answers(stage)):
            raise PluginError(
                f"{algorithm.name} is no whole algorithm: no plugin answers '{stage}'; "
                f"put it on top of one that does, as NAME+{algorithm.name}"
            )


def _required_by_hooks(algorithm: Algorithm) -> set[str]:
    """What the plugins say in their `requires` hooks."""
    answers = algorithm.calls("requires")
    for answer in answers:
        if not isinstance(answer, set | frozenset):
            raise PluginError(f"{algorithm.blame('requires')} returned {answer!r:.60}, no set")
    named = set[str]().union(*answers)
    if unknown := named - set(REQUIREMENTS):
        raise PluginError(
            f"{algorithm.blame('requires')} names {sorted(unknown)}; there is "
            f"{', '.join(REQUIREMENTS)}"
        )
    return named


def _try_rollout(algorithm: Algorithm) -> tuple[list[Sample], Inputs, set[str]]:
    """Samples of made-up prompts, what the rollout makes them from, and models that draw some."""
    sampler, scorer = SyntheticSampler(), SyntheticScorer()
    prompts = [synthetic_prompt(row) for row in range(2)]
    samples = first_kept(algorithm, prompts, sampler, scorer, beginning())
    if not samples:
        raise PluginError(f"{algorithm.blame('rollout')} kept none of the made-up samples")
    held = [(p.ids, held.ids) for p in prompts for held in p.completions.values()]
    if odd := sampler.models - {"reference", "teacher"}:
        raise PluginError(
            f"{algorithm.blame('rollout')} draws from '{min(odd)}': there is policy, reference and "
            "teacher"
        )
    inputs = Inputs(
        sampler=sampler.used,
        scorer=scorer.used,
        otherwise=sampler.otherwise,
        completions=frozenset(name for p in prompts for name in p.completions),
        columns=frozenset(name for p in prompts for name in p.columns),
        fixed=not sampler.used and all((s.prompt_ids, s.completion_ids) in held for s in samples),
    )
    return samples, inputs, sampler.models


def _try_distribution(algorithm: Algorithm, batch: Batch) -> dict[str, Tensor]:
    """What the plugins make of made-up distributions, [N, T] each."""
    random = torch.Generator().manual_seed(2)
    sizes = int(batch.mask.sum()), VOCABULARY
    both = (torch.randn(sizes, generator=random).log_softmax(-1) for _ in range(2))
    found = algorithm.statistics(*both)
    if taken := found.keys() & {*batch, *Batch.__annotations__, *OF_MODELS}:
        raise PluginError(
            f"{algorithm.blame('distribution')} returns '{min(taken)}', which the batch has already"
        )
    zeros = torch.zeros(batch.mask.shape)
    return {name: zeros.masked_scatter(batch.mask, x.detach()) for name, x in found.items()}


def _leaves(batch: Batch, statistics: dict[str, Tensor]) -> dict[str, Tensor]:
    """What gradient may flow through."""
    random = torch.Generator().manual_seed(1)
    leaves = {name: _random(batch, random) for name in OF_MODELS}
    leaves |= {name: x.clone() for name, x in statistics.items()}
    return {name: leaf.requires_grad_() for name, leaf in leaves.items()}


def loss_of(algorithm: Algorithm, batch: Batch, leaves: dict[str, Tensor]) -> Loss:
    """The loss of leaves: those that are none `OF_MODELS` are statistics."""
    return algorithm.loss(batch=batch, **_given(leaves))


def _given(leaves: dict[str, Tensor]) -> dict[str, Any]:
    """Leaves as a loss and the stages of one take them."""
    said = {name: leaf for name, leaf in leaves.items() if name not in OF_MODELS}
    return {**{name: leaves[name] for name in OF_MODELS}, "token_statistics": said}


def _try_loss(
    algorithm: Algorithm, batch: Batch, reads: set[str], leaves: dict[str, Tensor]
) -> Findings:
    """Check the loss of a batch that notes what is read of it; what is found of penalties."""
    parts = _parts(algorithm, batch, leaves)
    silent, overridden = _idle_regularizers(algorithm, parts)
    reads.clear()  # what an overridden one read has no effect
    with algorithm.calls.leaving_out("regularizer", overridden):
        losses = [loss_of(algorithm, *part) for part in parts]
        log_ratio = algorithm.log_ratio(leaves["logprobs"], batch)
        if log_ratio.shape[-1] == 1:
            _check_sequence_ratio(algorithm, batch)
        elif algorithm.gain(log_ratio, batch, **_given(leaves)).shape[-1] == 1:
            _check_shares(algorithm, batch, f"{algorithm.blame('clip')} gives one gain")
        _check_gradient(algorithm, losses, leaves, "clip" if log_ratio.requires_grad else "ratio")
        # Gradient flows through nothing else: a term that reaches them is a term that needs them.
        reads |= {name for name in ("values", "entropy") if leaves[name].grad is not None}
        only_advantages = all(_needs_advantages(algorithm, *part) for part in parts)
        if _depends_on_entropy(algorithm, *parts[0]):
            reads.add("entropy")
    return Findings(silent=silent, overridden=overridden, only_advantages_count=only_advantages)


@torch.no_grad()
def _depends_on_entropy(algorithm: Algorithm, batch: Batch, leaves: dict[str, Tensor]) -> bool:
    """Whether the loss is another one where the entropy is, even if no gradient flows through."""
    others = {**leaves, "entropy": leaves["entropy"].flip(0)}
    losses = [loss_of(algorithm, batch, given) for given in (leaves, others)]
    return not torch.equal(losses[0].total, losses[1].total)


def _needs_advantages(algorithm: Algorithm, batch: Batch, leaves: dict[str, Tensor]) -> bool:
    """Whether nothing is learnt where there is no advantage, and no penalty may change that."""
    flat = batch.replace(advantages=torch.zeros_like(batch.advantages))
    loss = loss_of(algorithm, flat, leaves)
    if loss.terms.keys() != {"policy"} or loss.total != 0 or not loss.total.requires_grad:
        return False
    found = torch.autograd.grad(loss.total, list(leaves.values()), allow_unused=True)
    return not any(gradient is not None and gradient.any() for gradient in found)


def _parts(algorithm: Algorithm, batch: Batch, leaves: dict[str, Tensor]) -> list[Part]:
    """All rows; and as other batches have them: apart those that were truncated; unrewarded."""
    kinds: tuple[list[int], list[int]] = [], []
    for unit in algorithm.units(batch):
        kinds[bool(batch.tensors["truncated"][unit].any())].extend(unit)
    every = torch.arange(len(batch))
    parts = [
        (batch.rows(rows), {name: leaf[rows] for name, leaf in leaves.items()})
        for rows in [every, *(map(torch.tensor, kinds) if all(kinds) else ())]
    ]
    if "rewards" in batch:  # as of a step in which nothing is right
        parts.append((batch.replace(rewards=torch.zeros(len(batch))), leaves))
    return parts


def _idle_regularizers(
    algorithm: Algorithm, parts: list[Part]
) -> tuple[frozenset[str], dict[str, frozenset[str]]]:
    """The plugins that add no penalty, and those of them whose every penalty others replace."""
    with recorded_knobs():  # a record of its own, which is thrown away
        whole, leaves = parts[0]
        loss_of(algorithm, whole, leaves)  # blames the plugin if an answer is wrong
        answers = [
            algorithm.calls.one_by_one("regularizer", batch=part, **_given(leaves))
            for part, leaves in parts
        ]
    said, heard = dict[str, set[str]](), set[str]()
    for penalties in answers:
        taken = set[str]()
        for plugin, penalty in penalties.items():  # from the top of the stack
            names = set[str](penalty or {})
            if names - taken or (penalty is not None and not names):
                heard.add(plugin)
            said.setdefault(plugin, set()).update(names)
            taken |= names
    idle = said.keys() - heard
    return frozenset(idle), {plugin: frozenset(said[plugin]) for plugin in idle if said[plugin]}


def _spied(samples: list[Sample]) -> tuple[Batch, set[str]]:
    """A batch with every tensor a plugin may ask for, and the names of those that are read."""
    reads: set[str] = set()

    class Spied(Batch):
        def __getitem__(self, name: str) -> Tensor:
            reads.add(name)
            return super().__getitem__(name)

    batch = collate(samples)
    random = torch.Generator().manual_seed(0)
    # What a sampler says the samples have, if any.
    missing = [x.tensor for x in REQUIREMENTS.values() if x.tensor and x.said_by != "sampler"]
    said: dict[str, Any] = {name: _random(batch, random) for name in missing}
    given = {"mask": batch.mask, "scores": batch.scores, **batch.tensors, **said}
    return Spied(max_completion_length=max(LENGTHS), **given), reads


def _random(batch: Batch, random: torch.Generator) -> Tensor:
    return -4 * torch.rand(batch.mask.shape, generator=random)  # ratios up to exp(4)


def _providers(reads: set[str]) -> frozenset[str]:
    return frozenset(REQUIRED_FOR.get(name, name) for name in reads).intersection(REQUIREMENTS)


def _check_sequence_ratio(algorithm: Algorithm, batch: Batch) -> None:
    """One ratio per row, spread over its tokens, fits one advantage and one weight per row."""
    top = torch.where(batch.mask, batch.advantages, -torch.inf).amax(-1)
    bottom = torch.where(batch.mask, batch.advantages, torch.inf).amin(-1)
    if (top - bottom > 1e-6 * top.abs().clamp(min=1)).any():
        raise PluginError(
            f"{algorithm.blame('ratio')} gives one ratio per sequence, but "
            f"{algorithm.blame('advantage')} gives an advantage per token: use a ratio per token"
        )
    _check_shares(algorithm, batch, f"{algorithm.blame('ratio')} gives one ratio")


def _check_shares(algorithm: Algorithm, batch: Batch, what: str) -> None:
    """What is one per row counts alike in all rows, unless `weight` claims that it shall not."""
    weighing = [algorithm.calls.layers[i.plugin_name] for i in algorithm.calls.asked("weight")]
    if any(BY_LENGTH in getattr(layer.source, "claims", ()) for layer in weighing):
        return
    shares = batch.weights["policy"].sum(-1)
    if algorithm.couples_groups:  # a gain is a group's, and an empty row of it has no share
        shares = F.group_sum(shares, batch.group)
    shares = shares[shares > 0]
    if len(shares) and shares.max() > 1.001 * shares.min():
        raise PluginError(
            f"{what} per sequence, but {algorithm.blame('weight')} makes long sequences count for "
            f"more: weigh rows alike, or, if that is meant, claim it: claims = ('{BY_LENGTH}',)"
        )


def _check_gradient(
    algorithm: Algorithm, losses: list[Loss], leaves: dict[str, Tensor], suspect: str
) -> None:
    """Of the whole made-up batch, and of parts of it."""
    for loss in losses:
        if not loss.total.isfinite():
            came = loss.total.item()
            raise PluginError(f"the loss of {algorithm.name} is {came} on a made-up batch")
        if loss.total.requires_grad:
            loss.total.backward()
    taught = [x for name, x in leaves.items() if name not in ("values", "entropy")]
    if "clip/fraction" not in losses[0].metrics or all(x.grad is None for x in taught):
        raise PluginError(
            f"{algorithm.blame(suspect)}: no gradient reaches the log-probs; is it detached?"
        )
    if not all(x.grad.isfinite().all() for x in leaves.values() if x.grad is not None):
        raise PluginError(f"the gradient of {algorithm.name} is not finite on a made-up batch")
