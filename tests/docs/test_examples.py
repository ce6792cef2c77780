"""Packages of others work: the example and what `anypo new` writes, installed by pip and used."""

import json
import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
from pathlib import Path

import pytest

from anypo_cli.app import main
from anypo_tasks.addition.model import build_model, build_tokenizer
from anypo_tasks.calculator.problems import CHAT_TEMPLATE

ROOT = Path(__file__).parents[2]
SAPO, RECORDER, SHELF = (
    ROOT / "docs/examples" / name for name in ("anypo-sapo", "anypo-recorder", "anypo-shelf")
)
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
        self.folder = folder
        builder = venv.EnvBuilder(symlinks=True)
        builder.create(folder / "env")
        self.executable = builder.ensure_directories(folder / "env").env_exe
        site = Path(sysconfig.get_path("purelib", "venv", {"base": str(folder / "env")}))
        lines = [f"import site; site.addsitedir({place!r})" for place in sorted(SITES)]
        (site / "surroundings.pth").write_text("\n".join(lines))

    def run(self, *command):
        done = subprocess.run(
            [str(part) for part in command], cwd=self.folder, capture_output=True, text=True
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


def test_the_examples_are_installed_and_used(environment, model_dir):
    environment.install(SAPO, RECORDER, SHELF)
    (environment.folder / "train.jsonl").write_text('{"prompt": "ab"}\n{"prompt": "cd"}\n')
    options = ["--prompts-per-step=2", "--max-completion-length=6", "--device=cpu", "--output=run"]
    own = [f"--model={model_dir}", "--data=train.jsonl", "--reward=length"]
    run = ["run", "sapo", "--steps=2", "--tau-neg=1.1", *own, *options]
    listed, checked, trained = environment.anypo(["list"], ["check", "sapo"], run)
    for name in ("sapo", "recorder", "shelf"):
        (line,) = (line for line in listed.splitlines() if line.startswith(f"{name} "))
        assert line.split()[1:3] == [f"anypo-{name}", "0.1.0"]
    assert "FAILED" not in checked
    assert "step 2/2" in trained
    assert "tau_neg = 1.1" in (environment.folder / "run/config.toml").read_text()
    assert "anypo-sapo" in (environment.folder / "run/plugins.lock.json").read_text()
    tests = ["-p", "no:cacheprovider", "-c", SAPO / "pyproject.toml", SAPO, RECORDER, SHELF]
    output = environment.python("-m", "pytest", "-v", *tests)
    assert passed(output) > 20
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


def test_what_anypo_new_writes_is_installed_and_used(environment):
    environment.anypo(["new", "my-algo"])
    package = environment.folder / "my-algo"
    assert code_lines(package / "anypo_my_algo.py") <= 30
    environment.run(sys.executable, "-m", "ruff", "check", package)
    environment.run(sys.executable, "-m", "ruff", "format", "--check", package)
    environment.install("-e", "my-algo")
    assert passed(environment.python("-m", "pytest", "my-algo")) > 20
    checked, explained = environment.anypo(["check", "my_algo"], ["explain", "my-algo"])
    assert "FAILED" not in checked
    assert "anypo_my_algo.py:" in explained


def passed(output):
    return int(re.search(r"(\d+) passed", output)[1])


def code_lines(path):
    return sum(bool(line.strip()) for line in path.read_text(encoding="utf-8").splitlines())
