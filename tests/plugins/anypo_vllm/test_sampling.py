"""Both ways of sampling with vLLM, against the trainer's own log-probs."""

import os
import random
from dataclasses import replace

import pytest
import torch
from transformers import Qwen3ForCausalLM

from anypo import (
    ConfigError,
    Prompt,
    Runtime,
    SamplerError,
    SamplingRequest,
    collate,
    score_tokens,
)
from anypo.models.adapters import add_lora
from anypo.models.options import AdapterOptions
from anypo.testing import Status, check_sampler
from anypo_tasks.addition.model import build_model
from anypo_vllm.engine import LocalEngine
from anypo_vllm.sampler import VLLMEngine
from anypo_vllm.servers import Servers

pytest.importorskip("vllm")
pytestmark = [pytest.mark.vllm, pytest.mark.timeout(400)]

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
DTYPE = os.environ.get("ANYPO_TEST_DTYPE", "bfloat16" if DEVICE == "cuda" else "float32")
CLOSE, FAR = (1e-4, 0.1) if DTYPE == "float32" else (0.4, 0.6)  # nats

ENDS = tuple(range(40))  # often enough that some completions end and some do not
PROMPTS = [Prompt(list(range(50, 50 + n)), "") for n in (4, 1, 7, 2, 3)]
BLOCK = 128  # tokens of a block of the prefix cache on a CPU


def long_prompts():
    draw = random.Random(0)
    return [Prompt([draw.randrange(256) for _ in range(n)], "") for n in (300, 2 * BLOCK, 40)]


def local_engine(model, folder):
    model.save_pretrained(folder)
    return LocalEngine(
        str(folder), model.config, device=DEVICE, dtype=DTYPE, max_length=400, memory=0.3
    )


def randomised(tokenizer, tied):
    """The built-in model, with random weights large enough for its choices to differ."""
    config = build_model(tokenizer, seed=0).config
    config.tie_word_embeddings = tied
    model = Qwen3ForCausalLM(config).eval()
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=0.2, generator=random)
    return model.to(DEVICE)


WAYS = ["in process", "in process, untied", "in process, adapted", "server"]


@pytest.fixture(scope="module", params=WAYS)
def engine_and_model(request, tokenizer, tmp_path_factory):
    """An engine with the weights of a model."""
    model = randomised(tokenizer, tied="untied" not in request.param)
    if request.param == "server":
        url = request.getfixturevalue("vllm_server").url
        engine = Servers([url], model.config, timeout=60)
    else:
        engine = local_engine(model, tmp_path_factory.mktemp("engine"))
        if "adapted" in request.param:
            add_lora(model, "base", AdapterOptions(lora_rank=4, lora_alpha=8))
    engine.load(model)
    yield engine, model
    engine.close()


@pytest.fixture
def engine(engine_and_model):
    """The engine alone, with its weights up to date."""
    engine, model = engine_and_model
    engine.load(model)
    return engine


@pytest.fixture
def policy(engine_and_model):
    """The model that the engine follows, which gets its weights back."""
    _, model = engine_and_model
    before = [p.detach().clone() for p in model.parameters()]
    yield model
    with torch.no_grad():
        for parameter, value in zip(model.parameters(), before, strict=True):
            parameter.copy_(value)


def sampled(engine, temperature=0.7, n=4, prompts=PROMPTS, seed=0, length=12):
    torch.manual_seed(seed)
    request = SamplingRequest(prompts, n, ENDS, length, temperature)
    return VLLMEngine(engine).sample(request)


def mismatch(policy, samples, temperature):
    """The largest difference between the log-probs of the sampler and of the trainer."""
    batch = collate([replace(sample, reward=0.0) for sample in samples]).to(policy.device)
    half = DTYPE == "bfloat16"
    with torch.no_grad(), torch.autocast(DEVICE, dtype=torch.bfloat16, enabled=half):
        logprobs = score_tokens(policy, batch, temperature=temperature).logprobs
    return (logprobs - batch.sampler_logprobs).abs().max().item()


@pytest.mark.parametrize("on_a_server", [False, True], ids=["in process", "server"])
def test_it_keeps_the_rules_of_all_samplers(on_a_server, model_dir, request):
    options, shape = {}, None
    if on_a_server:
        options, shape = {"url": request.getfixturevalue("vllm_server").url}, model_dir
    runtime = Runtime(torch.device(DEVICE), getattr(torch, DTYPE))
    report = check_sampler("vllm", options=options, model=shape, runtime=runtime)
    report.raise_if_failed()
    assert {result.status for result in report.results} == {Status.PASSED}


def test_a_text_ends_a_completion_and_a_server_stops_there(engine, tokenizer):
    torch.manual_seed(0)
    stop, end = "e", tokenizer.eos_token_id
    request = SamplingRequest(PROMPTS, 8, (end,), 200, stop=(stop,), decode=tokenizer.decode)
    drawn = []
    plain, engine.generate = engine.generate, lambda asked: drawn.append(plain(asked)) or drawn[0]
    samples = VLLMEngine(engine).sample(request)
    del engine.generate
    stopped = [s for s in samples if stop in tokenizer.decode(s.completion_ids)]
    assert len(stopped) > 3
    assert not [
        s for s in stopped if s.truncated or stop in tokenizer.decode(s.completion_ids[:-1])
    ]
    lengths = [len(completion.ids) for answer in drawn[0] for completion in answer]
    if isinstance(engine, Servers):
        assert lengths == [len(s.completion_ids) for s in samples]


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_log_probs_are_those_of_the_distribution_sampled_from(engine, policy, temperature):
    samples = sampled(engine, temperature)
    assert mismatch(policy, samples, temperature) < CLOSE
    assert mismatch(policy, samples, temperature + 0.3) > FAR


def move(policy):
    """Change all weights that are trained, as an optimizer step would."""
    with torch.no_grad():
        for parameter in policy.parameters():
            if parameter.requires_grad:
                parameter.add_(0.02 * torch.randn_like(parameter))


def test_more_prompts_than_vllm_reads_at_once(engine, policy):
    draw = random.Random(0)
    prompts = [Prompt([draw.randrange(256) for _ in range(290)], "") for _ in range(20)]
    assert mismatch(policy, sampled(engine, n=2, prompts=prompts), 0.7) < CLOSE


def test_log_probs_follow_every_one_of_20_updates(engine, policy):
    """On prompts longer than a block of the prefix cache, which an update makes worthless."""
    prompts = long_prompts()
    for update in range(20):
        samples = sampled(engine, 1.0, prompts=prompts, seed=update)
        assert mismatch(policy, samples, 1.0) < CLOSE
        move(policy)
        assert mismatch(policy, samples, 1.0) > FAR, "the update is too small to prove anything"
        engine.load(policy)


def test_without_a_sync_the_samples_are_of_the_old_weights(engine, policy):
    move(policy)
    assert mismatch(policy, sampled(engine, prompts=long_prompts()), 0.7) > FAR


def test_a_prompt_without_room_is_refused(engine):
    with pytest.raises(ConfigError, match=r"vLLM takes .* together"):
        sampled(engine, length=300, prompts=[Prompt([65] * 250, "")])


def test_weights_that_do_not_arrive_are_noticed(engine, policy, monkeypatch):
    known = policy.state_dict(keep_vars=True)
    del known["model.norm.weight"]
    monkeypatch.setattr(policy, "state_dict", lambda **_: known)
    with pytest.raises(SamplerError, match=r"no weights came for model\.norm\.weight"):
        engine.load(policy)


def pretend_to_reset(engine, monkeypatch, success):
    """Have the prefix cache stay as it is, whatever is said of it."""
    if isinstance(engine, LocalEngine):
        monkeypatch.setattr(engine.llm, "reset_prefix_cache", lambda: success)
        return
    for server in engine.servers:

        async def post(path, *rest, ask=server._post):
            return success if path == "/reset_prefix_cache" else await ask(path, *rest)

        monkeypatch.setattr(server, "_post", post)


def test_an_engine_that_keeps_its_prefix_cache_is_refused(engine, policy, monkeypatch):
    pretend_to_reset(engine, monkeypatch, success=False)
    with pytest.raises(SamplerError, match="does not empty its prefix cache"):
        engine.load(policy)


def test_a_prefix_cache_that_is_not_emptied_would_be_noticed(engine, policy, monkeypatch):
    sampled(engine, prompts=long_prompts())
    move(policy)
    pretend_to_reset(engine, monkeypatch, success=True)
    engine.load(policy)
    assert mismatch(policy, sampled(engine, prompts=long_prompts()), 0.7) > FAR


def test_the_process_is_left_as_it_was(tokenizer, tmp_path):
    model = randomised(tokenizer, tied=True)
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    engine = local_engine(model, tmp_path)
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    assert torch.get_num_threads() == threads + 1
    torch.set_num_threads(threads)
    assert torch.rand(1) == expected
    engine.close()
