"""Every built-in algorithm and modifier conforms, and is fast to check."""

import time
from functools import cache

import pytest
import torch
from learning import built_in

from anypo.testing import PROPERTIES, Conformance, Status, check_plugin

NAMES = built_in()
VARIANTS = [
    ("grpo", {"kl_coef": 0}),
    ("gfpo", {"adaptive": True, "adaptive_warmup": 1}),
    ("gfpo", {"retained_only": True}),
    ("hybrid_grpo", {"mode": "mix", "value_target": "group_mean"}),
    ("ppo", {"kl_target": 6.0, "entropy_coef": 0.1}),
    ("rloo", {"loss": "reinforce"}),
    ("reinforce", {"loss": "clipped"}),
    ("spo", {"group_size": 4}),
    ("vapo", {"lm_coef": 0}),
    ("grpo_process", {"outcome_step": True}),
    ("dapo", {"mask_truncated": True}),
    ("tis", {"tis_mode": "sequence"}),
    ("dpo", {"sft_coef": 1.0}),
    ("reward_model", {"margin": True, "center_coef": 0.01}),
    ("grpo+dual_clip+tis+entropy", {}),
    ("dapo+gfpo", {}),
]


report_on = cache(check_plugin)


@pytest.mark.parametrize("name", NAMES)
def test_every_built_in_conforms(name):
    report_on(name).raise_if_failed()


@pytest.mark.parametrize(("name", "knobs"), VARIANTS)
def test_other_knobs_and_stacks_conform(name, knobs):
    check_plugin(name, knobs=knobs).raise_if_failed()


class TestConformance(Conformance):
    """The kit as a plugin's author uses it: one test per property."""

    plugin = "gspo"


EVERYWHERE = {"gpu", "other_bases"}  # on a CPU, of whole algorithms
EXPECTED = {  # of the other properties that do not make sense everywhere
    "grpo": set(),
    "dr_grpo": {"reward_scale", "towards_reference"},
    "gfpo": {"reward_shift"},
    "cispo": {"nothing_detached", "towards_reference"},
    "hybrid_grpo": {"reward_shift", "reward_scale", "towards_reference"},
    "dapo": {"equal_rewards", "towards_reference"},
    "online_dpo": {"equal_rewards", "group_of_one", "policy_gradient", "way_back"},
    "sft": {
        *("policy_gradient", "equal_rewards", "missing_scores", "towards_reference", "way_back"),
        *("reward_shift", "reward_scale"),
    },
}


@pytest.mark.parametrize("name", EXPECTED)
def test_what_is_not_applicable_says_why(name):
    report = report_on(name)
    idle = [result for result in report.results if result.status is Status.NOT_APPLICABLE]
    here = EVERYWHERE - ({"gpu"} if torch.cuda.is_available() else set())
    assert {result.name for result in idle} == EXPECTED[name] | here
    assert all(result.detail for result in idle)
    assert len(report.results) == len(PROPERTIES)


def test_a_check_takes_about_a_second():
    start = time.perf_counter()
    check_plugin("gfpo")
    assert time.perf_counter() - start < 5  # on a busy machine
