"""The client of vLLM servers, against one that is made up: vLLM need not be installed."""

import asyncio
import json
import queue
import signal
import threading
import time
from contextlib import suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import anyio
import pytest
import torch
from safetensors.torch import load_file

from anypo import ConfigError, Prompt, SamplerError, SamplingRequest
from anypo_vllm.sampler import Generated, VLLMEngine
from anypo_vllm.servers import PAUSES, Servers
from anypo_vllm.worker import shape

PROMPTS = [Prompt([65, 66 + i], "") for i in range(5)]
END = 7
ENDLESS = object()  # an answer
SHARES = (3, 2)  # of the prompts, on two servers


class FakeServer:
    """Answers as a vLLM server would, unless it is told not to."""

    def __init__(self, config):
        self.description = {
            "model": shape(config),
            "dtype": "float32",
            "max_length": 100,
            "logprobs": "processed_logprobs",
        }
        self.version, self.keeps_cache, self.errors = "none", False, {}
        self.prompts, self.bodies, self.weights, self.resets = [], [], {}, 0
        self.health, self.silent, self.keys = 200, False, set()
        self.asked, self.given_up = queue.Queue(), queue.Queue()
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                fake.keys.add(self.headers.get("authorization"))
                length = int(self.headers.get("content-length", 0))
                body = json.loads(self.rfile.read(length) or "null")
                fake.asked.put(self.path)
                if fake.silent and self.path == "/v1/completions":
                    self.rfile.read()  # until the client leaves
                    fake.given_up.put(body["prompt"])
                    return
                status, answer = fake.answer(self.path, body)
                if status is None:
                    self.connection.close()
                    return
                self.send_response(status)
                if answer is ENDLESS:
                    self.end_headers()
                    fake.write_on(self.wfile)
                    return
                data = json.dumps(answer).encode()
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def do_GET(self):
                fake.asked.put(self.path)
                self.send_response(fake.health)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.handle_error = lambda *_: None  # a client that gave up is part of the test
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    def answer(self, path, body):
        if self.errors.get(path):
            return self.errors[path].pop(0)
        if path == "/v1/completions":
            return 200, self.completed(body)
        if path == "/reset_prefix_cache":
            self.resets += 1
            return 200, {"success": not self.keeps_cache}
        return 200, {"results": [getattr(self, body["method"])(*body["args"])]}

    def completed(self, body):
        self.prompts.append(body["prompt"])
        self.bodies.append(body)
        choices = [
            {
                "index": i,
                "token_ids": [body["prompt"][-1], i, END],
                "logprobs": {"token_logprobs": [-1.0, -2.0, -3.0]},
            }
            for i in range(body["n"])
        ]
        return {"choices": choices[::-1]}

    def anypo_describe(self):
        return self.description

    def anypo_version(self):
        return self.version

    def anypo_load_file(self, path, version):
        self.weights, self.path, self.version = load_file(path), path, version

    def write_on(self, file):
        """Write without end, every so often; note how much until the client leaves."""
        self.written = 0
        with suppress(OSError):
            while self.written < 2**28:
                self.written += file.write(b" " * self.piece)
                time.sleep(self.pause)

    def wait_for(self, path, times=1):
        """Until it has been asked for a path that often, since this was last waited for."""
        while times:
            times -= self.asked.get() == path

    def fall_ill(self):
        self.health = 503

    def stop(self):
        """Listen no longer; what is asked already stays as it is."""
        self.http.shutdown()
        self.http.server_close()


@pytest.fixture
def fakes(model):
    """Two servers."""
    servers = [FakeServer(model.config) for _ in range(2)]
    yield servers
    for server in servers:
        server.stop()


@pytest.fixture(autouse=True)
def pauses(monkeypatch):
    """How long the client waited before further attempts, without any waiting."""
    waited = []

    async def sleep(seconds):
        if seconds in PAUSES:
            waited.append(seconds)
        else:
            await anyio.sleep(seconds)

    monkeypatch.setattr("anypo_vllm.servers.sleep", sleep)
    return waited


def connect(fakes, model, **options):
    return Servers([fake.url for fake in fakes], model.config, **{"timeout": 5.0, **options})


@pytest.fixture
def engine(fakes, model):
    """A client with the weights sent."""
    engine = connect(fakes, model)
    engine.load(model)
    yield engine
    engine.close()


def sampled(engine, n=2, seed=0, **parameters):
    torch.manual_seed(seed)
    request = SamplingRequest(PROMPTS, n, (END,), 9, temperature=0.7, **parameters)
    return VLLMEngine(engine).sample(request)


def test_the_servers_share_the_prompts_and_samples_come_in_order(engine, fakes):
    samples = sampled(engine)
    assert [s.group for s in samples] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert [s.completion_ids for s in samples][:3] == [[66, 0, END], [66, 1, END], [67, 0, END]]
    assert samples[0].logprobs == [-1.0, -2.0, -3.0]
    assert not samples[0].truncated
    assert sorted(len(fake.prompts) for fake in fakes) == [2, 3]


def test_a_request_leaves_nothing_to_a_default(engine, fakes):
    sampled(engine)
    body = fakes[0].bodies[0]
    wanted = {"temperature": 0.7, "top_p": 1.0, "top_k": -1, "min_p": 0.0, "max_tokens": 9}
    wanted |= {"repetition_penalty": 1.0, "ignore_eos": True, "stop_token_ids": [END]}
    wanted |= {"return_token_ids": True, "logprobs": 0, "n": 2}
    assert wanted.items() <= body.items()


def test_what_is_asked_for_is_told(engine, fakes):
    text = {"stop": ("B",), "decode": lambda ids: "".join(map(chr, ids))}
    samples = sampled(engine, top_p=0.9, top_k=7, **text)
    wanted = {"top_p": 0.9, "top_k": 7, "stop": ["B"]}
    assert wanted.items() <= fakes[0].bodies[0].items()
    assert (samples[0].completion_ids, samples[0].logprobs) == ([66], [-1.0])
    assert not samples[0].truncated
    assert samples[2].completion_ids == [67, 0, END]


class Short:
    """A backend whose completions have no end, and are shorter than they may be."""

    max_length = 100

    def generate(self, requests):
        return [[Generated([66, 65], [-1.0, -2.0])] for _ in requests]


def test_a_completion_without_end_is_refused_unless_a_text_has_ended_it():
    with pytest.raises(SamplerError, match="broke off a completion after 2 tokens"):
        sampled(Short(), n=1)
    samples = sampled(Short(), n=1, stop=("A",), decode=lambda ids: "")
    assert [s.truncated for s in samples] == [False] * len(PROMPTS)


def test_seeds_come_from_torch_and_differ_between_prompts(engine, fakes):
    seeds = []
    for seed in (0, 0, 1):
        sampled(engine, seed=seed)
        seeds.append(sorted(body["seed"] for fake in fakes for body in fake.bodies))
        for fake in fakes:
            fake.bodies.clear()
    assert seeds[0] == seeds[1] != seeds[2]
    assert len(set(seeds[0])) == len(PROMPTS)


def test_every_server_gets_the_weights_tied_ones_once_and_the_file_is_gone(engine, fakes, model):
    for fake in fakes:
        assert fake.weights.keys() == dict(model.named_parameters()).keys()
        assert torch.equal(fake.weights["model.norm.weight"], model.model.norm.weight)
        assert fake.resets == 1
        assert not Path(fake.path).exists()


def test_weights_are_sent_in_the_precision_of_the_server(fakes, model, tmp_path):
    for fake in fakes:
        fake.description["dtype"] = "bfloat16"
    engine = connect(fakes, model, exchange=str(tmp_path))
    engine.load(model)
    assert {tensor.dtype for tensor in fakes[0].weights.values()} == {torch.bfloat16}
    assert Path(fakes[0].path).is_relative_to(tmp_path)
    engine.close()


def test_a_server_without_the_last_weights_is_not_sampled_from(engine, fakes):
    fakes[1].version = "none"
    with pytest.raises(SamplerError, match=rf"{fakes[1].url} does not have the weights"):
        sampled(engine)
    assert not fakes[0].prompts + fakes[1].prompts


def test_a_server_that_is_restarted_while_it_samples_is_noticed(engine, fakes):
    plain = fakes[0].completed

    def restarted(body):
        fakes[0].version = "none"
        return plain(body)

    fakes[0].completed = restarted
    with pytest.raises(SamplerError, match="it was restarted"):
        sampled(engine)


def test_a_server_that_keeps_its_prefix_cache_is_refused(engine, fakes, model):
    fakes[0].keeps_cache = True
    with pytest.raises(SamplerError, match="does not empty its prefix cache"):
        engine.load(model)


def test_a_server_of_another_model_is_refused(fakes, model):
    fakes[1].description["model"]["hidden_size"] = 4096
    with pytest.raises(SamplerError, match="another model: its hidden_size is 4096, that of"):
        connect(fakes, model)


def test_a_server_that_reports_other_log_probs_is_refused(fakes, model):
    fakes[0].description["logprobs"] = "raw_logprobs"
    with pytest.raises(SamplerError, match=r"reports raw_logprobs.*anypo serve"):
        connect(fakes, model)


def test_a_server_without_the_routes_is_refused(fakes, model):
    fakes[0].errors["/collective_rpc"] = [(404, {})]
    with pytest.raises(SamplerError, match="knows no /collective_rpc; start it with `anypo serve"):
        connect(fakes, model)


NONSENSE = [{}, [], 5, None, "ok", {"results": []}, {"results": [{}]}, {"results": [5]}]
SAID = {"model": {}, "dtype": "float32", "max_length": 1, "logprobs": ""}
NONSENSE += [{"results": [SAID | change]} for change in ({"dtype": "nn"}, {"max_length": None})]


@pytest.mark.parametrize("answer", [*((200, answer) for answer in NONSENSE), (302, {})])
def test_another_kind_of_server_is_refused(fakes, model, answer):
    fakes[1].errors["/collective_rpc"] = [answer]
    with pytest.raises(SamplerError, match=r"answers /collective_rpc (otherwise|with 302)"):
        connect(fakes, model)


LOGPROBS = {"token_logprobs": [-1.0]}
CHOICE = {"index": 0, "token_ids": [5], "logprobs": LOGPROBS}


@pytest.mark.parametrize(
    "choices",
    [
        5,
        [],
        [CHOICE],  # two are asked for
        [CHOICE, {}],
        [CHOICE, CHOICE | {"token_ids": ["x"]}],
        [CHOICE, CHOICE | {"token_ids": [1.5]}],
        [CHOICE, CHOICE | {"token_ids": [1, 2]}],
        [CHOICE, CHOICE | {"token_ids": None}],
        [CHOICE, CHOICE | {"logprobs": None}],
        [CHOICE, CHOICE | {"logprobs": {"token_logprobs": [None]}}],
        [CHOICE, CHOICE | {"logprobs": {"token_logprobs": [float("nan")]}}],
    ],
)
def test_completions_that_are_none_are_refused(engine, fakes, choices):
    fakes[0].errors["/v1/completions"] = [(200, {"choices": choices})]
    with pytest.raises(SamplerError, match=r"answers /v1/completions otherwise than vLLM would"):
        sampled(engine)


@pytest.mark.parametrize("versions", [[], [["x"]]])
def test_a_server_that_tells_no_version_has_not_the_last_weights(engine, fakes, versions):
    fakes[0].errors["/collective_rpc"] = [(200, {"results": versions})]
    with pytest.raises(SamplerError, match=r"does not have the weights|otherwise than vLLM"):
        sampled(engine)


def test_an_endless_answer_is_not_read_to_its_end(engine, fakes):
    fakes[0].piece, fakes[0].pause = 2**16, 0.0
    fakes[0].errors["/v1/completions"] = [(200, ENDLESS)]
    with pytest.raises(SamplerError, match=r"with more than 10\d{5} bytes, otherwise than vLLM"):
        sampled(engine)
    assert fakes[0].written < 2**27


def test_an_answer_that_trickles_is_given_up_in_time(fakes, model):
    fakes[0].piece, fakes[0].pause = 1, 0.05
    fakes[0].errors["/collective_rpc"] = [(200, ENDLESS)]
    with pytest.raises(SamplerError, match=r"did not answer within 0\.5 seconds"):
        connect(fakes, model, timeout=0.5)


def test_the_key_is_told_in_every_call(fakes, model, monkeypatch):
    monkeypatch.setenv("VLLM_API_KEY", "geheim")
    engine = connect(fakes, model)
    engine.load(model)
    sampled(engine)
    assert [fake.keys for fake in fakes] == [{"Bearer geheim"}] * 2


def test_a_server_that_wants_a_key_says_where_to_put_it(fakes, model):
    fakes[0].errors["/collective_rpc"] = [(401, {})]
    with pytest.raises(SamplerError, match=r"wants a key: .*variable VLLM_API_KEY$"):
        connect(fakes, model)
    assert fakes[0].keys == {None}


def test_a_terminal_obeys_nothing_that_a_server_says(engine, fakes):
    fakes[0].errors["/v1/completions"] = [(400, {"error": {"message": "\x1b[31mred"}})]
    with pytest.raises(SamplerError, match=r"with 400: red$"):
        sampled(engine)


def test_what_a_server_says_is_wrong_is_shown(engine, fakes):
    fakes[0].errors["/v1/completions"] = [(400, {"error": {"message": "too\nlong"}})]
    with pytest.raises(SamplerError, match=r"answers /v1/completions with 400: too long$"):
        sampled(engine)


def test_a_connection_that_breaks_is_tried_again(engine, fakes, pauses):
    fakes[0].errors["/v1/completions"] = [(None, None)] * 2
    assert len(sampled(engine)) == 10
    assert pauses.count(1.0) >= 1


def test_a_server_that_is_gone_is_given_up_after_a_few_attempts(engine, fakes, pauses):
    fakes[1].stop()
    with pytest.raises(SamplerError, match=r"cannot be reached, tried 4 times .*anypo serve"):
        sampled(engine)
    assert pauses == [1.0, 2.0, 4.0]


def test_a_server_that_hangs_is_given_up(fakes, model):
    engine = connect(fakes, model, timeout=0.2)
    engine.load(model)
    hangs = threading.Event()
    fakes[0].completed = lambda body: hangs.wait(5)
    with pytest.raises(SamplerError, match=r"did not answer within 0\.2 seconds \(vllm_timeout\)"):
        sampled(engine)
    hangs.set()
    engine.close()


@pytest.fixture
def patient(fakes, model, monkeypatch):
    """A client that waits long for an answer, and looks often whether the servers are there."""
    monkeypatch.setattr("anypo_vllm.servers.WATCH_EVERY", 0.05)
    engine = connect(fakes, model, timeout=600.0)
    engine.load(model)
    yield engine
    engine.close()


def once_asked(fakes, do):
    """A thread that does something as soon as all prompts have reached their servers."""

    def wait_and_do():
        for fake, share in zip(fakes, SHARES, strict=True):
            fake.wait_for("/v1/completions", times=share)
        do()

    thread = threading.Thread(target=wait_and_do)
    thread.start()
    return thread


@pytest.fixture
def heard():
    """Ctrl-C is heard, also where who started the tests ignores it, as `nohup` does."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def interrupt():
    """As Ctrl-C does."""
    signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)


def threads():
    """All but those in which a server answers."""
    return {t for t in threading.enumerate() if "process_request_thread" not in t.name}


@pytest.mark.usefixtures("heard")
@pytest.mark.parametrize(
    ("happens", "error", "reason"),
    [
        (FakeServer.stop, SamplerError, r"cannot be reached, tried 4 times .*anypo serve"),
        (FakeServer.fall_ill, SamplerError, r"no longer has an engine.*anypo serve"),
        (lambda _: interrupt(), KeyboardInterrupt, None),
    ],
    ids=["the server stops listening", "its engine is dead", "Ctrl-C"],
)
def test_requests_that_nobody_will_answer_are_given_up(patient, fakes, happens, error, reason):
    for fake in fakes:
        fake.silent = True
    before = threads()
    happening = once_asked(fakes, lambda: happens(fakes[0]))
    with pytest.raises(error, match=reason):
        sampled(patient)
    happening.join()
    for fake, share in zip(fakes, SHARES, strict=True):
        assert len([fake.given_up.get() for _ in range(share)]) == share
    assert threads() <= before


def test_a_server_that_takes_its_time_is_left_alone(patient, fakes, monkeypatch):
    """It is asked whether it is there although it has as many requests as it may."""
    monkeypatch.setattr("anypo_vllm.servers.AT_A_TIME", 1)

    def slowly(fake, complete, body):
        fake.asked = queue.Queue()
        fake.wait_for("/health")
        return complete(body)

    for fake in fakes:
        fake.completed = partial(slowly, fake, fake.completed)
    assert len(sampled(patient)) == 10


def test_it_samples_inside_a_running_event_loop_as_in_a_notebook(engine):
    async def cell():
        return sampled(engine)

    assert len(asyncio.run(cell())) == 10


@pytest.mark.parametrize(
    ("urls", "reason"),
    [
        (["127.0.0.1:8000"], "is no URL"),
        (["http://far.example:8000"], "name with vllm_exchange a directory"),
        (["http://localhost:1", "http://localhost:1"], "names a server twice"),
    ],
)
def test_addresses_that_cannot_work_are_refused(model, urls, reason):
    with pytest.raises(ConfigError, match=reason):
        Servers(urls, model.config, timeout=1.0)
