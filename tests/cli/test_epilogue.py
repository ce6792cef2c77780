from shlex import split

import pytest

from anypo.models.load import load_config
from anypo.runs.before_after import HeldOut
from anypo_cli.epilogue import changes, next_steps


@pytest.fixture
def ended(tmp_path, model_dir):
    """A directory that a run has left, whose name a shell would take apart."""
    folder = tmp_path / "my runs"
    folder.mkdir()
    (folder / "model").symlink_to(model_dir)
    (folder / "config.toml").write_text(
        'algorithm = "grpo"\nsteps = 5\neval_data = ["held out.jsonl"]\nreward = ["exact"]\n'
    )
    return folder


def commands(folder):
    told = [line.partition(": ")[2].strip() for line in next_steps(folder)]
    return {split(command)[1]: split(command)[2:] for command in told if "anypo" in command}


def test_commands_can_be_pasted(ended):
    told = commands(ended)
    assert told["chat"] == told["serve"] == [str(ended)]
    assert told["eval"] == [str(ended), "--data", "held out.jsonl", "--reward", "exact"]
    assert told["run"] == ["--resume", str(ended), "--steps", "10"]


def test_a_model_that_scores_is_no_chat_partner(ended, model_dir, tmp_path):
    config = load_config(model_dir)
    config.num_labels, config.architectures = 1, ["LlamaForSequenceClassification"]
    config.save_pretrained(tmp_path / "judge")
    (ended / "model").unlink()
    (ended / "model").symlink_to(tmp_path / "judge")
    told = commands(ended)
    assert not {"chat", "serve", "eval"} & told.keys()


def test_a_run_without_a_model_leaves_nothing_to_do(tmp_path):
    assert list(next_steps(tmp_path)) == []


def test_long_texts_take_a_line_each():
    row = {"prompt": [{"role": "user", "content": "why\n" * 99}], "group": 0}
    before, after = ({**row, "completion": "x" * 500, "reward": r} for r in (0.0, 1.0))
    told = list(changes(HeldOut([before], [after])))
    assert [line.split(":")[0] for line in told] == ["held out", "  before 0", "  after 1"]
    assert all(len(line) < 100 and "\n" not in line for line in told)
