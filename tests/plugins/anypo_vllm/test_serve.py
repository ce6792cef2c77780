import os

import pytest

from anypo_cli.app import main
from anypo_vllm.serve import serve_command


def command(**options):
    return serve_command("a/model", host="127.0.0.1", port=8000, **{"on_cpu": False, **options})


def value(arguments, option):
    return arguments[arguments.index(option) + 1]


def test_a_server_samples_from_the_models_distribution_and_takes_weights():
    arguments, environment = command()
    assert value(arguments, "--model") == "a/model"
    assert value(arguments, "--generation-config") == "vllm"
    assert value(arguments, "--logprobs-mode") == "processed_logprobs"
    assert value(arguments, "--worker-extension-cls") == "anypo_vllm.worker.WeightReceiver"
    assert environment["VLLM_SERVER_DEV_MODE"] == "1"


@pytest.mark.parametrize(("on_cpu", "dtype"), [(True, "float32"), (False, "bfloat16")])
def test_the_precision_is_that_of_the_trainer(on_cpu, dtype):
    assert value(command(on_cpu=on_cpu)[0], "--dtype") == dtype
    assert value(command(on_cpu=on_cpu, dtype="float16")[0], "--dtype") == "float16"


def test_graphs_and_threads_are_for_gpus():
    with_gpu, without = command(), command(on_cpu=True)
    assert "--enforce-eager" not in with_gpu[0]
    assert "OMP_NUM_THREADS" not in with_gpu[1]
    assert "--enforce-eager" in without[0]
    assert without[1]["OMP_NUM_THREADS"] == "1"
    assert "--enforce-eager" in command(eager=True)[0]


def test_a_cpu_reads_prompts_whole():
    assert "--no-enable-chunked-prefill" in command(on_cpu=True)[0]
    assert "--no-enable-chunked-prefill" not in command()[0]


def test_what_is_not_given_is_left_to_vllm():
    assert not {"--max-model-len", "--gpu-memory-utilization"} & {*command()[0]}
    arguments, _ = command(max_length=512, memory=0.5, tensor_parallel=2)
    assert value(arguments, "--max-model-len") == "512"
    assert value(arguments, "--gpu-memory-utilization") == "0.5"
    assert value(arguments, "--tensor-parallel-size") == "2"


@pytest.fixture
def executed(monkeypatch):
    """What the process would have become."""
    calls = []
    monkeypatch.setattr("anypo_vllm.serve.os.execve", lambda *arguments: calls.append(arguments))
    return calls


def test_a_missing_vllm_says_how_to_install_it(monkeypatch, capsys, executed):
    monkeypatch.setattr("anypo.support.extras.find_spec", lambda name: None)
    assert main(["serve", "a/model"]) == 1
    assert "pip install 'anypo[vllm]'" in capsys.readouterr().err
    assert not executed


def test_the_process_becomes_the_server_and_keeps_the_users_environment(monkeypatch, executed):
    monkeypatch.setattr("anypo.support.extras.find_spec", lambda name: object())
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert main(["serve", "a/model", "--port", "8123", "--max-length", "64"]) == 0
    ((program, arguments, environment),) = executed
    assert program == arguments[0]
    assert {"a/model", "8123", "64"} <= {*arguments}
    assert environment["OMP_NUM_THREADS"] == "3"
    assert environment["VLLM_SERVER_DEV_MODE"] == "1"
    assert environment["PATH"] == os.environ["PATH"]


@pytest.mark.parametrize("by", ["option", "variable"])
def test_the_key_is_in_the_environment_of_the_server_and_asked_for_everywhere(
    monkeypatch, executed, by, capsys
):
    monkeypatch.setattr("anypo.support.extras.find_spec", lambda name: object())
    given = ["--api-key", "geheim"] if by == "option" else []
    if by == "variable":
        monkeypatch.setenv("VLLM_API_KEY", "geheim")
    assert main(["serve", "a/model", "--host", "0.0.0.0", *given]) == 0
    ((_, arguments, environment),) = executed
    assert environment["VLLM_API_KEY"] == "geheim"
    assert "geheim" not in " ".join(arguments)
    assert value(arguments, "--middleware") == "anypo_vllm.guard.Guard"
    assert "note" not in capsys.readouterr().err


@pytest.mark.parametrize(("host", "warns"), [("0.0.0.0", True), ("127.0.0.1", False)])
def test_a_server_for_everybody_warns(monkeypatch, executed, capsys, host, warns):
    monkeypatch.setattr("anypo.support.extras.find_spec", lambda name: object())
    assert main(["serve", "a/model", "--host", host]) == 0
    assert (f"whoever reaches {host} can replace the weights" in capsys.readouterr().err) == warns
    assert "--middleware" not in executed[0][1]
