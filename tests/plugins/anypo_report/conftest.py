"""Runs that nobody ran, and a browser to look at their reports with."""

import json
import os
import shutil
import subprocess
from functools import partial
from itertools import count

import pytest

from anypo import compose
from anypo.runs.provenance import describe
from anypo_cli.app import main

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
OPTIONS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
    "--remote-debugging-pipe",
]
COMPLAINTS = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
PHASES = {"seconds/rollout": 0.5, "seconds/update": 1.5}


@pytest.fixture(scope="session")
def held_out():
    """A held-out row of samples.jsonl."""
    return held_out_row


@pytest.fixture(scope="session")
def trained():
    """A training row of samples.jsonl."""
    return trained_row


@pytest.fixture(scope="session")
def measured():
    """A row of metrics.jsonl, of a step of 2 seconds and 200 tokens."""
    return measured_row


def held_out_row(step, group, reward, **others):
    prompt = [{"role": "user", "content": f"held-out {group}"}]
    row = {"step": step, "phase": "eval", "set": "eval", "group": group, "prompt": prompt}
    return row | {"completion": f"eval {step}.{group}", "reward": reward, "scores": {}} | others


def trained_row(step, group, reward, **others):
    row = {"step": step, "phase": "train", "group": group, "prompt": f"prompt {group}"}
    more = {"completion": f"train {step}.{group}", "scores": {"exact": reward, "length": None}}
    return row | more | {"reward": reward, "tokens": 7, "truncated": False} | others


def measured_row(step, **others):
    return {"step": step, **PHASES, "tokens_per_second": 100.0, "loss": 1 / (step + 1), **others}


def jsonl(rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.fixture(scope="session")
def lock_of():
    """What a lock says of an algorithm."""
    return lambda algorithm: json.dumps(describe(compose(algorithm)), default=str)


@pytest.fixture
def make_run(tmp_path, lock_of):
    """Makes a run directory; gives its path."""

    def make_run(name, metrics, samples=(), *, algorithm="grpo", options="steps = 3\n"):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        config = f'algorithm = "{algorithm}"\n{options}[knobs]\ngroup_size = 4\n[hooks]\n'
        (folder / "config.toml").write_text(config)
        (folder / "plugins.lock.json").write_text(lock_of(algorithm))
        (folder / "metrics.jsonl").write_text(jsonl(metrics))
        (folder / "samples.jsonl").write_text(jsonl(samples))
        return folder

    return make_run


@pytest.fixture
def scored(make_run):
    """Makes a run of three steps whose held-out prompts have the given rewards at the end."""

    def scored(name, scores, rewards=(), **options):
        metrics = [{"step": 0, "eval/score": scores[0]}]
        metrics += [measured_row(step, **{"eval/score": scores[step]}) for step in (1, 2, 3)]
        rows = [held_out_row(3, group, reward) for group, reward in enumerate(rewards)]
        return make_run(name, metrics, rows, **options)

    return scored


@pytest.fixture
def call(capsys):
    """Calls the command line; gives status, output and error."""

    def call(*arguments):
        status = main([str(argument) for argument in arguments])
        return status, *capsys.readouterr()

    return call


class Browser:
    """A Chromium without a window, spoken to through a pipe."""

    def __init__(self, program, profile):
        (there, self.out), (self.back, here) = os.pipe(), os.pipe()
        command = [program, *OPTIONS, f"--user-data-dir={profile}"]
        script = f'exec "$@" 3<&{there} 4>&{here}'
        self.process = subprocess.Popen(
            ["bash", "-c", script, "bash", *command],
            pass_fds=(there, here),
            stderr=subprocess.DEVNULL,
        )
        os.close(there)
        os.close(here)
        self.numbers, self.pending, self.events = count(1), b"", []

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self.out)
        os.close(self.back)

    def ask(self, method, session=None, **parameters):
        """What the browser answers; what it tells meanwhile is kept in `events`."""
        message = {"id": next(self.numbers), "method": method, "params": parameters}
        message |= {"sessionId": session} if session else {}
        os.write(self.out, json.dumps(message).encode() + b"\0")
        while True:
            told = self._next()
            if told.get("id") == message["id"]:
                assert "error" not in told, told
                return told["result"]
            self.events.append(told)

    def open(self, path, *, width=1280, dark=False):
        """A tab with a file, as it is when it has been drawn."""
        self.events.clear()
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        tab = Tab(partial(self.ask, session=session), session, self.events)
        for domain in ("Page", "Runtime", "Log", "Network"):
            tab.ask(f"{domain}.enable")
        tab.ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=2400,
            deviceScaleFactor=1,
            mobile=False,
        )
        theme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        tab.ask("Emulation.setEmulatedMedia", features=[theme])
        tab.ask("Page.navigate", url=path.as_uri())
        tab.wait_for("document.readyState === 'complete'")
        return tab

    def _next(self):
        while b"\0" not in self.pending:
            data = os.read(self.back, 2**16)
            assert data, "the browser has ended"
            self.pending += data
        told, _, self.pending = self.pending.partition(b"\0")
        return json.loads(told)


class Tab:
    """A page in a browser."""

    def __init__(self, ask, session, events):
        self.ask, self.session, self.events = ask, session, events

    def run(self, script):
        """The value of an expression."""
        result = self.ask(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def wait_for(self, condition):
        """Until an expression is true; give its value."""
        return self.run(
            "(async () => { for (let i = 0; i < 600; i++) {"
            f" const found = ({condition}); if (found) return found;"
            " await new Promise((go) => setTimeout(go, 50)); }"
            f" throw new Error('never: ' + {json.dumps(condition)}); }})()"
        )

    def text(self, selector):
        return self.run(f"document.querySelector({json.dumps(selector)}).innerText")

    def count(self, selector):
        return self.run(f"document.querySelectorAll({json.dumps(selector)}).length")

    def choose(self, selector, value):
        """Set a control as a user would."""
        self.run(
            f"(() => {{ const it = document.querySelector({json.dumps(selector)});"
            f" it.value = {json.dumps(value)};"
            " for (const name of ['input', 'change']) it.dispatchEvent(new Event(name)); })()"
        )

    def complaints(self):
        """What the console has been told, and what the page asked of others than its own file."""
        events = [event for event in self.events if event.get("sessionId") == self.session]
        asked = [event for event in events if event["method"] == "Network.requestWillBeSent"]
        return [event for event in events if event["method"] in COMPLAINTS] + asked[1:]


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """Chromium, if it is installed."""
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    browser = Browser(program, tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()
