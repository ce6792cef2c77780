"""The reward that `--reward judge:MODEL@URL` asks for."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property, partial
from inspect import Parameter, Signature
from ssl import SSLContext
from typing import Any

import httpx2

from anypo import Judgement, RewardError, one_line, retried, together
from anypo_judge.settings import Settings, parsed
from anypo_judge.template import DEFAULT, Template
from anypo_judge.verdict import SCHEMA, judgement, reason

KEY = "JUDGE_API_KEY"  # the environment variable: options are written down
CONNECT = 10.0  # seconds; how long an answer takes is for reward_timeout to limit


def judge(argument: str) -> Judge:
    """The score of a model on an OpenAI-compatible server: judge:MODEL@URL?prompt=FILE."""
    settings = parsed(argument)
    return Judge(settings, Template(settings.template(DEFAULT)))


class Judge:
    """A reward function that asks a chat model about every completion."""

    def __init__(self, settings: Settings, template: Template) -> None:
        self.settings, self.template = settings, template
        names = ["prompts", "completions", *sorted(template.columns)]
        self.__signature__ = Signature([Parameter(n, Parameter.KEYWORD_ONLY) for n in names])

    def __str__(self) -> str:
        return f"judge '{self.settings.model}' at {self.settings.url}"

    async def __call__(
        self, prompts: Sequence[Any], completions: Sequence[Any], **columns: Sequence[Any]
    ) -> list[Judgement]:
        """The scores, from 0 to the highest, each with its reason.

        Raises:
            RewardError: The server cannot be reached, or gives no score.
        """
        requests = [
            self.template.filled(
                prompt, completion, self.settings.max, {n: c[i] for n, c in columns.items()}
            )
            for i, (prompt, completion) in enumerate(zip(prompts, completions, strict=True))
        ]
        async with self._client() as client:
            asking = [partial(self._judged, client, request) for request in requests]
            return await together(asking, self.settings.concurrency)

    async def _judged(self, client: httpx2.AsyncClient, request: str) -> Judgement:
        body = {
            "model": self.settings.model,
            "messages": [{"role": "user", "content": request}],
            "temperature": self.settings.temperature,
            "response_format": SCHEMA,
        }
        try:
            content = await retried(partial(self._answer, client, body))
            return judgement(content, self.settings.max)
        except httpx2.HTTPStatusError as error:
            status, says = error.response.status_code, reason(error.response.content)
            why = f"; its key goes into the environment variable {KEY}" if status == 401 else ""
            raise RewardError(f"{self} answers with status {status}: {says}{why}") from error
        except httpx2.RequestError as error:
            said = one_line(error) or type(error).__name__
            raise RewardError(f"{self} cannot be reached ({said})") from error
        except RewardError as error:
            raise RewardError(f"{self} answers {error}") from error

    async def _answer(self, client: httpx2.AsyncClient, body: dict[str, Any]) -> bytes:
        response = await client.post(self.settings.url, json=body)
        return response.raise_for_status().content

    def _client(self) -> httpx2.AsyncClient:
        key = os.environ.get(KEY)
        return httpx2.AsyncClient(
            timeout=httpx2.Timeout(None, connect=CONNECT),
            limits=httpx2.Limits(max_connections=self.settings.concurrency),
            headers={"authorization": f"Bearer {key}"} if key else {},
            verify=self._certificates,
        )

    @cached_property
    def _certificates(self) -> SSLContext:  # slow to make
        return httpx2.create_ssl_context()
