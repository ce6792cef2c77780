"""The explanation says who answers, with what formula, from where, and where each knob is from."""

import importlib
import inspect
import sys
from pathlib import Path

import pytest

import anypo_plugins
from anypo import Plugin, compose, hookimpl
from anypo_plugins.policy_gradient.grpo import GRPO


class Halved:
    """Half of the gain."""

    @hookimpl(wrapper=True)
    def clip(self):
        """gain / 2; as below."""
        gain = yield
        return gain / 2


class Tight(Plugin):
    """GRPO with a tight clip range.

    And a second paragraph.
    """

    extends = (GRPO,)
    clip_low: float = 0.1

    @hookimpl
    def weight(self, batch):
        """1 / 8 of every token; [N, T].

        Not a mean.
        """
        return batch.mask / 8


class Silent(GRPO):
    @hookimpl
    def clip(self, logprobs):
        return logprobs


def answers(explanation, stage):
    return [answer for answer in explanation.answers if answer.stage == stage]


def test_every_stage_is_answered_in_order():
    stages = [answer.stage for answer in compose("grpo").explain().answers]
    assert stages == ["rollout", "advantage", "ratio", "clip", "regularizer", "weight"]


def test_only_the_answer_that_runs_is_shown():
    assert [answer.plugin for answer in answers(compose(Tight).explain(), "weight")] == ["tight"]


def test_a_wrapper_is_shown_before_what_it_wraps_and_marked():
    shown = answers(compose(Tight, Halved).explain(), "clip")
    assert [(answer.plugin, answer.wraps) for answer in shown] == [
        ("halved", True),
        ("grpo", False),
    ]


def test_all_regularizers_are_shown():
    class Paying(Plugin):
        @hookimpl
        def regularizer(self, logprobs):
            return {"length": -logprobs}

    shown = answers(compose("grpo", Paying).explain(), "regularizer")
    assert [answer.plugin for answer in shown] == ["paying", "grpo"]


def test_the_formula_is_the_first_line_of_the_hooks_docstring():
    (shown,) = answers(compose(Tight).explain(), "weight")
    assert shown.formula == "1 / 8 of every token; [N, T]."


def test_a_hook_without_docstring_has_no_formula():
    class Undocumented(Plugin):
        @hookimpl
        def weight(self, batch):
            return batch.mask / 8

    (shown,) = answers(compose("grpo", Undocumented).explain(), "weight")
    assert shown.formula == ""


def test_a_hook_does_not_inherit_the_formula_it_overrides():
    (shown,) = answers(compose(Silent).explain(), "clip")
    assert shown.formula == ""


def test_the_source_points_at_the_function():
    home = Path(anypo_plugins.__file__).parents[1]
    for shown in compose("grpo").explain().answers:
        file, _, line = shown.source.partition(":")
        decorator, definition = (home / file).read_text().splitlines()[int(line) - 1 :][:2]
        assert decorator.strip() == "@hookimpl"
        assert definition.strip().startswith(f"def {shown.stage}(")


def test_the_source_of_an_inherited_hook_is_where_it_is_written():
    (shown,) = answers(compose(Silent).explain(), "ratio")
    assert shown.plugin == "silent"
    assert (
        shown.source
        == f"anypo_plugins/policy_gradient/grpo.py:{inspect.getsourcelines(GRPO.ratio)[1]}"
    )


def test_the_source_of_a_hook_in_a_package_names_the_package(tmp_path, monkeypatch):
    home = tmp_path / "anypo_burbot"
    home.mkdir()
    (home / "__init__.py").write_text(
        "from anypo import hookimpl\n\n\nclass Burbot:\n    @hookimpl\n"
        "    def weight(self, batch):\n        return batch.mask / 8\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    burbot = importlib.import_module("anypo_burbot").Burbot
    monkeypatch.delitem(sys.modules, "anypo_burbot")
    (shown,) = answers(compose("grpo", burbot).explain(), "weight")
    assert shown.source == "anypo_burbot/__init__.py:5"


def test_the_stack_is_shown_bottom_first_each_with_its_one_line():
    assert compose(Tight, Halved).explain().stack == (
        ("grpo", GRPO.__doc__),
        ("tight", "GRPO with a tight clip range."),
        ("halved", "Half of the gain."),
    )


def test_a_plugin_without_docstring_has_no_line():
    class Undocumented(Plugin):
        extends = (GRPO,)

    assert compose(Undocumented).explain().stack[-1] == ("undocumented", "")


def origin(algorithm, name):
    (knob,) = (knob for knob in algorithm.explain().knobs if knob.name == name)
    return knob.origin


def test_a_default_says_whose_it_is():
    assert origin(compose(Tight), "clip_low") == "default of tight"
    assert origin(compose(Tight), "clip_high") == "default of grpo"


def test_a_setting_says_who_set_it():
    assert origin(compose(Tight, knobs={"clip_low": 0.3}), "clip_low") == "set by you"
    assert origin(compose(Tight(clip_low=0.3)), "clip_low") == "set on tight"
    assert origin(compose(GRPO(clip_low=0.3), Tight), "clip_low") == "set on grpo"


def test_a_re_defaulted_knob_keeps_the_description_from_below():
    knobs = compose(Tight).knobs
    assert knobs["clip_low"].description == GRPO.model_fields["clip_low"].description
    assert knobs["clip_low"].declared_by == "tight"


def test_a_knob_that_no_active_stage_reads_is_not_active():
    explanation = compose("grpo", knobs={"kl_coef": 0.0}).explain()
    assert "kl_estimator" in {knob.name for knob in explanation.knobs}
    assert "kl_estimator" not in explanation.active_knobs
    assert "kl_coef" in explanation.active_knobs


@pytest.mark.parametrize("plugin", ["grpo", Tight])
def test_what_is_required_is_what_the_algorithm_requires(plugin):
    algorithm = compose(plugin)
    explanation = algorithm.explain()
    assert explanation.name == algorithm.name
    assert explanation.requires == algorithm.requires == {"old_logprobs", "reference"}


def test_a_regularizer_without_a_penalty_is_no_answer():
    def regularizers(**knobs):
        answers = compose("grpo", knobs=knobs).explain().answers
        return [answer.plugin for answer in answers if answer.stage == "regularizer"]

    assert regularizers() == ["grpo"]
    assert regularizers(kl_coef=0.0) == []
