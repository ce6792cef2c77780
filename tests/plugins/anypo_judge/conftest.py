"""A small OpenAI-compatible server."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


class Server(ThreadingHTTPServer):
    request_queue_size = 64
    daemon_threads = True


class ChatServer:
    """Answers each request with status and content that a function gives for its body."""

    def __init__(self):
        self.answer = lambda body: (200, verdict(0.5))
        self.bodies, self.headers, self.paths = [], [], []
        chat = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                chat.bodies.append(body)
                chat.headers.append(self.headers)
                chat.paths.append(self.path)
                status, content = chat.answer(body)
                self.send_response(status)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_):
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


def said(text):
    """A chat completion with a text."""
    return json.dumps({"choices": [{"message": {"content": text}}]}).encode()


def verdict(score):
    return said(json.dumps({"reason": "so", "score": score}))


@pytest.fixture
def chat(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "JUDGE_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    with ChatServer() as server:
        yield server


@pytest.fixture(name="said")
def _said():
    return said


@pytest.fixture(name="verdict")
def _verdict():
    return verdict
