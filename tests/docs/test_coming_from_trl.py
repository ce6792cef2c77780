"""docs/coming-from-trl.md names options and algorithms that exist, here and there."""

import inspect
import re
import shlex
from importlib import import_module
from pathlib import Path

import generate
import pytest

from anypo import compose
from anypo.hooks import registry
from anypo.hooks.sampler import load_sampler
from anypo.runs.options import RunConfig

PAGE = Path(generate.__file__).with_name("coming-from-trl.md").read_text(encoding="utf-8")
CODES = re.findall(r"`([^`\n]+)`", PAGE)
RUNS = [code for code in CODES if code.startswith("anypo run ")]
TABLES = [line.split("|")[1:3] for line in PAGE.splitlines() if line.startswith("| `")]
OF_THE_COMMAND = {"hook"}


def options():
    """Every option that a run may have, as the command line writes it."""
    entry, vllm = load_sampler("vllm")
    names = {*OF_THE_COMMAND, *RunConfig.model_fields}
    names |= {entry.option_prefix + name for name in vllm.model_fields}
    for algorithm in registry.entries():
        names |= algorithm.load().model_fields.keys()
    return {name.replace("_", "-") for name in names}


def test_its_options_exist():
    named = set(re.findall(r"(?<![\w-])--([a-z][\w-]*)", PAGE))
    assert len(named) > 40
    assert {name.removeprefix("no-") for name in named} <= {*options(), "resume"}


@pytest.mark.parametrize("command", sorted(set(RUNS)))
def test_its_algorithms_exist(command):
    name, *rest = shlex.split(command)[2:]
    hooks = dict(rest[i + 1].split("=") for i, word in enumerate(rest) if word == "--hook")
    assert compose(name, hooks=hooks).name


def test_what_is_not_here_is_in_no_table():
    absent = PAGE.partition("**Not here**")[2].partition("\n\n")[0]
    named = {name for code in re.findall(r"`([^`]+)`", absent) for name in re.findall(r"\w+", code)}
    here = {code for there, _ in TABLES for code in re.findall(r"\w+", there)}
    assert len(named) > 3
    assert not (named - {"tools"}) & here


@pytest.mark.trl
@pytest.mark.filterwarnings("default")
def test_what_it_says_of_trl_exists():
    pytest.importorskip("trl")
    known = set()
    for name in ("SFT", "Reward", "DPO", "KTO", "ORPO", "OnlineDPO", "GRPO", "RLOO"):
        home = {"ORPO": "orpo", "OnlineDPO": "online_dpo"}.get(name)
        module = import_module(f"trl.experimental.{home}" if home else "trl")
        for kind in ("Config", "Trainer"):
            made = getattr(module, f"{name}{kind}")
            known |= {made.__name__, *inspect.signature(made).parameters}
    codes = [code for there, _ in TABLES for code in re.findall(r"`([^`]+)`", there)]
    named = {name for code in codes for name in re.findall(r"^\w+|\w+(?==)", code)}
    assert len(named) > 60
    assert named - known == {"margin", "train"}  # a column, and what trains
