"""Try every causal language model of the installed transformers, as a tiny random model.

    python benchmarks/architectures.py                 # all of them, in a quarter of an hour
    python benchmarks/architectures.py qwen3_next lfm2

Writes docs/figures/architectures.json, from which docs/models.md is made. Each has a process and a
time limit of its own, so that none can end the others.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import tempfile
import warnings
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from figures import FOLDER
from tiny_models import KINDS, NOT_TRIED, WINDOW, TooLargeError, save, tiny_config, tiny_model
from transformers import __version__
from transformers.utils import logging

from anypo import Sample, collate, compose, score_tokens
from anypo.composition.algorithm import Algorithm
from anypo.errors import AnypoError, one_line
from anypo.models.load import load_model
from anypo.models.rope import rotate_as_at
from anypo.runs.assembly import make_trainer
from anypo.runs.directory import RunDirectory
from anypo.runs.observer import Observer
from anypo.runs.options import make_config
from anypo.runs.setup import Setup, set_up
from anypo.training.distributed import Distributed
from anypo.training.trainer import Trainer
from anypo_tasks.addition.model import build_tokenizer

CLOSE = 1e-4  # nats, in float32
SECONDS = 180  # for one of them
LENGTHS = (1, 3, WINDOW - 4, 3 * WINDOW)  # tokens of the prompts
LONGEST = LENGTHS[-1] + 8
COMPLETION = 12  # tokens
ONLINE = {"minibatches": 2}
REWARD = "def score(completions, **_): return [sum(map(ord, text)) for text in completions]"
RUNS: dict[str, tuple[Algorithm, dict[str, Any]]] = {
    "GRPO": (compose("grpo", knobs={"group_size": 2}), ONLINE),
    "DPO": (compose("dpo"), {}),
    "LoRA": (compose("grpo", knobs={"group_size": 2}), {**ONLINE, "lora_rank": 4}),
}


class WrongError(Exception):
    """What should be the same is not, or a run fails in the middle."""


def examine(kind: str, folder: Path) -> None:
    """Sample, train by GRPO, by DPO and by adapters, save and load again.

    Raises:
        AnypoError: A run refuses the model.
        WrongError: Two numbers differ that are one, or a run fails.
    """
    tokenizer = build_tokenizer()
    model = tiny_model(tiny_config(kind, tokenizer))
    model(input_ids=torch.arange(LENGTHS[-1]).unsqueeze(0))
    home = save(model, tokenizer, folder / "tiny")
    prompts = [("abcdefgh" * LENGTHS[-1])[:length] for length in LENGTHS]
    rows = [{"prompt": p, "chosen": f"yes, {p[:9]}", "rejected": "no"} for p in prompts]
    data = folder / "data.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "reward.py").write_text(REWARD)
    for name, (algorithm, options) in RUNS.items():
        given = {"model": home, "data": str(data), "output": str(folder / name), **options}
        if algorithm.inputs.scorer:
            given["reward"] = [f"{folder / 'reward.py'}:score"]
        try:
            examine_run(algorithm, given)
        except (AnypoError, WrongError) as error:
            raise type(error)(f"{name}: {error}") from error
        except Exception as error:
            raise WrongError(f"{name} fails: {type(error).__name__}: {one_line(error)}") from error


def examine_run(algorithm: Algorithm, options: dict[str, Any]) -> None:
    """A step of a run; whether sampler, trainer, the model itself and the saved one agree."""
    trainer, directory, setup = begin(algorithm, options)
    model = trainer.learner.model
    before = [weight.detach().clone() for weight in model.parameters()]
    report = trainer.step(1)
    norm = report.metrics["grad_norm"]
    if not 0 < norm < float("inf"):
        raise WrongError(f"the gradient's norm is {norm}")
    if all(map(torch.equal, before, model.parameters())):
        raise WrongError("the step changed no weight")
    samples = compare(trainer) if algorithm.inputs.sampler else list(report.samples)
    again = load_model(str(directory.save(model, setup.tokenizer, 1)))
    rotate_as_at(again, setup.max_length)
    gap = difference(said(model, samples), said(again, samples))
    if not gap < CLOSE:
        raise WrongError(f"the saved model differs from the trained one by {gap:.1e} nats")


def begin(algorithm: Algorithm, options: dict[str, Any]) -> tuple[Trainer, RunDirectory, Setup]:
    """What a run has before its first step."""
    config = make_config(
        {
            "steps": 1,
            "prompts_per_step": len(LENGTHS),
            "max_prompt_length": LONGEST,
            "max_completion_length": COMPLETION,
            "learning_rate": 1e-3,
            "warmup_steps": 0,
            "device": "cpu",
            **options,
        }
    )
    distributed = Distributed(config)
    setup = set_up(algorithm, config, None, distributed.runtime, Observer())
    trainer = make_trainer(algorithm, setup, distributed)
    return trainer, RunDirectory(config.output, algorithm.named), setup


@torch.no_grad()
def compare(trainer: Trainer) -> list[Sample]:
    """Completions of all prompts, of which everybody says the same."""
    torch.manual_seed(0)
    prompts = trainer.prompts.draw(len(LENGTHS))
    model = trainer.learner.model
    samples = trainer.sampler.sample(prompts, 2)
    trained = said(model, samples)
    for who, other in (
        ("the sampler", [torch.tensor(sample.logprobs) for sample in samples]),
        ("the model itself", [alone(model, sample) for sample in samples]),
    ):
        gap = difference(trained, other)
        if not gap < CLOSE:
            raise WrongError(f"{who} and the trainer differ by {gap:.1e} nats")
    return samples


@torch.no_grad()
def said(model: Any, samples: list[Sample]) -> list[torch.Tensor]:
    """The trainer's log-probs of every completion, all in one batch."""
    logprobs = score_tokens(model, collate(samples), temperature=1.0).logprobs
    return [row[: len(s.completion_ids)] for row, s in zip(logprobs, samples, strict=True)]


def alone(model: Any, sample: Sample) -> torch.Tensor:
    """The log-probs of a completion by the model's own forward, without padding or cache."""
    ids = torch.tensor([[*sample.prompt_ids, *sample.completion_ids]])
    logits = model(input_ids=ids, use_cache=False).logits[0, len(sample.prompt_ids) - 1 : -1]
    return logits.log_softmax(-1).gather(-1, ids[0, len(sample.prompt_ids) :, None]).squeeze(-1)


def difference(ones: list[torch.Tensor], others: list[torch.Tensor]) -> float:
    """The largest difference of two numbers."""
    return float((torch.cat(ones) - torch.cat(others)).abs().max())


def outcome(kind: str) -> dict[str, str]:
    """What became of a model: fine, refused, wrong, or not tried; and why."""
    if kind in NOT_TRIED:
        return {"result": "not tried", "why": NOT_TRIED[kind]}
    ours, theirs = multiprocessing.get_context("fork").Pipe()
    process = multiprocessing.get_context("fork").Process(target=_answer, args=(kind, theirs))
    process.start()
    theirs.close()
    try:
        answer: dict[str, str] = (
            ours.recv()
            if ours.poll(SECONDS)
            else {"result": "wrong", "why": f"it takes more than {SECONDS} seconds"}
        )
    except EOFError:
        answer = {"result": "wrong", "why": "its process died"}
    process.kill()
    process.join()
    return answer


def _answer(kind: str, to: Connection) -> None:
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        try:
            examine(kind, Path(folder))
            to.send({"result": "fine", "why": ""})
        except AnypoError as error:
            to.send({"result": "refused", "why": str(error).replace(folder, "")})
        except WrongError as error:
            to.send({"result": "wrong", "why": str(error).replace(folder, "")})
        except TooLargeError as error:
            to.send({"result": "not tried", "why": str(error)})
        except Exception as error:
            why = f"no tiny model: {type(error).__name__}: {one_line(error)}"
            to.send({"result": "not tried", "why": why})


def main() -> None:
    """Try them, print what becomes of each, and write it down."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("kinds", nargs="*", default=KINDS)
    parser.add_argument("--output", type=Path, default=FOLDER / "architectures.json")
    options = parser.parse_args()
    known = json.loads(options.output.read_text()) if options.output.exists() else {}
    results = known.get("models", {})
    logging.disable_progress_bar()
    for kind in options.kinds:
        results[kind] = outcome(kind)
        print(f"{kind}: {results[kind]['result']} {results[kind]['why']}", flush=True)
        written = {"transformers": __version__, "models": dict(sorted(results.items()))}
        options.output.write_text(json.dumps(written, indent=1) + "\n")


if __name__ == "__main__":
    main()
