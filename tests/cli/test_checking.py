"""`anypo check` prints the report; its exit status is what it found."""

import pytest

from anypo_cli.app import main


def test_a_plugin_that_conforms(capsys):
    assert main(["check", "sft"]) == 0
    output = capsys.readouterr().out
    assert "conformance of sft" in output
    assert "FAILED" not in output


def test_a_stack_and_its_knobs(capsys):
    assert main(["check", "grpo+tis", "entropy", "--set", "group_size=3"]) == 0
    assert "conformance of grpo+tis+entropy" in capsys.readouterr().out


def test_a_finding_is_shown_and_is_the_exit_status(capsys):
    assert main(["check", "grpo", "--set", "kl_gradient=k2"]) == 1
    captured = capsys.readouterr()
    assert "nothing_detached      FAILED" in captured.out
    assert "'regularizer' of plugin 'grpo'" in captured.out
    assert not captured.err


def test_a_misspelt_name_is_an_error(capsys):
    assert main(["check", "grpp"]) == 1
    assert "did you mean 'grpo'" in capsys.readouterr().err


def test_a_sampler_is_held_to_the_rules_of_samplers(capsys):
    assert main(["check", "transformers"]) == 0
    output = capsys.readouterr().out
    assert "conformance of transformers" in output
    assert "sync                passed" in output


def test_the_options_of_a_sampler_are_checked(capsys):
    assert main(["check", "transformers", "--set", "memory=0.5"]) == 1
    assert "memory = 0.5 is refused" in capsys.readouterr().err


def test_a_sampler_that_breaks_at_its_start_is_named(capsys, install):
    source = (
        "from anypo import SamplerPlugin\n\n"
        "class Fuse(SamplerPlugin):\n"
        "    def start(self, model, runtime, max_length):\n"
        "        raise RuntimeError('blown')\n"
    )
    install("anypo-fuse", {}, {"fuse.py": source}, others={"anypo.samplers": {"fuse": "fuse:Fuse"}})
    assert main(["check", "fuse"]) == 1
    assert capsys.readouterr().err == (
        "error: sampler 'fuse' of anypo-fuse 1.0 is broken: RuntimeError: blown (fuse.py:5)\n"
    )


@pytest.mark.parametrize(
    ("setting", "says"),
    [("foo=1", "grpo has no knob 'foo'"), ("group_size=1", "group_size = 1 is refused")],
)
def test_a_wrong_knob_is_one_error(capsys, setting, says):
    assert main(["check", "grpo", "--set", setting]) == 1
    shown = capsys.readouterr()
    (line,) = shown.err.splitlines()
    assert says in line
    assert not shown.out
