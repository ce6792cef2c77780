from pathlib import Path

import pytest
import torch

import anypo_vllm
from anypo import ConfigError, Runtime, SamplerError, SamplingRequest, compose, run
from anypo.runs.options import make_config, sampler_of
from anypo.runs.unread import refuse_unread, unread

CPU, GPU = torch.device("cpu"), torch.device("cuda")
URL = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def grpo():
    return compose("grpo")


def check(grpo, device=CPU, **options):
    """As a run does before anything is loaded."""
    config = make_config(options)
    refuse_unread(config, grpo)
    request = SamplingRequest(temperature=config.temperature)
    sampler_of(config)[1].check(request, Runtime(device))


@pytest.fixture
def installed(monkeypatch):
    """Pretend that vLLM is installed."""
    monkeypatch.setattr("anypo.support.extras.find_spec", lambda name: object())


@pytest.fixture
def missing(monkeypatch):
    """Pretend that vLLM is not installed."""
    monkeypatch.setattr("anypo.support.extras.find_spec", lambda name: None)


def test_a_missing_vllm_says_how_to_install_it(missing, tmp_path):
    with pytest.raises(ConfigError, match=r"pip install 'anypo\[vllm\]' .*docs/rollouts\.md"):
        run("grpo", sampler="vllm", output=str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_servers_need_no_vllm_here(missing, grpo):
    check(grpo, sampler="vllm", vllm_url=URL)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"vllm_memory": 0.5}, "vllm_memory is set, but the sampler is transformers"),
        ({"vllm_url": URL}, "vllm_url is set, but the sampler is transformers"),
        ({"sampler": "vllm", "vllm_timeout": 3.0}, "vllm_timeout is set, but vllm_url is not,"),
        (
            {"sampler": "vllm", "vllm_url": URL, "vllm_eager": True},
            "vllm_eager is set, but the sampler is vllm servers, .*anypo serve",
        ),
        ({"sampler": "vllm", "vllm_sleep": True}, "vllm_sleep is set, but it is about GPUs"),
        ({"sampler": "vllm", "vllm_tensor_parallel": 2}, "it is about GPUs"),
        ({"sampler": "vllm", "vllm_memory": 2}, "vllm_memory = 2 is refused"),
        ({"sampler": "vllm", "temperature": 0.001}, r"vLLM samples at 0\.01 or more"),
    ],
)
def test_options_that_mean_nothing_are_refused(installed, grpo, options, reason):
    with pytest.raises(ConfigError, match=reason):
        check(grpo, **options)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://127.0.0.1:999999", "is no URL such as"),
        ("http://127.0.0.1:port", "is no URL such as"),
        ("http://[::1", "is no URL such as"),
        ("127.0.0.1:8000", "is no URL such as"),
        (f"{URL},", "is no URL such as"),
        (f"{URL},{URL}/", "names a server twice"),
        ("http://far.example:8000", "name with vllm_exchange a directory"),
        ("http://me:geheim@127.0.0.1:8000", "variable VLLM_API_KEY"),
        ("ftp://me:geheim@127.0.0.1:8000", "is no URL such as"),
        ("http://me:geheim@[::1", "is no URL such as"),
        ("http://127.0.0.1:8000?key=geheim", "variable VLLM_API_KEY"),
    ],
)
def test_addresses_that_cannot_work_are_refused_before_anything_is_loaded(grpo, url, reason):
    with pytest.raises(ConfigError, match=reason) as refused:
        check(grpo, sampler="vllm", vllm_url=url)
    assert "geheim" not in str(refused.value)


def test_options_that_mean_something_are_not(installed, grpo):
    check(grpo, sampler="vllm", vllm_memory=0.5, vllm_eager=True, vllm_max_length=100)
    check(grpo, GPU, sampler="vllm", vllm_sleep=True, vllm_tensor_parallel=2)
    check(grpo, sampler="vllm", vllm_url=URL, vllm_timeout=3.0, vllm_exchange="/tmp")
    check(grpo, sampler="transformers", temperature=0.001)


def test_what_is_written_down_is_what_was_read(grpo):
    in_process = unread(make_config({"sampler": "vllm"}), grpo)
    assert "vllm_url" not in in_process
    assert "vllm_memory" not in in_process
    assert "vllm_timeout" in in_process
    on_servers = unread(make_config({"sampler": "vllm", "vllm_url": URL}), grpo)
    assert "vllm_memory" in on_servers
    assert "vllm_timeout" not in on_servers


def test_a_server_that_is_not_there_ends_the_run_before_it_begins(model_dir, tmp_path, monkeypatch):
    monkeypatch.setattr("anypo_vllm.servers.PAUSES", ())
    (tmp_path / "train.jsonl").write_text('{"prompt": "ab"}\n')
    with pytest.raises(SamplerError, match="cannot be reached"):
        run(
            "grpo",
            model=model_dir,
            data=str(tmp_path / "train.jsonl"),
            reward=["length"],
            sampler="vllm",
            vllm_url=URL,
            max_completion_length=8,
            output=str(tmp_path / "run"),
        )
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("algorithm", "reason"),
    [
        ("sft", "sampler is set, but sft samples nothing, and nor does a held-out score"),
        ("reward_model", "sampler is set, but reward_model has no completions to score"),
    ],
)
def test_a_sampler_that_nothing_uses_is_refused(algorithm, reason, tmp_path):
    with pytest.raises(ConfigError, match=reason):
        run(algorithm, sampler="transformers", data="x.jsonl", output=str(tmp_path / "run"))


def test_only_one_module_imports_the_llm_of_vllm():
    sources = sorted(Path(anypo_vllm.__file__).parent.rglob("*.py"))
    found = [p.name for p in sources if "from vllm import LLM" in p.read_text(encoding="utf-8")]
    assert found == ["engine.py"]
