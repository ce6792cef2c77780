"""Observers that are plugins: `--track NAME`."""

from pathlib import Path

import pytest

from anypo import ConfigError, Observer, RewardError, resume, run
from anypo.errors import PluginError

WATCHER = '''\
from pathlib import Path

import anypo


class Watcher(anypo.Observer):
    """It watches."""

    def __init__(self, argument):
        if argument == "nobody":
            raise anypo.ConfigError("nobody is logged in")
        self.argument = argument

    def began(self, directory, config, done):
        if self.argument == "late":
            raise OSError("no route")
        self.said = directory / "watched"
        self.say(f"began {config['algorithm']} {config['steps']} {config['knobs/clip_low']} {done}")

    def started(self, steps):
        self.say(f"started {steps}")

    def reported(self, report):
        if report.step == 1 and self.argument == "weak":
            raise ValueError("full")
        lines = Path(self.said.parent, "metrics.jsonl").read_text().splitlines()
        self.say(f"reported {report.step} of {len(lines)}")

    def ended(self, error):
        self.say(f"ended {type(error).__name__}")

    def say(self, what):
        with self.said.open("a") as file:
            print(what, file=file)


def wrong(argument):
    return argument
'''


class Listener(Observer):
    """Hears notes, and how it ends."""

    def __init__(self):
        self.notes, self.errors = [], []

    def note(self, text):
        self.notes.append(text)

    def ended(self, error):
        self.errors.append(error)


@pytest.fixture(autouse=True)
def _watchers(install):
    points = {"watcher": "watching:Watcher", "wrong": "watching:wrong"}
    install("anypo-watch", {}, {"watching.py": WATCHER}, others={"anypo.observers": points})


@pytest.fixture
def train(letters):
    """Two steps of GRPO, and what the watcher said; the listener hears the rest."""

    def train(*trackers, observer=None, **options):
        run("grpo", steps=2, track=list(trackers), observer=observer, **{**letters, **options})
        return Path(letters["output"], "watched").read_text().splitlines()

    return train


def test_it_is_told_all_of_a_run_and_once_it_is_written_down(train):
    listener = Listener()
    assert train("watcher", observer=listener) == [
        "began grpo 2 0.2 0",
        "started 2",
        "reported 1 of 1",
        "reported 2 of 2",
        "ended NoneType",
    ]
    assert listener.errors == [None]


def test_it_goes_on_with_the_run(train, letters):
    train("anypo-watch:watcher:mine", save_every=1)
    folder = resume(letters["output"], steps=3)
    assert (folder / "watched").read_text().splitlines()[5:] == [
        "began grpo 3 0.2 2",
        "started 3",
        "reported 3 of 3",
        "ended NoneType",
    ]


def test_one_that_fails_is_left_out_and_the_run_goes_on(train):
    listener = Listener()
    assert train("watcher:weak", observer=listener) == ["began grpo 2 0.2 0", "started 2"]
    (note,) = [note for note in listener.notes if "watch" in note]
    assert note.startswith("observer 'watcher' of anypo-watch 1.0 is broken: ValueError: full (wa")
    assert note.endswith("; the run goes on without it")


def test_it_is_told_which_error_ends_the_run(train, letters, tmp_path):
    (tmp_path / "bad.py").write_text("def score(completions):\n    return [float('nan')] * 8")
    listener, bad = Listener(), f"{tmp_path / 'bad.py'}:score"
    with pytest.raises(RewardError):
        train("watcher", reward=[bad], observer=listener)
    assert Path(letters["output"], "watched").read_text().endswith("ended RewardError\n")
    assert isinstance(listener.errors[0], RewardError)


@pytest.mark.parametrize(
    ("trackers", "error", "message"),
    [
        (["wacher"], PluginError, "there is no observer 'wacher'; did you mean 'watcher'"),
        (["watcher:nobody"], ConfigError, "^nobody is logged in$"),
        (["wrong"], PluginError, "'wrong' of anypo-watch 1.0 makes '', which is no anypo.Observer"),
        (["watcher", "watcher:b"], ConfigError, "track names 'watcher' twice"),
    ],
)
def test_one_that_cannot_watch_is_refused_before_the_weights_load(
    train, letters, monkeypatch, trackers, error, message
):
    monkeypatch.setattr("anypo.runs.run.make_trainer", None)
    with pytest.raises(error, match=message):
        train(*trackers)
    assert not Path(letters["output"]).exists()


def test_one_that_cannot_begin_ends_the_run_before_its_first_step(train, letters):
    with pytest.raises(PluginError, match="OSError: no route"):
        train("watcher:late")
    assert not Path(letters["output"], "metrics.jsonl").exists()
