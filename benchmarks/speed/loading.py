"""The memory that loading a policy takes, in each of two processes that share its weights."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch.distributed import TCPStore  # type: ignore[attr-defined]

from speed.apart import apart
from speed.making import make_model

MODEL = {
    "vocab_size": 32000,
    "hidden_size": 1024,
    "intermediate_size": 3584,
    "num_hidden_layers": 12,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "tie_word_embeddings": True,
}
PROCESSES = 2


def loading(*, all_sample: bool) -> dict[str, Any]:
    """GiB that the processes take at most while a model of random weights is loaded and shared."""
    with TemporaryDirectory() as folder, ThreadPoolExecutor(PROCESSES) as pool:
        parameters = make_model(Path(folder), MODEL)
        store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
        given = [(rank, store.port, folder, all_sample) for rank in range(PROCESSES)]
        first, *others = pool.map(lambda each: apart("speed.loading:loaded", *each), given)
    gib = {"model": parameters * 4 / 2**30, "first": first, "others": max(others)}
    return {f"{name}, GiB": round(value, 2) for name, value in gib.items()}


def loaded(rank: int, port: int, folder: str, all_sample: bool) -> float:
    """GiB that this process takes at most, beside what it takes before it loads the policy."""
    os.environ |= {"RANK": f"{rank}", "LOCAL_RANK": f"{rank}", "WORLD_SIZE": f"{PROCESSES}"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": f"{port}"}
    os.environ["TORCHELASTIC_USE_AGENT_STORE"] = "True"
    from anypo import compose
    from anypo.models.forward import TokenScorer
    from anypo.runs.options import RunConfig
    from anypo.runs.policy import load_policy
    from anypo.training.distributed import Distributed
    from anypo.training.handout import Handout

    config = RunConfig(model=folder, sharding="fsdp", device="cpu")
    distributed = Distributed(config)
    before = _resident("VmRSS")
    given = compose("grpo"), folder, 64, config, distributed
    model, replica = load_policy(*given, all_sample=all_sample)
    assert replica is not None
    origins: dict[Any, Any] = {model: replica.model}
    handout = Handout(distributed.world, distributed.runtime.device, origins)
    distributed.shard(TokenScorer(model), handout)
    return _resident("VmHWM") - before


def _resident(field: str) -> float:
    """GiB, now or at most; what the system calls the largest is that of who started the process."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.partition(f"{field}:")[2].split()[0]) / 2**20
