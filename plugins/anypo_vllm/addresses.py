"""Where servers are, and how they are asked for."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import httpx2

from anypo import ConfigError

KEY = "VLLM_API_KEY"  # the environment variable of the password, which vLLM itself reads
LAST_PORT = 65535
LOOPBACK = {"localhost", "127.0.0.1", "::1"}


def addresses(url: str) -> list[str]:
    """The servers that the option names, separated by commas."""
    return [part.strip().rstrip("/") for part in url.split(",")]


def check_addresses(urls: Sequence[str], exchange: str | None) -> None:
    """Refuse what cannot be the address of a server, or what nobody else may read.

    Raises:
        ConfigError: One is no URL, holds a password, or is named twice; or servers on other
            machines have no directory by which to get weights.
    """
    for url in urls:
        parts = _parsed(url)
        if parts.userinfo or parts.query:
            raise ConfigError(
                "vllm_url holds a name, a password or a query, and would be written down: leave it "
                f"out, and put the key of the server into the environment variable {KEY}"
            )
        if parts.host not in LOOPBACK and exchange is None:
            raise ConfigError(
                f"vLLM server {url} is on another machine: name with vllm_exchange a directory "
                "that both see"
            )
    if len(set(urls)) < len(urls):
        raise ConfigError("vllm_url names a server twice")
    if exchange is not None and not Path(exchange).is_dir():
        raise ConfigError(f"vllm_exchange '{exchange}' is no directory")


def authorization() -> dict[str, str]:
    """The header by which a server knows who asks; none without a key."""
    key = os.environ.get(KEY)
    return {"authorization": f"Bearer {key}"} if key else {}


def _parsed(url: str) -> httpx2.URL:
    try:
        parts = httpx2.URL(url)
    except httpx2.InvalidURL:
        parts = httpx2.URL("")
    has_port = parts.port is None or parts.port <= LAST_PORT
    if parts.scheme not in ("http", "https") or not parts.host or not has_port:
        known = url.rpartition("@")[2]  # before it stands the password
        raise ConfigError(f"vllm_url '{known}' is no URL such as http://127.0.0.1:8000")
    return parts
