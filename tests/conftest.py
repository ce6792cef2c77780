"""Fixtures that many tests share."""

import gc
import importlib
import json
import os
import sys
from itertools import starmap
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest
import torch
from hypothesis import settings

from anypo import Plugin, compose, hookimpl
from anypo.hooks import registry
from anypo.hooks.task import ChosenTask
from anypo.runs.provenance import describe
from anypo.runs.task import ensure_task
from anypo_tasks.addition import problems
from anypo_tasks.addition.model import build_model, build_tokenizer
from anypo_tasks.addition.task import Addition

settings.register_profile("steady", deadline=None, derandomize=True)
settings.load_profile("steady")

GOLDEN = json.loads(Path(__file__).with_name("golden.json").read_text(encoding="utf-8"))
CASES = {case["id"]: case for case in GOLDEN["cases"]}
PAPERS = json.loads(Path(__file__).with_name("golden-papers.json").read_text(encoding="utf-8"))


def pytest_collection_finish():
    gc.freeze()  # what is imported and collected stays: nobody need look through it for garbage


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def golden():
    """The golden case of an id."""
    return CASES.__getitem__


@pytest.fixture(scope="session")
def fixtures():
    """The input tensors that golden cases share."""
    return GOLDEN["fixtures"]


@pytest.fixture(scope="session")
def papers():
    """Losses and gradients of papers on one small batch, by case, and that batch."""
    return PAPERS


@pytest.fixture(scope="session")
def tokenizer():
    """The byte-level tokenizer of the built-in model."""
    return build_tokenizer()


@pytest.fixture
def model(tokenizer):
    """The built-in model, with random weights large enough for its choices to differ."""
    model = build_model(tokenizer, seed=0)
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=0.2, generator=random)
    return model


@pytest.fixture
def quick_task(monkeypatch):
    """Makes the model of the built-in task in no time, and badly."""
    hurry(monkeypatch)


@pytest.fixture(scope="session")
def small_task(tmp_path_factory):
    """A cache that holds the built-in task with few problems, and a bad model; only read."""
    home, every = tmp_path_factory.mktemp("cache"), problems.problems
    with pytest.MonkeyPatch.context() as patched:
        hurry(patched)
        patched.setattr(problems, "problems", lambda seed: tuple(r[:40] for r in every(seed)))
        patched.setenv("XDG_CACHE_HOME", str(home))
        ensure_task(ChosenTask("addition", Addition(), owns_model=True), lambda *_: None)
    return home


def hurry(patched):
    patched.setattr("anypo_tasks.addition.model.STEPS", 3)
    patched.setattr("anypo_tasks.addition.problems.DEMONSTRATIONS", 50)


@pytest.fixture
def quick_cache(small_task, monkeypatch):
    """The cache in which a run finds the built-in task, small and with a bad model."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(small_task))
    return small_task / "anypo"


@pytest.fixture(scope="session")
def model_dir(tokenizer, tmp_path_factory):
    """A model directory with random weights."""
    folder = str(tmp_path_factory.mktemp("model"))
    build_model(tokenizer, seed=0).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def section(group, points):
    """A part of entry_points.txt."""
    return f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in points.items())


class Installer:
    """Installs a distribution as pip would leave it: its metadata, entry points and modules."""

    def __init__(self, home, monkeypatch):
        self.home, self.monkeypatch = home, monkeypatch

    def __call__(
        self, distribution, algorithms, files=None, *, others=None, version="1.0", place="site"
    ):
        """Give the entry points of algorithms, and by their groups those of `others`."""
        site = self.home / place
        info = site / f"{distribution.replace('-', '_')}-{version}.dist-info"
        metadata = f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n"
        points = "".join(starmap(section, {"anypo": algorithms, **(others or {})}.items()))
        contents = {info / "METADATA": metadata, info / "entry_points.txt": points}
        contents |= {site / name: text for name, text in (files or {}).items()}
        for path, text in contents.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        if str(site) not in sys.path:
            self.monkeypatch.syspath_prepend(site)
        self.forget()
        return info

    def forget(self):
        importlib.invalidate_caches()
        registry.installed.cache_clear()


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Installs distributions for the time of a test; see `Installer`."""
    known = set(sys.modules)
    installer = Installer(tmp_path, monkeypatch)
    yield installer
    for name in set(sys.modules) - known:
        if str(getattr(sys.modules[name], "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]
    monkeypatch.undo()
    installer.forget()


@pytest.fixture
def letters(tmp_path):
    """Options of a task that is learnt in seconds: letters of the first half of the alphabet."""
    (tmp_path / "train.jsonl").write_text('{"prompt": "ab"}\n{"prompt": "cd"}\n')
    (tmp_path / "reward.py").write_text(
        "def score(completions, **_):\n"
        "    return [sum(byte < 'n' for byte in text) / 8 for text in completions]\n"
    )
    return {
        "data": str(tmp_path / "train.jsonl"),
        "reward": [f"{tmp_path / 'reward.py'}:score"],
        "prompts_per_step": 4,
        "max_completion_length": 8,
        "output": str(tmp_path / "run"),
    }


LAMPREY = '''\
from anypo import Plugin, hookimpl


class Lamprey(Plugin):
    """It holds on."""

    hold: float = 1.0

    @hookimpl(wrapper=True)
    def clip(self):
        return self.hold * (yield)
'''


class Sticky(Plugin):
    """Defined in no distribution."""

    sticky: float = 1.0

    @hookimpl(wrapper=True)
    def clip(self):
        return self.sticky * (yield)


@pytest.fixture
def lamprey(install):
    """Installs a plugin of a distribution of its own; gives the file that defines it."""
    files = {"lamprey_module.py": LAMPREY}
    info = install("anypo-lamprey", {"lamprey": "lamprey_module:Lamprey"}, files)
    return info.parent / "lamprey_module.py"


@pytest.fixture
def lock(lamprey):
    """Says which code made a run with `lamprey`, and with a plugin and a stage of others."""
    return describe(compose("grpo", "lamprey", Sticky, clip="cispo"))
