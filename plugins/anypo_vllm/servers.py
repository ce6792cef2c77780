"""vLLM on servers, over HTTP: `anypo serve MODEL` starts one."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from itertools import cycle
from operator import itemgetter
from pathlib import Path
from typing import Any, TypeVar

import httpx2
from anyio import CapacityLimiter, create_task_group, fail_after, sleep
from anyio.from_thread import start_blocking_portal
from transformers import PreTrainedConfig, PreTrainedModel

from anypo import SamplerError, one_line, together
from anypo_vllm.addresses import KEY, authorization, check_addresses
from anypo_vllm.answers import described, generated, reason
from anypo_vllm.sampler import Generated, Request
from anypo_vllm.weights import weights_file
from anypo_vllm.worker import shape

AT_A_TIME = 64  # requests per server
PAUSES = (1.0, 2.0, 4.0)  # seconds before every further attempt
WATCH_EVERY = 5.0  # seconds, while it owes an answer
SHORT = 2**20  # bytes of an answer, and
TOKEN = 1024  # for every token of a prompt and its completions: far more than vLLM writes
HOW = "start it with `anypo serve MODEL`"

T = TypeVar("T")


class Servers:
    """Several vLLM servers with the same weights; each completes its share of the prompts.

    Args:
        urls: Of the servers.
        config: Of the model that is trained.
        timeout: Seconds that a server may take for an answer.
        exchange: Directory that the servers see too; in the memory of this machine if None.

    Raises:
        SamplerError: A server cannot be reached, or serves another kind of model.
    """

    def __init__(
        self,
        urls: Sequence[str],
        config: PreTrainedConfig,
        *,
        timeout: float,
        exchange: str | None = None,
    ) -> None:
        check_addresses(urls, exchange)
        self.servers = [Server(url, timeout) for url in urls]
        self.exchange = exchange
        self.run, self.updates = uuid.uuid4().hex[:8], 0
        described = self._await(self._each, Server.describe)
        for server, found in zip(self.servers, described, strict=True):
            server.check(found, shape(config))
        self.dtype = described[0]["dtype"]
        self.max_length = min(found["max_length"] for found in described)

    def generate(self, requests: Sequence[Request]) -> list[list[Generated]]:
        """See `anypo_vllm.sampler.Backend`.

        Raises:
            SamplerError: A server is gone, or does not have the weights that were sent last.
        """
        return self._await(self._generate, requests)

    def load(self, model: PreTrainedModel) -> None:
        """See `anypo_vllm.sampler.Backend`.

        Raises:
            SamplerError: A server is gone, or does not take the weights.
        """
        self.updates += 1
        with weights_file(model, self.dtype, self.exchange) as path:
            self._await(self._each, lambda server: server.load(path, self._version))

    def close(self) -> None:
        """Leave the servers running, for the next run; no connection outlives a call."""

    @property
    def _version(self) -> str:
        return f"{self.run}-{self.updates}"

    async def _generate(self, requests: Sequence[Request]) -> list[list[Generated]]:
        await self._check_versions()
        shares = zip(cycle(self.servers), requests, strict=False)
        answers = await together([partial(server.complete, request) for server, request in shares])
        await self._check_versions()  # a server that was restarted meanwhile had other weights
        return answers

    async def _check_versions(self) -> None:
        await self._each(lambda server: server.check_version(self._version))

    async def _each(self, do: Callable[[Server], Awaitable[T]]) -> list[T]:
        return await together([partial(do, server) for server in self.servers])

    def _await(self, do: Callable[..., Awaitable[T]], *arguments: object) -> T:
        """What comes of `do` in an event loop of its own: a notebook, say, already runs one.

        Whatever interrupts the wait, as Ctrl-C does, cancels every request and ends the loop.
        """
        try:
            with start_blocking_portal() as portal:
                answer: T = portal.call(self._connected, do, *arguments)
                return answer
        except ExceptionGroup as errors:
            error = _first(errors)
            raise error from error.__cause__

    async def _connected(self, do: Callable[..., Awaitable[T]], *arguments: object) -> T:
        async with AsyncExitStack() as stack:
            for server in self.servers:
                await stack.enter_async_context(server.connected())
            return await do(*arguments)


class Server:
    """One vLLM server, to be asked inside `connected`.

    Args:
        url: Without a path.
        timeout: Seconds that it may take for an answer.
    """

    def __init__(self, url: str, timeout: float) -> None:
        self.url, self.timeout = url.rstrip("/"), timeout
        self.certificates = httpx2.create_ssl_context(trust_env=False)  # slow to make

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[None]:
        """Let it be asked in this event loop, and watch meanwhile whether it is still there.

        A server that is stopped keeps the connections open on which it owes an answer.

        Raises:
            SamplerError: It was stopped.
        """
        async with self._open() as self.client, create_task_group() as watch:
            self.places = CapacityLimiter(AT_A_TIME)
            watch.start_soon(self._watch)
            yield
            watch.cancel_scope.cancel()

    async def describe(self) -> dict[str, Any]:
        """What `WeightReceiver.anypo_describe` says."""
        return await self._call(described, "anypo_describe")

    def check(self, found: dict[str, Any], wanted: dict[str, Any]) -> None:
        """Refuse a server that would sample from another distribution than the policy's.

        Raises:
            SamplerError: Its model has other parameters, or it reports other log-probs.
        """
        others = [name for name in wanted if found["model"].get(name) != wanted[name]]
        if others:
            name = others[0]
            raise SamplerError(
                f"vLLM server {self.url} serves another model: its {name} is "
                f"{found['model'].get(name)}, that of the model in training is {wanted[name]}"
            )
        if found["logprobs"] != "processed_logprobs":
            raise SamplerError(
                f"vLLM server {self.url} reports {found['logprobs']}, not those of the "
                f"distribution sampled from; {HOW}"
            )

    async def check_version(self, wanted: str) -> None:
        """Refuse weights that are not those of the last update.

        Raises:
            SamplerError: The server was restarted, or another run uses it.
        """
        if await self._call(lambda answer: set(answer["results"]), "anypo_version") != {wanted}:
            raise SamplerError(
                f"vLLM server {self.url} does not have the weights that it was sent last: it was "
                "restarted, or another run uses it"
            )

    async def load(self, path: Path, version: str) -> None:
        """Have the server take over the weights in a file, and forget what it cached."""
        await self._call(itemgetter("results"), "anypo_load_file", str(path), version)
        if not await self._post("/reset_prefix_cache", None, itemgetter("success")):
            raise SamplerError(
                f"vLLM server {self.url} does not empty its prefix cache: something else uses it"
            )

    async def complete(self, request: Request) -> list[Generated]:
        """The completions of a request."""
        body = {
            "prompt": request.prompt,
            "return_token_ids": True,
            "return_tokens_as_token_ids": True,
            **request.parameters,
        }
        number, length = request.parameters["n"], request.parameters["max_tokens"]
        longest = SHORT + TOKEN * (number * length + len(request.prompt))
        read = partial(generated, number=number)
        async with self.places:
            return await self._post("/v1/completions", body, read, longest)

    def _open(self) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(
            base_url=self.url,
            timeout=httpx2.Timeout(self.timeout, connect=10.0, pool=None),
            limits=httpx2.Limits(max_connections=AT_A_TIME + 1),  # one to watch by
            headers=authorization(),
            verify=self.certificates,
            trust_env=False,
        )

    async def _watch(self) -> None:
        while True:
            await sleep(WATCH_EVERY)
            status, _ = await self._reach("GET", "/health")
            if status == httpx2.codes.SERVICE_UNAVAILABLE:
                raise SamplerError(
                    f"vLLM server {self.url} no longer has an engine: it was stopped, or the "
                    f"engine failed; {HOW}"
                )

    async def _call(self, read: Callable[[Any], T], method: str, *arguments: str) -> T:
        """What is read of the answers of every worker of the server."""
        call = {"method": method, "args": arguments}
        return await self._post("/collective_rpc", call, read)

    async def _post(
        self, path: str, body: dict[str, Any] | None, read: Callable[[Any], T], longest: int = SHORT
    ) -> T:
        """What is read of the answer."""
        status, content = await self._reach("POST", path, body, longest)
        if status == httpx2.codes.UNAUTHORIZED:
            raise SamplerError(
                f"vLLM server {self.url} wants a key: put it into the environment variable {KEY}"
            )
        if status == httpx2.codes.NOT_FOUND:
            raise SamplerError(f"vLLM server {self.url} knows no {path}; {HOW}")
        if not httpx2.codes.is_success(status):
            raise SamplerError(
                f"vLLM server {self.url} answers {path} with {status}: {reason(content)}"
            )
        try:
            return read(json.loads(content))
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            raise SamplerError(
                f"server {self.url} answers {path} otherwise than vLLM would; {HOW}"
            ) from error

    async def _reach(
        self, method: str, path: str, body: object = None, longest: int = SHORT
    ) -> tuple[int, bytes]:
        """Status and content of the answer of the server, tried a few times if it is not there."""
        for pause in (*PAUSES, None):
            try:
                with fail_after(self.timeout):
                    return await self._answer(method, path, body, longest)
            except (TimeoutError, httpx2.ReadTimeout, httpx2.WriteTimeout) as error:
                raise SamplerError(
                    f"vLLM server {self.url} did not answer within {self.timeout:g} seconds "
                    "(vllm_timeout)"
                ) from error
            except httpx2.RequestError as error:
                if pause is None:
                    raise SamplerError(
                        f"vLLM server {self.url} cannot be reached, tried {len(PAUSES) + 1} times "
                        f"({one_line(error) or type(error).__name__}); {HOW}"
                    ) from error
                await sleep(pause)
        raise AssertionError("the last attempt returns or raises")

    async def _answer(
        self, method: str, path: str, body: object, longest: int
    ) -> tuple[int, bytes]:
        content = bytearray()
        async with self.client.stream(method, path, json=body) as response:
            async for part in response.aiter_bytes():
                content += part
                if len(content) > longest:
                    raise SamplerError(
                        f"server {self.url} answers {path} with more than {longest} bytes, "
                        f"otherwise than vLLM would; {HOW}"
                    )
        return response.status_code, bytes(content)


def _first(error: Exception) -> Exception:
    """The first error of a group, which may be one of groups."""
    return _first(error.exceptions[0]) if isinstance(error, ExceptionGroup) else error
