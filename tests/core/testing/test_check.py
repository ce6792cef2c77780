"""How the kit is called, and how it tells what it found."""

import pytest
import torch

import anypo.functional as F
import anypo.testing
from anypo import Plugin, hookimpl
from anypo.errors import PluginError
from anypo.hooks import registry
from anypo.testing import PROPERTIES, Conformance, Status, check_plugin
from anypo.testing.check import make_subject
from anypo.testing.report import Violation
from anypo.testing.runs import same_on
from anypo_plugins.policy_gradient.grpo import GRPO


class TwoRows(Plugin):
    """Wrong only where two rows of three tokens or more meet in one micro-batch."""

    extends = (GRPO,)

    @hookimpl
    def clip(self, log_ratio, advantages, batch):
        long = (batch.lengths >= 3).sum()
        return F.exp_ratio(log_ratio) * advantages * (2.0 if long >= 2 else 1.0)


class Halved(Plugin):
    """A modifier that is right."""

    share: float = 0.5

    @hookimpl(wrapper=True)
    def clip(self):
        return self.share * (yield)


class OnlyAdvantage(Plugin):
    """A stage without the others, and without saying what it builds on."""

    @hookimpl
    def advantage(self, batch):
        return F.group_standardize(batch.rewards, batch.group)


class TokenReward(Plugin):
    extends = (GRPO,)

    @hookimpl
    def advantage(self, batch):
        return batch["bonus"]


BROKEN = '''
from anypo import Plugin, hookimpl
from anypo_plugins.policy_gradient.grpo import GRPO

class Mine(GRPO):
    """An override that forgets its mark."""

    def weight(self, batch):
        return batch.mask
'''


def test_a_counterexample_has_as_few_rows_as_show_the_fault():
    detail = check_plugin(TwoRows)["micro_batch_split"].detail
    assert "on 2 rows:" in detail
    rows = [line for line in detail.splitlines() if line.startswith("  row")]
    assert len(rows) == 2
    assert all(int(row.split(", ")[1].split()[0]) >= 3 for row in rows)


def test_a_counterexample_says_what_was_expected_and_what_came():
    detail = check_plugin(TwoRows)["micro_batch_split"].detail
    first, *_, cause = detail.splitlines()
    assert first.startswith("with the loss taken one by one: 'clip' of plugin 'two_rows'")
    assert "the loss term 'policy' is" in first
    assert "instead of" in first
    assert cause.startswith("usual cause: ")


def test_rows_of_a_group_stay_together_in_a_counterexample_about_pairs():
    class Crossed(Plugin):
        extends = ("dpo",)

        @hookimpl
        def regularizer(self, logprobs):
            return {"mean": (logprobs - logprobs.mean()).square()}

    assert "on 4 rows" in check_plugin(Crossed)["micro_batch_split"].detail


def test_a_modifier_is_put_on_a_neutral_base():
    report = check_plugin(Halved, knobs={"share": 1.0})
    assert report.ok
    assert report.plugin == "halved on a neutral base"


def test_what_a_modifier_breaks_is_its_own():
    failed = {failure.name for failure in check_plugin(Halved).failures}
    assert failed == {"policy_gradient"}
    assert check_plugin(Halved, claims=("own_gradient",)).ok


def test_a_part_of_an_algorithm_is_put_on_a_neutral_base():
    assert check_plugin(OnlyAdvantage).plugin == "only_advantage on a neutral base"
    assert check_plugin(OnlyAdvantage).ok


def test_a_modifier_is_put_on_what_is_asked_for():
    options = {"claims": ("own_gradient", "reward_shift")}
    for report in (
        check_plugin(Halved, on="grpo", **options),
        check_plugin(Halved(), on=["grpo", "tis"], **options),
        check_plugin("grpo+tis", Halved, **options),
    ):
        assert report.ok, str(report)
        assert report.plugin.startswith("grpo")
        assert report["reward_shift"].status is Status.PASSED


def test_a_claim_counts_while_its_plugin_answers_the_stage():
    below = check_plugin("dapo")["reward_shift"]
    assert below.status is Status.PASSED  # grpo answers `advantage`, and claims it
    above = check_plugin("dapo+gfpo")["reward_shift"]
    assert above.status is Status.NOT_APPLICABLE  # gfpo does


def test_claims_can_be_given_instead():
    knobs = {"kl_gradient": "k2"}
    assert check_plugin("grpo", knobs=knobs)["nothing_detached"].status is Status.FAILED
    report = check_plugin("grpo", knobs=knobs, claims=("stop_gradient",))
    assert report.ok
    assert report["reward_shift"].status is Status.NOT_APPLICABLE


def test_a_claim_that_does_not_exist_is_named():
    detail = check_plugin("grpo", claims=("stop_gradients",))["hooks_and_signatures"].detail
    assert "did you mean 'stop_gradient'" in detail


def test_a_knob_that_does_not_exist_is_named():
    assert "no knob 'keep'" in check_plugin("grpo", knobs={"keep": 3}).failures[0].detail


def test_a_column_that_no_stage_provides_is_named():
    assert "the batch holds no 'bonus'" in check_plugin(TokenReward)["composition"].detail


def test_a_plugin_that_does_not_import_is_a_finding(tmp_path, monkeypatch):
    (tmp_path / "kit_broken.py").write_text(BROKEN)
    monkeypatch.syspath_prepend(tmp_path)
    point = registry.EntryPoint("mine", "kit_broken:Mine", "anypo")
    entry = registry.Entry("algorithm", "mine", "anypo-mine", "1.0", point)
    monkeypatch.setattr(registry, "find", lambda name: entry)
    report = check_plugin("mine")
    assert (
        "Mine.weight is named like a stage but lacks @hookimpl"
        in report["hooks_and_signatures"].detail
    )
    assert [failure.name for failure in report.failures] == ["hooks_and_signatures"]


def test_a_report_prints_as_a_table_with_counterexamples_below():
    lines = str(check_plugin(TwoRows)).splitlines()
    assert lines[0] == "conformance of two_rows"
    assert [line.split()[0] for line in lines[2 : 2 + len(PROPERTIES)]] == list(PROPERTIES)
    assert "  micro_batch_split     FAILED" in lines
    assert any(line.startswith("micro_batch_split: Losses of micro-batches") for line in lines)
    assert "FAILED" in lines[-1]
    assert max(map(len, lines)) <= 110


def test_a_report_can_raise():
    with pytest.raises(PluginError, match="micro_batch_split"):
        check_plugin(TwoRows).raise_if_failed()
    check_plugin("sft").raise_if_failed()


def test_a_warning_is_no_finding():
    class Warns(Plugin):
        extends = (GRPO,)

        @hookimpl
        def advantage(self, batch):
            return F.group_standardize(batch.rewards, batch.group) + 0 * batch.rewards[:1].std()

    details = [failure.detail for failure in check_plugin(Warns).failures]
    assert not any("UserWarning" in detail for detail in details)


def test_another_device_is_compared_with_the_cpu():
    class Elsewhere(Plugin):
        """Another result for every call, as if by another device."""

        extends = (GRPO,)

        @hookimpl
        def advantage(self, batch):
            return batch.rewards + torch.rand(())

    same_on(make_subject("ppo", on=(), knobs=None, claims=None), torch.device("cpu"))
    with pytest.raises(Violation, match="on cpu: 'advantage' of plugin 'elsewhere'"):
        same_on(make_subject(Elsewhere, on=(), knobs=None, claims=None), torch.device("cpu"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_a_tensor_made_on_the_cpu_is_caught_on_the_gpu():
    class OnTheCPU(Plugin):
        extends = (GRPO,)

        @hookimpl
        def advantage(self, batch):
            return batch.rewards - torch.zeros(len(batch))

    assert check_plugin(OnTheCPU)["gpu"].status is Status.FAILED


def test_every_property_is_explained():
    assert all(check.__doc__ for check in PROPERTIES.values())
    assert not [name for name in PROPERTIES if f"`{name}`" not in anypo.testing.__doc__]


TESTS = """
import anypo.testing
from anypo import Plugin, hookimpl

class Padded(Plugin):
    extends = ("sft",)

    @hookimpl
    def weight(self, batch):
        return batch.mask / batch.mask.numel()

class TestPadded(anypo.testing.Conformance):
    plugin = Padded
"""


def test_the_class_gives_one_test_per_property(tmp_path, capsys):
    (tmp_path / "test_padded.py").write_text(TESTS)
    without = [part for name in ("cacheprovider", "timeout") for part in ("-p", f"no:{name}")]
    pytest.main(["-q", "--rootdir", str(tmp_path), *without, str(tmp_path)])
    output = capsys.readouterr().out
    assert "2 failed" in output
    assert "TestPadded::test_conformance[padding_width]" in output
    assert "'weight' of plugin 'padded'" in output
    assert "Traceback" not in output


def test_the_class_itself_is_not_collected():
    assert not Conformance.__name__.startswith("Test")
