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


def loading(algorithm: str) -> dict[str, Any]:
    """What a random model takes, in GiB, and what each process takes at most while it is loaded."""
    with TemporaryDirectory() as folder, ThreadPoolExecutor(PROCESSES) as pool:
        parameters = make_model(Path(folder), MODEL)
        store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
        given = [(rank, store.port, folder, algorithm) for rank in range(PROCESSES)]
        peaks = list(pool.map(lambda each: apart("speed.loading:loaded", *each), given))
    gib = {"model": parameters * 4 / 2**30, "first": peaks[0], "others": max(peaks[1:])}
    return {name: round(value, 2) for name, value in gib.items()}


def loaded(rank: int, port: int, folder: str, algorithm: str) -> float:
    """GiB that this process takes at most, beside what it takes before it loads the policy."""
    os.environ |= {"RANK": f"{rank}", "LOCAL_RANK": f"{rank}", "WORLD_SIZE": f"{PROCESSES}"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": f"{port}"}
    os.environ["TORCHELASTIC_USE_AGENT_STORE"] = "True"
    from anypo import compose
    from anypo.runs.options import RunConfig
    from anypo.runs.policy import load_policy
    from anypo.training.distributed import Distributed
    from anypo.training.learner import Learner

    config = RunConfig(model=folder, sharding="fsdp", device="cpu")
    distributed, composed = Distributed(config), compose(algorithm)
    before = _resident("VmRSS")
    samples = composed.inputs.sampler
    model, replica = load_policy(composed, folder, 64, config, distributed, all_sample=samples)
    Learner(composed, model, config, distributed, 64, replica)
    return _resident("VmHWM") - before


def _resident(field: str) -> float:
    """GiB, now or at most; what the system calls the largest is that of who started the process."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.partition(f"{field}:")[2].split()[0]) / 2**20
