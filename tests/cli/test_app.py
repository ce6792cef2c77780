import json
import tomllib

import pytest

from anypo.errors import PluginError
from anypo_cli.app import main


@pytest.fixture
def own(tmp_path, model_dir):
    """The arguments of a short run on own data and an own reward."""
    (tmp_path / "train.jsonl").write_text('{"prompt": "ab"}\n{"prompt": "cd"}\n')
    (tmp_path / "reward.py").write_text(
        "def score(completions, **kwargs):\n    return [float(len(c)) for c in completions]\n"
    )
    arguments = {
        "--model": model_dir,
        "--data": tmp_path / "train.jsonl",
        "--reward": f"{tmp_path / 'reward.py'}:score",
        "--output": tmp_path / "run",
        "--steps": 2,
        "--prompts-per-step": 2,
        "--max-completion-length": 6,
        "--device": "cpu",
    }
    return [str(part) for pair in arguments.items() for part in pair]


def error_of(capsys, *arguments):
    """The one line on standard error of a call that must fail."""
    assert main([str(argument) for argument in arguments]) != 0
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    return lines[0]


def test_own_model_data_and_reward(own, tmp_path, capsys):
    assert main(["run", "grpo", *own, "--group-size", "4", "--kl-coef", "0"]) == 0
    output = capsys.readouterr().out
    assert "step 2/2" in output
    assert "run directory" in output
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    metrics = [json.loads(line) for line in lines]
    assert [row["step"] for row in metrics] == [1, 2]
    assert "loss/kl" not in metrics[0]


def test_options_override_the_file_and_the_file_repeats_the_run(own, tmp_path, capsys):
    assert main(["run", "grpo", *own, "--group-size", "4"]) == 0
    config = tmp_path / "run" / "config.toml"
    again, shorter = tmp_path / "again", tmp_path / "shorter"
    repeated = ["run", "--config", str(config), "--trust-config"]
    assert main([*repeated, "--output", str(again)]) == 0
    assert main([*repeated, "--output", str(shorter), "--steps", "1"]) == 0
    assert (again / "config.toml").read_text() == config.read_text()
    assert "group_size = 4" in config.read_text()
    assert len((shorter / "metrics.jsonl").read_text().splitlines()) == 1


def test_set_sets_options_and_knobs(own, tmp_path):
    assert main(["run", "grpo", *own, "--set", "clip_low=0.1", "--set", "seed=3"]) == 0
    config = (tmp_path / "run" / "config.toml").read_text()
    assert "clip_low = 0.1" in config
    assert "seed = 3" in config


def test_an_option_that_is_a_list_is_repeated(own, tmp_path):
    held_out = f"held={tmp_path / 'train.jsonl'}"
    stops = ["--eval-stop", "one", "--eval-stop", "two", "--eval-data", held_out]
    assert main(["run", "grpo", *own, *stops]) == 0
    config = tomllib.loads((tmp_path / "run" / "config.toml").read_text())
    assert config["eval_stop"] == ["one", "two"]
    assert config["eval_data"] == [held_out]


def test_help_shows_every_knob_with_its_default(capsys):
    assert main(["run", "grpo", "--help"]) == 0
    output = " ".join(capsys.readouterr().out.split())
    assert "Knobs of grpo" in output
    assert "--kl-coef" in output
    assert "[default: 0.04]" in output
    assert "--prompts-per-step" in output


def test_explain_shows_stages_sources_and_knobs(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "140")
    assert main(["explain", "grpo", "--set", "group_size=4"]) == 0
    output = " ".join(capsys.readouterr().out.split())
    assert "anypo_plugins/policy_gradient/grpo.py:" in output
    assert "set by you" in output
    assert "default of grpo" in output
    assert "reference model" in output


def test_an_unknown_algorithm_suggests_the_nearest(capsys):
    assert "did you mean 'grpo'?" in error_of(capsys, "run", "gropo")
    assert "did you mean 'grpo'?" in error_of(capsys, "explain", "gropo")


def test_an_unknown_knob_suggests_the_nearest(capsys):
    assert "--group-size" in error_of(capsys, "run", "grpo", "--grup-size", "3")
    assert "'group_size'" in error_of(capsys, "run", "grpo", "--set", "grup_size=3")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--group-size", "1"], "group_size = 1"),
        (["--group-size", "many"], "group_size = 'many'"),
        (["--clip-low", "-1"], "clip_low = -1"),
        (["--steps", "0"], "steps = 0"),
        (["--set", "steps"], "KEY=VALUE"),
        (["--steps", "3", "--set", "steps=4"], "'steps' is given both"),
        (["--hook", "clip=grpo"], "set its knobs instead"),
        (["--hook", "clap=grpo"], "did you mean 'clip'"),
        (["--kl-coef", "0", "--kl-estimator", "k1"], "kl_estimator"),
        (["--config", "nowhere.toml"], "nowhere.toml"),
        (["--data", "nowhere.jsonl"], "no reward"),
        (["--reward", "nowhere.py:score"], "nowhere.py"),
        (["--reward", "exakt"], "did you mean 'exact'"),
        (["--device", "tpu"], "--device"),
    ],
)
def test_bad_options_are_one_line(capsys, arguments, named):
    assert named in error_of(capsys, "run", "grpo", *arguments)


def test_a_table_is_given_pair_by_pair(capsys, own):
    given = ["--chat-template-kwargs", "b=[2]", "--chat-template-kwargs", "a=1"]
    said = "chat_template_kwargs has 'a', but the chat template takes no such value"
    assert said in error_of(capsys, "run", "grpo", *own, *given)


def test_a_run_without_a_name_says_so(capsys):
    assert "name an algorithm first" in error_of(capsys, "run", "--steps", "3")


def test_bad_data_are_one_line(capsys, own, tmp_path):
    data = tmp_path / "train.jsonl"
    data.write_text('{"prompt": "ab"}\n{"prompt": \n')
    assert "train.jsonl:2" in error_of(capsys, "run", "grpo", *own)
    data.write_text("")
    assert "is empty" in error_of(capsys, "run", "grpo", *own)
    data.write_text('{"question": "ab"}\n')
    assert "no column 'prompt', only question" in error_of(capsys, "run", "grpo", *own)


def test_debug_lets_python_show_the_traceback(capsys):
    assert "Traceback" not in error_of(capsys, "run", "gropo")
    for arguments in (["run", "gropo", "--debug"], ["--debug", "run", "gropo"]):
        with pytest.raises(PluginError, match="did you mean 'grpo'"):
            main(arguments)


def quick(tmp_path):
    return ["--steps", "1", "--prompts-per-step", "2", "--output", str(tmp_path / "run")]


def test_a_stack_of_names(quick_cache, tmp_path):
    arguments = [*quick(tmp_path), "--group-size", "4", "--keep", "2", "--no-filter-groups"]
    assert main(["run", "dapo+gfpo+dual_clip", *arguments, "--dual-clip", "4"]) == 0
    config = (tmp_path / "run" / "config.toml").read_text()
    assert 'algorithm = "dapo+gfpo+dual_clip"' in config
    assert "dual_clip = 4.0" in config


def test_names_may_also_be_separate(quick_cache, tmp_path):
    assert main(["run", "grpo", "entropy", *quick(tmp_path), "--entropy-coef", "0.1"]) == 0
    assert 'algorithm = "grpo+entropy"' in (tmp_path / "run" / "config.toml").read_text()


def test_a_stage_from_another_plugin_brings_its_knobs(quick_cache, tmp_path):
    swapped = ["run", "grpo", "--hook", "clip=cispo"]
    assert main([*swapped, *quick(tmp_path), "--cap", "3"]) == 0
    config = (tmp_path / "run" / "config.toml").read_text()
    assert 'clip = "cispo"' in config
    assert "cap = 3.0" in config
    assert "clip_low" not in config


@pytest.mark.parametrize(
    ("stack", "reason"),
    [
        ("cispo+dual_clip", "needs a clipped surrogate below it"),
        ("gspo+dual_clip", "one per sequence"),
        ("gspo+grpo_process", "use a ratio per token"),
        ("ppo+dapo", "would replace 'ppo' below it"),
        ("dual_clip", "put it on top of one that does"),
    ],
)
def test_pairs_that_make_no_sense_are_one_line(capsys, stack, reason):
    assert reason in error_of(capsys, "run", stack)


def test_a_repeated_run_can_be_varied(own, tmp_path):
    assert main(["run", "grpo", *own, "--group-size", "4"]) == 0
    repeated = ["run", "--trust-config", "--config", str(tmp_path / "run" / "config.toml")]
    for folder, change in {"one": ["--kl-coef", "0"], "two": ["--hook", "clip=cispo"]}.items():
        assert main([*repeated, *change, "--output", str(tmp_path / folder)]) == 0
        assert "group_size = 4" in (tmp_path / folder / "config.toml").read_text()


def test_another_algorithm_does_not_inherit_the_defaults_of_the_file(own, tmp_path):
    assert main(["run", "grpo", *own, "--group-size", "4"]) == 0
    config, other = tmp_path / "run" / "config.toml", tmp_path / "other"
    repeated = ["run", "dr_grpo", "--config", str(config), "--trust-config"]
    assert main([*repeated, "--output", str(other)]) == 0
    assert "kl_coef = 0.0" in (other / "config.toml").read_text()
    assert "group_size = 4" in (other / "config.toml").read_text()


def test_an_output_that_cannot_be_made_is_one_line(capsys, own, tmp_path):
    (tmp_path / "file").write_text("")
    output = ["--output", str(tmp_path / "file" / "run")]
    assert "cannot be made" in error_of(capsys, "run", "grpo", *own, *output)


def test_a_modifier_alone_says_how_it_is_used(capsys):
    assert "NAME+tis" in error_of(capsys, "explain", "tis")


def test_a_swapped_stage_is_shown_in_the_title(capsys):
    assert main(["explain", "grpo", "--hook", "clip=cispo"]) == 0
    assert "grpo[clip=cispo]" in capsys.readouterr().out


# -- samplers and tasks of a third party ---------------------------------------------------------

LETTERS = """
import json
import shutil


class Letters:
    reward = ["length"]
    options = {"steps": 1, "learning_rate": 0.25}
    knobs = {"group_size": 3}

    def fingerprint(self):
        return "one"

    def make(self, folder, progress):
        shutil.copytree(MODEL, folder / "model")
        for name in ("train", "held_out"):
            (folder / f"{name}.jsonl").write_text(json.dumps({"prompt": name}) + "\\n")
"""
AGAIN = """
from pydantic import Field

from anypo import SamplerPlugin
from anypo.sampling.generate import TransformersEngine


class Again(SamplerPlugin):
    volume: float = Field(1.0, gt=0, description="How loud.")

    def start(self, model, runtime, max_length):
        return TransformersEngine(model, runtime)
"""


@pytest.fixture
def letters(install, model_dir, tmp_path, monkeypatch):
    """A task and a sampler of a third party, and an empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    files = {"letters_module.py": LETTERS.replace("MODEL", repr(model_dir)), "again.py": AGAIN}
    others = {
        "anypo.tasks": {"letters": "letters_module:Letters"},
        "anypo.samplers": {"again": "again:Again"},
    }
    install("anypo-letters", {}, files, others=others)


@pytest.mark.parametrize(
    "option", [["--task", "letters"], ["--task=letters"], ["--set", "task=letters"]]
)
def test_a_task_is_chosen_by_its_name(letters, tmp_path, capsys, option):
    short = ["--prompts-per-step", "1", "--max-completion-length", "4", "--device", "cpu"]
    assert main(["run", "grpo", *option, *short, "--output", str(tmp_path / "run")]) == 0
    config = (tmp_path / "run" / "config.toml").read_text()
    assert 'task = "letters"' in config
    assert "learning_rate = 0.25" in config
    assert "step 1/1" in capsys.readouterr().out


def test_the_help_of_a_task_shows_what_suits_it(letters, capsys):
    assert main(["run", "grpo", "--task", "letters", "--help"]) == 0
    output = " ".join(capsys.readouterr().out.replace("│", "").split())
    assert "1e-06; letters: 0.25" in output
    assert "addition: " not in output


def test_a_misspelt_task_is_one_line(letters, capsys):
    assert "there is no task 'lettres'; did you mean 'letters'" in error_of(
        capsys, "run", "grpo", "--task", "lettres"
    )


def test_a_sampler_brings_its_options(letters, own, tmp_path, capsys):
    assert main(["run", "grpo", "--sampler", "again", "--help"]) == 0
    output = capsys.readouterr().out
    assert "Sampler again" in output
    assert "--again-volume" in output
    assert main(["run", "grpo", *own, "--sampler", "again", "--again-volume", "2"]) == 0
    config = tmp_path / "run" / "config.toml"
    assert "again_volume = 2.0" in config.read_text()
    repeated = ["run", "--config", str(config), "--trust-config"]
    assert main([*repeated, "--output", str(tmp_path / "again")]) == 0
    assert (tmp_path / "again" / "config.toml").read_text() == config.read_text()


def test_without_its_sampler_an_option_means_nothing(letters, capsys):
    assert main(["run", "grpo", "--help"]) == 0
    assert "again" not in capsys.readouterr().out
    assert "--again-volume" in error_of(capsys, "run", "grpo", "--again-volume", "2")
    says = error_of(capsys, "run", "grpo", "--sampler", "again", "--again-volume", "0")
    assert "again_volume = 0.0 is refused" in says


def test_the_help_has_a_panel_per_block_and_the_knobs_first(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    assert main(["run", "grpo", "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    titles = [line.strip("╭╮─ ") for line in lines if line.startswith("╭")]
    assert titles[:2] == ["Options", "Knobs of grpo"]  # the first has --help alone
    assert {"Run", "Steps", "Optimizer", "Data and sampling", "Adapters", "Machine"} <= {*titles}
    assert "Sampler transformers" not in titles
    assert len(lines) < 135


def test_a_knob_that_begins_like_the_name_of_a_sampler_stays_a_knob(own, install, tmp_path, capsys):
    source = "from anypo import Transformers\n\nclass Clip(Transformers):\n    x: int = 3\n"
    install(
        "anypo-c", {}, {"clipper.py": source}, others={"anypo.samplers": {"clip": "clipper:Clip"}}
    )
    assert main(["run", "grpo", *own, "--clip-low", "0.1", "--steps", "1"]) == 0
    assert "clip_low = 0.1" in (tmp_path / "run" / "config.toml").read_text()
    assert "clip_x is set, but the sampler is transformers" in error_of(
        capsys, "run", "grpo", *own, "--set", "clip_x=3"
    )


def test_a_disabled_task_that_nobody_needs_is_no_error(own, monkeypatch, capsys):
    monkeypatch.setenv("ANYPO_DISABLE_PLUGINS", "addition")
    assert main(["run", "grpo", "--help"]) == 0
    assert main(["run", "grpo", *own]) == 0
    capsys.readouterr()
    assert "is disabled" in error_of(capsys, "run", "grpo", "--task", "addition")


def test_what_set_says_of_the_sampler_is_read_like_everything_else(own, tmp_path):
    assert main(["run", "grpo", *own, "--set", 'sampler="transformers"']) == 0
    assert 'sampler = "transformers"' in (tmp_path / "run" / "config.toml").read_text()


def test_an_option_of_a_sampler_that_is_not_asked_for_names_it(capsys):
    assert "--sampler vllm" in error_of(capsys, "run", "grpo", "--vllm-memory", "0.5")


def test_a_knob_set_beside_what_a_task_prefers_is_kept_when_the_run_is_repeated(
    own, install, tmp_path, monkeypatch
):
    code = "from anypo_tasks.addition.task import Addition\n\n\nclass Good(Addition):\n"
    code += "    knobs = {'group_size': 6}\n"
    install("anypo-g", {}, {"goodly.py": code}, others={"anypo.tasks": {"good": "goodly:Good"}})
    asked = []
    monkeypatch.setattr("anypo.runs.run.train", lambda algorithm, *_: asked.append(algorithm))
    monkeypatch.setattr("anypo_cli.display.Display.finished", lambda *_: None)
    config = tmp_path / "old.toml"
    config.write_text('algorithm = "grpo"\ntask = "good"\n[knobs]\ngroup_size = 8\n')
    assert main(["run", "--config", str(config)]) == 0
    assert asked[0].knobs["group_size"].is_set


@pytest.mark.parametrize(("name", "shown"), [("grpo", {"Reference model"}), ("opd", {"Teacher"})])
def test_the_help_shows_options_of_the_models_that_the_algorithm_has(name, shown, capsys):
    assert main(["run", name, "--help"]) == 0
    told = capsys.readouterr().out
    panels = {panel for panel in ("Reference model", "Teacher", "Critic") if f" {panel} ─" in told}
    assert panels == shown
    assert "has no critic model" in error_of(capsys, "run", name, "--critic", "shared")
