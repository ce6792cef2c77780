"""Compare how fast the samplers are with a larger model, for the table of docs/benchmarks.md.

    python benchmarks/rollouts.py                    # on a GPU, the shape of Qwen2.5-0.5B
    python benchmarks/rollouts.py --shape small --prompts 8 --tokens 64      # fit for a CPU

The model has random weights: only its shape matters. Every run has a process of its own, so that
its memory can be told.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch
from figures import Row, keep
from transformers import Qwen2Config, Qwen2ForCausalLM
from transformers.utils.logging import disable_progress_bar

from anypo import run
from anypo_tasks.addition.model import build_tokenizer

SAMPLERS = ("transformers", "vllm")
PHASES = ("rollout", "annotate", "update", "sync")
SHAPES = {
    "0.5b": {  # Qwen2.5-0.5B
        "vocab_size": 151936,
        "hidden_size": 896,
        "intermediate_size": 4864,
        "num_hidden_layers": 24,
        "num_attention_heads": 14,
        "num_key_value_heads": 2,
        "max_position_embeddings": 32768,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
        "tie_word_embeddings": True,
    },
    "small": {
        "vocab_size": 32000,
        "hidden_size": 512,
        "intermediate_size": 2048,
        "num_hidden_layers": 6,
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
        "tie_word_embeddings": True,
    },
}


def make_model(folder: Path, shape: str) -> int:
    """The parameters of a model with random weights, saved with a tokenizer and some prompts."""
    torch.manual_seed(0)
    tokenizer = build_tokenizer()
    ends = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    model = Qwen2ForCausalLM(Qwen2Config(**SHAPES[shape], **ends))
    model.save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    prompts = [{"prompt": f"{number}: " + "once upon a time " * 8} for number in range(64)]
    (folder / "prompts.jsonl").write_text("".join(json.dumps(p) + "\n" for p in prompts))
    return int(model.num_parameters())


def metrics_of(algorithm: str, options: dict[str, Any]) -> list[dict[str, float]]:
    """The metrics of a run, and in the last the memory that it took."""
    disable_progress_bar()
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    with tempfile.TemporaryDirectory() as folder:
        output = run(algorithm, output=str(Path(folder, "run")), **options)
        lines = (output / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    metrics = [json.loads(line) for line in lines]
    metrics[-1]["memory"] = peak_memory()
    return metrics


def peak_memory() -> float:
    """GiB that this process took at most: of the GPU if there is one, else of the machine."""
    if torch.cuda.is_available():  # vLLM and the trainer share torch's allocator in one process
        return torch.cuda.max_memory_reserved() / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def apart(algorithm: str, **options: Any) -> list[dict[str, float]]:
    """`metrics_of` in a process of its own."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(metrics_of, algorithm, options).result()


def speed(folder: Path, sampler: str, options: argparse.Namespace) -> Row:
    """How fast the model samples and trains: the last of 4 steps."""
    *_, last = apart(
        "grpo",
        model=str(folder / "model"),
        data=str(folder / "prompts.jsonl"),
        reward=["length"],
        sampler=sampler,
        steps=4,
        prompts_per_step=options.prompts,
        max_completion_length=options.tokens,
        max_prompt_length=512,
        learning_rate=1e-6,
    )
    seconds = {phase: round(last[f"seconds/{phase}"], 2) for phase in PHASES}
    return {
        "machine": torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU",
        "shape": options.shape,
        "sampler": sampler,
        "tokens/s": round(last["length/mean"] * options.prompts * 8 / last["seconds/rollout"]),
        "seconds": seconds,
        "GiB": round(last["memory"], 1),
        "date": time.strftime("%Y-%m-%d"),
    }


def main() -> None:
    """Print how fast each sampler is, and keep it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--shape", choices=SHAPES, default="0.5b")
    parser.add_argument("--prompts", type=int, default=32, help="per step, 8 completions each")
    parser.add_argument("--tokens", type=int, default=256, help="per completion")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(f"{make_model(Path(folder), options.shape) / 1e6:.0f} million parameters")
        for sampler in SAMPLERS:
            row = speed(Path(folder), sampler, options)
            print(row, flush=True)
            keep("rollouts", row, "machine", "shape", "sampler")


if __name__ == "__main__":
    main()
