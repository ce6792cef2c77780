"""`run` and `compose` called from Python with what they do not take, and with what they do."""

import tomllib
from pathlib import Path
from threading import Thread

import pytest

from anypo import AnypoError, ConfigError, Plugin, compose, hookimpl, run
from anypo.errors import KnobError, PluginError


class Wrapping(Plugin):
    """No whole algorithm."""

    @hookimpl(wrapper=True)
    def weight(self):
        return (yield)


class Fragile(Wrapping):
    """It cannot be made."""

    def __init__(self, **_):
        raise RuntimeError("out of water")


def score(completions, **_):
    """A reward function of a module."""
    return [float(len(text)) for text in completions]


@pytest.fixture
def quick(letters, model_dir):
    """Options of a short run."""
    return {**letters, "model": model_dir, "steps": 1, "prompts_per_step": 2, "device": "cpu"}


WRONG = {
    "a plugin that is no algorithm": (lambda: run(Wrapping), "wrapping is no whole algorithm"),
    "a list": (lambda: run(["grpo"]), "is no plugin"),
    "nothing": (lambda: run(None), "None is no plugin"),
    "knobs": (lambda: compose("grpo", knobs=5), "knobs is 5, which are no values by name"),
    "a list of knobs": (lambda: compose("grpo", knobs=["x"]), "which are no values by name"),
    "numbered knobs": (lambda: compose("grpo", knobs={1: 2}), "which are no values by name"),
    "hooks": (lambda: compose("grpo", hooks=5), "hooks is 5, which are no values by name"),
    "a stage of a class": (lambda: compose("grpo", clip=Wrapping), "which is no name: put it on"),
    "a knob of compose": (
        lambda: compose("grpo", group_size=4),
        r"no stage 'group_size'.*knobs=\{'group_size': 4\}",
    ),
    "a knob of run": (
        lambda: run("grpo", group_size=4),
        r"'group_size' is a knob of grpo, .*run\(compose\(…, knobs=\{'group_size': 4\}\)\)",
    ),
    "an observer": (lambda: run("grpo", observer=5), "the observer is 5"),
    "a long value": (lambda: run("grpo", steps="x" * 10_000), "^steps = 'xxx.{190,210} is refused"),
    "a plugin that raises": (
        lambda: compose("grpo", Fragile),
        r"'fragile' cannot be made: RuntimeError: out of water \(.*test_calls\.py:\d+\)$",
    ),
    "a lambda": (
        lambda: run("grpo", reward=lambda **_: [], steps=1),
        "^reward = .* is refused: the run could not be repeated with a function that no module",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_one_clear_error(case):
    call, says = WRONG[case]
    with pytest.raises(AnypoError, match=says):
        call()


def test_the_kinds_of_errors_are_those_of_their_causes():
    with pytest.raises(KnobError):
        compose("grpo", knobs=5)
    with pytest.raises(PluginError):
        compose("grpo", clip=5)


def test_paths_and_functions_may_be_given_as_such(quick):
    paths = {name: Path(quick[name]) for name in ("model", "data", "output")}
    folder = run("rloo", **{**quick, **paths, "reward": score})
    assert folder == paths["output"]
    config = tomllib.loads((folder / "config.toml").read_text())
    assert config["data"] == [str(paths["data"])]
    (reward,) = config["reward"]
    assert reward == f"{__name__}:score"
    again = {**quick, "output": quick["output"] + "-again", "reward": config["reward"]}
    metrics = [p / "metrics.jsonl" for p in (folder, run("rloo", **again))]
    assert len({path.read_text().partition("reward/mean")[2][:20] for path in metrics}) == 1


@pytest.mark.parametrize("stack", ["grpo+dapo", "dapo+gfpo+dual_clip"])
def test_names_may_be_joined_everywhere(stack):
    assert compose(stack).name == stack


def test_a_plugin_that_is_a_whole_algorithm_runs_by_itself(quick):
    class Mine(Plugin):
        extends = ("rloo",)

        @hookimpl(wrapper=True)
        def weight(self):
            return (yield)

    assert (run(Mine, **quick) / "model").is_dir()


def test_a_thread_in_which_rewards_cannot_be_timed_is_told_before_anything_is_loaded(
    quick, monkeypatch
):
    monkeypatch.setattr("anypo.runs.setup.load_tokenizer", None)
    monkeypatch.setattr("anypo.runs.policy.load_model", None)
    errors = []

    def work():
        try:
            run("rloo", **quick)
        except ConfigError as error:
            errors.append(str(error))

    thread = Thread(target=work)
    thread.start()
    thread.join()
    assert errors == [
        "only the main thread on POSIX can be timed: call run there, or set reward_timeout to 0"
    ]


def test_without_a_limit_a_thread_is_as_good(quick):
    folders = []
    thread = Thread(target=lambda: folders.append(run("rloo", **quick, reward_timeout=0)))
    thread.start()
    thread.join()
    assert (folders[0] / "model").is_dir()
