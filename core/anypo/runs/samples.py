"""What a run writes down of a completion."""

import math
from typing import Any

from transformers import PreTrainedTokenizerBase

from anypo.hooks.batch import Prompt, Sample


def row(
    step: int, prompt: Prompt, sample: Sample, tokenizer: PreTrainedTokenizerBase, **more: Any
) -> dict[str, Any]:
    """A line of samples.jsonl; what else is known of the completion comes after its step."""
    return {
        "step": step,
        **more,
        "group": sample.group,
        "prompt": prompt.content,
        "completion": tokenizer.decode(sample.completion_ids),
        "tokens": len(sample.completion_ids),
        "truncated": sample.truncated,
        "reward": sample.reward,
        "scores": {k: None if math.isnan(v) else v for k, v in sample.scores.items()},
    }
