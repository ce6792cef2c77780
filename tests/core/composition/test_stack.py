"""Plugins are laid bottom to top, and a knob has one value in the whole stack."""

import dataclasses

import pytest
import torch
from pydantic import Field

import anypo.functional as F
from anypo import Batch, Plugin, compose, hookimpl
from anypo.composition.stack import snake_case
from anypo.errors import KnobError, PluginError
from anypo_plugins.policy_gradient.grpo import GRPO


class DapoLike(Plugin):
    """GRPO without the KL penalty, every token counting the same."""

    extends = (GRPO,)
    kl_coef: float = 0.0
    clip_high: float = 0.28

    @hookimpl
    def weight(self, batch):
        return F.token_mean(batch.mask)


class GfpoLike(Plugin):
    """GRPO on the shortest completions."""

    extends = (GRPO,)
    group_size: int = 12
    keep: int = Field(3, ge=1)

    @hookimpl(wrapper=True)
    def advantage(self, batch):
        advantages = yield
        longest_kept = batch.lengths.sort().values[min(self.keep, len(batch)) - 1]
        return torch.where(batch.lengths <= longest_kept, advantages, 0)


class Doubled:
    """Twice the gain."""

    @hookimpl(wrapper=True)
    def clip(self):
        gain = yield
        return 2 * gain


class Lamprey(Plugin):
    """A gain of its own, to take one stage of."""

    clip_low: float = 0.9
    grip: float = 5.0

    @hookimpl
    def clip(self, logprobs):
        return self.grip * logprobs

    @hookimpl
    def weight(self, batch):
        return F.token_mean(batch.mask)


class Hanger(Plugin):
    """It answers no stage that it does not take from GRPO."""

    extends = (GRPO,)


class Rider(Plugin):
    """A ratio of its own, on top of a lamprey."""

    extends = (Lamprey,)

    @hookimpl
    def ratio(self, logprobs, batch):
        return F.token_log_ratio(logprobs, batch.old_logprobs)


@pytest.fixture
def by_name(install):
    """Install the classes above under names, as a distribution would."""
    classes = {"sea-lamprey": Lamprey, "hanger": Hanger, "rider": Rider}
    install("lampreys", {n: f"{c.__module__}:{c.__name__}" for n, c in classes.items()})


def stack(algorithm):
    return [layer.name for layer in algorithm.layers]


def values(algorithm):
    return {name: knob.value for name, knob in algorithm.knobs.items()}


def answers(algorithm, stage):
    return [impl.plugin_name for impl in algorithm.answers(stage)]


def terms(algorithm):
    batch = Batch(
        mask=torch.ones(4, 3),
        group=torch.tensor([0, 0, 1, 1]),
        rewards=torch.tensor([0.0, 1.0, 0.0, 1.0]),
        old_logprobs=torch.full((4, 3), -0.5),
        ref_logprobs=torch.full((4, 3), -0.7),
    )
    logprobs = torch.full((4, 3), -0.5, requires_grad=True)
    return algorithm.loss(logprobs, algorithm.prepare(batch)).terms


def test_a_base_that_two_plugins_extend_is_laid_once_below_both():
    assert stack(compose(DapoLike, GfpoLike)) == ["grpo", "dapo_like", "gfpo_like"]


def test_what_is_extended_can_be_a_name():
    class Named(Plugin):
        extends = ("grpo",)

    assert stack(compose(Named)) == ["grpo", "named"]


def test_what_is_extended_can_extend_in_turn():
    class Above(Plugin):
        extends = (DapoLike,)

    assert stack(compose(Above)) == ["grpo", "dapo_like", "above"]


def test_a_plain_class_that_two_plugins_extend_is_laid_once():
    class One(Plugin):
        extends = (GRPO, Doubled)

    class Two(Plugin):
        extends = (GRPO, Doubled)

    assert stack(compose(One, Two)) == ["grpo", "doubled", "one", "two"]


@pytest.mark.parametrize("base", [(GRPO), ("grpo")])
def test_extends_that_is_no_tuple_is_refused(base):
    with pytest.raises(PluginError, match=r"extends.*tuple"):
        compose(type(Plugin)("Faulty", (Plugin,), {"__module__": __name__, "extends": base}))


def test_the_topmost_plugin_with_a_stage_answers_it():
    assert answers(compose(DapoLike), "weight")[0] == "dapo_like"
    assert answers(compose(DapoLike), "clip") == ["grpo"]


def test_the_topmost_default_wins():
    assert values(compose(DapoLike))["clip_high"] == 0.28
    assert values(compose(DapoLike, GfpoLike))["group_size"] == 12
    assert values(compose(DapoLike))["clip_low"] == GRPO().clip_low


def test_a_plugin_that_does_not_mention_a_knob_leaves_the_default_below_it_alone():
    knobs = values(compose(DapoLike, GfpoLike))
    assert (knobs["kl_coef"], knobs["clip_high"]) == (0.0, 0.28)
    assert values(compose(GfpoLike, DapoLike)) == knobs


def test_the_users_value_beats_every_default():
    knobs = values(compose(DapoLike, GfpoLike, knobs={"kl_coef": 0.1, "group_size": 4}))
    assert (knobs["kl_coef"], knobs["group_size"]) == (0.1, 4)


def test_a_value_set_on_an_instance_beats_every_default():
    assert values(compose(GRPO(clip_high=0.3), DapoLike))["clip_high"] == 0.3
    assert values(compose(DapoLike(clip_high=0.3), GfpoLike(keep=2)))["clip_high"] == 0.3


def test_a_hook_below_sees_the_default_of_the_plugin_above():
    assert "kl" in terms(compose(GRPO))
    assert "kl" not in terms(compose(DapoLike, GfpoLike))
    assert "reference" not in compose(DapoLike, GfpoLike).requires


def test_a_hook_below_sees_the_users_value():
    penalty = terms(compose(DapoLike, knobs={"kl_coef": 0.1}))["kl"]
    expected = 0.1 * F.k3(torch.tensor(-0.5), torch.tensor(-0.7))
    torch.testing.assert_close(penalty, expected)


def test_one_knob_declared_with_two_types_is_an_error_naming_both():
    class Other(Plugin):
        extends = (GRPO,)
        clip_low: int = 1

    with pytest.raises(KnobError, match="'grpo' and 'other' declare 'clip_low' with other types"):
        compose(Other)


def test_two_values_that_differ_are_an_error_naming_both():
    with pytest.raises(KnobError, match=r"'clip_high'.*0\.3 .*dapo_like.*0\.4 \(set by you\)"):
        compose(DapoLike(clip_high=0.3), knobs={"clip_high": 0.4})


def test_two_instances_that_disagree_are_an_error_naming_both():
    with pytest.raises(KnobError, match=r"'clip_high'.*0\.4 .*grpo.*0\.3 .*dapo_like"):
        compose(GRPO(clip_high=0.4), DapoLike(clip_high=0.3))


def test_two_values_that_agree_are_fine():
    algorithm = compose(GRPO(clip_high=0.3), DapoLike(clip_high=0.3), knobs={"clip_high": 0.3})
    assert values(algorithm)["clip_high"] == 0.3


def test_an_unknown_knob_suggests_the_nearest():
    with pytest.raises(KnobError, match="no knob 'kl_coeff'; did you mean 'kl_coef'"):
        compose(DapoLike, knobs={"kl_coeff": 0.1})


def test_a_value_out_of_range_names_plugin_knob_and_value():
    with pytest.raises(KnobError, match=r"grpo: group_size = 1 is refused: .* 2"):
        compose(DapoLike, knobs={"group_size": 1})


def test_a_value_of_the_wrong_type_names_plugin_knob_and_value():
    with pytest.raises(KnobError, match="grpo: clip_low = 'narrow' is refused"):
        compose(GRPO, knobs={"clip_low": "narrow"})


def test_the_range_of_the_plugin_below_holds_for_the_default_above():
    class Bold(Plugin):
        extends = (GRPO,)
        clip_low: float = -1.0

    with pytest.raises(KnobError, match=r"grpo: clip_low = -1\.0"):
        compose(Bold)


@pytest.mark.parametrize("plugins", [(GRPO, GRPO), ("grpo", GRPO), (GRPO, GRPO(clip_low=0.1))])
def test_naming_a_plugin_twice_is_an_error(plugins):
    with pytest.raises(PluginError, match="'grpo' is already in the stack"):
        compose(*plugins)


def test_naming_a_plugin_above_one_that_extends_it_is_an_error():
    with pytest.raises(PluginError, match="'grpo' is already in the stack below"):
        compose(DapoLike, "grpo")


def test_a_plugin_may_be_named_below_one_that_extends_it():
    assert stack(compose(GRPO, DapoLike)) == ["grpo", "dapo_like"]


class Needy(Plugin):
    extends = (GRPO,)
    grip: float

    @hookimpl
    def clip(self, logprobs):
        return self.grip * logprobs


def test_a_knob_without_default_must_be_set():
    with pytest.raises(KnobError, match="'needy' needs its knob 'grip'"):
        compose(Needy)


@pytest.mark.parametrize("plugin", [Needy, Needy(grip=2.0)])
def test_a_knob_without_default_can_be_set(plugin):
    settings = {"grip": 2.0} if plugin is Needy else {}
    assert values(compose(plugin, knobs=settings))["grip"] == 2.0


def test_a_default_is_not_shared_between_algorithms():
    class Lister(Plugin):
        extends = (GRPO,)
        stops: list[str] = Field([])

    compose(Lister).knobs["stops"].value.append(".")
    assert values(compose(Lister))["stops"] == []


def test_an_object_without_a_hash_is_a_plugin():
    @dataclasses.dataclass
    class Even:
        total: float = 1.0

        @hookimpl
        def weight(self, batch):
            return self.total * F.token_mean(batch.mask)

    assert answers(compose(GRPO, Even(2.0)), "weight")[0] == "even"


def test_a_plain_class_that_needs_arguments_is_refused_by_name():
    class Even:
        def __init__(self, total):
            self.total = total

        @hookimpl
        def weight(self, batch):
            return self.total * F.token_mean(batch.mask)

    with pytest.raises(PluginError, match="even"):
        compose(GRPO, Even)


def test_a_swap_takes_one_stage_and_leaves_the_others(by_name):
    algorithm = compose(GRPO, clip="sea-lamprey")
    assert answers(algorithm, "clip") == ["sea_lamprey.clip", "grpo"]
    assert answers(algorithm, "weight") == ["grpo"]


class NeedyAndEven(Needy):
    """Answers more than the stage that a swap replaces."""

    @hookimpl
    def weight(self, batch):
        return F.token_mean(batch.mask)


def test_a_swap_is_on_top_of_every_plugin(by_name):
    algorithm = compose(GRPO, NeedyAndEven, hooks={"clip": "sea_lamprey"}, knobs={"grip": 3.0})
    torch.testing.assert_close(terms(algorithm)["policy"], torch.tensor(3.0 * 0.5))


def test_a_plugin_whose_only_stage_is_swapped_is_refused(by_name):
    with pytest.raises(PluginError, match="'needy' has no effect"):
        compose(GRPO, Needy, hooks={"clip": "sea_lamprey"}, knobs={"grip": 3.0})


def test_a_swap_brings_its_new_knobs(by_name):
    assert values(compose(GRPO, clip="sea-lamprey"))["grip"] == 5.0
    algorithm = compose(GRPO, clip="sea-lamprey", knobs={"grip": 2.0})
    torch.testing.assert_close(terms(algorithm)["policy"], torch.tensor(2.0 * 0.5))


def test_a_swap_does_not_re_default_the_knobs_of_the_stack(by_name):
    assert Lamprey().clip_low != GRPO().clip_low
    assert values(compose(GRPO, clip="sea-lamprey"))["clip_low"] == GRPO().clip_low


def test_a_swap_does_not_lay_what_its_plugin_extends(by_name):
    assert stack(compose(GRPO, ratio="rider")) == ["grpo", "rider"]
    assert "grip" not in compose(GRPO, ratio="rider").knobs


def test_a_swap_finds_the_stage_that_its_plugin_takes_from_below(by_name):
    assert answers(compose(GRPO, clip="rider"), "clip")[0] == "lamprey.clip"


def test_two_stages_can_be_swapped_for_those_of_one_plugin(by_name):
    algorithm = compose(GRPO, clip="sea-lamprey", weight="sea-lamprey")
    assert answers(algorithm, "clip")[0] == "sea_lamprey.clip"
    assert answers(algorithm, "weight")[0] == "sea_lamprey.weight"


@pytest.mark.parametrize("donor", ["grpo", "hanger"])
def test_a_swap_for_what_answers_already_is_an_error(by_name, donor):
    with pytest.raises(PluginError, match=f"'{donor}' answers 'clip' .*'grpo'.* already"):
        compose(DapoLike, clip=donor)


def test_a_swap_from_a_plugin_without_that_stage_is_an_error(by_name):
    with pytest.raises(PluginError, match="'sea-lamprey' does not answer the stage 'advantage'"):
        compose(GRPO, advantage="sea-lamprey")


def test_a_swap_of_an_unknown_stage_suggests_the_nearest():
    with pytest.raises(PluginError, match="no stage 'weights'; did you mean 'weight'"):
        compose(GRPO, weights="grpo")


def test_wrappers_survive_the_replacement_of_what_they_wrap(by_name):
    swapped = compose(GRPO, Doubled, clip="sea-lamprey")
    replaced = compose(GRPO, Doubled, Needy(grip=5.0))
    for algorithm in (swapped, replaced):
        torch.testing.assert_close(terms(algorithm)["policy"], torch.tensor(2 * 5.0 * 0.5))


def pays(name, penalties):
    @hookimpl
    def regularizer(self, logprobs):
        return {key: None if x is None else x * -logprobs for key, x in penalties.items()}

    return type(name, (), {"regularizer": regularizer})


def test_penalties_are_merged_by_name():
    merged = terms(compose(GRPO, pays("Below", {"a": 1.0}), pays("Above", {"b": 2.0})))
    assert set(merged) == {"policy", "kl", "a", "b"}


def test_of_two_penalties_of_one_name_the_topmost_wins():
    merged = terms(compose(GRPO, pays("Below", {"a": 1.0}), pays("Above", {"a": 2.0})))
    torch.testing.assert_close(merged["a"], torch.tensor(1.0))


def test_none_deletes_a_penalty_from_below():
    assert "kl" not in terms(compose(GRPO, pays("Above", {"kl": None})))
    revived = compose(GRPO, pays("Middle", {"kl": None}), pays("Above", {"kl": 1.0}))
    torch.testing.assert_close(terms(revived)["kl"], torch.tensor(0.5))


def test_a_penalty_must_not_take_the_place_of_the_gain():
    with pytest.raises(PluginError, match="of plugin 'mine' calls a penalty 'policy'"):
        compose(GRPO, pays("Mine", {"policy": 1.0}), pays("Other", {"a": 1.0}))
    assert "policy" in terms(compose(GRPO, pays("Mine", {"policy": None})))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("GRPO", "grpo"),
        ("HybridGRPO", "hybrid_grpo"),
        ("DrGRPO", "dr_grpo"),
        ("GRPOLeaveOneOut", "grpo_leave_one_out"),
        ("DualClip", "dual_clip"),
        ("TIS", "tis"),
    ],
)
def test_class_names_become_snake_case(name, expected):
    assert snake_case(name) == expected


def test_a_knob_has_the_type_that_it_declares_however_it_was_given():
    assert compose("grpo", knobs={"group_size": "4"}).knobs["group_size"].value == 4
    assert compose(GRPO(group_size=4), knobs={"group_size": "4"}).knobs["group_size"].value == 4


def test_what_extends_itself_is_refused(install):
    module = "from anypo import Plugin\n\n\nclass {}(Plugin):\n    extends = ({!r},)\n"
    files = {"eel.py": module.format("Eel", "pike"), "pike.py": module.format("Pike", "eel")}
    install("anypo-pond", {"eel": "eel:Eel", "pike": "pike:Pike"}, files)
    with pytest.raises(PluginError, match="'eel' extends itself: eel, pike, eel"):
        compose("eel")


class Rival(Plugin):
    """An algorithm of its own that answers what grpo does."""

    @hookimpl
    def advantage(self, batch):
        """r."""
        return batch.rewards


def test_a_plugin_must_not_bring_along_what_replaces_the_algorithm_below():
    with pytest.raises(PluginError, match="extends 'grpo', which would replace 'rival' below"):
        compose(Rival, "dapo")
    assert compose("grpo", Rival, "dapo").name == "grpo+rival+dapo"
