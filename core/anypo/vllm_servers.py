"""vLLM on servers, over HTTP: `anypo serve MODEL` starts one."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx2
from transformers import PreTrainedConfig, PreTrainedModel

from anypo.errors import ConfigError, SamplerError
from anypo.vllm_sampler import Completion, Request
from anypo.vllm_weights import weights_file
from anypo.vllm_worker import shape

AT_A_TIME = 64  # requests per server
PAUSES = (1.0, 2.0, 4.0)  # seconds before every further attempt
LOOPBACK = {"localhost", "127.0.0.1", "::1"}
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
        _check_addresses(urls, exchange)
        self.servers = [Server(url, timeout) for url in urls]
        self.exchange = exchange
        self.run, self.updates = uuid.uuid4().hex[:8], 0
        self.threads = ThreadPoolExecutor(AT_A_TIME * len(urls))
        described = [server.describe() for server in self.servers]
        for server, found in zip(self.servers, described, strict=True):
            server.check(found, shape(config))
        self.dtype = described[0]["dtype"]
        self.max_length = min(found["max_length"] for found in described)

    def generate(self, requests: Sequence[Request]) -> list[list[Completion]]:
        """See `anypo.vllm_sampler.Engine`.

        Raises:
            SamplerError: A server is gone, or does not have the weights that were sent last.
        """
        self._check_versions()
        jobs = [
            self.threads.submit(self.servers[index % len(self.servers)].complete, request)
            for index, request in enumerate(requests)
        ]
        try:
            answers = [job.result() for job in jobs]
        finally:
            for job in jobs:
                job.cancel()
        self._check_versions()  # a server that was restarted meanwhile had other weights
        return answers

    def load(self, model: PreTrainedModel) -> None:
        """See `anypo.vllm_sampler.Engine`.

        Raises:
            SamplerError: A server is gone, or does not take the weights.
        """
        self.updates += 1
        with weights_file(model, self.dtype, self.exchange) as path:
            self._each(lambda server: server.load(path, self._version))

    def close(self) -> None:
        """Leave the servers running, for the next run."""
        self.threads.shutdown(wait=False, cancel_futures=True)
        for server in self.servers:
            server.client.close()

    @property
    def _version(self) -> str:
        return f"{self.run}-{self.updates}"

    def _check_versions(self) -> None:
        self._each(lambda server: server.check_version(self._version))

    def _each(self, do: Callable[[Server], T]) -> list[T]:
        return list(self.threads.map(do, self.servers))


class Server:
    """One vLLM server.

    Args:
        url: Without a path.
        timeout: Seconds that it may take for an answer.
    """

    def __init__(self, url: str, timeout: float) -> None:
        self.url, self.timeout = url.rstrip("/"), timeout
        limits = httpx2.Limits(max_connections=AT_A_TIME)
        patience = httpx2.Timeout(timeout, connect=10.0, pool=None)
        self.client = httpx2.Client(
            base_url=self.url, timeout=patience, limits=limits, trust_env=False
        )

    def describe(self) -> dict[str, Any]:
        """What `WeightReceiver.anypo_describe` says."""
        description: dict[str, Any] = self._call("anypo_describe")[0]
        return description

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

    def check_version(self, wanted: str) -> None:
        """Refuse weights that are not those of the last update.

        Raises:
            SamplerError: The server was restarted, or another run uses it.
        """
        if any(version != wanted for version in self._call("anypo_version")):
            raise SamplerError(
                f"vLLM server {self.url} does not have the weights that it was sent last: it was "
                "restarted, or another run uses it"
            )

    def load(self, path: Path, version: str) -> None:
        """Have the server take over the weights in a file, and forget what it cached."""
        self._call("anypo_load_file", str(path), version)
        if not self._post("/reset_prefix_cache", None).get("success"):
            raise SamplerError(
                f"vLLM server {self.url} does not empty its prefix cache: something else uses it"
            )

    def complete(self, request: Request) -> list[Completion]:
        """The completions of a request."""
        body = {
            "prompt": request.prompt,
            "return_token_ids": True,
            "return_tokens_as_token_ids": True,
            **request.parameters,
        }
        choices = self._post("/v1/completions", body)["choices"]
        return [
            Completion(choice["token_ids"], choice["logprobs"]["token_logprobs"])
            for choice in sorted(choices, key=lambda choice: choice["index"])
        ]

    def _call(self, method: str, *arguments: str) -> list[Any]:
        """What every worker of the server answers."""
        answer = self._post("/collective_rpc", {"method": method, "args": arguments})
        results: list[Any] = answer["results"]
        return results

    def _post(self, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        response = self._reach(path, body)
        if response.status_code == httpx2.codes.NOT_FOUND:
            raise SamplerError(f"vLLM server {self.url} knows no {path}; {HOW}")
        if response.is_error:
            raise SamplerError(
                f"vLLM server {self.url} answers {path} with {response.status_code}: "
                f"{_reason(response)}"
            )
        answer: dict[str, Any] = response.json()
        return answer

    def _reach(self, path: str, body: dict[str, Any] | None) -> httpx2.Response:
        """The answer of the server, tried a few times if it is not there."""
        for pause in (*PAUSES, None):
            try:
                return self.client.post(path, json=body)
            except (httpx2.ReadTimeout, httpx2.WriteTimeout) as error:
                raise SamplerError(
                    f"vLLM server {self.url} did not answer within {self.timeout:g} seconds "
                    "(vllm_timeout)"
                ) from error
            except httpx2.TransportError as error:
                if pause is None:
                    raise SamplerError(
                        f"vLLM server {self.url} cannot be reached, tried "
                        f"{len(PAUSES) + 1} times ({error or type(error).__name__}); {HOW}"
                    ) from error
                time.sleep(pause)
        raise AssertionError("the last attempt returns or raises")


def _check_addresses(urls: Sequence[str], exchange: str | None) -> None:
    for url in urls:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"vllm_url '{url}' is no URL such as http://127.0.0.1:8000")
        if parts.hostname not in LOOPBACK and exchange is None:
            raise ConfigError(
                f"vLLM server {url} is on another machine: name with vllm_exchange a directory "
                "that both see"
            )
    if len(set(urls)) < len(urls):
        raise ConfigError("vllm_url names a server twice")
    if exchange is not None and not Path(exchange).is_dir():
        raise ConfigError(f"vllm_exchange '{exchange}' is no directory")


def _reason(response: httpx2.Response) -> str:
    with suppress(ValueError, KeyError, TypeError):
        return " ".join(str(response.json()["error"]["message"]).split())[:300]
    return " ".join(response.text.split())[:300]
