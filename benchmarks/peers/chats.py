"""Conversations as tokens: what anypo and TRL make of them by the templates that TRL ships."""

from __future__ import annotations

import random
import re
from functools import cache
from itertools import groupby
from pathlib import Path

import trl
from transformers import PreTrainedTokenizerBase
from trl.chat_template_utils import get_training_chat_template
from trl.data_utils import _tokenize, common_prefix_length

from anypo import Tokens
from anypo_tasks.addition.model import build_tokenizer

FOLDER = Path(trl.__file__).parent / "chat_templates"
BAR, LINE = "\uff5c", "\u2581"  # of DeepSeek's marks
SHAPES = (r"<\|[\w/ ]+\|>", rf"<{BAR}[^{BAR}<>]+{BAR}>", r"<(?:start|end)_of_\w+>", r"<\w+\|>")
MARK = re.compile("|".join((*SHAPES, r"<\|\w+>", "<sop>", "</?think>")))
ENDS = {  # the end-of-sequence tokens of the models that templates are of
    "cohere": "<|END_OF_TURN_TOKEN|>",
    "deepseek": f"<{BAR}end{LINE}of{LINE}sentence{BAR}>",
    "gemma": "<eos>",
    "glm": "<|endoftext|>",
    "gptoss": "<|return|>",
    "lfm": "<|im_end|>",
    "llama3": "<|eot_id|>",
    "muse": "<|eot|>",
    "nemotron": "<|im_end|>",
    "phi3": "<|endoftext|>",
    "qwen": "<|im_end|>",
}
ROWS = 100  # conversations of each template
WORDS = (
    "the sky is blue and one cat sat on two mats while it rained: so what? 3.5 {x} <b> yes, no\nok"
)


ASPECTS = {
    "prompt": "the prompt of a reply",
    "split": "a prompt and its reply, up to the end token",
    "learnt": "what of a conversation is learnt: the same replies, whatever of the template's own",
    "scored": "what a reward model reads",
}
NO_END = "the template ends no reply, and anypo adds the end-of-sequence token"
FORGETS = (
    "the template forgets the thoughts of earlier replies, so the last alone is learnt; TRL learns "
    "all, by a template of its own that does not"
)
EXPLAINED = {("glm4moe", "split"): NO_END, ("glm4moe", "learnt"): NO_END}
EXPLAINED |= {
    (name, "learnt"): FORGETS for name in ("qwen3", "qwen3_5_nothink", "qwen3_5_think", "qwen3_6")
}
Message = dict[str, str]
Ids = list[int]


def names() -> list[str]:
    """The templates of texts for which TRL has one to train with."""
    found = [path.stem.removesuffix("_training") for path in FOLDER.glob("*_training.jinja")]
    return sorted(name for name in found if _end(name))


@cache
def tally(name: str) -> dict[str, int]:
    """In how many conversations both make the same of each aspect."""
    tokenizer = tokenizer_of(name)
    training = get_training_chat_template(tokenizer)
    source, found = random.Random(name), dict.fromkeys(ASPECTS, 0)
    for _ in range(ROWS):
        told = conversation(source, system=name != "gemma")
        same = _same_example(tokenizer, told)
        same["learnt"] = _learnt_here(tokenizer, told, _learnt_there(tokenizer, training, told))
        found = {aspect: found[aspect] + same[aspect] for aspect in ASPECTS}
    return found


def conversation(source: random.Random, *, system: bool) -> list[Message]:
    """Up to three questions with replies; if templates know a `system`, at times after its word."""

    def said(role: str) -> Message:
        words = source.choices(WORDS.split(" "), k=source.randint(1, 6))
        return {"role": role, "content": " ".join(words)}

    turns = [said(role) for _ in range(source.randint(1, 3)) for role in ("user", "assistant")]
    return [said("system"), *turns] if system and source.random() < 0.3 else turns


def _end(name: str) -> str:
    return next((end for model, end in ENDS.items() if name.startswith(model)), "")


def tokenizer_of(name: str) -> PreTrainedTokenizerBase:
    """One token per byte, and one for every mark of the template."""
    tokenizer, text = build_tokenizer(), (FOLDER / f"{name}.jinja").read_text(encoding="utf-8")
    marks = sorted({*MARK.findall(text), _end(name)})
    tokenizer.add_special_tokens(
        {"additional_special_tokens": marks, "eos_token": _end(name), "bos_token": "<bos>"}
    )
    tokenizer.chat_template, tokenizer.model_max_length = text, 1 << 20
    return tokenizer


def _same_example(tokenizer: PreTrainedTokenizerBase, told: list[Message]) -> dict[str, bool]:
    """What of a prompt and its reply is the same."""
    asked = _tokenize(tokenizer, told[:-1], add_generation_prompt=True)["input_ids"]
    whole = _tokenize(tokenizer, told)["input_ids"]
    start = common_prefix_length(asked, whole)
    tokens = Tokens(tokenizer)
    ours = tokens.example(told[:-1], {"reply": told[-1:]}, {})
    reply = ours.completions["reply"].ids
    rest = whole[start + len(reply) :]
    follows = whole[start : start + len(reply)] == reply and _says_nothing(tokenizer, rest)
    return {
        "prompt": asked == tokens.prompt(told[:-1]),
        "split": ours.prompt == whole[:start] and follows,
        "scored": Tokens(tokenizer, scored=True).whole(told[:-1], told[-1:], {}) == whole,
    }


def _says_nothing(tokenizer: PreTrainedTokenizerBase, ids: Ids) -> bool:
    """Whether they are but space, and an end of the whole conversation."""
    return not tokenizer.decode([i for i in ids if i != tokenizer.eos_token_id]).strip()


def _learnt_there(
    tokenizer: PreTrainedTokenizerBase, template: str, told: list[Message]
) -> list[str]:
    """What TRL learns by its own template, as texts."""
    made = _tokenize(tokenizer, told, chat_template=template, return_assistant_tokens_mask=True)
    return _runs(
        tokenizer, made["input_ids"], [bool(is_reply) for is_reply in made["assistant_masks"]]
    )


def _learnt_here(tokenizer: PreTrainedTokenizerBase, told: list[Message], there: list[str]) -> bool:
    """Whether anypo learns the same replies, of which TRL may learn more of the template's own."""
    first = next(i for i, message in enumerate(told) if message["role"] == "assistant")
    ours = Tokens(tokenizer).example(told[:first], {"reply": told[first:]}, {}).completions["reply"]
    here = _runs(tokenizer, ours.ids, ours.mask or [True] * len(ours.ids))
    return len(here) == len(there) and all(
        said.strip() in theirs for said, theirs in zip(here, there, strict=True)
    )


def _runs(tokenizer: PreTrainedTokenizerBase, ids: Ids, mask: list[bool]) -> list[str]:
    """The texts of the runs of tokens that a mask leaves."""
    runs = groupby(zip(ids, mask, strict=True), key=lambda pair: pair[1])
    return [tokenizer.decode([i for i, _ in run]) for is_learnt, run in runs if is_learnt]
