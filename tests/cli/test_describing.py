"""`anypo explain` of what is no algorithm."""

import re

import pytest

from anypo_cli.app import main


def test_a_sampler_is_explained_with_its_options(capsys):
    assert main(["explain", "vllm"]) == 0
    output = capsys.readouterr().out
    assert output.startswith("vllm: a sampler of anypo")
    assert "vllm_tensor_parallel  1      GPUs that share the model." in output
    assert "anypo_vllm.plugin:VLLM" in output


def test_one_without_options_shows_what_it_declares(capsys):
    assert main(["explain", "transformers"]) == 0
    output = capsys.readouterr().out
    assert "Samples with the policy itself" in output
    assert "draws   True" in output
    assert "model_config" not in output


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["vllm", "--set", "tensor_parallel=2"], "sampler 'vllm' of anypo .*: leave out --hook"),
        (["vllm", "--hook", "clip=cispo"], "sampler 'vllm' of anypo .*: leave out --hook and --se"),
        (
            ["math", "exact", "--kind", "reward"],
            "reward 'math' of anypo .* is none: leave out exact",
        ),
        (["grpo", "--kind", "samplr"], "no kind 'samplr' of plugin; did you mean 'sampler'"),
    ],
)
def test_what_only_an_algorithm_can_be_asked_is_refused(arguments, says, capsys):
    assert main(["explain", *arguments]) == 1
    assert re.search(says, capsys.readouterr().err)
