import socket
import urllib.error
from email.message import Message
from types import SimpleNamespace

import anyio
import httpx2
import pytest

from anypo import retried
from anypo.support import retries
from anypo.support.retries import PATIENCE, Patience, is_passing

REQUEST = httpx2.Request("POST", "http://127.0.0.1")


def answered(status):
    """What httpx raises of an answer with a status."""
    return httpx2.HTTPStatusError("", request=REQUEST, response=httpx2.Response(status))


def with_attributes(**attributes):
    """An exception as some clients raise it."""
    return type("APIError", (Exception,), attributes)()


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError(),
        ConnectionResetError(),
        TimeoutError(),
        socket.gaierror(),
        urllib.error.URLError("refused"),
        urllib.error.HTTPError("http://a", 503, "", Message(), None),
        httpx2.ConnectError("refused"),
        httpx2.ReadTimeout("slow"),
        httpx2.RemoteProtocolError("gone"),
        answered(429),
        answered(500),
        answered(503),
        with_attributes(status_code=429),
        with_attributes(status=502),
        with_attributes(response=SimpleNamespace(status_code=500)),
        type("APIConnectionError", (Exception,), {})(),
    ],
    ids=repr,
)
def test_what_may_be_otherwise_the_next_time(error):
    assert is_passing(error)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("TimeoutError"),
        FileNotFoundError(),
        PermissionError(),
        KeyError("score"),
        urllib.error.HTTPError("http://a", 404, "", Message(), None),
        answered(400),
        answered(401),
        with_attributes(status_code=404),
        with_attributes(code="rate_limit_exceeded"),
        type("APIConnectionError", (Exception,), {"status_code": 400})(),
    ],
    ids=repr,
)
def test_what_will_be_the_same_the_next_time(error):
    assert not is_passing(error)


def test_pauses_grow_up_to_a_limit():
    patience = Patience(retries=9)
    pauses = [patience.pause(attempt, TimeoutError()) for attempt in range(9)]
    assert pauses == [1, 2, 4, 8, 16, 30, 30, 30, 30]
    with pytest.raises(TimeoutError):
        patience.pause(9, TimeoutError())
    assert patience.again == 9


def test_a_request_is_made_again_as_often_as_the_reward_that_makes_it(monkeypatch):
    monkeypatch.setattr(retries, "FIRST_PAUSE", 0.0)
    made = []

    async def ask():
        made.append(len(made))
        raise ConnectionError

    async def within(patience):
        PATIENCE.set(patience)
        await retried(ask)

    with pytest.raises(ConnectionError):
        anyio.run(within, Patience(retries=2))
    assert len(made) == 3


def test_outside_of_a_reward_it_is_made_once():
    made = []

    async def ask():
        made.append(len(made))
        raise ConnectionError

    with pytest.raises(ConnectionError):
        anyio.run(retried, ask)
    assert len(made) == 1
