"""`anypo run` with nothing else learns, whatever the seed."""

import json

import pytest

from anypo import run


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_grpo_learns_the_built_in_task(seed, tmp_path):
    folder = run("grpo", seed=seed, output=str(tmp_path / "run"))
    metrics = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    before, after = metrics[0]["eval/score"], metrics[-1]["eval/score"]
    assert after >= 0.8
    assert after >= before + 0.3
