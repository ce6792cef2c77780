"""Whole runs that sample with vLLM, in both ways."""

import json
from threading import Thread

import pytest
import torch
from transformers import AutoModelForCausalLM

from anypo import Observer, SamplerError, compose, run
from anypo.runs.recipe import read_recipe
from anypo_cli.app import main
from anypo_vllm.servers import Servers

CLOSE = 1e-4 if not torch.cuda.is_available() else 0.4  # nats; there the run is in bfloat16

pytest.importorskip("vllm")
pytestmark = [pytest.mark.vllm, pytest.mark.timeout(400)]


@pytest.fixture
def setting(letters, model_dir):
    """Options of a run of a few seconds that samples with vLLM."""
    return {**letters, "model": model_dir, "learning_rate": 3e-3, "sampler": "vllm"}


def rows(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(params=["in process", "server"])
def way(request):
    """The options of a way of sampling."""
    if request.param == "server":
        return {"vllm_url": request.getfixturevalue("vllm_server").url}
    return {"vllm_max_length": 64}


def test_a_run_learns_and_its_sampler_agrees_with_the_trainer(setting, way):
    folder = run("grpo", **setting, **way, steps=40, minibatches=2)
    metrics = rows(folder)
    assert metrics[-1]["reward/mean"] > metrics[0]["reward/mean"] + 0.2
    assert max(row["mismatch/max"] for row in metrics) < CLOSE
    assert metrics[-1]["mismatch/mean"] <= metrics[-1]["mismatch/max"]
    assert metrics[-1]["mismatch/ratio"] == pytest.approx(1, abs=CLOSE)
    recipe = read_recipe(str(folder / "config.toml"))
    assert recipe.options["sampler"] == "vllm"
    assert {name for name in recipe.options if name.startswith("vllm_")} >= way.keys()


def test_adapters_are_merged_into_what_is_sampled_from(setting, way):
    setting |= {"lora_rank": 4, "learning_rate": 1e-2, "minibatches": 2}
    metrics = rows(run("grpo", **setting, **way, steps=5))
    assert metrics[-1]["kl/ref"] > 1e-3, "the adapters say too little to prove anything"
    assert max(row["mismatch/max"] for row in metrics) < CLOSE


def test_the_same_seed_gives_the_same_run(setting, tmp_path):
    runs = [
        rows(run("grpo", **{**setting, "output": str(tmp_path / name)}, steps=2)) for name in "ab"
    ]
    rewards = [[row["reward/mean"] for row in metrics] for metrics in runs]
    assert rewards[0] == rewards[1]


def test_a_correction_for_the_sampler_runs_from_the_command_line(setting, way):
    options = [
        f"--{name.replace('_', '-')}={value[0] if isinstance(value, list) else value}"
        for name, value in {**setting, **way, "steps": 2}.items()
    ]
    assert main(["run", "dapo+tis", *options]) == 0


class Kills(Observer):
    """Kills the server after a step."""

    def __init__(self, server, step):
        self.server, self.step = server, step

    def reported(self, report):
        if report.step == self.step:
            self.server.kill()


def test_a_killed_server_ends_the_run_and_a_new_one_continues_it(setting, vllm_server, tmp_path):
    url = {"vllm_url": vllm_server.url}
    with pytest.raises(SamplerError, match=r"^step 4: vLLM server .* cannot be reached, tried 4"):
        run("grpo", observer=Kills(vllm_server, 3), **setting, **url, steps=6, save_every=2)
    AutoModelForCausalLM.from_pretrained(tmp_path / "run" / "model")
    checkpoint = tmp_path / "run" / "checkpoints" / "step-000002"
    vllm_server.start()
    again = {**setting, "model": str(checkpoint), "output": str(tmp_path / "again")}
    assert max(row["mismatch/max"] for row in rows(run("grpo", **again, **url, steps=2))) < CLOSE


def test_a_server_that_is_stopped_while_it_samples_ends_the_run(setting, vllm_server):
    setting |= {"vllm_url": vllm_server.url, "vllm_timeout": 600.0, "max_completion_length": 400}
    Thread(target=vllm_server.stop_once_it_samples, daemon=True).start()
    one_line = r"^step 1: vLLM server .*(cannot be reached|was stopped|EngineCore).*$"
    with pytest.raises(SamplerError, match=one_line):
        run(compose("grpo", knobs={"group_size": 100}), **setting, steps=1)
    vllm_server.process.wait()
    vllm_server.start()


def test_a_server_that_was_restarted_is_never_sampled_from(setting, vllm_server):
    class Restarts(Kills):
        def reported(self, report):
            super().reported(report)
            if report.step == self.step:
                self.server.start()

    setting["vllm_url"] = vllm_server.url
    with pytest.raises(SamplerError, match=r"^step 2: .* does not have the weights"):
        run("grpo", observer=Restarts(vllm_server, 1), **setting, steps=4)


def test_two_runs_on_one_server_notice_each_other(setting, vllm_server, model):
    class Interferes(Observer):
        def reported(self, report):
            other = Servers([vllm_server.url], model.config, timeout=60)
            other.load(model)
            other.close()

    setting["vllm_url"] = vllm_server.url
    with pytest.raises(SamplerError, match="or another run uses it"):
        run("grpo", observer=Interferes(), **setting, steps=3)
