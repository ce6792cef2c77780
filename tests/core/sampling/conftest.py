"""Tokenizers of chat models, and conversations that are held with them."""

import pytest
from tokenizers import AddedToken

from anypo import Prompt, SamplingRequest
from anypo.data.tokens import Tokens
from anypo.sampling.conversations import ConversationSampler, Talking
from anypo.sampling.environments import Environments
from anypo.sampling.load import ChosenEnvironment
from anypo_tasks.addition.model import build_tokenizer

CALLS = (
    "{% for c in m.tool_calls or [] %}<tool_call>\n"
    '{"name": "{{ c.function.name }}", "arguments": {{ c.function.arguments | tojson }}}\n'
    "</tool_call>{% endfor %}"
)
TOOLS = "{% for t in tools or [] %}<|im_start|>system\n{{ t | tojson }}<|im_end|>\n{% endfor %}"
ROLE = "{% for m in messages %}<|im_start|>{{ m.role }}\n"
CHATML = (
    TOOLS + ROLE + "{{ m.content }}" + CALLS + "<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# It opens replies with a thought, and forgets thoughts once another question follows.
THINKING = (
    TOOLS + "{% set ns = namespace(last=0) %}{% for m in messages %}{% if m.role == 'user' %}"
    "{% set ns.last = loop.index0 %}{% endif %}{% endfor %}"
    + ROLE
    + "{% if m.role == 'assistant' and loop.index0 < ns.last %}"
    "{{ m.content.split('</think>')[-1].lstrip() }}{% else %}{{ m.content }}{% endif %}"
    + CALLS
    + "<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n{% endif %}"
)
# It trims what is said, and another token ends a call.
LLAMA = (
    "{{ bos_token }}{% for t in tools or [] %}{{ t | tojson }}{% endfor %}"
    "{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n"
    "{% if m.tool_calls %}"
    '{"name": "{{ m.tool_calls[0].function.name }}", '
    '"parameters": {{ m.tool_calls[0].function.arguments | tojson }}}<|eom_id|>'
    "{% else %}{{ m.content | trim }}<|eot_id|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
TEMPLATES = {"chatml": CHATML, "thinking": THINKING, "llama": LLAMA}
MARKS = ["im_start", "im_end", "start_header_id", "end_header_id", "eot_id", "eom_id", "bos"]
ENDS = {"chatml": ["<|im_end|>"], "thinking": ["<|im_end|>"], "llama": ["<|eot_id|>", "<|eom_id|>"]}


@pytest.fixture(scope="session")
def chat():
    """The byte-level tokenizer with a chat template, and the ids that end replies."""

    def chat(template, ends=("<|im_end|>",)):
        tokenizer = build_tokenizer(template, tags=("<tool_call>", "</tool_call>"))
        marks = [AddedToken(f"<|{name}|>", normalized=False, special=True) for name in MARKS]
        tokenizer.add_special_tokens({"additional_special_tokens": marks})
        tokenizer.bos_token, tokenizer.eos_token = "<|bos|>", ends[0]
        return tokenizer, tuple(tokenizer.convert_tokens_to_ids(list(ends)))

    return chat


@pytest.fixture(params=TEMPLATES)
def spoken(request, chat):
    """The name of a template, its tokenizer, and the ids that end replies."""
    tokenizer, ends = chat(TEMPLATES[request.param], ENDS[request.param])
    return request.param, tokenizer, ends


@pytest.fixture
def talking():
    """How conversations with an environment are held."""

    def talking(make, tokenizer, turns=4, longest=10_000, timeout=10.0, longest_prompt=10_000):
        chosen = ChosenEnvironment("talker", make)
        tokens = Tokens(tokenizer)
        return Talking(Environments(chosen, timeout), tokens, turns, longest, longest_prompt)

    return talking


@pytest.fixture
def conversing(talking):
    """A sampler of conversations with an environment."""

    def conversing(make, engine, tokenizer, ends, limit=40, world=None, **how):
        request = SamplingRequest(end_tokens=ends, max_completion_length=limit)
        given = (engine, request, talking(make, tokenizer, **how))
        return ConversationSampler(*given, *([world] if world else []))

    return conversing


@pytest.fixture
def asked():
    """A prompt of one message."""

    def asked(tokenizer, text="1+1", **columns):
        content = [{"role": "user", "content": text}]
        options = {"tools": columns["tools"]} if "tools" in columns else {}
        ids = Tokens(tokenizer).prompt(content, options=options)
        return Prompt(ids, content, columns)

    return asked
