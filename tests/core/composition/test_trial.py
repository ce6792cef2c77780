"""A wrong plugin is named with its stage before any model is loaded, a right one is understood."""

from dataclasses import replace

import pytest
import torch

import anypo.functional as F
from anypo import Batch, Plugin, compose, hookimpl, sample_groups
from anypo.errors import KnobError, PluginError
from anypo.hooks.requirements import REQUIREMENTS
from anypo.hooks.rollout import Inputs
from anypo_plugins.policy_gradient.grpo import GRPO

ONE_ANSWER = ("rollout", "advantage", "ratio", "clip", "weight")


class Base(Plugin):
    """REINFORCE: needs nothing but samples."""

    @hookimpl
    def rollout(self, prompts, sampler, scorer):
        return sample_groups(prompts, sampler, scorer, 2)

    @hookimpl
    def advantage(self, batch):
        return batch.rewards

    @hookimpl
    def ratio(self, logprobs):
        return logprobs - logprobs.detach()

    @hookimpl
    def clip(self, log_ratio, advantages):
        return F.exp_ratio(log_ratio) * advantages

    @hookimpl
    def weight(self, batch):
        return F.token_mean(batch.mask)


class PerSequence(Plugin):
    @hookimpl
    def ratio(self, logprobs, batch):
        return F.sequence_log_ratio(logprobs, logprobs.detach(), batch.mask)


def plugin(name="Faulty", **hooks):
    """A plain class whose hooks are the given functions."""
    return type(name, (), {stage: hookimpl(function) for stage, function in hooks.items()})


def answering(stage, answer, name="Faulty"):
    return plugin(name, **{stage: lambda self: answer})


def without(stage):
    hooks = {name: vars(Base)[name] for name in ONE_ANSWER if name != stage}
    return type("Partial", (), hooks)


def refusal(*plugins):
    with pytest.raises(PluginError) as caught:
        compose(*plugins)
    return str(caught.value)


def test_an_algorithm_that_reads_no_model_requires_none():
    assert compose(Base).requires == frozenset()


def test_a_reference_is_required_only_while_the_penalty_counts():
    assert "reference" in compose(GRPO).requires
    assert "reference" not in compose(GRPO, knobs={"kl_coef": 0.0}).requires


def grpo_without_penalty(*plugins, **knobs):
    return compose(GRPO, *plugins, knobs={"kl_coef": 0.0, **knobs})


def test_without_a_penalty_rows_without_an_advantage_teach_nothing():
    assert grpo_without_penalty().findings.only_advantages_count
    assert not compose(GRPO).findings.only_advantages_count


@pytest.mark.parametrize("name", ["dapo", "gspo", "cispo", "dr_grpo", "gfpo", "rloo"])
def test_so_it_is_with_every_clipped_gain(name):
    knobs = {"kl_coef": 0.0} if "kl_coef" in compose(name).knobs else {}
    assert compose(name, knobs=knobs).findings.only_advantages_count


@pytest.mark.parametrize("name", ["ppo", "dpo", "kto", "reward_model"])
def test_a_critic_and_comparisons_teach_whatever_the_advantage(name):
    assert not compose(name).findings.only_advantages_count


def test_a_penalty_that_is_nothing_yet_may_become_something():
    later = plugin("Later", regularizer=lambda self, logprobs: {"later": 0.0 * logprobs})
    assert not grpo_without_penalty(later).findings.only_advantages_count


def test_a_penalty_that_comes_only_at_times_is_refused_when_it_comes(prepared):
    def regularizer(self, logprobs, batch):
        return {"late": logprobs} if len(batch) == 1 else {}

    late = plugin("Late", regularizer=regularizer)
    algorithm = grpo_without_penalty(late)
    assert algorithm.findings.only_advantages_count
    batch = prepared.rows(torch.arange(1))
    logprobs = torch.zeros(batch.mask.shape, requires_grad=True)
    with pytest.raises(PluginError, match="'late' pays a penalty in some batches only"):
        algorithm.loss(logprobs, batch)


def test_a_gain_that_does_not_hang_on_the_advantage_teaches_without_one():
    more = plugin("More", clip=lambda self, log_ratio, advantages: log_ratio + advantages)
    assert not grpo_without_penalty(more).findings.only_advantages_count


@pytest.mark.parametrize("detached", [False, True])
def test_a_loss_that_depends_on_the_entropy_requires_it(detached):
    def regularizer(self, logprobs, entropy):
        entropy = entropy.detach() if detached else entropy
        return {"unsure": (entropy > entropy.mean()) * logprobs + 0 * entropy}

    algorithm = compose(Base, plugin(regularizer=regularizer))
    assert "entropy" in algorithm.requires


@pytest.mark.parametrize(
    ("tensor", "requirement"),
    [
        ("old_logprobs", "old_logprobs"),
        ("ref_logprobs", "reference"),
        ("values", "critic"),
        ("sampler_logprobs", "sampler_logprobs"),
    ],
)
def test_reading_a_tensor_requires_what_provides_it(tensor, requirement):
    by_attribute = plugin(ratio=lambda self, logprobs, batch: logprobs - getattr(batch, tensor))
    by_name = plugin(ratio=lambda self, logprobs, batch: logprobs - batch[tensor])
    for reader in (by_attribute, by_name):
        assert compose(Base, reader).requires == {requirement}
        assert compose(Base, reader).prepare_requires == frozenset()


def test_what_the_advantage_reads_is_required_before_any_loss():
    algorithm = compose(Base, plugin(advantage=lambda self, batch: batch.old_logprobs))
    assert algorithm.prepare_requires == {"old_logprobs"}
    assert algorithm.requires == {"old_logprobs"}


def test_what_the_weight_reads_is_required_before_any_loss():
    weighted = plugin(weight=lambda self, batch: F.token_mean(batch.mask) * batch.values)
    assert compose(Base, weighted).prepare_requires == {"critic"}


def test_what_only_a_replaced_stage_reads_is_not_required():
    reader = plugin(
        "Reader",
        ratio=lambda self, logprobs, batch: logprobs - batch.ref_logprobs,
        weight=lambda self, batch: F.per_completion_mean(batch.mask),
    )
    assert compose(Base, reader, PerSequence).requires == frozenset()


def test_a_plugin_that_is_replaced_in_all_it_does_is_refused():
    reader = plugin("Reader", ratio=lambda self, logprobs, batch: logprobs - batch.ref_logprobs)
    above = plugin("Above", ratio=lambda self, logprobs, batch: logprobs - batch.old_logprobs)
    assert "'reader' has no effect" in refusal(Base, reader, above)
    assert compose(Base, reader).requires == {"reference"}


def test_values_that_are_learnt_require_a_critic():
    learnt = plugin(regularizer=lambda self, values: {"value": values.square()})
    assert compose(Base, learnt).requires == {"critic"}
    assert compose(Base, learnt).prepare_requires == frozenset()


def test_entropy_is_required_only_where_a_term_uses_it():
    bonus = plugin(regularizer=lambda self, entropy: {"entropy": -0.01 * entropy})
    ignored = plugin(regularizer=lambda self, logprobs, entropy: {"length": -logprobs})
    assert compose(Base, bonus).requires == {"entropy"}
    assert compose(Base, ignored).requires == frozenset()


@pytest.mark.parametrize("requirement", [r for r in REQUIREMENTS if r != "scalar_head"])
def test_a_plugin_can_say_what_it_requires(requirement):
    algorithm = compose(Base, answering("requires", {requirement}))
    assert algorithm.requires == {requirement}
    assert algorithm.prepare_requires == {requirement}


def test_what_several_plugins_require_adds_up():
    algorithm = compose(
        Base,
        answering("requires", {"critic"}, "Below"),
        answering("requires", {"reference"}, "Above"),
    )
    assert algorithm.requires == {"critic", "reference"}


def test_an_unknown_requirement_is_refused():
    says = refusal(Base, answering("requires", {"oracle"}))
    assert "'requires' of plugin 'faulty' names ['oracle']" in says
    assert all(requirement in says for requirement in REQUIREMENTS)


def test_an_unknown_requirement_is_blamed_on_who_named_it():
    below = answering("requires", {"oracle"}, "Below")
    assert "'below'" in refusal(Base, below, answering("requires", {"critic"}, "Above"))


@pytest.mark.parametrize("answer", [3, "critic"])
def test_a_requirement_that_is_no_set_is_refused(answer):
    says = refusal(Base, answering("requires", answer))
    assert "'requires' of plugin 'faulty'" in says
    assert repr(answer) in says


@pytest.mark.parametrize("stage", ONE_ANSWER)
def test_a_stage_without_answer_is_refused(stage):
    says = refusal(without(stage))
    assert f"no whole algorithm: no plugin answers '{stage}'" in says


def test_an_algorithm_needs_no_regularizer():
    assert not compose(Base).answers("regularizer")


def test_a_wrapper_alone_does_not_answer_a_stage():
    @hookimpl(wrapper=True)
    def clip(self):
        gain = yield
        return 2 * gain

    says = refusal(without("clip"), type("Doubled", (), {"clip": clip}))
    assert "no plugin answers 'clip'" in says


WRONG_SHAPES = [
    ("advantage", torch.zeros(3), "[4] or [4, 7]"),
    ("advantage", torch.zeros(4, 1), "[4] or [4, 7]"),
    ("ratio", torch.zeros(4), "[4, 7] or [4, 1]"),
    ("ratio", torch.zeros(7, 4), "[4, 7] or [4, 1]"),
    ("clip", torch.zeros(4), "[4, 7] or [4, 1]"),
    ("clip", torch.zeros(()), "[4, 7] or [4, 1]"),
    ("regularizer", {"penalty": torch.zeros(4)}, "[4, 7] or [4, 1]"),
    ("weight", torch.ones(4), "[4, 7]"),
    ("weight", torch.ones(4, 1), "[4, 7]"),
]


@pytest.mark.parametrize(("stage", "answer", "expected"), WRONG_SHAPES)
def test_a_wrong_shape_names_stage_plugin_and_both_shapes(stage, answer, expected):
    says = refusal(Base, answering(stage, answer))
    came = answer["penalty"] if isinstance(answer, dict) else answer
    assert f"'{stage}' of plugin 'faulty'" in says
    assert f"is a tensor of shape {list(came.shape)}, expected shape {expected}" in says


@pytest.mark.parametrize(
    ("stage", "column"), [("advantage", "returns"), ("weight", "sft"), ("regularizer", "sft")]
)
def test_a_wrong_shape_in_a_dict_names_its_key(stage, column):
    whole = {"advantages": torch.zeros(4), "policy": torch.ones(4, 7)}
    answer = {column: torch.zeros(5)} | ({} if stage == "regularizer" else whole)
    assert f"'{stage}' of plugin 'faulty': {column} is a tensor of shape [5]" in refusal(
        Base, answering(stage, answer)
    )


def test_a_wrong_penalty_is_blamed_on_who_returned_it():
    below = answering("regularizer", {"a": torch.zeros(3)}, "Below")
    above = answering("regularizer", {"b": torch.zeros(4, 1)}, "Above")
    assert "'below'" in refusal(Base, below, above)


@pytest.mark.parametrize("stage", ["advantage", "ratio", "clip", "weight"])
@pytest.mark.parametrize("answer", ["text", 0.5, [1.0, 2.0]])
def test_an_answer_that_is_no_tensor_is_refused(stage, answer):
    says = refusal(Base, answering(stage, answer))
    assert f"'{stage}' of plugin 'faulty'" in says
    assert f"is {answer!r}, expected shape" in says


@pytest.mark.parametrize("answer", ["text", {"group": 0}, [1, 2], ()])
def test_a_rollout_that_returns_no_samples_is_refused(answer):
    says = refusal(Base, answering("rollout", answer))
    assert "'rollout' of plugin 'faulty' returned" in says


def test_a_rollout_that_keeps_nothing_is_refused():
    says = refusal(Base, answering("rollout", []))
    assert "'rollout' of plugin 'faulty' kept none" in says


class MeasuresFirst(Plugin):
    """Learns nothing in the first rollouts, and says so."""

    measuring: int = 1
    says: tuple[int, ...] = (0, 1)

    @hookimpl(wrapper=True)
    def rollout(self, state):
        samples = yield
        state["calls"] = state.get("calls", 0) + 1
        if state["calls"] > self.measuring:
            return samples
        state["dropped"] = self.says
        return []


def test_a_rollout_that_keeps_nothing_at_first_is_asked_again():
    assert compose("grpo", MeasuresFirst, knobs={"measuring": 3}).inputs.sampler
    with pytest.raises(PluginError, match=r"'rollout' of .*'measures_first'.* kept none"):
        compose("grpo", MeasuresFirst, knobs={"measuring": 1000})


@pytest.mark.parametrize("says", [[2], [-1]])
def test_a_rollout_that_drops_what_it_was_not_given_is_refused(says):
    with pytest.raises(PluginError, match=r"'measures_first'.* state\['dropped'\].* 0 to 1 here"):
        compose("grpo", MeasuresFirst, knobs={"says": says})


class DrawsLots(Plugin):
    """Keeps what it draws in some steps alone, and says nothing of the others."""

    every: int = 3

    @hookimpl(wrapper=True)
    def rollout(self, state):
        samples = yield
        return [] if state["step"] % self.every else samples


def test_a_rollout_that_keeps_nothing_is_asked_again_as_in_later_steps():
    assert compose("grpo", DrawsLots).inputs.sampler
    with pytest.raises(PluginError, match="kept none of the made-up samples"):
        compose("grpo", DrawsLots, knobs={"every": 1000})


@pytest.mark.parametrize("answer", [torch.zeros(4, 7), "text", 0.5])
def test_a_regularizer_that_returns_no_dict_is_refused(answer):
    assert "'regularizer' of plugin 'faulty'" in refusal(Base, answering("regularizer", answer))


def test_a_penalty_that_is_no_tensor_is_refused():
    says = refusal(Base, answering("regularizer", {"kl": 0.1}))
    assert "'regularizer' of plugin 'faulty': kl is 0.1, expected shape" in says


def test_a_regularizer_may_return_none():
    assert compose(Base, answering("regularizer", None)).requires == frozenset()


@pytest.mark.parametrize("stage", ONE_ANSWER)
def test_a_stage_whose_only_answer_is_none_is_refused(stage):
    says = refusal(without(stage), answering(stage, None))
    assert f"stage '{stage}'" in says
    assert "plugin 'faulty' returned None" in says


@pytest.mark.parametrize("stage", ONE_ANSWER)
def test_a_stage_that_returns_none_above_one_that_answers_is_refused(stage):
    says = refusal(Base, answering(stage, None))
    assert f"'{stage}' of plugin 'faulty' returned None" in says


def test_a_dict_of_weights_needs_those_of_the_policy():
    says = refusal(Base, answering("weight", {"sft": torch.ones(4, 7)}))
    assert "'weight' of plugin 'faulty' returned a dict without 'policy'" in says


def test_a_dict_of_advantages_needs_the_advantages():
    says = refusal(Base, answering("advantage", {"returns": torch.zeros(4)}))
    assert "'advantage' of plugin 'faulty' returned a dict without 'advantages'" in says


def test_a_gain_that_is_detached_is_refused():
    detached = plugin(clip=lambda self, log_ratio, advantages: log_ratio.detach() * advantages)
    assert "'clip' of plugin 'faulty': no gradient" in refusal(Base, detached)


def test_a_gain_that_is_detached_is_refused_beside_a_penalty_that_is_not():
    detached = plugin(clip=lambda self, log_ratio, advantages: log_ratio.detach() * advantages)
    assert "'clip' of plugin 'faulty': no gradient" in refusal(GRPO, detached)


def test_a_ratio_that_is_detached_is_refused():
    detached = plugin(ratio=lambda self, logprobs: logprobs.detach() * 0)
    assert "'ratio' of plugin 'faulty': no gradient" in refusal(Base, detached)


@pytest.mark.parametrize("number", [torch.nan, torch.inf])
def test_a_gain_that_is_not_finite_is_refused(number):
    endless = plugin(clip=lambda self, log_ratio: log_ratio + number)
    assert "the loss of base+faulty is" in refusal(Base, endless)


def test_a_penalty_that_is_not_finite_is_refused():
    endless = plugin(regularizer=lambda self, logprobs: {"kl": logprobs.log()})
    assert "the loss of base+faulty is nan" in refusal(Base, endless)


def no_slope_at_zero(x):
    """Zero, with a gradient that is not a number."""
    return (x - x.detach()).abs().sqrt()


def test_a_gradient_that_is_not_finite_is_refused():
    cusp = plugin(clip=lambda self, logprobs: no_slope_at_zero(logprobs))
    assert "the gradient of base+faulty is not finite" in refusal(Base, cusp)


@pytest.mark.parametrize("name", ["values", "entropy"])
def test_a_gradient_of_values_or_entropy_that_is_not_finite_is_refused(name):
    hooks = {
        "values": lambda self, values: {"penalty": no_slope_at_zero(values)},
        "entropy": lambda self, entropy: {"penalty": no_slope_at_zero(entropy)},
    }
    assert "not finite" in refusal(Base, plugin(regularizer=hooks[name]))


def test_what_is_not_finite_at_masked_positions_is_no_matter():
    by_length = plugin(weight=lambda self, batch: batch.mask / batch.lengths.unsqueeze(-1) / 4)
    assert compose(Base, by_length).answers("weight")[0].plugin_name == "faulty"


def test_a_sequence_ratio_under_per_token_advantages_is_refused():
    per_token = plugin("PerToken", advantage=lambda self, batch: batch.sampler_logprobs)
    says = refusal(Base, per_token, PerSequence)
    assert "'ratio' of plugin 'per_sequence' gives one ratio per sequence" in says
    assert "'advantage' of plugin 'per_token' gives an advantage per token" in says


def test_per_token_advantages_fit_a_ratio_per_token():
    per_token = plugin("PerToken", advantage=lambda self, batch: batch.sampler_logprobs)
    assert compose(Base, per_token).requires == {"sampler_logprobs"}


@pytest.mark.parametrize("scale", [1.0, 1000.1])
def test_a_sequence_ratio_fits_one_advantage_per_row_however_large(scale):
    large = plugin(
        "Large",
        advantage=lambda self, batch: scale * (batch.rewards - 0.3),
        weight=lambda self, batch: F.per_completion_mean(batch.mask),
    )
    assert compose(Base, large, PerSequence).answers("ratio")[0].plugin_name == "per_sequence"


def raises(self):
    raise ZeroDivisionError("of course")


@pytest.mark.parametrize("stage", [*ONE_ANSWER, "regularizer"])
def test_an_exception_in_a_hook_names_stage_and_plugin(stage):
    says = refusal(Base, plugin(**{stage: raises}))
    assert says == f"'{stage}' of plugin 'faulty' failed: ZeroDivisionError: of course"


def test_an_exception_in_requires_names_it_and_the_plugin():
    says = refusal(Base, plugin(requires=raises))
    assert says == "'requires' of plugin 'faulty' failed: ZeroDivisionError: of course"


def test_an_exception_below_a_wrapper_is_not_the_wrappers():
    @hookimpl(wrapper=True)
    def clip(self):
        return (yield)

    wrapper = type("Wrapper", (), {"clip": clip})
    says = refusal(Base, plugin(clip=raises), wrapper)
    assert says.startswith("'clip' of plugin 'faulty' failed")


def test_an_exception_in_a_wrapper_is_the_wrappers():
    @hookimpl(wrapper=True)
    def clip(self):
        yield
        raise ZeroDivisionError("of course")

    says = refusal(Base, type("Wrapper", (), {"clip": clip}))
    assert says.startswith("'clip' of plugin 'wrapper' failed")


def test_a_wrapper_that_spoils_the_answer_is_named_with_whom_it_wraps():
    @hookimpl(wrapper=True)
    def advantage(self):
        advantages = yield
        return advantages[:2]

    says = refusal(Base, type("Wrapper", (), {"advantage": advantage}))
    assert "'advantage' of plugin 'wrapper' around 'base'" in says


def test_a_misspelt_tensor_names_stage_and_plugin():
    says = refusal(Base, plugin(advantage=lambda self, batch: batch.reward))
    assert "the batch holds no 'reward'" in says
    assert "'advantage' of plugin 'faulty'" in says


def test_columns_of_the_advantage_reach_the_later_stages():
    columns = plugin(
        advantage=lambda self, batch: {"advantages": batch.rewards, "returns": batch.rewards},
        regularizer=lambda self, values, batch: {
            "value": (values - batch["returns"].unsqueeze(-1)).square()
        },
    )
    assert compose(Base, columns).requires == {"critic"}


def test_the_made_up_batch_has_an_empty_a_truncated_and_a_short_completion():
    seen = []

    def advantage(self, batch):
        seen.append(batch)
        return batch.rewards

    compose(Base, plugin(advantage=advantage, rollout=in_groups_of(4)))
    assert {0, 1} <= set(seen[0].lengths.tolist())
    assert seen[0].truncated.any()
    assert len(seen[0].rewards.unique()) == 2


def in_groups_of(size):
    return lambda self, prompts, sampler, scorer: sample_groups(prompts, sampler, scorer, size)


class Overrides(Plugin):
    """Puts a penalty of its own in place of grpo's."""

    @hookimpl
    def regularizer(self, logprobs):
        """Nothing of the reference."""
        return {"kl": logprobs.square()}


def test_a_penalty_that_is_overridden_requires_nothing_and_reads_no_knob():
    algorithm = compose("grpo", Overrides)
    assert "reference" not in algorithm.requires
    assert "kl_coef" not in algorithm.active_knobs
    with pytest.raises(KnobError, match="kl_coef"):
        compose("grpo", Overrides, knobs={"kl_coef": 0.3})


# -- answers that depend on the batch ------------------------------------------------------------


def sometimes(applies, **penalties):
    """Answers with penalties in the batches to which that applies, with nothing in others."""

    def regularizer(self, logprobs, entropy, batch):
        given = {"logprobs": logprobs, "entropy": entropy}
        made = {name: make(**given) for name, make in penalties.items()}
        return made if applies(batch) else None

    return plugin("Sometimes", regularizer=regularizer)


def truncated(batch):
    return bool(batch.truncated.any())


def whole(batch):
    return not truncated(batch)


def squared(logprobs, **_):
    return logprobs.square()


def bonus(entropy, **_):
    return -0.01 * entropy


def parts_of(batch):
    """Its rows that were truncated, and the others."""
    return [batch.rows(rows.nonzero().squeeze(-1)) for rows in (batch.truncated, ~batch.truncated)]


@pytest.fixture
def prepared():
    """A batch of four rows, of which one was truncated, with all that frozen models say."""
    mask = torch.ones(4, 3).bool()
    batch = Batch(
        mask=mask,
        group=torch.tensor([0, 0, 1, 1]),
        rewards=torch.tensor([1.0, 0.0, 1.0, 0.0]),
        truncated=torch.tensor([True, False, False, False]),
        old_logprobs=torch.full((4, 3), -1.0),
        ref_logprobs=torch.full((4, 3), -2.0),
    )
    return compose("grpo").prepare(batch)


def rewarded(batch):
    return bool((batch.rewards > 0.5).any())


def test_a_penalty_that_is_overridden_while_something_is_right_counts_elsewhere():
    algorithm = compose("grpo", sometimes(rewarded, kl=squared))
    assert "reference" in algorithm.requires
    assert "kl_coef" in algorithm.active_knobs


def test_one_override_less_does_not_bring_back_what_another_one_replaces(prepared):
    always = plugin("Always", regularizer=lambda self, logprobs: {"kl": logprobs.square()})
    few_rows = sometimes(lambda batch: len(batch) > 2, entropy=squared)
    algorithm = compose("grpo+entropy", always, few_rows)
    assert "reference" not in algorithm.requires
    part = prepared.rows(torch.tensor([0, 1]))
    logprobs = torch.full(part.mask.shape, -1.5, requires_grad=True)
    del part.tensors["ref_logprobs"]
    entropy = torch.ones(part.mask.shape, requires_grad=True)
    terms = algorithm.loss(logprobs, part, entropy=entropy).terms
    assert terms["kl"] != 0
    assert terms["entropy"] != 0


@pytest.mark.parametrize("applies", [truncated, whole])
def test_a_penalty_that_is_overridden_in_some_batches_counts_in_the_others(prepared, applies):
    algorithm = compose("grpo", sometimes(applies, kl=squared))
    assert "reference" in algorithm.requires
    assert "kl_coef" in algorithm.active_knobs
    for part in parts_of(prepared):
        logprobs = torch.full(part.mask.shape, -1.5, requires_grad=True)
        kl = (0.04 * F.k3(logprobs, part.ref_logprobs)).detach()
        expected = logprobs.detach().square() if applies(part) else kl
        term = algorithm.loss(logprobs, part).terms["kl"]
        torch.testing.assert_close(term, (part.weights["policy"].float() * expected).sum())


def test_a_penalty_is_not_lost_where_the_one_above_it_is_missing_unexpectedly(prepared):
    long = sometimes(lambda batch: batch.mask.shape[1] > 3, kl=squared)  # as in the trial
    algorithm = compose("grpo", long)
    logprobs = torch.full(prepared.mask.shape, -1.5, requires_grad=True)
    expected = compose("grpo").loss(logprobs, prepared).terms["kl"]
    assert algorithm.loss(logprobs, prepared).terms["kl"] == expected != 0
    unprovided = Batch(
        mask=prepared.mask,
        weights=prepared.weights,
        **{name: x for name, x in prepared.tensors.items() if name != "ref_logprobs"},
    )
    with pytest.raises(PluginError, match=r"'grpo'.* names 'reference' in its `requires` hook"):
        algorithm.loss(logprobs, unprovided)


@pytest.mark.parametrize("applies", [truncated, whole])
def test_entropy_that_is_paid_for_in_some_batches_is_required(applies):
    assert compose("grpo", sometimes(applies, bonus=bonus)).requires >= {"entropy"}


def test_a_penalty_of_an_entropy_without_gradient_is_refused(prepared):
    short = sometimes(lambda batch: batch.mask.shape[1] == 3, bonus=bonus)  # unlike in the trial
    algorithm = compose("grpo", short)
    assert "entropy" not in algorithm.requires
    logprobs = torch.full(prepared.mask.shape, -1.5, requires_grad=True)
    loss = algorithm.loss(logprobs, prepared, entropy=torch.ones(prepared.mask.shape))
    with pytest.raises(PluginError, match=r"'sometimes'.* in some batches only.* `requires` hook"):
        loss.total.backward()


# -- what a rollout is made of -------------------------------------------------------------------


def given(**rollout):
    """Base, but its samples are completions that the rows hold."""
    return plugin("Given", **rollout)


def chosen_of_all(self, prompts):
    return [prompt.sample("chosen", group) for group, prompt in enumerate(prompts)]


def shifted(self, prompts):
    following = [*prompts[1:], prompts[0]]
    return [
        replace(other.sample("chosen", group), prompt_ids=prompt.ids)
        for group, (prompt, other) in enumerate(zip(prompts, following, strict=True))
    ]


def chosen_beside_sampled(self, prompts, sampler, scorer):
    return chosen_of_all(self, prompts) + sampler.sample(prompts, 1)


def chosen_after_a_look(self, prompts, sampler):
    sampler.sample(prompts, 1)
    return chosen_of_all(self, prompts)


def by_level(self, prompts):
    return [
        prompt.sample("chosen", group, level=float(prompt.columns["level"]))
        for group, prompt in enumerate(prompts)
    ]


@pytest.mark.parametrize(
    ("rollout", "expected"),
    [
        (in_groups_of(2), Inputs(sampler=True, scorer=True)),
        (lambda self, prompts, sampler: sampler.sample(prompts, 2), Inputs(sampler=True)),
        (chosen_of_all, Inputs(completions=frozenset({"chosen"}), fixed=True)),
        (shifted, Inputs(completions=frozenset({"chosen"}))),
        (chosen_beside_sampled, Inputs(sampler=True, completions=frozenset({"chosen"}))),
        (chosen_after_a_look, Inputs(sampler=True, completions=frozenset({"chosen"}))),
        (
            by_level,
            Inputs(completions=frozenset({"chosen"}), columns=frozenset({"level"}), fixed=True),
        ),
    ],
    ids=["groups", "unscored", "chosen", "shifted", "beside", "look", "columns"],
)
def test_what_a_rollout_makes_its_samples_from_is_seen(rollout, expected):
    by_length = plugin("ByLength", advantage=lambda self, batch: batch.lengths.float())
    assert compose(Base, by_length, given(rollout=rollout)).inputs == expected


def test_completions_that_are_rewarded_need_a_scorer_and_no_sampler():
    def rollout(self, prompts, scorer):
        return scorer(prompts, chosen_of_all(self, prompts))

    inputs = compose(Base, given(rollout=rollout)).inputs
    assert (inputs.sampler, inputs.scorer, inputs.fixed) == (False, True, True)


def test_rewards_that_no_rollout_provides_are_missed():
    says = refusal(Base, given(rollout=chosen_of_all))
    assert "'advantage' of plugin 'base'" in says
    assert "the batch holds no 'rewards'" in says


def test_what_a_knob_switches_on_is_seen_with_it():
    assert compose("reward_model").inputs.columns == frozenset()
    with_margin = compose("reward_model", knobs={"margin": True})
    assert with_margin.inputs.columns == {"margin"}


def test_what_the_loss_needs_is_told_from_what_comes_before_it():
    early = plugin("Early", advantage=lambda self, batch: batch.old_logprobs)
    late = plugin("Late", ratio=lambda self, logprobs, batch: logprobs - batch.ref_logprobs)
    algorithm = compose(Base, early, late)
    assert algorithm.prepare_requires == {"old_logprobs"}
    assert algorithm.loss_requires == {"reference"}
    assert algorithm.requires == {"old_logprobs", "reference"}


# -- metrics -------------------------------------------------------------------------------------


def watched(algorithm, lengths=(2, 1)):
    """The means of what is watched on a batch of ones."""
    mask = torch.arange(3) < torch.tensor(lengths).unsqueeze(-1)
    rows = torch.arange(len(lengths))
    batch = Batch(mask=mask, group=rows, rewards=rows + 1.0, truncated=rows < 0)
    logprobs = -torch.ones(mask.shape, requires_grad=True)
    metrics = algorithm.loss(logprobs, algorithm.prepare(batch)).metrics
    return {name: float(total / count) for name, (total, count) in metrics.items()}


WRONG_METRICS = [torch.zeros(7), torch.zeros(7, 4), torch.zeros(()), 0.5, "text"]


@pytest.mark.parametrize("value", WRONG_METRICS, ids=lambda v: str(getattr(v, "shape", v)))
def test_a_metric_of_a_wrong_shape_names_stage_plugin_and_metric(value):
    says = refusal(Base, answering("metrics", {"mine/rate": value}))
    assert says.startswith("'metrics' of plugin 'faulty': mine/rate is ")
    assert says.endswith("expected shape [4, 7] or [4, 1] or [4]")


@pytest.mark.parametrize("answer", [torch.zeros(4), "text", 0.5])
def test_metrics_that_are_no_dict_are_refused(answer):
    assert "'metrics' of plugin 'faulty'" in refusal(Base, answering("metrics", answer))


def test_an_exception_in_metrics_names_it_and_the_plugin():
    says = refusal(Base, plugin(metrics=raises))
    assert says == "'metrics' of plugin 'faulty' failed: ZeroDivisionError: of course"


def test_metrics_are_means_over_rows_or_unmasked_tokens():
    def metrics(self, batch):
        places = torch.arange(batch.mask.numel()).view(batch.mask.shape).double()
        row = batch.rewards
        return {"token": places, "row": row, "column": row.unsqueeze(-1) * 2}

    found = watched(compose(Base, plugin("Watching", metrics=metrics)))
    assert found.items() >= {"token": (0 + 1 + 3) / 3, "row": 1.5, "column": 3.0}.items()


def test_what_does_not_apply_is_left_out_of_a_metric():
    def metrics(self, batch):
        return {
            "row": torch.where(batch.rewards > 1, batch.rewards, torch.nan),
            "token": torch.where(batch.rewards.unsqueeze(-1) > 1, torch.nan, batch.mask * 5.0),
        }

    found = watched(compose(Base, plugin("Watching", metrics=metrics)))
    assert (found["row"], found["token"]) == (2.0, 5.0)


def test_metrics_of_all_plugins_are_merged_and_the_topmost_wins():
    def constant(**values):
        return lambda self, batch: {n: x * torch.ones(len(batch)) for n, x in values.items()}

    below = plugin("Below", metrics=constant(one=1.0, two=2.0))
    silent = plugin("Silent", metrics=lambda self: None)
    above = plugin("Above", metrics=constant(two=4.0, three=3.0))
    found = watched(compose(Base, below, silent, above))
    assert found.items() >= {"one": 1.0, "two": 4.0, "three": 3.0}.items()


def test_none_deletes_a_metric_from_below():
    below = plugin("Below", metrics=lambda self, batch: dict.fromkeys("ab", batch.rewards))
    above = answering("metrics", {"a": None}, "Above")
    assert "b" in watched(compose(Base, below, above))
    assert "a" not in watched(compose(Base, below, above))
    assert "a" in watched(compose(Base, above, below))


def test_metrics_are_asked_without_gradient():
    seen = []

    def metrics(self, log_ratio, logprobs, batch):
        seen.append(torch.is_grad_enabled() or log_ratio.requires_grad or logprobs.requires_grad)
        return {"mine": log_ratio}

    compose(Base, plugin("Watching", metrics=metrics))
    assert seen
    assert not any(seen)


class Watching(Plugin):
    scale: float = 1.0

    @hookimpl
    def metrics(self, batch):
        return {"mine": self.scale * batch.rewards}


def test_a_knob_that_only_a_metric_reads_changes_nothing_and_is_refused():
    assert "scale" not in compose(Base, Watching).active_knobs
    with pytest.raises(KnobError, match="'scale' is set, but no active stage"):
        compose(Base, Watching, knobs={"scale": 2.0})


def test_a_knob_that_a_stage_reads_too_is_active():
    class Scaled(Watching):
        @hookimpl
        def clip(self, log_ratio, advantages):
            return self.scale * log_ratio * advantages

    assert compose(Base, Scaled, knobs={"scale": 2.0}).active_knobs >= {"scale"}


# -- models that score texts ---------------------------------------------------------------------

SCORING = answering("requires", {"scalar_head"}, "Scoring")


def chosen_against_rejected():
    return plugin(
        "Compared",
        rollout=chosen_of_all,
        advantage=lambda self, batch: batch.lengths.float(),
        ratio=lambda self, logprobs: logprobs.sum(-1, keepdim=True),
        weight=lambda self, batch: F.per_completion_mean(batch.mask),
    )


def test_a_scalar_head_fits_what_reads_scores_of_given_completions_alone():
    algorithm = compose(Base, chosen_against_rejected(), SCORING)
    assert algorithm.requires == {"scalar_head"}
    assert not algorithm.generates
    assert compose(Base).generates


def from_old(self, logprobs, batch):
    return (logprobs - batch.old_logprobs).sum(-1, keepdim=True)


def from_reference(self, logprobs, batch):
    return (logprobs - batch.ref_logprobs).sum(-1, keepdim=True)


@pytest.mark.parametrize(
    "hooks",
    [
        {"ratio": from_old},
        {"ratio": from_reference},
        {"regularizer": lambda self, entropy: {"entropy": -entropy}},
        {"regularizer": lambda self, values: {"value": values.square()}},
        {"rollout": lambda self, prompts, sampler: sampler.sample(prompts, 1)},
    ],
    ids=["old", "reference", "entropy", "critic", "sampler"],
)
def test_a_scalar_head_does_not_fit_stages_that_need_probabilities(hooks):
    needy = plugin("Needy", **hooks)
    says = refusal(Base, chosen_against_rejected(), needy, SCORING)
    assert says.startswith("'requires' of plugin 'scoring' asks for a model that scores texts, but")
