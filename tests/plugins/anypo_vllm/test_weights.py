import os
import subprocess
import sys

import pytest
from safetensors.torch import load_file

from anypo_vllm import weights
from anypo_vllm.weights import PREFIX, weights_file


@pytest.fixture
def memory(tmp_path, monkeypatch):
    """Where files are in memory."""
    monkeypatch.setattr(weights, "MEMORY", tmp_path)
    return tmp_path


def test_the_weights_are_there_as_long_as_the_block_runs(memory, model):
    with weights_file(model, "float32") as path:
        assert load_file(path).keys() >= {"model.embed_tokens.weight"}
        (folder,) = memory.iterdir()
        assert folder.name.startswith(f"{PREFIX}{os.getpid()}-")
    assert not list(memory.iterdir())


def test_what_a_killed_run_left_in_memory_is_deleted(memory, model):
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], stdout=-1)
    dead, alive = (memory / f"{PREFIX}{pid}-x" for pid in (int(ended.stdout), os.getppid()))
    for folder in (dead, alive):
        folder.mkdir()
        (folder / "weights.safetensors").write_text("")
    with weights_file(model, "float32"):
        assert not dead.exists()
        assert alive.exists()
