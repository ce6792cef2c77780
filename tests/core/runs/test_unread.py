import pytest

from anypo import compose
from anypo.errors import ConfigError
from anypo.runs.options import make_config
from anypo.runs.unread import refuse_unread, unread

GRPO, SFT, SCORER = compose("grpo"), compose("sft"), compose("reward_model")
CRITIC = {"critic", "critic_model", "critic_learning_rate", "critic_warmup_steps"}
REFERENCE = {"ref_sync_every", "ref_sync_alpha", "precompute_reference"}
REWARDS = {"reward", "reward_timeout", "reward_retries"}
DRAWN = {"eval_samples", "eval_temperature", "eval_top_p", "eval_top_k", "eval_stop"}
TALK = {"max_turns", "max_conversation_length", "environment_timeout"}
ADAPTERS = {"lora_alpha", "lora_modules"}
GIVEN = {"model": "mine", "data": "mine.jsonl", "eval_data": "other.jsonl", "reward": ["length"]}
NOT_DRAWN = "no held-out completion is scored: set reward and eval_data"
OWN_ROWS = "grpo makes new rows in every step: its reference model has to see those"


@pytest.mark.parametrize(
    ("algorithm", "options"),
    [
        (GRPO, CRITIC),
        (compose("hybrid_grpo"), REFERENCE),
        (compose("dpo"), CRITIC | {"max_rounds"}),
        (SFT, CRITIC | REFERENCE | {"max_rounds"}),
        (
            SCORER,
            CRITIC
            | REFERENCE
            | REWARDS
            | DRAWN
            | TALK
            | {"environment", "max_rounds", "sampler", "temperature"},
        ),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_options_of_what_an_algorithm_lacks_are_unread(algorithm, options):
    whys = unread(make_config({}), algorithm)
    lacking = {name for name, why in whys.items() if why.startswith(f"{algorithm.name} has no ")}
    assert lacking == options


def test_what_an_option_would_need_is_said():
    def lacks(what):
        return f"reward_model has no {what}, so nothing would read it"

    assert unread(make_config(GIVEN), SCORER) == {
        **dict.fromkeys(CRITIC, lacks("critic model")),
        **dict.fromkeys(REFERENCE, lacks("reference model")),
        **dict.fromkeys(
            REWARDS | DRAWN | TALK | {"sampler", "environment"}, lacks("completions to score")
        ),
        **dict.fromkeys(ADAPTERS, "not lora_rank, so nothing would read it"),
        "quantize": "not lora_rank: what has four bits is trained by adapters alone",
        "max_rounds": lacks("sampling in its rollout"),
        "temperature": lacks("probabilities of tokens"),
        "task": "model and data are given, so nothing would read it",
    }


@pytest.mark.parametrize(
    ("algorithm", "options", "option", "why"),
    [
        (GRPO, {"model": "mine"}, "lora_alpha", "not lora_rank, so nothing would read it"),
        (GRPO, {}, "max_turns", "not environment, so nothing would read it"),
        (GRPO, {}, "environment_timeout", "not environment, so nothing would read it"),
        (
            SFT,
            {"data": "mine.jsonl"},
            "environment",
            "sft samples nothing, and nor does a held-out score: set reward and eval_data",
        ),
        (GRPO, {"model": "mine"}, "ref_sync_alpha", "not ref_sync_every, so nothing would read it"),
        (
            GRPO,
            {"data": "mine.jsonl"},
            "eval_every",
            "there are no held-out prompts: set eval_data",
        ),
        (GRPO, GIVEN, "task", "model and data are given, so nothing would read it"),
        (GRPO, {}, "precompute_reference", OWN_ROWS),
        (
            GRPO,
            {"lora_rank": 4},
            "ref_sync_every",
            "with lora_rank the reference is the model without its adapter, which never moves",
        ),
        (
            compose("dpo"),
            {"ref_sync_every": 3},
            "precompute_reference",
            "ref_sync_every moves the reference",
        ),
        (
            compose("ppo"),
            {"critic": "shared"},
            "critic_model",
            "critic is shared: its body is the policy's own",
        ),
        (
            compose("ppo"),
            {"lora_rank": 2, "quantize": "nf4"},
            "critic_model",
            "quantize bars other weights from its body",
        ),
        (
            SFT,
            {"data": "mine.jsonl"},
            "reward",
            "sft learns without one and there are no held-out prompts to score: set eval_data",
        ),
        (
            SFT,
            {"data": "mine.jsonl"},
            "sampler",
            "sft samples nothing, and nor does a held-out score: set reward and eval_data",
        ),
        *(
            (algorithm, {"data": "a", **held_out}, option, NOT_DRAWN)
            for algorithm, held_out in ((GRPO, {}), (SFT, {"eval_data": "b"}))
            for option in sorted(DRAWN)
        ),
    ],
)
def test_an_option_that_means_nothing_is_refused_if_it_is_set(algorithm, options, option, why):
    unset = make_config(options)
    assert unread(unset, algorithm)[option] == why
    refuse_unread(unset, algorithm)
    value = {"reward": ["length"], "ref_sync_every": 2, "precompute_reference": True}
    value |= {"environment": "retry", "critic_model": "judge"}
    value |= {"eval_stop": ["."], "eval_temperature": 0.5}
    given = make_config({**options, option: value.get(option, getattr(unset, option))})
    with pytest.raises(ConfigError) as refused:
        refuse_unread(given, algorithm)
    assert str(refused.value) == f"{option} is set, but {why}"


@pytest.mark.parametrize(
    ("algorithm", "options", "read"),
    [
        (GRPO, {"lora_rank": 4}, ADAPTERS),
        (GRPO, {"ref_sync_every": 2}, {"ref_sync_every", "ref_sync_alpha"}),
        (GRPO, {}, {"reward", "sampler", "task", "eval_every", "max_rounds", "temperature"}),
        (GRPO, {"data": "mine.jsonl", "eval_data": "b"}, {"reward", "eval_every", "task"}),
        (GRPO, {"model": "mine"}, {"reward", "task", "eval_every"}),
        (GRPO, {}, DRAWN),
        (SFT, GIVEN, REWARDS | DRAWN | {"sampler", "temperature"}),
        (compose("dpo"), GIVEN, {"precompute_reference", "ref_sync_every"}),
        (compose("ppo"), {}, CRITIC),
        (GRPO, {"environment": "retry"}, TALK),
        (SFT, {"data": "a", "eval_data": "b", "environment": "retry"}, TALK | {"environment"}),
    ],
)
def test_an_option_that_means_something_is_not_refused(algorithm, options, read):
    assert not read & unread(make_config(options), algorithm).keys()


def test_how_long_is_said_once():
    with pytest.raises(ConfigError, match="steps and data_epochs are both set"):
        refuse_unread(make_config({"steps": 2, "data_epochs": 2}), GRPO)


def test_a_sampler_says_which_of_its_options_mean_nothing(echo):
    quiet = make_config({"sampler": "echo", "echo_mode": "cave"})
    why = "echo_volume is low, so nothing would read it"
    assert unread(quiet, GRPO)["echo_mode"] == why
    with pytest.raises(ConfigError, match=f"^echo_mode is set, but {why}$"):
        refuse_unread(quiet, GRPO)
    loud = make_config({"sampler": "echo", "echo_mode": "cave", "echo_volume": 2})
    assert "echo_mode" not in unread(loud, GRPO)
    refuse_unread(loud, GRPO)


@pytest.mark.parametrize(
    "options",
    [
        {"reward": [], "data": "mine.jsonl", "model": "mine"},
        {"precompute_reference": False, "ref_sync_every": 2},
        {"ref_sync_every": None, "lora_rank": 4},
    ],
)
def test_what_asks_for_nothing_is_not_refused(options):
    algorithm = compose("sft") if "reward" in options else compose("dpo")
    refuse_unread(make_config(options), algorithm)
