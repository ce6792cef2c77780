"""A reward that a model gives: the score of prompt and completion."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel

from anypo.data.prompts import template_options
from anypo.data.template import REPLY
from anypo.data.tokens import Tokens
from anypo.errors import DataError, ModelError, RewardError
from anypo.hooks.batch import Prompt
from anypo.hooks.runtime import Runtime
from anypo.models.checks import check_vocabulary
from anypo.models.forward import text_scores
from anypo.models.load import (
    context_length,
    has_scalar_head,
    load_config,
    load_model,
    load_tokenizer,
    model_path,
)
from anypo.models.micro_batches import micro_batches
from anypo.models.precision import shrink_frozen


class ScoreOfModel:
    """A reward function: the score that a model gives to prompt and completion.

    The model is that of a directory, of a hub name, or of the directory of a run that trained one.
    Its weights are loaded when it is first called: a run may turn out to be impossible before.

    Raises:
        ModelError: There is no such model.
        RewardError: It does not give a text one score.
    """

    def __init__(self, path: str, runtime: Runtime) -> None:
        self.path, self.runtime = model_path(path), runtime
        trusted = runtime.trust_remote_code
        self.config = load_config(self.path, trust_remote_code=trusted)
        if not has_scalar_head(self.config):
            raise RewardError(
                f"reward '{path}' is a model that does not score texts: it is no sequence "
                "classifier with one label"
            )
        self.tokens = Tokens(load_tokenizer(self.path, trust_remote_code=trusted))
        self.limit = context_length(self.config)

    def prepare(self) -> None:
        """Load the weights now, if they are not loaded; raises ModelError if they are broken."""
        self.model.eval()

    @cached_property
    def model(self) -> PreTrainedModel:
        """The model itself."""
        trusted = self.runtime.trust_remote_code
        model = load_model(self.path, scalar_head=True, trust_remote_code=trusted)
        shrink_frozen(model.requires_grad_(False), self.runtime.dtype)
        model.to(self.runtime.device)  # type: ignore[arg-type]
        return model

    def check(self, prompt: Prompt) -> None:
        """Refuse a row of which the model scores not even a short completion.

        Raises:
            DataError: Its conversation does not fit the chat template, or its text is longer than
                the model attends to.
        """
        short: Any = "." if isinstance(prompt.content, str) else [REPLY]
        try:
            self._read(prompt.content, short, prompt.columns)
        except ModelError as error:
            raise DataError(str(error)) from error

    def _read(self, prompt: Any, completion: Any, row: Mapping[str, Any]) -> list[int]:
        options = template_options({**row, "prompt": prompt})
        ids = self.tokens.whole(prompt, completion, options)
        check_vocabulary(self.path, self.config, ids)
        if self.limit is not None and len(ids) > self.limit:
            raise ModelError(
                f"'{self.path}' attends to {self.limit} tokens, but is to score a text "
                f"of {len(ids)}"
            )
        return ids

    def __call__(
        self, prompts: Sequence[Any], completions: Sequence[Any], **columns: Sequence[Any]
    ) -> list[float]:
        """The score of every completion.

        Args:
            prompts: Texts or lists of messages.
            completions: Of the same kind.
            columns: What else the rows hold, such as the `tools` that the chat template is given.

        Raises:
            ModelError: A text is longer than the model attends to.
            DataError: A conversation does not fit the model's chat template.
        """
        rows = []
        for i, (prompt, completion) in enumerate(zip(prompts, completions, strict=True)):
            row = {name: column[i] for name, column in columns.items()}
            rows.append(self._read(prompt, completion, row))
        lengths = torch.tensor([len(row) for row in rows])
        scores, device = torch.zeros(len(rows)), self.runtime.device
        for index in micro_batches(lengths, self.runtime.token_budget):
            padded = pad_sequence([torch.tensor(rows[i]) for i in index], batch_first=True)
            given = padded.to(device), lengths[index].to(device)
            with torch.no_grad(), self.runtime.autocast():
                scores[index] = text_scores(self.model, *given).cpu()
        return scores.tolist()
