"""Every page of the documentation can be followed: its Python and its commands, top to bottom.

A command that needs a model stops before anything is loaded, unless its block stands below
`<!-- slow -->`: then a slow test trains, and what is trained must have learned. A Python block
below that mark is left to the slow test altogether. No model is planned, talked to or pushed. Of
other commands, only `pip install FOLDER` means something here, for a folder with a plugin.
"""

import re
import shlex
import tomllib
from pathlib import Path

import pytest

from anypo import Collected
from anypo.runs.recipe import Recipe, write_recipe
from anypo_cli.app import main

ROOT = Path(__file__).parents[2]
PAGES = ["README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"(<!-- slow -->\n)?```(python|sh)\n(.*?)```", re.DOTALL)
INSTALLED = re.compile(r"pip install (?:-e )?([\w/-]+)(?:\[test\])?")
LEARNED = re.compile(r"eval score (\S+) -> (\S+)")


def text_of(page):
    return (ROOT / page).read_text(encoding="utf-8")


def begin(algorithm, config, *_):
    """Leave what a run leaves first: the directory, if it has a name, and one evaluation."""
    folder = Path(config.output or "nowhere")
    if config.output:
        folder.mkdir(parents=True)
        write_recipe(folder / "config.toml", Recipe(algorithm.named))
        (folder / "metrics.jsonl").write_text('{"step": 0, "eval/score": 0.5}\n')
    return folder


class Reader:
    """Follows pages: Python in one namespace, commands in one directory."""

    def __init__(self, install, capsys, monkeypatch):
        self.install, self.capsys, self.monkeypatch = install, capsys, monkeypatch

    def follow(self, text, *, slowly):
        """Everything that the page defined in Python."""
        names = {"__name__": "page"}
        for slow, language, block in BLOCK.findall(text):
            if language == "sh":
                self.obey(block, trains=bool(slow) and slowly)
            elif slowly or not slow:
                exec(compile(block, "page", "exec"), names)
        return names

    def obey(self, block, *, trains):
        for command in re.split(r"\n|&&", block):
            name, *arguments = shlex.split(command, comments=True) or [""]
            if name == "anypo":
                self.call(arguments, trains=trains)
            elif folder := INSTALLED.fullmatch(" ".join([name, *arguments])):
                self.add(folder[1])

    def call(self, arguments, *, trains):
        with self.monkeypatch.context() as patched:
            patched.setattr("anypo_vllm.serve.check_installed", lambda *_: None)
            patched.setattr("anypo_vllm.serve.os.execve", lambda *_: None)
            for others in ("chatting.chat", "pushing.push", "planning.show_plan"):
                patched.setattr(f"anypo_cli.{others}", lambda *_, **__: None)
            if not trains:  # all that can be known before anything is loaded is checked
                patched.setattr("anypo.runs.run.train", begin)
                patched.setattr("anypo_cli.options.launch", lambda *_: 0)
                patched.setattr("anypo_cli.judging.evaluate", lambda *_, **__: [])
                patched.setattr("anypo_cli.judging.collect", lambda *_, **__: Collected())
            assert main(arguments) == 0, f"{arguments}: {self.capsys.readouterr()}"
        if trains:
            ((before, after),) = LEARNED.findall(self.capsys.readouterr().out)
            assert float(after) >= float(before) + 0.2

    def add(self, folder):
        """Install the plugin of a folder, of here or of the repository."""
        place = Path(folder) if Path(folder).exists() else ROOT / folder
        project = tomllib.loads((place / "pyproject.toml").read_text())["project"]
        files = {path.name: path.read_text() for path in place.glob("anypo_*.py")}
        others = dict(project["entry-points"])
        self.install(project["name"], others.pop("anypo", {}), files, others=others)


@pytest.fixture
def reader(install, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    return Reader(install, capsys, monkeypatch)


@pytest.mark.parametrize("page", PAGES)
def test_it_can_be_followed(page, reader, quick_cache):
    names = reader.follow(text_of(page), slowly=False)
    if page == "README.md":
        assert (names["folder"] / "model" / "config.json").exists()
        assert names["score"](["p"], [" 42 "], ["42"]) == [1.0]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", [page for page in PAGES if "<!-- slow -->" in text_of(page)])
def test_what_it_trains_learns(page, reader):
    reader.follow(text_of(page), slowly=True)


@pytest.mark.parametrize(
    "wrong",
    [
        "```python\nx = 1\n```\n```python\nassert x == 2\n```",
        "```sh\nanypo explain gropo\n```",
        "```sh\nanypo run grpo --grup-size 3\n```",
        "```sh\nanypo run grpo+dr_grpo --set clip_low=-1   # a comment\n```",
        "```sh\nls && anypo run dapo --hook clip=grpo\n```",
        "```sh\npip install -e nowhere\n```",
    ],
)
def test_what_does_not_work_is_found(wrong, reader):
    with pytest.raises((AssertionError, OSError)):
        reader.follow(wrong, slowly=False)


def test_the_blocks_of_every_page_are_found():
    fences = {page: len(re.findall(r"^```(?:python|sh)$", text_of(page), re.M)) for page in PAGES}
    assert fences == {page: len(BLOCK.findall(text_of(page))) for page in PAGES}


@pytest.mark.parametrize("page", PAGES)
def test_its_links_lead_somewhere(page):
    shown = re.sub(r"<!-- \[\[\[cog.*?\]\]\] -->", "", text_of(page), flags=re.DOTALL)
    links = re.findall(r"\]\(([^)#\s]+)", shown)
    here = (ROOT / page).parent
    local = [link for link in links if not link.startswith(("http://", "https://"))]
    assert not [link for link in local if not (here / link).exists()]
