"""Fixtures of the tests of what trains."""

import os
import re
import signal
import socket
import subprocess
import time
from contextlib import suppress
from dataclasses import replace

import httpx2
import pytest
import torch

from anypo import Prompt, Sample, compose
from anypo.data.stream import PromptStream
from anypo.models.load import load_model, load_tokenizer
from anypo.runs.options import RunConfig
from anypo.training.distributed import Distributed
from anypo.training.evaluation import SampledScore
from anypo.training.learner import Learner
from anypo.training.trainer import Trainer
from anypo_vllm.serve import serve_command

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
def check_ends():
    """Checks that completions stop at their first end token and keep it, or at the length limit."""

    def check(samples, ends, limit):
        assert {s.truncated for s in samples} == {True, False}
        for sample in samples:
            assert not set(sample.completion_ids[:-1]) & set(ends)
            assert sample.truncated == (sample.completion_ids[-1] not in ends)
            assert len(sample.completion_ids) == len(sample.logprobs)
            assert not sample.truncated or len(sample.completion_ids) == limit

    return check


@pytest.fixture
def letters(tmp_path):
    """Options of a task that is learnt in seconds: letters of the first half of the alphabet."""
    (tmp_path / "train.jsonl").write_text('{"prompt": "ab"}\n{"prompt": "cd"}\n')
    (tmp_path / "reward.py").write_text(
        "def score(completions, **_):\n"
        "    return [sum(byte < 'n' for byte in text) / 8 for text in completions]\n"
    )
    return {
        "data": str(tmp_path / "train.jsonl"),
        "reward": [f"{tmp_path / 'reward.py'}:score"],
        "prompts_per_step": 4,
        "max_completion_length": 8,
        "output": str(tmp_path / "run"),
    }


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
        learner = Learner(algorithm, model, config, Distributed(config))
        evaluations = [SampledScore(PROMPTS, scripted, scorer)] if held_out else []
        prompts = PromptStream(PROMPTS, 0)
        return Trainer(learner, scripted, scorer, prompts, evaluations, config)

    return make_trainer


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


# -- vLLM ----------------------------------------------------------------------------------------


class ServerProcess:
    """A vLLM server on a free port of this machine, which can be killed and started again."""

    def __init__(self, model_dir, log):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.model_dir, self.log = model_dir, log

    def start(self):
        command, settings = serve_command(
            self.model_dir,
            host="127.0.0.1",
            port=self.port,
            on_cpu=not torch.cuda.is_available(),
            dtype=os.environ.get("ANYPO_TEST_DTYPE"),
            memory=0.3,
            max_length=512,
        )
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                command,
                env={**os.environ, **settings},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        end = time.monotonic() + 180
        while not self._answers():
            assert self.process.poll() is None, self.log.read_text()[-2000:]
            assert time.monotonic() < end, self.log.read_text()[-2000:]
            time.sleep(0.5)

    def stop_once_it_samples(self):
        """Ask it to stop, as soon as it is at work on a completion."""
        while not self._samples():
            time.sleep(0.2)
        self.process.terminate()

    def kill(self):
        """Kill the server and its own children."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def _samples(self):
        metrics = httpx2.get(f"{self.url}/metrics").text
        return re.search(r"^vllm:num_requests_running\{.*\} [1-9]", metrics, re.MULTILINE)

    def _answers(self):
        try:
            return httpx2.get(f"{self.url}/health", timeout=2).status_code == 200
        except httpx2.TransportError:
            return False


@pytest.fixture(scope="session")
def vllm_server(model_dir, tmp_path_factory):
    """A running server of a model such as the built-in one."""
    pytest.importorskip("vllm")
    server = ServerProcess(model_dir, tmp_path_factory.mktemp("vllm") / "server.log")
    server.start()
    yield server
    server.kill()
