"""`anypo explain` of what is no algorithm."""

from anypo_cli.app import main


def test_a_sampler_is_explained_with_its_options(capsys):
    assert main(["explain", "vllm"]) == 0
    output = capsys.readouterr().out
    assert output.startswith("vllm: a sampler of anypo")
    assert "vllm_tensor_parallel  1      GPUs that share the model." in output
    assert "anypo_vllm.plugin:VLLM" in output


def test_one_without_options_has_none(capsys):
    assert main(["explain", "transformers"]) == 0
    output = capsys.readouterr().out
    assert "Samples with the policy itself" in output
    assert "option" not in output
    assert "model_config" not in output
