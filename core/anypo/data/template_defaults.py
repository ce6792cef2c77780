"""What a run has a chat template take where nobody says otherwise."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from jinja2 import Environment, TemplateError, meta
from transformers import PreTrainedTokenizerBase

from anypo.errors import ConfigError, nearest

OPTION = "chat_template_kwargs"
ALWAYS_GIVEN = {"messages", "tools", "documents", "add_generation_prompt"}
FUNCTIONS = {"raise_exception", "strftime_now"}
GENERATION = re.compile(r"\{%-?\s*(?:end)?generation\s*-?%\}")  # a tag that transformers adds


def set_defaults(tokenizer: PreTrainedTokenizerBase, values: Mapping[str, Any]) -> None:
    """Write values into the chat template of a tokenizer.

    There they reach all that is rendered with it, and whoever loads the model that is saved with
    it. What a row, or a caller of `apply_chat_template`, gives itself counts before them.

    Raises:
        ConfigError: There is no chat template, it is broken, or it takes no such value.
    """
    template: str | dict[str, str] | None = tokenizer.chat_template
    if template is None:
        raise ConfigError(f"{OPTION} is set, but the tokenizer has no chat template")
    known = _read_by(template.values() if isinstance(template, dict) else [template])
    known -= {*ALWAYS_GIVEN, *FUNCTIONS, *tokenizer.special_tokens_map}
    for name in sorted(values.keys() - known):
        there = nearest(name, known) or "; it takes none at all"
        raise ConfigError(
            f"{OPTION} has '{name}', but the chat template takes no such value{there}"
        )
    lines = "".join(f"{{% set {k} = {k} | default({_literal(v)}) %}}\n" for k, v in values.items())
    if isinstance(template, dict):
        tokenizer.chat_template = {name: lines + text for name, text in template.items()}
    else:
        tokenizer.chat_template = lines + template


def _read_by(templates: Iterable[str]) -> set[str]:
    """The names that templates are to be given."""
    environment = Environment(extensions=["jinja2.ext.loopcontrols"])
    try:
        parsed = [environment.parse(GENERATION.sub("", template)) for template in templates]
        return set().union(*map(meta.find_undeclared_variables, parsed))
    except TemplateError as error:
        raise ConfigError(f"the chat template of the model is broken: {error}") from error


def _literal(value: Any) -> str:
    """A value of JSON as Jinja reads it, which has no word for what is no number."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except ValueError:
        raise ConfigError(f"{OPTION} holds {value!r:.60}, which is no JSON") from None
