"""Read what servers answer; whatever is not as vLLM would write it is an error of Python."""

from __future__ import annotations

import json
from contextlib import suppress
from math import isfinite
from operator import index, itemgetter
from typing import Any

import torch

from anypo import one_line
from anypo_vllm.sampler import Generated


def described(answer: Any) -> dict[str, Any]:
    """What a server says of itself, as far as it is used."""
    said = answer["results"][0]
    if not isinstance(getattr(torch, said["dtype"]), torch.dtype):
        raise TypeError(said["dtype"])
    return {**said, "model": dict(said["model"]), "max_length": index(said["max_length"])}


def generated(answer: Any, number: int) -> list[Generated]:
    """The completions in an answer, as many as were asked for."""
    choices = sorted(answer["choices"], key=itemgetter("index"))
    found = [
        Generated(list(map(index, choice["token_ids"])), choice["logprobs"]["token_logprobs"])
        for choice in choices
    ]
    for ids, logprobs in found:
        if len(ids) != len(logprobs) or not all(map(isfinite, logprobs)):
            raise ValueError("a token has a finite log-prob")
    if len(found) != number:
        raise ValueError("as many as were asked for")
    return found


def reason(content: bytes) -> str:
    """Why a request failed, as the server says."""
    with suppress(ValueError, KeyError, TypeError):
        return one_line(json.loads(content)["error"]["message"])
    return one_line(content.decode(errors="replace"))
