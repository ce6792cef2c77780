"""Samplers are held to their rules, and for every rule one that breaks it is found out."""

from copy import deepcopy
from dataclasses import dataclass, replace

import pytest
import torch
from pydantic import Field

from anypo import Engine, Prompt, Runtime, SamplingRequest, collate, score_tokens
from anypo.errors import ConfigError, PluginError
from anypo.sampling.transformers import Transformers
from anypo.testing import check_sampler, completions, sampler
from anypo.testing.bench import bench_of
from anypo.testing.report import NotApplicable, Violation


@dataclass
class Twisted:
    """An engine that asks another one, and may get either side of it wrong."""

    engine: Engine

    def sample(self, request):
        return self.answered(request, self.engine.sample(self.asked(request)))

    def asked(self, request):
        return request

    def answered(self, request, samples):
        return samples

    def sync(self, model):
        self.engine.sync(model)

    def close(self):
        self.engine.close()


def wrong(engine_class):
    """A sampler whose engine is twisted."""

    class Wrong(Transformers):
        def start(self, model, runtime, max_length):
            return engine_class(super().start(model, runtime, max_length))

    return Wrong


class ShortestFirst(Twisted):
    def answered(self, request, samples):
        return sorted(samples, key=lambda s: len(s.completion_ids))


class EditedPrompts(Twisted):
    def answered(self, request, samples):
        return [replace(s, prompt_ids=[0, *s.prompt_ids]) for s in samples]


class WithoutLogProbs(Twisted):
    def answered(self, request, samples):
        return [replace(s, logprobs=None) for s in samples]


class LogProbsWithoutTheEnd(Twisted):
    def answered(self, request, samples):
        return [replace(s, logprobs=s.logprobs[:-1]) for s in samples]


class TokensAsTensors(Twisted):
    def answered(self, request, samples):
        return [replace(s, completion_ids=list(torch.tensor(s.completion_ids))) for s in samples]


class ALittleOff(Twisted):
    def answered(self, request, samples):
        return [replace(s, logprobs=[x - 0.01 for x in s.logprobs]) for s in samples]


class ModelsOwnSettings(Twisted):
    """As a bare `generate` would: top-k, a penalty."""

    def asked(self, request):
        return replace(request, top_k=2)


class IgnoredTemperature(Twisted):
    def asked(self, request):
        return replace(request, temperature=1.0)


class HonestAtTemperatureOne(Twisted):
    """Draws at temperature 1, and says what the trainer would say at the one asked for."""

    def sample(self, request):
        samples = self.engine.sample(replace(request, temperature=1.0))
        with torch.no_grad():
            scores = score_tokens(
                self.engine.model, collate(samples), temperature=request.temperature
            )
        return [
            replace(s, logprobs=row[: len(s.completion_ids)].tolist())
            for s, row in zip(samples, scores.logprobs, strict=True)
        ]


class PaddedPrompts(Twisted):
    """Short prompts are filled up, and the filler is attended to."""

    def sample(self, request):
        width = max(len(prompt.ids) for prompt in request.prompts)
        filled = [Prompt([0] * (width - len(p.ids)) + p.ids, "") for p in request.prompts]
        samples = self.engine.sample(replace(request, prompts=filled))
        return [replace(s, prompt_ids=request.prompts[s.group].ids) for s in samples]


class LikelierOfTwo(Twisted):
    """Draws again what is unlikely, and keeps the log-probs of the model."""

    def answered(self, request, samples):
        again = self.engine.sample(request)
        return [
            other if sum(s.logprobs) < sum(other.logprobs) else s
            for s, other in zip(samples, again, strict=True)
        ]


class IgnoredTopK(Twisted):
    def asked(self, request):
        return replace(request, top_k=0)


class IgnoredTopP(Twisted):
    def asked(self, request):
        return replace(request, top_p=1.0)


class RawLogProbs(Twisted):
    """Cuts, but says the log-probs before the cut."""

    def answered(self, request, samples):
        return (
            [replace(s, logprobs=[x - 0.5 for x in s.logprobs]) for s in samples]
            if (request.top_k or request.top_p < 1)
            else samples
        )


class EndsCutOff(Twisted):
    """Without its end token, as a text that was tokenised again would be."""

    def answered(self, request, samples):
        return [_without_end(s) if len(s.completion_ids) > 1 else s for s in samples]


def _without_end(sample):
    if sample.truncated:
        return sample
    return replace(sample, completion_ids=sample.completion_ids[:-1], logprobs=sample.logprobs[:-1])


class OneEndToken(Twisted):
    def asked(self, request):
        return replace(request, end_tokens=request.end_tokens[:1])


class ModelsOwnEnds(Twisted):
    def asked(self, request):
        return replace(request, end_tokens=(*request.end_tokens, *range(40, 80)))

    def answered(self, request, samples):
        ends = request.end_tokens
        return [replace(s, truncated=s.completion_ids[-1] not in ends) for s in samples]


class NothingTruncated(Twisted):
    def answered(self, request, samples):
        return [replace(s, truncated=False) for s in samples]


class IgnoredStop(Twisted):
    def asked(self, request):
        return replace(request, stop=())


class StopTextsCutOff(Twisted):
    """Ended, but without the tokens of the text."""

    def answered(self, request, samples):
        return [_without_end(s) if len(s.completion_ids) > 1 else s for s in samples]


class StopsTruncated(Twisted):
    def answered(self, request, samples):
        ends = request.end_tokens
        return [replace(s, truncated=s.completion_ids[-1] not in ends) for s in samples]


class OneTokenTooMany(Twisted):
    def asked(self, request):
        return replace(request, max_completion_length=request.max_completion_length + 1)


class OneTokenTooFew(Twisted):
    def asked(self, request):
        length = max(1, request.max_completion_length - 1)
        return replace(request, max_completion_length=length)


class OwnSeeds(Twisted):
    def asked(self, request):
        torch.seed()
        return request


class AlwaysTheSameSeed(Twisted):
    def asked(self, request):
        torch.manual_seed(7)
        return request


class CopiesAlike(Twisted):
    def answered(self, request, samples):
        return [samples[request.n * s.group] for s in samples]


class IgnoresWhatItDoesNotKnow(Twisted):
    def asked(self, request):
        known = {name: getattr(request, name) for name in SamplingRequest.__dataclass_fields__}
        return SamplingRequest(**known)


class ForgetsEvaluation(Twisted):
    def asked(self, request):
        self.engine.model.train()
        return request


class ChangesSettings(Twisted):
    def asked(self, request):
        self.engine.model.generation_config.top_k = request.top_k
        return request


class ChangesWeights(Twisted):
    def asked(self, request):
        with torch.no_grad():
            self.engine.model.get_decoder().norm.weight.mul_(1 + 1e-6)
        return request


class RecordsNoGradients(Twisted):
    def asked(self, request):
        torch.set_grad_enabled(False)
        return request


class NeverSyncs(Twisted):
    """Has a copy of the weights, as an engine of another process has."""

    def __init__(self, engine):
        super().__init__(engine)
        self.engine.model = deepcopy(engine.model)

    def sync(self, model):
        pass


class SyncsOnce(NeverSyncs):
    def sync(self, model):
        if not hasattr(self, "synced"):
            self.engine.model = deepcopy(model)
        self.synced = True


class FollowsTheFirstModel(NeverSyncs):
    """Reads the weights of the model that it started with, whichever it is given."""

    def __init__(self, engine):
        self.first = engine.model
        super().__init__(engine)

    def sync(self, model):
        self.engine.model = deepcopy(self.first)


class CachedPrompts(Twisted):
    """Long prompts are answered from what was computed before the weights changed."""

    def __init__(self, engine):
        super().__init__(engine)
        self.current, self.cached = engine.model, deepcopy(engine.model)

    def sample(self, request):
        long = max(len(prompt.ids) for prompt in request.prompts) >= 128
        self.engine.model = self.cached if long else self.current
        return self.engine.sample(request)

    def sync(self, model):
        self.current = model


WRONG = {
    "samples": [
        ShortestFirst,
        EditedPrompts,
        WithoutLogProbs,
        LogProbsWithoutTheEnd,
        TokensAsTensors,
    ],
    "logprobs": [ALittleOff, ModelsOwnSettings],
    "temperature": [IgnoredTemperature],
    "prompt_lengths": [PaddedPrompts],
    "frequencies": [HonestAtTemperatureOne, LikelierOfTwo],
    "top_k": [IgnoredTopK, RawLogProbs],
    "top_p": [IgnoredTopP, RawLogProbs],
    "ends": [OneEndToken, EndsCutOff, ModelsOwnEnds, NothingTruncated],
    "stop": [IgnoredStop, StopTextsCutOff, StopsTruncated],
    "length_limit": [OneTokenTooMany, OneTokenTooFew],
    "seeds": [OwnSeeds, AlwaysTheSameSeed, CopiesAlike],
    "unknown_parameters": [IgnoresWhatItDoesNotKnow],
    "model_untouched": [ForgetsEvaluation, ChangesSettings, ChangesWeights, RecordsNoGradients],
    "sync": [NeverSyncs, SyncsOnce, FollowsTheFirstModel, CachedPrompts],
}


@pytest.fixture(autouse=True)
def _as_before():
    """Whatever a wrong sampler leaves behind."""
    with torch.random.fork_rng():
        yield
    torch.set_grad_enabled(True)


def test_there_is_a_wrong_sampler_for_every_rule():
    assert [check.__name__ for check in sampler._CHECKS] == list(WRONG)


@pytest.mark.parametrize(
    ("rule", "engine"), [(rule, engine) for rule, engines in WRONG.items() for engine in engines]
)
def test_who_breaks_a_rule_is_found_out(rule, engine):
    with bench_of(wrong(engine)(), None, Runtime()) as bench, pytest.raises(Violation):
        getattr(completions, rule)(bench)


def test_the_counterexample_is_told_in_words():
    report = check_sampler(wrong(ALittleOff))
    assert str(report).startswith("conformance of Wrong")
    assert {"logprobs", "temperature"} <= {result.name for result in report.failures}
    with pytest.raises(PluginError, match=r"has log-prob -\d\.\d+, and -\d\.\d+ in the"):
        report.raise_if_failed()


def test_what_is_malformed_fails_once():
    report = check_sampler(wrong(WithoutLogProbs))
    assert [result.name for result in report.failures] == ["samples"]
    assert "see samples" in report["sync"].detail


class Plain(Transformers):
    """Refuses what it cannot do, and has an option of its own."""

    n_most: int = Field(8, ge=1, description="Completions of a prompt at most.")

    def check(self, request, runtime):
        if self.n_most < 2:
            raise ConfigError("n_most is 1, but this machine is too good for that")

    def start(self, model, runtime, max_length):
        return NoCuts(super().start(model, runtime, max_length))


class NoCuts(Twisted):
    def asked(self, request):
        request.refuse_all_but("temperature")
        return request


@pytest.mark.parametrize(
    ("rule", "value"), [("top_k", "5"), ("top_p", "0.6"), ("stop", r"\('><1',\)")]
)
def test_to_refuse_a_parameter_breaks_no_rule(rule, value):
    refused = f"^refused: the sampler cannot sample with {rule} = {value}$"
    with bench_of(Plain(), None, Runtime()) as bench:
        completions.logprobs(bench)
        with pytest.raises(NotApplicable, match=refused):
            getattr(completions, rule)(bench)


def test_options_are_checked_and_a_refusal_to_work_is_no_finding():
    with pytest.raises(ConfigError, match="too good for that"):
        check_sampler(Plain, options={"n_most": 1})
    with pytest.raises(ConfigError, match="n_most = 0 is refused"):
        check_sampler(Plain, options={"n_most": 0})
    with pytest.raises(ConfigError, match="too good for that"):
        check_sampler(Plain(n_most=1))
    with pytest.raises(PluginError, match="there is no sampler 'transfomers'; did you mean"):
        check_sampler("transfomers")


def test_the_shape_of_another_model_may_be_asked_for(model_dir):
    with bench_of(Transformers(), model_dir, Runtime()) as bench:
        assert bench.model.config.hidden_size == 96
        completions.logprobs(bench)
