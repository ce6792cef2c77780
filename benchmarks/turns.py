"""Measure what conversations cost by their turns, for the table of docs/environments.md.

    python benchmarks/turns.py                       # with 32 conversations, fit for a CPU core
    python benchmarks/turns.py --sampler vllm

The model has random weights, and ends a reply with any of many tokens, so that replies are of all
lengths, about 32 tokens. The environment always has something to say.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from figures import Row, keep
from speed.apart import apart, machine
from speed.shapes import MODELS

TURNS = (1, 2, 4, 8)
END = 32  # every so many tokens, one ends a reply
LIMIT = 128  # tokens of a reply
LONGEST = 4096  # tokens of a conversation
PROMPTS = 4


def measure(folder: str, sampler: str, each: int) -> list[Row]:
    """The rows of one sampler, whose first conversations do not count."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from anypo import Environment, Prompt, Runtime, SamplingRequest, Tokens, Turn
    from anypo.hooks.sampler import load_sampler
    from anypo.sampling.conversations import ConversationSampler, Talking
    from anypo.sampling.environments import Environments
    from anypo.sampling.load import ChosenEnvironment

    class Again(Environment):
        """Is never content."""

        def step(self, message: dict[str, Any]) -> Turn:
            return Turn("wrong: ones and tens")

    torch.set_num_threads(1)
    model: Any = AutoModelForCausalLM.from_pretrained(folder)
    tokens = Tokens(AutoTokenizer.from_pretrained(folder))
    runtime = Runtime(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    engine = load_sampler(sampler)[1]().start(model.to(runtime.device), runtime, LONGEST)
    engine.sync(model)
    ends = tuple(range(0, model.config.vocab_size, END))
    request = SamplingRequest(end_tokens=ends, max_completion_length=LIMIT)
    environments = Environments(ChosenEnvironment("again", Again), 0)
    asked = [[{"role": "user", "content": f"{n}+{n}="}] for n in range(10, 10 + PROMPTS)]
    prompts = [Prompt(tokens.prompt(content), content) for content in asked]

    def row(turns: int) -> Row:
        talking = Talking(environments, tokens, turns, LONGEST, LONGEST)
        torch.manual_seed(0)
        before = _seconds(sampler)
        samples = ConversationSampler(engine, request, talking).sample(prompts, each)
        seconds = _seconds(sampler) - before
        written = sum(sample.length for sample in samples)
        read = sum(len(s.prompt_ids) + len(s.completion_ids) for s in samples) - written
        return {
            "machine": machine(),
            "sampler": sampler,
            "turns": turns,
            "conversations": len(samples),
            "seconds": round(seconds, 2),
            "written": written,
            "read": read,
            "date": time.strftime("%Y-%m-%d"),
        }

    try:
        return [row(turns) for turns in (1, *TURNS)][1:]
    finally:
        engine.close()


def _seconds(sampler: str) -> float:
    """Of a CPU core, if all is done in this process; else by the clock."""
    alone = sampler == "transformers" and not torch.cuda.is_available()
    return time.process_time() if alone else time.perf_counter()


def main(arguments: Sequence[str] | None = None) -> None:
    """Print what each number of turns costs, and keep it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sampler", default="transformers")
    parser.add_argument("--shape", choices=MODELS, default="small")
    parser.add_argument("--conversations", type=int, default=8, help="with each of four prompts")
    options = parser.parse_args(arguments)
    with TemporaryDirectory() as folder:
        apart("speed.making:make_model", Path(folder), {**MODELS[options.shape]})
        for row in apart("turns:measure", folder, options.sampler, options.conversations):
            print(row, flush=True)
            keep("turns", {**row, "shape": options.shape}, "machine", "sampler", "shape", "turns")


if __name__ == "__main__":
    main()
