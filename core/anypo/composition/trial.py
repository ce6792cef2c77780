"""Try an algorithm on a small made-up batch before any model is loaded.

The trial finds wrong shapes, missing answers and dead gradients, and it sees what the active stages
read: which models the run needs, and which knobs have an effect.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from anypo import functional as F
from anypo.composition.algorithm import Algorithm, Loss
from anypo.composition.blame import code_of
from anypo.composition.stack import layer_of
from anypo.composition.synthetic import LENGTHS, SyntheticSampler, SyntheticScorer, synthetic_prompts
from anypo.errors import KnobError, PluginError
from anypo.hooks.batch import MODEL_OUTPUTS, Batch, Sample, collate
from anypo.hooks.plugin import recorded_knobs
from anypo.hooks.rollout import Inputs
from anypo.hooks.specs import MERGED, REQUIREMENTS, STAGES


@torch.enable_grad()
def dry_run(algorithm: Algorithm) -> None:
    """Check an algorithm and fill in what only a trial can tell: what it requires and reads.

    Raises:
        PluginError: A stage has no answer or a wrong one.
        KnobError: A knob that the user set is read by no active stage.
    """
    missing = [
        stage
        for stage in STAGES
        if stage not in MERGED and all(impl.wrapper for impl in algorithm.answers(stage))
    ]
    if missing:
        raise PluginError(
            f"{algorithm.name} is no whole algorithm: no plugin answers '{missing[0]}'; "
            f"put it on top of one that does, as NAME+{algorithm.name}"
        )
    with recorded_knobs() as knobs:
        prepare_reads, loss_reads = _try_stages(algorithm)
        named = algorithm.required_by_hooks()
    unknown = named - set(REQUIREMENTS)
    if unknown:
        raise PluginError(
            f"{algorithm.blame('requires')} names {sorted(unknown)}; there is "
            f"{', '.join(REQUIREMENTS)}"
        )
    algorithm.prepare_requires = frozenset(_providers(prepare_reads) | named)
    algorithm.loss_requires = frozenset(_providers(loss_reads) | named)
    algorithm.requires = algorithm.prepare_requires | algorithm.loss_requires
    algorithm.active_knobs = frozenset(knobs)
    _refuse_probabilities_of_a_scalar_head(algorithm)
    _refuse_unread_knobs(algorithm)
    _refuse_idle_plugins(algorithm)


def _try_stages(algorithm: Algorithm) -> tuple[set[str], set[str]]:
    """What is read of the batch by advantage and weight, and what by the loss."""
    samples = _try_rollout(algorithm)
    batch, reads = _spied(samples)
    prepared = algorithm.prepare(batch, {})
    prepare_reads = set(reads)
    reads.clear()
    random = torch.Generator().manual_seed(1)
    leaves = {
        name: _random(batch, random).requires_grad_() for name in ("logprobs", "values", "entropy")
    }
    _find_idle_regularizers(algorithm, reads, prepared, **leaves)
    loss = algorithm.loss(batch=prepared, **leaves)
    log_ratio = algorithm.log_ratio(leaves["logprobs"], prepared)
    if log_ratio.shape[-1] == 1:
        _check_sequence_ratio(algorithm, prepared)
    _check_gradient(algorithm, loss, leaves, "clip" if log_ratio.requires_grad else "ratio")
    # Gradient flows through nothing else, so a term that reaches them is a term that needs them.
    if leaves["values"].grad is not None:
        reads.add("values")
    if leaves["entropy"].grad is not None:
        reads.add("entropy")
    return prepare_reads, reads


def _try_rollout(algorithm: Algorithm) -> list[Sample]:
    """Samples of made-up prompts; and the algorithm's inputs, which show in the making."""
    sampler, scorer = SyntheticSampler(), SyntheticScorer()
    completions, columns = set[str](), set[str]()
    prompts = synthetic_prompts(2, columns, completions)
    samples = algorithm.rollout(prompts, sampler, scorer, {})
    if not samples:
        raise PluginError(f"{algorithm.blame('rollout')} kept none of the made-up samples")
    held = [(p.ids, held.ids) for p in prompts for held in p.completions.values()]
    algorithm.inputs = Inputs(
        sampler=sampler.used,
        scorer=scorer.used,
        completions=frozenset(completions),
        columns=frozenset(columns),
        fixed=not sampler.used and all((s.prompt_ids, s.completion_ids) in held for s in samples),
    )
    return samples


def _find_idle_regularizers(
    algorithm: Algorithm, reads: set[str], batch: Batch, **leaves: Tensor
) -> None:
    """Find the plugins that add no penalty; those whose every penalty is overridden are left out.

    What the latter read has no effect, so it must count neither as required nor as read.
    """
    before = set(reads)
    with recorded_knobs():  # a record of its own, which is thrown away
        algorithm.loss(batch=batch, **leaves)  # blames the plugin if an answer is wrong
        arguments = {"batch": batch, **leaves}
        penalties: dict[str, Any] = {
            impl.plugin_name: impl.function(*(arguments[name] for name in impl.argnames))
            for impl in algorithm.answers("regularizer")
            if not impl.wrapper
        }
    reads &= before
    taken = set[str]()
    overridden = set[str]()
    for plugin, penalty in penalties.items():  # from the top of the stack
        names = set[str](penalty or {})
        if names and names <= taken:
            overridden.add(plugin)
        taken |= names
    algorithm.leave_out("regularizer", overridden)
    idle = {plugin for plugin, penalty in penalties.items() if penalty is None}
    algorithm.silent = frozenset(idle | overridden)


def _spied(samples: list[Sample]) -> tuple[Batch, set[str]]:
    """A batch with every tensor a plugin may ask for, and the names of those that are read."""
    reads: set[str] = set()

    class Spied(Batch):
        def __getitem__(self, name: str) -> Tensor:
            reads.add(name)
            return super().__getitem__(name)

    batch = collate(samples)
    random = torch.Generator().manual_seed(0)
    models = {name: _random(batch, random) for name in ("old_logprobs", "ref_logprobs", "values")}
    tensors: dict[str, Any] = {**batch.tensors, **models}
    spied = Spied(
        mask=batch.mask, max_completion_length=max(LENGTHS), scores=batch.scores, **tensors
    )
    return spied, reads


def _random(batch: Batch, random: torch.Generator) -> Tensor:
    return -4 * torch.rand(batch.mask.shape, generator=random)  # ratios up to exp(4)


def _providers(reads: set[str]) -> set[str]:
    return {MODEL_OUTPUTS.get(name, name) for name in reads} & set(REQUIREMENTS)


def _check_sequence_ratio(algorithm: Algorithm, batch: Batch) -> None:
    """One ratio per row, spread over its tokens, fits one advantage and one weight per row."""
    top = torch.where(batch.mask, batch.advantages, -torch.inf).amax(-1)
    bottom = torch.where(batch.mask, batch.advantages, torch.inf).amin(-1)
    if (top - bottom > 1e-6 * top.abs().clamp(min=1)).any():
        raise PluginError(
            f"{algorithm.blame('ratio')} gives one ratio per sequence, but "
            f"{algorithm.blame('advantage')} gives an advantage per token: use a ratio per token"
        )
    shares = batch.weights["policy"].sum(-1)
    if algorithm.couples_groups:  # a gain is a group's, and an empty row of it has no share
        shares = F.group_sum(shares, batch.group)
    shares = shares[shares > 0]
    if len(shares) and shares.max() > 1.001 * shares.min():
        raise PluginError(
            f"{algorithm.blame('ratio')} gives one ratio per sequence, but "
            f"{algorithm.blame('weight')} makes long sequences count for more: weigh rows alike"
        )


def _check_gradient(
    algorithm: Algorithm, loss: Loss, leaves: dict[str, Tensor], suspect: str
) -> None:
    total = loss.total
    if not total.isfinite():
        raise PluginError(f"the loss of {algorithm.name} is {total.item()} on a made-up batch")
    if total.requires_grad:
        total.backward()
    if "clip/fraction" not in loss.metrics or leaves["logprobs"].grad is None:
        raise PluginError(
            f"{algorithm.blame(suspect)}: no gradient reaches the log-probs; is it detached?"
        )
    if not all(x.grad.isfinite().all() for x in leaves.values() if x.grad is not None):
        raise PluginError(f"the gradient of {algorithm.name} is not finite on a made-up batch")


def _refuse_probabilities_of_a_scalar_head(algorithm: Algorithm) -> None:
    needs_them = algorithm.requires - {"scalar_head"} or algorithm.inputs.sampler
    if not algorithm.generates and needs_them:
        raise PluginError(
            f"{algorithm.blame('requires')} asks for a model that scores texts, but other stages "
            f"of {algorithm.name} need one that gives tokens a probability: leave one of them out"
        )


def _refuse_unread_knobs(algorithm: Algorithm) -> None:
    for knob in algorithm.knobs.values():
        if knob.is_set and knob.name not in algorithm.active_knobs:
            raise KnobError(
                f"knob '{knob.name}' is set, but no active stage of {algorithm.name} reads it: "
                + _why_unread(algorithm, knob.name)
            )


def _refuse_idle_plugins(algorithm: Algorithm) -> None:
    """A plugin that the user named must not be replaced in all it does."""
    names = [base for layer in algorithm.layers for base in getattr(layer.source, "extends", ())]
    bases = [layer_of(base).source for base in names]
    origins = {algorithm.knobs[name].origin for name in algorithm.active_knobs}
    busy = {answer.plugin for answer in algorithm.explain().answers}
    busy |= {impl.plugin_name for stage in MERGED for impl in algorithm.answers(stage)}
    for layer in algorithm.layers:
        is_base = layer.source in bases
        is_idle = layer.name not in busy and f"default of {layer.name}" not in origins
        if layer.replaces() and is_idle and not is_base:
            raise PluginError(
                f"'{layer.name}' has no effect in {algorithm.name}: others answer all its stages; "
                "leave it out"
            )


def _why_unread(algorithm: Algorithm, name: str) -> str:
    for stage in set(STAGES) - set(MERGED):
        answers = [impl for impl in algorithm.answers(stage) if not impl.wrapper]
        for impl in answers[1:]:
            if name in code_of(impl).co_names:
                top = answers[0].plugin_name
                return f"'{stage}' is answered by '{top}' instead of '{impl.plugin_name}'"
    return "the other knobs of its stage make it irrelevant"
