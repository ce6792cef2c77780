"""The task of a run, be it built in or of a third party."""

import json
import os
import resource
import shutil

import pytest
from transformers import AutoConfig, AutoModelForCausalLM

from anypo import run
from anypo.errors import ConfigError, PluginError, SaveError
from anypo.runs.observer import Observer
from anypo.runs.options import make_config
from anypo.runs.recipe import read_recipe
from anypo.runs.task import MARK, choose_task, ensure_task
from anypo_tasks.addition.task import Addition

QUICK = {"prompts_per_step": 2, "max_completion_length": 4, "device": "cpu"}
LETTERS = '''
import json
import shutil


class Letters:
    """Say the alphabet."""

    reward = ["length=0.5"]
    options = {"steps": 1, "learning_rate": 0.25}
    knobs = {"group_size": 3}

    def fingerprint(self):
        return "one"

    def make(self, folder, progress):
        progress(1, 2)
        shutil.copytree(MODEL, folder / "model")
        for name in ("train", "held_out"):
            (folder / f"{name}.jsonl").write_text(json.dumps({"prompt": name}) + "\\n")
        progress(2, 2)
'''


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "anypo"


@pytest.fixture
def letters(install, model_dir):
    """A task of a third party is installed."""
    source = LETTERS.replace("MODEL", repr(model_dir))
    others = {"anypo.tasks": {"letters": "letters_module:Letters"}}
    install("anypo-letters", {}, {"letters_module.py": source}, others=others)


def chosen(**options):
    return choose_task(make_config(options))


def made(**options):
    return ensure_task(chosen(**options), lambda *_: None)


@pytest.fixture
def copied(letters, model_dir, tmp_path):
    """A copy of a model of the task, as a run of it would leave."""
    shutil.copytree(made(task="letters") / "model", tmp_path / "trained")
    return str(tmp_path / "trained")


# -- which one -----------------------------------------------------------------------------------


def test_without_model_or_data_it_is_the_built_in_one():
    task = chosen()
    assert (task.name, task.owns_model) == ("addition", True)
    assert isinstance(task.plugin, Addition)


@pytest.mark.parametrize("name", ["letters", "anypo-letters:letters", "anypo_letters:Letters"])
def test_another_one_is_found_by_its_name(letters, name):
    task = chosen(task=name)
    assert (task.name, task.owns_model) == ("letters", True)
    assert type(task.plugin).__name__ == "Letters"


def test_a_model_and_data_of_ones_own_leave_nothing_to_a_task(model_dir):
    assert chosen(model=model_dir, data="mine.jsonl") is None


def test_another_model_is_trained_on_the_rows_of_a_task(letters, model_dir):
    task = chosen(task="letters", model=model_dir)
    assert (task.name, task.owns_model) == ("letters", False)


def test_the_model_of_a_task_is_trained_on_other_data(letters):
    task = chosen(task="letters", data="mine.jsonl")
    assert (task.name, task.owns_model) == ("letters", True)


@pytest.mark.parametrize("data", [{}, {"data": "mine.jsonl"}])
def test_what_was_trained_from_the_model_of_a_task_goes_on_with_it(copied, data):
    task = chosen(model=copied, **data)
    assert (task.name, task.owns_model) == ("letters", True)


def test_a_model_of_one_task_can_be_trained_on_the_rows_of_another(copied):
    task = chosen(model=copied, task="addition")
    assert (task.name, task.owns_model) == ("addition", False)


def test_a_model_of_a_task_that_is_gone_is_a_model_like_any_other(copied, monkeypatch):
    monkeypatch.setenv("ANYPO_DISABLE_PLUGINS", "letters")
    assert chosen(model=copied, data="mine.jsonl") is None
    assert chosen(model=copied).name == "addition"


def test_a_task_whose_name_two_offer_is_known_by_its_full_one(letters, install, model_dir):
    source = LETTERS.replace("MODEL", repr(model_dir))
    others = {"anypo.tasks": {"letters": "runes:Letters"}}
    install("anypo-runes", {}, {"runes.py": source}, others=others)
    with pytest.raises(PluginError, match=r"task 'letters' is offered by anypo-letters 1\.0 and"):
        chosen(task="letters")
    one = made(task="anypo-runes:letters")
    assert one.name == "anypo-runes.letters-one"
    assert chosen(model=str(one / "model")).name == "anypo-runes:letters"


def test_what_is_no_whole_task_is_refused(install):
    source = "class Half:\n    reward, options = [], {}\n"
    install("anypo-half", {}, {"half.py": source}, others={"anypo.tasks": {"half": "half:Half"}})
    with pytest.raises(PluginError, match=r"^task 'half' of anypo-half 1.0 .*lacks 'knobs'$"):
        chosen(task="half")


def test_a_task_that_cannot_be_made_is_refused(install):
    source = "class Shy:\n    def __init__(self):\n        raise ValueError('not today')\n"
    install("anypo-shy", {}, {"shy.py": source}, others={"anypo.tasks": {"shy": "shy:Shy"}})
    with pytest.raises(
        PluginError, match=r"^task 'shy' of anypo-shy .* is broken: .*not today .shy"
    ):
        chosen(task="shy")


def test_there_is_no_such_task():
    with pytest.raises(PluginError, match="there is no task 'adition'; did you mean 'addition'"):
        chosen(task="adition")


# -- making it -----------------------------------------------------------------------------------


def test_it_is_made_once_and_marked(letters, cache, model_dir):
    calls = []
    task = chosen(task="letters")
    folder = ensure_task(task, lambda *call: calls.append(call))
    assert calls == [(1, 2), (2, 2)]
    assert ensure_task(task, lambda *call: calls.append(call)) == folder
    assert len(calls) == 2
    assert [path.name for path in cache.iterdir()] == ["letters-one"]
    assert getattr(AutoConfig.from_pretrained(folder / "model"), MARK) == "letters"
    assert not hasattr(AutoConfig.from_pretrained(model_dir), MARK)
    assert AutoModelForCausalLM.from_pretrained(folder / "model").num_parameters()


def test_what_was_interrupted_is_made_again(letters, cache):
    def interrupt(done, total):
        raise KeyboardInterrupt

    task = chosen(task="letters")
    with pytest.raises(KeyboardInterrupt):
        ensure_task(task, interrupt)
    assert list(cache.iterdir()) == []
    assert ensure_task(task, lambda *_: None).exists()


def test_another_fingerprint_makes_it_anew(letters, cache, monkeypatch):
    task = chosen(task="letters")
    ensure_task(task, lambda *_: None)
    monkeypatch.setattr(type(task.plugin), "fingerprint", lambda _: "two")
    ensure_task(task, lambda *_: None)
    assert {path.name for path in cache.iterdir()} == {"letters-one", "letters-two"}


def test_that_another_run_made_it_meanwhile_is_no_error(letters, cache):
    task = chosen(task="letters")

    def meanwhile(done, total):
        if done == total:
            assert ensure_task(task, lambda *_: None).exists()

    assert (ensure_task(task, meanwhile) / "train.jsonl").exists()
    assert [path.name for path in cache.iterdir()] == ["letters-one"]


def lose(path):
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def replace(path):
    lose(path)
    path.write_text("")


DAMAGES = {
    "a cut model": lambda folder: os.truncate(folder / "model/model.safetensors", 1000),
    "a model gone": lambda folder: lose(folder / "model"),
    "no tokenizer": lambda folder: lose(folder / "model/tokenizer.json"),
    "an odd configuration": lambda folder: (folder / "model/config.json").write_text("{"),
    "rows cut": lambda folder: os.truncate(folder / "train.jsonl", 5),
    "rows gone": lambda folder: lose(folder / "held_out.jsonl"),
    "nothing in it": lambda folder: [lose(path) for path in folder.iterdir()],
    "a file in its place": replace,
    "a link to nowhere": lambda folder: (lose(folder), folder.symlink_to("nowhere")),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_what_is_damaged_is_made_anew(letters, cache, damage):
    task, calls = chosen(task="letters"), []
    folder = ensure_task(task, lambda *_: None)
    before = {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    damage(folder)
    assert ensure_task(task, lambda *call: calls.append(call)) == folder
    assert calls == [(1, 2), (2, 2)]
    assert {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert [path.name for path in cache.iterdir()] == ["letters-one"]


# -- in a run ------------------------------------------------------------------------------------


class Watcher(Observer):
    """Remembers how the model was made."""

    def __init__(self):
        self.made = []

    def warming_up(self, done, total):
        """See `Observer`."""
        self.made.append((done, total))


def test_a_run_of_a_third_partys_task(letters, tmp_path):
    observer = Watcher()
    folder = run("grpo", task="letters", observer=observer, output=str(tmp_path / "run"), **QUICK)
    recipe = read_recipe(str(folder / "config.toml"))
    assert recipe.options["task"] == "letters"
    assert (recipe.options["steps"], recipe.options["learning_rate"]) == (1, 0.25)
    assert recipe.options["reward"] == ["length=0.5"]
    assert recipe.knobs["group_size"] == 3
    assert observer.made == [(1, 2), (2, 2)]
    metrics = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in metrics] == [0, 1]
    again = run("grpo", **recipe.options, output=str(tmp_path / "again"))
    assert (again / "config.toml").read_text() == (folder / "config.toml").read_text()


def test_the_model_that_it_leaves_goes_on_with_the_task(letters, tmp_path):
    before = run("grpo", task="letters", output=str(tmp_path / "run"), **QUICK)
    assert getattr(AutoConfig.from_pretrained(before / "model"), MARK) == "letters"
    after = run("grpo", model=str(before), output=str(tmp_path / "after"), **QUICK)
    assert read_recipe(str(after / "config.toml")).options["learning_rate"] == 0.25


def test_a_task_beside_a_model_and_data_is_refused(letters, model_dir, tmp_path):
    own = {"model": model_dir, "data": "mine.jsonl", "reward": ["length"]}
    with pytest.raises(ConfigError, match=r"^task is set, but model and data are given"):
        run("grpo", task="letters", output=str(tmp_path / "run"), **own)


def test_a_full_disk_is_not_the_tasks_fault(letters, cache, model_dir):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    weights = os.path.getsize(f"{model_dir}/model.safetensors")
    resource.setrlimit(resource.RLIMIT_FSIZE, (weights - 1, limits[1]))
    try:
        with pytest.raises(SaveError, match=rf"^'{cache}/letters-one' cannot be written: .*too la"):
            ensure_task(chosen(task="letters"), lambda *_: None)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("raise FileNotFoundError('mine')", "FileNotFoundError: mine"),
        ("raise KeyError('x')", "KeyError: 'x'"),
        ("pass", "it made no 'model/config.json'"),
    ],
)
def test_a_task_that_fails_to_make_its_files_is_one_line_and_leaves_nothing(
    install, cache, body, reason
):
    source = f"""
class Odd:
    reward, options, knobs = [], {{}}, {{}}

    def fingerprint(self):
        return "1"

    def make(self, folder, progress):
        {body}
"""
    install("anypo-odd", {}, {"odd.py": source}, others={"anypo.tasks": {"odd": "odd:Odd"}})
    with pytest.raises(PluginError, match=f"^task 'odd' of anypo-odd 1.0 is broken: {reason}"):
        ensure_task(chosen(task="odd"), lambda *_: None)
    assert list(cache.glob("*")) == []
