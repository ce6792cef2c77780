import os

import pytest

from anypo_cli.app import main


@pytest.fixture
def executed(monkeypatch):
    """What the process would have become."""
    calls = []
    monkeypatch.setattr("anypo_cli.serving.os.execve", lambda *arguments: calls.append(arguments))
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
