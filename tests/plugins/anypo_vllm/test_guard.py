"""The guard of a server, asked as an HTTP server would ask it."""

import asyncio

import pytest

from anypo_vllm.guard import Guard


@pytest.fixture
def asked(monkeypatch):
    """What is answered to a request; `through` if it is passed on."""
    monkeypatch.setenv("VLLM_API_KEY", "geheim")
    sent = []

    async def app(scope, receive, send):
        sent.append("through")

    async def send(message):
        sent.append(message.get("status", message["type"]))

    def asked(path="/collective_rpc", key=None, kind="http"):
        headers = [] if key is None else [(b"authorization", key)]
        scope = {"type": kind, "path": path, "headers": headers}
        asyncio.run(Guard(app)(scope, None, send))
        return sent[0]

    return asked


@pytest.mark.parametrize("path", ["/collective_rpc", "/reset_prefix_cache", "/v1/completions"])
@pytest.mark.parametrize("key", [None, b"", b"Bearer", b"Bearer wrong", b"geheim", b"Bearer \xe9"])
def test_who_does_not_know_the_key_is_refused(asked, path, key):
    assert asked(path, key) == 401


def test_who_knows_it_passes(asked):
    assert asked(key=b"Bearer geheim") == "through"


def test_whether_the_server_is_there_is_no_secret(asked):
    assert asked("/health") == "through"


def test_sockets_are_guarded_too(asked):
    assert asked(kind="websocket") == "websocket.close"


def test_the_start_of_the_server_passes(asked):
    assert asked(kind="lifespan") == "through"
