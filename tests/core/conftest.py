"""Fixtures of the tests of what trains."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from safetensors.torch import load_file

from anypo import Prompt, Sample, compose
from anypo.data.stream import PromptStream
from anypo.models.load import load_model, load_tokenizer
from anypo.runs.options import RunConfig
from anypo.training.distributed import Distributed
from anypo.training.evaluation import sampled_score
from anypo.training.learner import Learner
from anypo.training.state import save_state
from anypo.training.trainer import Trainer

PROMPTS = [Prompt(list(range(50, 50 + n)), f"prompt {n}") for n in (4, 1, 3)]


class ScriptedSampler:
    """The same completions every time, of unequal lengths."""

    max_completion_length = 8

    def sample(self, prompts, n):
        return [
            Sample(prompt.ids, [97 + i + group] * (1 + i), group, logprobs=[-5.0] * (1 + i))
            for group, prompt in enumerate(prompts)
            for i in range(n)
        ]

    def sync(self, model):
        self.synced = getattr(self, "synced", 0) + 1

    def close(self):
        pass


def longer_is_better(prompts, samples):
    return [
        replace(s, reward=float(len(s.completion_ids)), scores={"length": 1.0}) for s in samples
    ]


@pytest.fixture
def scripted():
    """A sampler that knows what it will say."""
    return ScriptedSampler()


@pytest.fixture
def scorer():
    """Rewards length."""
    return longer_is_better


@pytest.fixture
def make_trainer(scripted, scorer):
    """A trainer of a model, of `grpo` unless plugins are given."""

    def make_trainer(model, *plugins, held_out=False, knobs=None, **options):
        usual = {"steps": 2, "prompts_per_step": 3, "learning_rate": 1e-3, "device": "cpu"}
        config = RunConfig(**{**usual, **options})
        plugins = plugins or ("grpo",)
        size = {"group_size": 4} if plugins[0] == "grpo" else {}
        algorithm = compose(*plugins, knobs={**size, **(knobs or {})})
        learner = Learner(algorithm, model, config, Distributed(config), longest=64)
        evaluations = [partial(sampled_score, PROMPTS, scripted, scorer)] if held_out else []
        prompts = PromptStream(PROMPTS, 0)
        return Trainer(learner, scripted, scorer, prompts, evaluations, config)

    return make_trainer


@pytest.fixture
def kept(tmp_path):
    """The tensors that a checkpoint of a trainer holds, by name."""

    def kept(trainer):
        save_state(trainer, tmp_path)
        files = (tmp_path / "training").glob("*.safetensors")
        return {name: tensor for file in files for name, tensor in load_file(file).items()}

    return kept


@pytest.fixture
def samples(scripted, scorer):
    """Four scored completions to each of three prompts."""
    return scorer(PROMPTS, scripted.sample(PROMPTS, 4))


@pytest.fixture
def weights():
    """All weights of a model as one tensor."""
    return lambda model: torch.cat([p.detach().flatten() for p in model.parameters()])


@pytest.fixture(scope="session")
def scorer_dir(model_dir, tmp_path_factory):
    """A model directory that scores texts, with weights large enough for the scores to differ."""
    folder = tmp_path_factory.mktemp("models") / "judge"
    random = torch.Generator().manual_seed(0)
    model = load_model(model_dir, scalar_head=True)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=0.2, generator=random)
    model.save_pretrained(folder)
    load_tokenizer(model_dir).save_pretrained(folder)
    return str(folder)
