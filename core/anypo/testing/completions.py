"""What must hold of the completions of every sampler."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from anypo.errors import SamplerError
from anypo.hooks.batch import Prompt, Sample
from anypo.hooks.sampler import SamplingRequest
from anypo.testing.bench import (
    ALIKE,
    ENDS,
    LONG,
    LONGEST_COMPLETION,
    MIXED,
    MODELS_OWN_ENDS,
    ONE_TOKEN,
    Bench,
    plain_request,
)
from anypo.testing.report import NotApplicable, Violation

DRAWS = 4000  # of one token
FREQUENT = 20  # the likeliest tokens are counted one by one, the others together
FAR = 0.08  # share of the draws by which chance and rounding do not move them
ROUNDED = 0.05  # share of the tokens for which rounding may move a cut
UPDATES = 3
STOP = "><1"  # of two tokens: before any whose number begins so


def samples(bench: Bench) -> None:
    """`n` completions of every prompt come in order, with its ids, its group and log-probs."""
    for n in (1, 3):
        found = bench.ask(n=n)
        groups = [sample.group for sample in found]
        if groups != (wanted := [group for group in range(len(MIXED)) for _ in range(n)]):
            raise Violation(
                f"{n} completions of each of {len(MIXED)} prompts have groups {groups} instead "
                f"of {wanted}"
            )
        for position, sample in enumerate(found):
            _check_form(position, sample)


def logprobs(bench: Bench) -> None:
    """At temperature 1 the log-probs are the trainer's, whatever the model's own settings."""
    _check_trainers(bench, ALIKE, temperature=1.0)


def temperature(bench: Bench) -> None:
    """At other temperatures the log-probs are those of the distribution at that temperature."""
    for value in (0.7, 1.3):
        _check_trainers(bench, ALIKE, temperature=value)


def prompt_lengths(bench: Bench) -> None:
    """A prompt is answered alike beside longer and shorter ones."""
    for prompts in (MIXED, [*LONG, *MIXED], ONE_TOKEN):
        _check_trainers(bench, prompts, temperature=1.0)


def frequencies(bench: Bench) -> None:
    """Tokens are drawn as often as their probabilities say, at every temperature."""
    for value in (1.0, 0.7):
        found = bench.ask(ALIKE[:1], DRAWS, temperature=value, max_completion_length=1)
        expected = bench.distributions(found[0], value)[0].exp()
        drawn = torch.tensor([sample.completion_ids[0] for sample in found])
        frequency = torch.bincount(drawn, minlength=len(expected)) / len(found)
        top = expected.topk(FREQUENT).indices
        apart = (frequency - expected)[top].abs().sum() / 2  # half: one is drawn for another
        rest = (frequency[top].sum() - expected[top].sum()).abs() / 2
        if apart + rest > FAR:
            raise Violation(
                f"of {len(found)} tokens drawn at temperature {value:g}, {apart + rest:.0%} are "
                "others than the probabilities say"
            )


def top_k(bench: Bench) -> None:
    """`top_k` leaves the likeliest tokens, with renormalised log-probs, or it is refused."""
    _check_cut(bench, top_k=5)


def top_p(bench: Bench) -> None:
    """`top_p` leaves the likeliest tokens, with renormalised log-probs, or it is refused."""
    _check_cut(bench, top_p=0.6)


def stop(bench: Bench) -> None:
    """`stop` ends a completion with the token that completes such a text, or it is refused."""
    found = _ask_unless_refused(bench, n=8, stop=(STOP,), decode=_text)
    for sample in found:
        ids = sample.completion_ids
        if STOP in _text(ids[:-1]):
            raise Violation(f"a completion goes on after the stop text {STOP!r}: {_text(ids)}")
        ended = STOP in _text(ids) or (bool(ids) and ids[-1] in ENDS)
        if ended is sample.truncated:
            raise Violation(f"truncated is {sample.truncated}, but {ended=}: {_text(ids)}")
    if not any(STOP in _text(sample.completion_ids) for sample in found):
        raise Violation("no completion has the stop text, with which many should end")


def ends(bench: Bench) -> None:
    """A completion stops at its first end token and keeps it; only those of the request are any."""
    found = bench.ask(n=8)
    for sample in found:
        ids = sample.completion_ids
        if early := [token for token in ids[:-1] if token in ENDS]:
            raise Violation(f"a completion goes on after the end token {early[0]}: {ids}")
        if (ended := bool(ids) and ids[-1] in ENDS) is sample.truncated:
            raise Violation(f"truncated is {sample.truncated}, but {ended=}: {ids}")
    own = [any(t in MODELS_OWN_ENDS for t in sample.completion_ids[:-1]) for sample in found]
    if not any(own):
        raise Violation("the model's own end tokens end completions, too")
    if not any(sample.truncated for sample in found) or all(s.truncated for s in found):
        raise Violation("either all completions have an end token or none has")


def length_limit(bench: Bench) -> None:
    """A completion without end token has exactly `max_completion_length` tokens."""
    for limit in (1, 5, LONGEST_COMPLETION):
        for sample in bench.ask(max_completion_length=limit):
            length = len(sample.completion_ids)
            if length > limit or (sample.truncated and length < limit):
                raise Violation(
                    f"a completion {'without' if sample.truncated else 'with'} end token has "
                    f"{length} tokens, and max_completion_length is {limit}"
                )


def seeds(bench: Bench) -> None:
    """The seed of torch decides all completions; those of one prompt differ."""
    first, second, other = (_ids(bench.ask(seed=seed)) for seed in (0, 0, 1))
    if first != second:
        raise Violation("with the same seed of torch the completions differ")
    if first == other:
        raise Violation("with another seed of torch the completions are the same")
    if len({tuple(ids) for ids in first[:4]}) == 1:
        raise Violation(f"four completions of one prompt are the same: {first[0]}")


def unknown_parameters(bench: Bench) -> None:
    """A parameter that it does not know is refused by a SamplerError instead of ignored."""
    request = _Newer(made_up=0.5, **vars(plain_request(prompts=MIXED, n=1)))
    try:
        bench.engine.sample(request)
    except SamplerError:
        return
    raise Violation(
        "a request with a parameter that no sampler knows is sampled as if it had none; "
        "SamplingRequest.refuse_all_but refuses it"
    )


def model_untouched(bench: Bench) -> None:
    """Starting, sampling and `sync` change neither the model nor whether gradients are recorded."""
    bench.engine.sync(bench.model)
    bench.ask()
    for name, value in bench.state().items():
        if not _same(value, bench.before[name]):
            raise Violation(f"sampling changes {name}")


def sync(bench: Bench) -> None:
    """After `sync` all completions are of the new weights, those of cached prompts too."""
    for update in range(UPDATES):
        bench.ask(LONG, seed=update)
        if update == 1:
            bench.replace_model()
        bench.move()
        bench.engine.sync(bench.model)
        _check_trainers(bench, LONG, temperature=1.0, seed=update)


@dataclass(frozen=True)
class _Newer(SamplingRequest):
    """What a later version may ask for."""

    made_up: float = 0.0


def _check_form(position: int, sample: Sample) -> None:
    which, ids = f"completion {position}", sample.completion_ids
    if sample.prompt_ids != MIXED[sample.group].ids:
        raise Violation(
            f"{which} has the prompt {sample.prompt_ids} instead of {MIXED[sample.group].ids}"
        )
    if not ids or not all(type(token) is int for token in ids):
        raise Violation(f"{which} is {ids!r}, and not a list of token ids")
    if sample.logprobs is None or len(sample.logprobs) != len(ids):
        raise Violation(f"{which} has {len(ids)} tokens, and its log-probs are {sample.logprobs}")
    if not all(math.isfinite(x) and x < 1e-3 for x in sample.logprobs):
        raise Violation(f"not all log-probs of {which} are finite and below 0: {sample.logprobs}")


def _check_trainers(
    bench: Bench, prompts: Sequence[Prompt], *, temperature: float, seed: int = 0
) -> None:
    found = bench.ask(prompts, temperature=temperature, seed=seed)
    for sample, scores in zip(found, bench.trainers_logprobs(found, temperature), strict=True):
        said = torch.tensor(sample.logprobs)
        apart = (said - scores[: len(said)]).abs()
        if apart.max() > bench.close:
            place = int(apart.argmax())
            raise Violation(
                f"at temperature {temperature:g}, token {place + 1} of {len(said)} after a prompt "
                f"of {len(sample.prompt_ids)} has log-prob {said[place]:.4f}, and "
                f"{scores[place]:.4f} in the trainer"
            )


def _check_cut(bench: Bench, **cut: Any) -> None:
    (how,) = (f"with {name} = {value:g}" for name, value in cut.items())
    found = _ask_unless_refused(bench, **cut)
    wrong, tokens = 0, 0
    for sample in found:
        every = bench.distributions(sample, **cut)
        expected = every.gather(-1, torch.tensor(sample.completion_ids).unsqueeze(-1)).squeeze(-1)
        wrong += int(((torch.tensor(sample.logprobs) - expected).abs() > bench.close).sum())
        tokens += len(expected)
    if wrong > ROUNDED * tokens:
        raise Violation(
            f"{how}, {wrong} of {tokens} tokens are none of those left or have other log-probs "
            "than in the distribution that is left, renormalised"
        )


def _ask_unless_refused(bench: Bench, **parameters: Any) -> list[Sample]:
    try:
        return bench.ask(**parameters)
    except SamplerError as error:
        raise NotApplicable(f"refused: {error}") from error


def _text(ids: Sequence[int]) -> str:
    """The bench's model has no tokenizer; this one will do, where texts are found."""
    return "".join(f"<{token}>" for token in ids)


def _ids(found: Sequence[Sample]) -> list[list[int]]:
    return [sample.completion_ids for sample in found]


def _same(one: Any, other: Any) -> bool:
    return torch.equal(one, other) if isinstance(one, Tensor) else bool(one == other)
