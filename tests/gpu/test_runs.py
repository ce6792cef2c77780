"""Whole runs on a GPU."""

import pytest

pytestmark = pytest.mark.cuda

IN = {"float32": 1e-3, "bfloat16": 0.4}  # nats that sampler and trainer may be apart


@pytest.mark.parametrize("dtype", IN)
def test_it_learns_and_its_sampler_agrees_with_the_trainer(learns, dtype):
    learns(IN[dtype], dtype=dtype)


def test_its_first_loss_is_that_of_the_cpu(train, tmp_path):
    rows = [f'{{"prompt": "{a}", "completion": "{a * 3}"}}\n' for a in "abcd"]
    (tmp_path / "rows.jsonl").write_text("".join(rows))
    given = {"data": str(tmp_path / "rows.jsonl"), "reward": [], "steps": 1, "dtype": "float32"}
    here, there = (
        train("sft", device=device, output=str(tmp_path / device), **given)[0]["loss"]
        for device in ("cuda", "cpu")
    )
    assert here == pytest.approx(there, rel=1e-3)


def test_a_critic_trains_there_too(train):
    assert train("ppo", steps=2)[-1]["grad_norm"] > 0


@pytest.mark.timeout(600)
@pytest.mark.parametrize("way", ["graphs", "eager", "sleep"])
def test_vllm_samples_with_graphs_without_and_asleep_in_between(learns, way):
    pytest.importorskip("vllm")
    options = {} if way == "graphs" else {f"vllm_{way}": True}
    learns(IN["bfloat16"], sampler="vllm", vllm_max_length=64, **options)
