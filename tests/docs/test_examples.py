"""Packages of others work: the example and what `anypo new` writes, installed by pip and used."""

import json
import random
import re
import shlex
import subprocess
import sys
import sysconfig
import tomllib
import venv
from importlib.machinery import PathFinder
from pathlib import Path

import pytest
import yaml

from anypo_cli.app import main
from anypo_tasks.addition.model import build_model, build_tokenizer, make
from anypo_tasks.calculator.problems import CHAT_TEMPLATE

EXAMPLES = Path(__file__).parents[2] / "docs/examples"
GALLERY = DISTINCT, MASTERMIND, RECORDER, SAPO, SHELF = [
    EXAMPLES / f"anypo-{name}" for name in ("distinct", "mastermind", "recorder", "sapo", "shelf")
]
ANYPO = """
import json, sys
from anypo_cli import main
for command in json.loads(sys.argv[1]):
    print(f"$ {command[0]}")
    assert main(command) == 0
"""
SITES = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}


class Environment:
    """A fresh environment that also has what this one has, but nothing that is installed in it."""

    def __init__(self, folder):
        self.folder = self.here = folder
        builder = venv.EnvBuilder(symlinks=True)
        builder.create(folder / "env")
        self.executable = builder.ensure_directories(folder / "env").env_exe
        site = Path(sysconfig.get_path("purelib", "venv", {"base": str(folder / "env")}))
        lines = [f"import site; site.addsitedir({place!r})" for place in sorted(SITES)]
        (site / "surroundings.pth").write_text("\n".join(lines))

    def run(self, *command):
        done = subprocess.run(
            [str(part) for part in command], cwd=self.here, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def install(self, *arguments):
        """By pip, with the dependencies that are declared, none of which may be missing."""
        pip = [sys.executable, "-m", "pip", "--python", self.executable, "install"]
        self.run(*pip, "--no-index", "--no-build-isolation", *arguments)

    def python(self, *arguments):
        return self.run(self.executable, *arguments)

    def anypo(self, *commands):
        """What each command prints; all in one process, since importing torch takes seconds."""
        said = self.python("-c", ANYPO, json.dumps(commands))
        return [part.partition("\n")[2] for part in re.split(r"^\$ ", said, flags=re.M)[1:]]


@pytest.fixture
def environment(tmp_path):
    return Environment(tmp_path)


@pytest.fixture
def guesser(tmp_path, monkeypatch):
    """A model directory: it says a few letters at random and ends its turn, mostly."""
    monkeypatch.setattr("anypo_tasks.addition.model.STEPS", 60)
    draw = random.Random(0)
    asked = {"role": "user", "content": "Break the code."}
    guesses = ("".join(draw.choices("abcd", k=3)) for _ in range(100))
    games = [{"messages": [asked, {"role": "assistant", "content": g}]} for g in guesses]
    make(tmp_path, build_tokenizer(), games, 0, lambda *_: None)
    return tmp_path / "model"


def test_the_examples_are_installed_and_used(environment, guesser):
    assert {path / "pyproject.toml" for path in GALLERY} == set(EXAMPLES.glob("*/pyproject.toml"))
    environment.install(*GALLERY)
    names = {p: points_of(p) for p in GALLERY}
    (environment.folder / "train.jsonl").write_text('{"prompt": "ab"}\n{"prompt": "cd"}\n')
    (environment.folder / "rows.jsonl").write_text(environment.python("-m", "anypo_mastermind", 4))
    options = ["--steps=2", "--prompts-per-step=2", "--device=cpu", f"--model={guesser}"]
    options += ["--max-completion-length=6", "--reward=length"]
    plain = [*options, "--data=train.jsonl"]
    game = [*options, "--data=rows.jsonl", "--environment=mastermind", "--max-turns=3"]
    game += ["--max-conversation-length=200"]
    listed, *checked, sapo, distinct, even, faded = environment.anypo(
        ["list", "--json"],
        *(["check", name] for points in names.values() for name in points.get("anypo", ())),
        ["run", "sapo", "--tau-neg=1.1", *plain, "--output=run"],
        ["run", "grpo+distinct", "--distinct-overlap=0.1", *plain, "--output=distinct"],
        ["run", "grpo+turn_discount", "--turn-discount=1", *game, "--output=even"],
        ["run", "grpo+turn_discount", "--turn-discount=0.5", *game, "--output=faded"],
    )
    there = {(p["name"], p["distribution"], p["version"]) for p in json.loads(listed)}
    for package, points in names.items():
        assert {(n, package.name, "0.1.0") for group in points.values() for n in group} <= there
    assert len(checked) == 3
    assert "FAILED" not in "".join(checked)
    assert all("step 2/2" in trained for trained in (sapo, distinct, even, faded))
    assert "tau_neg = 1.1" in (environment.folder / "run/config.toml").read_text()
    assert "anypo-sapo" in (environment.folder / "run/plugins.lock.json").read_text()
    even, faded = (first_step(environment.folder / run) for run in ("even", "faded"))
    assert even["conversation/turns"] == faded["conversation/turns"] > 1
    assert even["grad_norm"] > 1.1 * faded["grad_norm"] > 0
    tests = ["-p", "no:cacheprovider", "-c", SAPO / "pyproject.toml", *GALLERY]
    output = environment.python("-m", "pytest", "-v", *tests)
    assert passed(output) > 100
    assert "test_it_keeps_the_rules_of_samplers PASSED" in output


def test_the_example_needs_no_more_than_thirty_lines():
    assert code_lines(SAPO / "anypo_sapo.py") <= 30


def test_the_example_of_a_sampler_is_explained_and_used(
    install, capsys, model_dir, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    project = tomllib.loads((RECORDER / "pyproject.toml").read_text())["project"]
    code = {"anypo_recorder.py": (RECORDER / "anypo_recorder.py").read_text()}
    install(project["name"], {}, code, others=project["entry-points"])
    assert main(["explain", "recorder"]) == 0
    assert "recorder_file  completions.jsonl" in capsys.readouterr().out
    Path("train.jsonl").write_text('{"prompt": "ab"}\n{"prompt": "cd"}\n')
    options = ["--prompts-per-step=2", "--max-completion-length=6", "--device=cpu", "--output=run"]
    own = [f"--model={model_dir}", "--data=train.jsonl", "--reward=length", "--steps=2"]
    sampler = ["--sampler=recorder", "--recorder-file=drawn.jsonl"]
    assert main(["run", "grpo", "--group-size=3", *sampler, *own, *options]) == 0
    assert 'recorder_file = "drawn.jsonl"' in Path("run/config.toml").read_text()
    drawn = [json.loads(line) for line in Path("drawn.jsonl").read_text().splitlines()]
    comparing = 4  # with the trainer, before the first step
    assert [line["updates"] for line in drawn] == [0] * (comparing + 6) + [1] * 6


def test_the_example_of_a_sampler_needs_no_more_than_forty_lines():
    assert code_lines(RECORDER / "anypo_recorder.py") <= 40


def test_the_example_of_an_environment_is_explained_and_talked_to(
    install, capsys, quick_cache, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    project = tomllib.loads((SHELF / "pyproject.toml").read_text())["project"]
    code = {"anypo_shelf.py": (SHELF / "anypo_shelf.py").read_text()}
    install(project["name"], {}, code, others=project["entry-points"])
    assert main(["explain", "shelf"]) == 0
    assert "shelf: an environment of anypo-shelf" in capsys.readouterr().out
    tokenizer = build_tokenizer(CHAT_TEMPLATE, ("system", "user", "assistant", "tool"))
    build_model(tokenizer, seed=0).save_pretrained("model")
    tokenizer.save_pretrained("model")
    row = {"prompt": [{"role": "user", "content": "?"}], "shelves": [["a"], ["b"]], "thing": "b"}
    Path("train.jsonl").write_text(json.dumps(row))
    own = ["--model=model", "--data=train.jsonl", "--steps=1", "--prompts-per-step=1"]
    lengths = ["--max-completion-length=20", "--max-turns=2", "--device=cpu", "--output=run"]
    assert main(["run", "grpo", "--environment=shelf", *own, *lengths]) == 0
    assert 'environment = "shelf"' in Path("run/config.toml").read_text()
    (used,) = (
        plugin
        for plugin in json.loads(Path("run/plugins.lock.json").read_text())["used"]
        if plugin["kind"] == "environment"
    )
    assert (used["name"], used["distribution"]) == ("shelf", "anypo-shelf")


@pytest.fixture
def without_networkx(monkeypatch):
    """Nothing can import networkx, as where it is not installed."""
    find = PathFinder.find_spec

    def hiding(name, *others):
        return None if name == "networkx" else find(name, *others)

    monkeypatch.setattr(PathFinder, "find_spec", hiding)
    for name in [name for name in sys.modules if name.partition(".")[0] == "networkx"]:
        monkeypatch.delitem(sys.modules, name)


def test_a_missing_dependency_is_told_in_a_line(install, capsys, without_networkx):
    code = {"anypo_distinct.py": (DISTINCT / "anypo_distinct.py").read_text()}
    install("anypo-distinct", points_of(DISTINCT)["anypo"], code)
    assert main(["list", "--json"]) == 0
    plugins = json.loads(capsys.readouterr().out)
    (listed,) = (plugin for plugin in plugins if plugin["distribution"] == "anypo-distinct")
    assert listed["status"] == "broken"
    assert listed["problem"] == "ModuleNotFoundError: no module named 'networkx'"
    assert main(["run", "grpo+distinct"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert re.sub(r"\d+\)$", "N)", line) == (
        "error: plugin 'distinct' of anypo-distinct 1.0 is broken: "
        "ModuleNotFoundError: No module named 'networkx' (anypo_distinct.py:N)"
    )


def test_what_anypo_new_writes_is_installed_and_used(environment):
    environment.anypo(["new", "my-algo"])
    package = environment.here = environment.folder / "my-algo"
    assert code_lines(package / "anypo_my_algo.py") <= 30
    environment.run(sys.executable, "-m", "ruff", "check", package)
    environment.run(sys.executable, "-m", "ruff", "format", "--check", package)
    pip, check, tests = commands_of(package / ".github/workflows/check.yml")
    environment.install(*pip[2:])
    assert "FAILED" not in environment.anypo(check[1:])[0]
    assert passed(environment.python("-m", *tests)) > 20
    environment.install("-e", ".[test]")
    assert "anypo_my_algo.py:" in environment.anypo(["explain", "my-algo"])[0]


def commands_of(workflow):
    """The commands of a workflow as lists of words, for the first of all versions."""
    (job,) = yaml.safe_load(workflow.read_text())["jobs"].values()
    firsts = {f"${{{{ matrix.{k} }}}}": some[0] for k, some in job["strategy"]["matrix"].items()}
    commands = [step["run"] for step in job["steps"] if "run" in step]
    for variable, first in firsts.items():
        commands = [command.replace(variable, first) for command in commands]
    return [shlex.split(command) for command in commands]


def points_of(package):
    """The entry points that a package declares, by their groups."""
    project = tomllib.loads((package / "pyproject.toml").read_text())["project"]
    return project["entry-points"]


def first_step(run):
    """The metrics of the first step of a run that was not judged before."""
    lines = (json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines())
    return next(line for line in lines if line["step"] == 1)


def passed(output):
    return int(re.search(r"(\d+) passed", output)[1])


def code_lines(path):
    return sum(bool(line.strip()) for line in path.read_text(encoding="utf-8").splitlines())
