"""Completions as rows of samples.jsonl."""

import math
from collections.abc import Sequence
from typing import Any

from transformers import PreTrainedTokenizerBase

from anypo.hooks.batch import Prompt, Sample
from anypo.training.trainer import Report

SAMPLES_EVERY = 10  # steps
PROMPTS_SHOWN = 4  # each time, with all completions of theirs


def row(
    step: int, prompt: Prompt, sample: Sample, tokenizer: PreTrainedTokenizerBase, **more: Any
) -> dict[str, Any]:
    """A completion as samples.jsonl holds it; a score that does not apply is null.

    Args:
        step: In which it was drawn.
        prompt: That it answers.
        sample: The completion; its `group` tells the prompts of the step apart.
        tokenizer: Turns it into text, special tokens included.
        more: What else there is to say, such as `phase="train"`.
    """
    return {
        "step": step,
        **more,
        "group": sample.group,
        "prompt": sample.asked or prompt.content,
        "completion": tokenizer.decode(sample.completion_ids),
        "tokens": sample.length,
        "truncated": sample.truncated,
        "reward": sample.reward,
        "scores": {k: None if math.isnan(v) else v for k, v in sample.scores.items()},
        **({"feedback": sample.feedback} if sample.feedback else {}),
    }


def rows(report: Report, tokenizer: PreTrainedTokenizerBase) -> list[dict[str, Any]]:
    """Every few steps, all completions of the first few prompts; those of held-out prompts."""
    kept = _of_first_prompts(report.completions) if report.step % SAMPLES_EVERY == 1 else []
    trained = [row(report.step, *each, tokenizer, phase="train") for each in kept]
    return trained + [
        row(report.step, found.prompts[s.group], s, tokenizer, phase="eval", set=found.title)
        for found in report.evaluated
        for s in found.samples
    ]


def extremes(report: Report, tokenizer: PreTrainedTokenizerBase) -> list[dict[str, Any]]:
    """The best and the worst completion of a step; one if all are as good, none without rewards."""
    rewarded = [each for each in report.completions if each[1].reward is not None]
    ordered = sorted(rewarded, key=lambda each: -(each[1].reward or 0.0))
    chosen = ordered[:1] + [each for each in ordered[-1:] if each[1].reward != ordered[0][1].reward]
    return [row(report.step, *each, tokenizer, phase="train") for each in chosen]


def _of_first_prompts(
    completions: Sequence[tuple[Prompt, Sample]],
) -> list[tuple[Prompt, Sample]]:
    groups = list(dict.fromkeys(sample.group for _, sample in completions))[:PROMPTS_SHOWN]
    return [(prompt, sample) for prompt, sample in completions if sample.group in groups]
