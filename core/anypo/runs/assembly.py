"""Who samples, scores, trains and evaluates, put together of what was set up."""

from dataclasses import replace
from functools import partial
from typing import Any

from anypo.composition.algorithm import Algorithm
from anypo.data.mixture import Mixture, Stream
from anypo.data.stream import PromptStream
from anypo.data.tokens import Tokens
from anypo.models.load import agree, end_tokens, sensible_threads
from anypo.runs.engines import evaluation_request, start_engine, training_request
from anypo.runs.options import sampler_of
from anypo.runs.policy import load_others, load_policy
from anypo.runs.setup import Setup, longest_of
from anypo.sampling.conversations import make_sampler
from anypo.sampling.sampler import PolicySampler
from anypo.support.lazy import Joined
from anypo.training.distributed import Distributed
from anypo.training.evaluation import held_out_loss, sampled_score
from anypo.training.frozen import ensure_precomputed
from anypo.training.learner import Learner
from anypo.training.trainer import Evaluation, Trainer


def make_trainer(algorithm: Algorithm, found: Setup, distributed: Distributed) -> Trainer:
    """Load the weights, and put together who samples, scores, trains and evaluates."""
    config = found.config
    found.scorer.prepare()
    distributed.seed(config.seed)
    world, samples = distributed.world, algorithm.inputs.sampler or bool(found.held_out)
    all_sample = samples and not sampler_of(config)[1].outside
    given = algorithm, found.model, found.max_length, config, distributed
    model, replica = load_policy(*given, all_sample=all_sample)
    whole = replica.model if replica else model
    read, learnt = whole or model, Tokens(found.tokenizer).ends
    ends = world.on_first(lambda: end_tokens(read, found.tokenizer, learnt))
    agree(read, found.tokenizer, ends)
    request = training_request(config, tuple(ends))
    with world.agreed():
        drawn = [*(found.sets if algorithm.inputs.sampler else ()), *found.completed]
        lengths = found.max_length, longest_of(drawn)
        engine = start_engine(config, whole, request, distributed, *lengths)
    sampler = make_sampler(engine, request, Tokens(found.tokenizer), found.talking, world)
    others = load_others(algorithm, found, distributed)
    learner = Learner(algorithm, model, config, distributed, found.longest, replica, others)
    compared = learner.compared
    sampler.models = {name: partial(compared.lent, name) for name in compared.models}
    if config.precompute_reference:
        with sensible_threads(model):
            known = Joined(found.learnt)
            learner.frozen["ref_logprobs"] = ensure_precomputed(learner, known)
    stream: Stream = PromptStream(found.prompts, config.seed)
    if found.shares:
        stream = Mixture(found.sets, found.shares, config.seed)
    evaluations = _evaluations(found, learner, sampler)
    return Trainer(learner, sampler, found.scorer, stream, evaluations, config)


def _evaluations(found: Setup, learner: Learner, sampler: PolicySampler) -> list[Evaluation]:
    """Of every held-out set, what the policy says to it, and what it says of its completions."""
    config, evaluations = found.config, list[Evaluation]()
    text: Any = partial(found.tokenizer.decode, skip_special_tokens=False)
    request = replace(evaluation_request(config, sampler.request), decode=text)
    drawn = sampler.asking(request)
    scorer = found.scorer.reading_to(config.eval_stop)
    for name, prompts in found.held_out.items():
        how = prompts, drawn, scorer, config.eval_samples, name
        evaluations.append(partial(sampled_score, *how))
    for name, rows in found.held_out_rows.items():
        evaluations.append(partial(held_out_loss, rows, learner, sampler, found.scorer, name))
    return evaluations
