"""Models that score a text instead of continuing it: sequence classifiers with one label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from anypo.errors import ModelError, RewardError
from anypo.models import context_length, has_scalar_head, load_model, load_tokenizer, model_path
from anypo.prompts import Tokens


def text_scores(
    model: nn.Module, input_ids: Int[Tensor, "N L"], lengths: Int[Tensor, " N"]
) -> Float[Tensor, " N"]:
    """The score of each row, by the model's own reading of its last token.

    Args:
        model: A sequence classifier of transformers with one label.
        input_ids: Padded on the right, with anything.
        lengths: Of the rows, without padding.
    """
    length = int(lengths.max())
    real = torch.arange(length, device=input_ids.device) < lengths.unsqueeze(-1)
    # The model finds the last token by looking for padding, so padding must be what it looks for.
    padding = model.config.get_text_config().pad_token_id  # type: ignore[union-attr, operator]
    filled = torch.where(real, input_ids[:, :length], padding)
    logits: Tensor = model(input_ids=filled, attention_mask=real.long()).logits
    return logits.squeeze(-1).float()


class ScoreOfModel:
    """A reward function: the score that a model gives to prompt and completion.

    Args:
        path: A model directory or hub name, or the directory of a run that trained one.
        device: Where it lives.
        trust_remote_code: Whether to run Python code that comes with it.

    Raises:
        ModelError: There is no such model.
        RewardError: It does not give a text one score.
    """

    def __init__(self, path: str, device: torch.device, *, trust_remote_code: bool) -> None:
        self.path = model_path(path)
        if not has_scalar_head(self.path, trust_remote_code=trust_remote_code):
            raise RewardError(
                f"reward '{path}' is a model that does not score texts: it is no sequence "
                "classifier with one label"
            )
        self.tokens = Tokens(load_tokenizer(self.path, trust_remote_code=trust_remote_code))
        self.model = load_model(
            self.path, scalar_head=True, trust_remote_code=trust_remote_code
        ).to(device)  # type: ignore[arg-type]  # transformers' annotation forgets devices
        self.limit = context_length(self.model.config)

    def __call__(self, prompts: Sequence[Any], completions: Sequence[Any], **_: Any) -> list[float]:
        """The score of every completion.

        Raises:
            ModelError: A text is longer than the model attends to.
        """
        rows = [self._ids(*pair) for pair in zip(prompts, completions, strict=True)]
        longest = max(map(len, rows))
        if self.limit is not None and longest > self.limit:
            raise ModelError(
                f"'{self.path}' attends to {self.limit} tokens, but is to score a text of {longest}"
            )
        return [score for part in _parts(rows) for score in self._scores(part)]

    def _ids(self, prompt: Any, completion: Any) -> list[int]:
        ids = self.tokens.prompt(prompt)
        text = completion if isinstance(completion, str) else completion[0]["content"]
        if not text.strip():
            return [*ids, self.tokens.end]
        return ids + self.tokens.completion(prompt, ids, completion).ids

    @torch.no_grad()
    def _scores(self, rows: Sequence[list[int]]) -> list[float]:
        lengths = torch.tensor([len(row) for row in rows])
        padded = [row + [0] * (int(lengths.max()) - len(row)) for row in rows]
        device = self.model.device
        scores = text_scores(self.model, torch.tensor(padded).to(device), lengths.to(device))
        return scores.tolist()


ROWS = 64  # scored at a time


def _parts(rows: Sequence[list[int]]) -> list[Sequence[list[int]]]:
    return [rows[start : start + ROWS] for start in range(0, len(rows), ROWS)]
