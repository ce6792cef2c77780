"""One completion, told as it is drawn."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from anypo.data.tokens import Tokens
from anypo.hooks.runtime import Runtime
from anypo.hooks.sampler import SamplingRequest
from anypo.models.load import end_tokens
from anypo.sampling.draw import asked_for, draw
from anypo.sampling.generate import TransformersEngine

UNFINISHED = "\ufffd"  # what a tokenizer shows of a character whose last byte is still to come


class Speaker:
    """A model that answers, one text or conversation at a time.

    Args:
        model: That continues texts.
        tokenizer: Its own. One without a chat template has texts continued alone.
        runtime: Where and in what precision the model is run.
    """

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, runtime: Runtime
    ) -> None:
        self.engine, self.tokenizer = TransformersEngine(model, runtime), tokenizer
        self.tokens = Tokens(tokenizer)
        self.ends = tuple(end_tokens(model, tokenizer, self.tokens.ends))

    @property
    def converses(self) -> bool:
        """Whether it takes messages, and not only texts."""
        return bool(self.tokenizer.chat_template)

    def answer(self, prompt: str | Sequence[Any], request: SamplingRequest) -> Iterator[str]:
        """The completion of a prompt, piece by piece, without the token that ends it.

        Raises:
            DataError: It is neither a text nor a conversation that fits the chat template.
        """
        drawn, text, told = list[int](), "", ""
        decode: Any = partial(self.tokenizer.decode, skip_special_tokens=True)
        for token in self._draw(self.tokens.prompt(prompt), request):
            drawn.append(token)
            text = decode(drawn)
            if not text.endswith(UNFINISHED):
                yield text[len(told) :]
                told = text
        if text != told:
            yield text[len(told) :]

    def _draw(self, prompt: list[int], request: SamplingRequest) -> Iterator[int]:
        texts = self.engine.begin([prompt])
        for _ in range(request.max_completion_length):
            with torch.no_grad(), self.engine.runtime.autocast():
                logits = asked_for(texts.logits(), request)
            token, _logprob = draw(logits, torch.rand(1, device=logits.device))
            if int(token) in self.ends:
                return
            texts.append(token)
            yield int(token)
