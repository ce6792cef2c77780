"""What needs a GPU: `pytest -m cuda -n 0` runs it."""

import json

import pytest
import torch

from anypo import run


@pytest.fixture(autouse=True)
def _gpu():
    if not torch.cuda.is_available():
        pytest.skip("there is no GPU")
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()


@pytest.fixture
def train(letters, model_dir):
    """Runs an algorithm on letters, and gives the metrics of its steps."""

    def train(name, **options):
        folder = run(name, **{**letters, "model": model_dir, "learning_rate": 3e-3, **options})
        return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]

    return train


@pytest.fixture
def learns(train):
    """Asserts that GRPO learns, and that whoever samples agrees with the trainer."""

    def learns(close, **options):
        metrics = train("grpo", steps=40, minibatches=2, **options)
        assert metrics[-1]["reward/mean"] > metrics[0]["reward/mean"] + 0.2
        assert max(row["mismatch/max"] for row in metrics) < close
        assert metrics[-1]["mismatch/ratio"] == pytest.approx(1, abs=close)

    return learns
