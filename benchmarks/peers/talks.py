"""Conversations with an environment, of which both libraries are given the replies."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import AutoTokenizer, PreTrainedTokenizerBase, Qwen3Config, Qwen3ForCausalLM
from trl import GRPOConfig, GRPOTrainer
from trl.chat_template_utils import add_response_schema

from anypo import Observer, Report, Sample, SamplerPlugin, compose, run
from peers import shop
from peers.chats import tokenizer_of
from peers.theirs import USUAL

Ids = list[int]
CONVERSATIONS = 8  # with each prompt
LONGEST = 4000  # tokens of a conversation; none is as long
REPLY = 400  # tokens
TURNS = 4
REWARDS = ("sales", "unasked", "messages")
ROWS = [
    {"prompt": [{"role": "user", "content": "Sell."}], "stock": stock} for stock in ("", "tea", "ä")
]


def called(name: str, **arguments: Any) -> str:
    """A call as Qwen's models write it."""
    call = json.dumps({"name": name, "arguments": arguments})
    return f"<tool_call>\n{call}\n</tool_call>"


REPLIES = (
    called("sell", number=2),
    called("sell", number=3, price=2),
    called("sell", number=9),
    called("sell", amount=1),
    called("receipt"),
    called("ask", word="tea") + "\n" + called("sell", number=1),
    "Well.\n" + called("ask", word="nobody"),
    called("steal", number=1),
    called("reset"),
    called("get_reward"),
    called("_count"),
    called("sell", number=1) + '\n<tool_call>\n{"name": \n</tool_call>',
    "<tool_call>\nsell\n</tool_call>",
    "That is all.",
)


@dataclass(frozen=True, order=True)
class Told:
    """What a library made of a conversation."""

    prompt: Ids
    ids: Ids
    mask: list[bool]
    rewards: list[tuple[str, float]]


class Script:
    """Answers every prompt with one of the replies, and each time that it comes again anew."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer, self.seen = tokenizer, Counter[tuple[int, ...]]()

    def reply(self, prompt: Sequence[int]) -> Ids:
        """The tokens of a reply, up to the end."""
        key = tuple(prompt)
        text = random.Random(f"{key} {self.seen[key]}").choice(REPLIES)
        self.seen[key] += 1
        ids: Ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return [*ids, self.tokenizer.eos_token_id]


class Player:
    """An engine that answers so."""

    def __init__(self, script: Script) -> None:
        self.script = script

    def sample(self, request: Any) -> list[Sample]:
        """See `anypo.Engine`."""
        drawn = []
        for place, prompt in enumerate(request.prompts):
            for _ in range(request.n):
                ids = self.script.reply(prompt.ids)
                drawn.append(request.sample(place, ids, [0.0] * len(ids)))
        return drawn

    def sync(self, model: Any) -> None:
        """It has no weights."""

    def close(self) -> None:
        """It holds nothing."""


class Scripted(SamplerPlugin):
    """Says the same to whoever asks."""

    def start(self, model: Any, runtime: Any, max_length: int) -> Player:
        """An engine that has not been asked yet."""
        return Player(Script(AutoTokenizer.from_pretrained(model.config.name_or_path)))


def make_model(folder: Path, template: str, *, parses: bool) -> str:
    """A model with one of TRL's templates, whose tokenizer knows how calls are parsed, or not."""
    tokenizer = tokenizer_of(template)
    if parses:
        tokenizer = add_response_schema(tokenizer)
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=4 * LONGEST,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    Qwen3ForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def ours(model: str, folder: Path) -> list[Told]:
    """What anypo makes of them, in order."""
    reports: list[Report] = []

    class Kept(Observer):
        def reported(self, report: Report) -> None:
            reports.append(report)

    data = folder / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    run(
        compose("grpo", knobs={"group_size": CONVERSATIONS}),
        model=model,
        data=str(data),
        environment="peers.shop:Shop",
        reward=[f"peers.shop:{name}" for name in REWARDS],
        sampler="scripted",
        max_turns=TURNS,
        max_completion_length=REPLY,
        max_conversation_length=LONGEST,
        prompts_per_step=len(ROWS),
        max_prompt_length=LONGEST,
        steps=1,
        warmup_steps=0,
        device="cpu",
        output=str(folder / "run"),
        observer=Kept(),
    )
    return sorted(
        Told(s.prompt_ids, s.completion_ids, s.mask or [], sorted(s.scores.items()))
        for s in reports[0].samples
    )


def theirs(model: str, folder: Path) -> list[Told]:
    """What TRL makes of them, in order."""
    tokenizer = AutoTokenizer.from_pretrained(model)
    script, told = Script(tokenizer), list[Any]()

    class Trainer(GRPOTrainer):
        def _generate_single_turn(self, prompt_ids: Any, *_: Any, **__: Any) -> Any:
            drawn = [script.reply(ids) for ids in prompt_ids]
            return drawn, [[0.0] * len(ids) for ids in drawn]

        def _generate(self, prompts: Any) -> Any:
            made = super()._generate(prompts)
            told.append(made)
            return made

        def _calculate_rewards(self, *given: Any) -> Any:
            rewards = super()._calculate_rewards(*given)
            told.append(rewards)
            return rewards

    fields = {**USUAL, "max_steps": 1, "num_generations": CONVERSATIONS}
    fields |= {"max_completion_length": LONGEST, "max_tool_calling_iterations": TURNS - 1}
    fields |= {"per_device_train_batch_size": len(ROWS) * CONVERSATIONS, "shuffle_dataset": False}
    trainer = Trainer(
        model=model,
        args=GRPOConfig(str(folder), **fields),
        train_dataset=Dataset.from_list(ROWS),
        processing_class=tokenizer,
        reward_funcs=[getattr(shop, name) for name in REWARDS],
        environment_factory=shop.Shop,
    )
    trainer.train()
    (prompts, ids, masks, *_), rewards = told
    named = [sorted(zip((*REWARDS, "Shop"), row, strict=True)) for row in rewards.tolist()]
    return sorted(
        Told(prompt, said, [bool(wrote) for wrote in mask], scores)
        for prompt, said, mask, scores in zip(prompts, ids, masks, named, strict=True)
    )
