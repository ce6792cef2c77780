"""The command whose figures docs/environments.md shows."""

import sys

import environments
import pytest


def test_an_unknown_algorithm_is_refused_in_a_sentence(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["environments.py", "grpo", "gropo"])
    monkeypatch.setattr(environments, "learned", None)
    with pytest.raises(SystemExit):
        environments.main()
    says = capsys.readouterr().err.splitlines()[-1]
    assert says == "environments.py: error: there is no plugin 'gropo'; did you mean 'grpo'?"
