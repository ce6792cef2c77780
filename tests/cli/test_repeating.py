"""A file that a run is repeated from: whose code runs, and what of it another algorithm takes."""

import enum
import sys
import tomllib
from pathlib import Path
from typing import ClassVar

import pytest

from anypo import Plugin, compose, hookimpl, run
from anypo.errors import ConfigError
from anypo_cli.app import main


@pytest.fixture
def repeat(letters, model_dir, tmp_path, capsys):
    """Runs what a file says, changed by further arguments; gives the status and what is shown."""
    usual = {**letters, "model": model_dir, "steps": 1, "device": "cpu", "prompts_per_step": 2}
    del usual["output"]

    def repeat(*arguments, algorithm="rloo", **options):
        lines = [
            f"{k} = {str(v).lower() if isinstance(v, bool) else repr(v)}"
            for k, v in {"algorithm": algorithm, **usual, **options}.items()
            if v is not None
        ]
        (tmp_path / "config.toml").write_text("\n".join(lines))
        output = ["--output", str(tmp_path / "again")]
        status = main(["run", *arguments, "--config", str(tmp_path / "config.toml"), *output])
        shown = capsys.readouterr()
        return status, shown.err + " ".join(shown.out.split())

    return repeat


def test_code_that_a_file_names_is_not_run_unasked(repeat, letters, tmp_path):
    ran = tmp_path / "ran"
    reward = Path(letters["reward"][0].rpartition(":")[0])
    reward.write_text(f"import pathlib\npathlib.Path({str(ran)!r}).touch()\n{reward.read_text()}")
    status, says = repeat()
    assert status == 1
    assert f"config.toml' names code to run (reward = '{reward}:score'): read it" in says
    assert "add --trust-config" in says
    assert not ran.exists()
    assert repeat("--trust-config")[0] == 0
    assert ran.exists()


def test_nor_is_that_of_a_model(repeat):
    status, says = repeat(reward=["length"], trust_remote_code=True)
    assert status == 1
    assert "names code to run (trust_remote_code)" in says


def test_nor_is_that_of_an_environment(repeat):
    status, says = repeat(reward=["length"], environment="other.py:Room")
    assert status == 1
    assert "names code to run (environment = 'other.py:Room')" in says


@pytest.mark.parametrize(
    ("told", "given"), [({}, True), ({"reward": ["length", "regex=0.5:a:b"]}, False)]
)
def test_what_the_command_line_names_or_is_installed_needs_no_trust(repeat, letters, told, given):
    assert repeat(*["--reward", letters["reward"][0]] * given, **told)[0] == 0


def test_what_another_algorithm_has_no_use_for_is_left_out_and_said(repeat, tmp_path):
    (tmp_path / "pairs.jsonl").write_text('{"prompt": "a", "chosen": "b", "rejected": "c"}\n' * 4)
    data = ["--data", str(tmp_path / "pairs.jsonl")]
    status, says = repeat("dpo", *data, algorithm="grpo", reward=["length"], max_rounds=7)
    assert status == 0, says
    file = tmp_path / "config.toml"
    assert f"note: max_rounds = 7 of '{file}' is left out: dpo has no sampling" in says
    assert f"note: reward = ['length'] of '{file}' is left out: dpo learns without one" in says
    assert "max_rounds" not in (tmp_path / "again" / "config.toml").read_text()


def test_what_is_set_for_the_algorithm_itself_is_refused_as_ever(repeat):
    status, says = repeat(reward=["length"], ref_sync_alpha=0.5)
    assert (status, "ref_sync_alpha is set, but" in says) == (1, True)


class Colour(enum.Enum):
    RED = "red"


class Odd(Plugin):
    """Its knobs have defaults of all types."""

    colour: Colour = Colour.RED
    place: Path = Path("/somewhere")
    names: frozenset[str] = frozenset({"one"})

    @hookimpl(wrapper=True)
    def weight(self):
        return (yield) * len([self.colour, self.place, self.names])


class Unwritable(Plugin):
    """Its knob cannot be written down."""

    model_config: ClassVar = {"arbitrary_types_allowed": True}
    thing: object = object()

    @hookimpl(wrapper=True)
    def weight(self):
        return (yield) * bool(self.thing)


def test_knobs_of_any_type_are_written_down_and_read_again(letters, model_dir):
    options = {**letters, "model": model_dir, "steps": 1, "device": "cpu"}
    folder = run(compose("rloo", Odd), **options)
    knobs = tomllib.loads((folder / "config.toml").read_text())["knobs"]
    assert knobs == {**knobs, "colour": "red", "place": "/somewhere", "names": ["one"]}
    again = compose("rloo", Odd, knobs={name: knobs[name] for name in Odd.model_fields})
    assert again.knobs["place"].value == Path("/somewhere")


def test_a_knob_that_cannot_be_written_down_is_refused_before_anything_is_loaded(
    letters, model_dir, monkeypatch
):
    monkeypatch.setattr("anypo.runs.policy.load_model", None)
    options = {**letters, "model": model_dir, "steps": 1, "device": "cpu"}
    with pytest.raises(ConfigError, match=r"^'thing' is <object .*config\.toml cannot hold"):
        run(compose("rloo", Unwritable), **options)


ALIAS = """\
from typing import ClassVar

from anypo import Plugin


class Shy(Plugin):
    extends: ClassVar = ("grpo",)
    group_size: int = {size}
"""


def test_what_an_alias_stood_for_is_repeated_when_it_stands_for_something_else(
    install, letters, model_dir, tmp_path, monkeypatch, capsys
):
    usual = {**letters, "model": model_dir, "steps": 1, "device": "cpu", "prompts_per_step": 2}
    for size in (2, 12):
        monkeypatch.delitem(sys.modules, "shy_module", raising=False)
        install("anypo-shy", {"shy": "shy_module:Shy"}, {"shy_module.py": ALIAS.format(size=size)})
        if size == 2:
            folder = run("shy", **usual)
    again = ["--trust-config", "--output", str(tmp_path / "again")]
    assert main(["run", "--config", str(folder / "config.toml"), *again]) == 0
    says = " ".join(capsys.readouterr().out.split())
    assert "'shy' of anypo-shy 1.0: the file that defines it has changed" in says
    written = [tomllib.loads((f / "config.toml").read_text()) for f in (folder, tmp_path / "again")]
    assert [config["knobs"]["group_size"] for config in written] == [2, 2]
