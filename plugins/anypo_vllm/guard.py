"""A password for all that a vLLM server does; by itself, vLLM asks for one to sample alone."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from secrets import compare_digest
from typing import Any

from anypo_vllm.addresses import KEY

NAME = "anypo_vllm.guard.Guard"
OPEN = ("/health",)  # which tells nothing


class Guard:
    """ASGI middleware that answers only whoever knows the key of the server's environment.

    Args:
        app: What is guarded.
    """

    def __init__(self, app: Callable[..., Awaitable[None]]) -> None:
        self.app, self.wanted = app, f"Bearer {os.environ[KEY]}".encode()

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Pass a request on, or answer 401."""
        given = dict(scope.get("headers", ())).get(b"authorization", b"")
        asks = scope["type"] in ("http", "websocket") and scope["path"] not in OPEN
        if not asks or compare_digest(given, self.wanted):
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await send({"type": "http.response.start", "status": 401, "headers": []})
            await send({"type": "http.response.body", "body": b"the key is wrong or missing"})
