"""`anypo new` writes a package, or says in one line why not. tests/docs installs and runs one."""

import tomllib
from importlib.metadata import metadata

import pytest
import yaml

from anypo_cli.app import main


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def refusal(capsys, *arguments):
    assert main(["new", *arguments]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    return line


@pytest.mark.parametrize(
    ("title", "plugin"),
    [
        ("my-algo", "my_algo = anypo_my_algo:MyAlgo"),
        ("my_algo", "my_algo = anypo_my_algo:MyAlgo"),
        ("anypo-squid2", "squid2 = anypo_squid2:Squid2"),
        ("class", "class = anypo_class:Class"),
    ],
)
def test_the_names_of_a_package(title, plugin, tmp_path, capsys):
    assert main(["new", title]) == 0
    project = tomllib.loads((tmp_path / title / "pyproject.toml").read_text())["project"]
    ((name, value),) = project["entry-points"]["anypo"].items()
    assert f"{name} = {value}" == plugin
    module, _, class_name = value.partition(":")
    assert project["name"] == module.replace("_", "-")
    source = (tmp_path / title / f"{module}.py").read_text()
    assert f"class {class_name}(Plugin):" in source
    assert "$" not in source
    assert f"pip install -e '{title}[test]' && pytest {title}" in capsys.readouterr().out


def test_it_needs_the_anypo_that_wrote_it(tmp_path):
    assert main(["new", "my-algo"]) == 0
    project = tomllib.loads((tmp_path / "my-algo" / "pyproject.toml").read_text())["project"]
    assert project["dependencies"] == ["anypo>=0.1.0"]


def test_its_workflow_tries_all_pythons_and_the_lowest_and_the_newest_anypo(tmp_path):
    assert main(["new", "my-algo"]) == 0
    file = tmp_path / "my-algo" / ".github" / "workflows" / "check.yml"
    (job,) = yaml.safe_load(file.read_text())["jobs"].values()
    classifiers = metadata("anypo").get_all("Classifier")
    pythons = [name.rpartition(" ")[2] for name in classifiers if ":: 3." in name]
    matrix = {"python": pythons, "anypo": ["anypo==0.1.0", "anypo"]}
    assert job["strategy"]["matrix"] == matrix
    commands = [step["run"] for step in job["steps"] if "run" in step]
    install = 'pip install "${{ matrix.anypo }}" ".[test]"'
    assert commands == [install, "anypo check my_algo", "pytest"]


def test_a_directory_may_be_given_and_may_be_there_if_it_is_empty(tmp_path):
    (tmp_path / "some" / "where").mkdir(parents=True)
    assert main(["new", "my-algo", "--directory", "some/where"]) == 0
    assert (tmp_path / "some/where/anypo_my_algo.py").exists()
    assert not (tmp_path / "my-algo").exists()


def test_nothing_is_overwritten(tmp_path, capsys):
    (tmp_path / "my-algo").mkdir()
    (tmp_path / "my-algo" / "README.md").write_text("mine")
    (tmp_path / "file").write_text("mine")
    assert "my-algo exists and is not empty" in refusal(capsys, "my-algo")
    assert "file exists and is not empty" in refusal(capsys, "my-algo", "--directory", "file")
    assert [path.name for path in (tmp_path / "my-algo").iterdir()] == ["README.md"]


@pytest.mark.parametrize("title", ["", "My-Algo", "2x", "a--b", "a-", "a.b", "a b", "../a", "é"])
def test_a_bad_name(title, tmp_path, capsys):
    assert f"'{title}' is no name for a plugin" in refusal(capsys, title)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("title", ["dr-grpo", "dr_grpo", "anypo-dr-grpo"])
def test_the_name_of_another_plugin(title, tmp_path, capsys):
    assert "plugin 'dr_grpo' of anypo 0.1.0 has that name" in refusal(capsys, title)
    assert not list(tmp_path.iterdir())


def test_the_name_of_a_plugin_of_others(install, capsys):
    install("anypo-lamprey", {"giant-squid": "lamprey:Lamprey"}, {"lamprey.py": ""}, version="0.3")
    assert "plugin 'giant-squid' of anypo-lamprey 0.3" in refusal(capsys, "giant-squid")


@pytest.mark.parametrize("title", ["cli", "plugins"])
def test_the_name_of_another_module(title, capsys):
    assert f"there is a module anypo_{title} already" in refusal(capsys, title)


@pytest.mark.parametrize("title", ["none", "f", "plugin", "class-var", "batch", "test-time"])
def test_a_class_name_that_the_code_cannot_have(title, capsys):
    assert "a class cannot be called" in refusal(capsys, title)
