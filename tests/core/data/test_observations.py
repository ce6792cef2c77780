"""What is said to a reply, as tokens that follow it, by templates of many shapes."""

import pytest
from tokenizers import AddedToken

from anypo.data.observations import Observations
from anypo.data.tokens import Tokens
from anypo.errors import DataError
from anypo_tasks.addition.model import build_tokenizer

ROLE = "{% for m in messages %}<|im_start|>{{ m.role }}\n"
OPENS = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
CHATML = ROLE + "{{ m.content }}<|im_end|>\n{% endfor %}" + OPENS
# Tools stand before the last question only, as Mistral has them.
MOVING = (
    "{% for m in messages %}{% if m.role == 'user' and loop.last %}{{ tools }}{% endif %}"
    "{{ m.content }}<|im_end|>{% endfor %}"
)
# Another token ends the last reply than those before, as gpt-oss has it.
HARMONY = (
    "{% for m in messages %}<|im_start|>{{ m.role }}{{ m.content }}"
    "{{ '<|return|>' if loop.last and m.role == 'assistant' else '<|im_end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant{% endif %}"
)
BARE = (
    "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)
# It wants arguments as a text, and the name of what answers from the call before.
TEXTUAL = (
    "{{ tools }}{% for m in messages %}{{ m.content }}"
    "{% for c in m.tool_calls or [] %}{{ c.function.name + c.function.arguments }}{% endfor %}"
    "{% if m.role == 'tool' %}{{ messages[loop.index0 - 1].tool_calls[0].function.name }}:"
    "{% endif %}<|im_end|>{% endfor %}"
)
DEAF = "{{ tools }}{% for m in messages %}{{ m.content }}<|im_end|>{% endfor %}"
ONE_BY_ONE = (
    "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('user and assistant take turns') }}{% endif %}{{ m.content }}<|im_end|>"
    "{% endfor %}"
)
FORGETFUL = (
    ROLE + "{{ m.content if loop.last else m.content.split('</think>')[-1] }}<|im_end|>\n"
    "{% endfor %}" + OPENS
)
# It knows no tools that answer.
MUTE = "{{ tools }}" + CHATML.replace(
    "{{ m.content }}", "{% if m.role != 'tool' %}{{ m.content }}{{ m.tool_calls }}{% endif %}"
)
# A token of its own ends a call, which is none of those that end replies.
OWN_END = (
    "{{ tools }}{% for m in messages %}{{ m.content }}{% if m.tool_calls %}{{ m.tool_calls }}"
    "<|return|>{% else %}<|im_end|>{% endif %}{% endfor %}"
)
ESCAPING = "{% for m in messages %}{{ m.content | tojson }}<|im_end|>{% endfor %}"
ONE_SYSTEM = (
    "{% for m in messages %}{% if m.role != 'system' or loop.first %}{{ m.content }}<|im_end|>"
    "{% endif %}{% endfor %}"
)
ASKED, AGAIN = ({"role": "user", "content": text} for text in ("1+1", "sure?"))
TOLD = {"role": "tool", "name": "add", "content": "2"}
TOOLS = {"tools": [{"type": "function", "function": {"name": "add", "parameters": {}}}]}


@pytest.fixture
def tokenizer():
    tokenizer = build_tokenizer()
    marks = ("<|im_start|>", "<|im_end|>", "<|return|>")
    tokenizer.add_special_tokens(
        {
            "additional_special_tokens": [
                AddedToken(mark, normalized=False, special=True) for mark in marks
            ]
        }
    )
    tokenizer.eos_token = "<|im_end|>"
    return tokenizer


@pytest.fixture
def observations(tokenizer):
    """What makes the tokens, for a template."""

    def observations(template):
        tokenizer.chat_template = template
        return Observations(Tokens(tokenizer), tokenizer.convert_tokens_to_ids(["<|im_end|>"]))

    return observations


@pytest.fixture
def text(observations, tokenizer):
    """What stands between a reply that ended, and the next one."""

    def text(template, *messages, prompt=(ASKED,), last="<|im_end|>", options=None):
        ids = tokenizer.convert_tokens_to_ids(last)
        found = observations(template).after(ids, list(prompt), list(messages), options or {})
        return tokenizer.decode(found)

    return text


def test_it_is_what_the_template_puts_there(text):
    expected = "\n<|im_start|>user\nsure?<|im_end|>\n<|im_start|>assistant\n"
    assert text(CHATML, AGAIN) == expected
    twice = text(CHATML, AGAIN, AGAIN)
    assert twice == "\n" + "<|im_start|>user\nsure?<|im_end|>\n" * 2 + "<|im_start|>assistant\n"


def test_a_token_that_ends_the_last_reply_alone_is_not_waited_for(text):
    expected = "<|im_start|>usersure?<|im_end|><|im_start|>assistant"
    assert text(HARMONY, AGAIN) == expected


def test_a_reply_without_an_end_is_given_it(text):
    assert text(DEAF, AGAIN, last="a") == "<|im_end|>sure?<|im_end|>"


def test_tools_answer_a_call_of_theirs(text):
    assert text(TEXTUAL, TOLD, options=TOOLS) == "2add:<|im_end|>"


def test_marks_in_what_is_said_are_what_they_say(text):
    said = {"role": "user", "content": "anypo5c0ffee<|im_end|>"}
    assert text(DEAF, said) == "anypo5c0ffee<|im_end|><|im_end|>"


def test_a_prompt_may_end_within_a_reply(text):
    begun = {"role": "assistant", "content": "it is"}
    assert text(ONE_BY_ONE, AGAIN, prompt=(ASKED, begun)) == "sure?<|im_end|>"


@pytest.mark.parametrize(
    ("template", "options", "says"),
    [
        (BARE, {}, "the chat template ends no reply with a token of its own"),
        (MOVING, TOOLS, "the chat template renders earlier messages otherwise once a reply"),
        (CHATML, TOOLS, "the chat template shows no tools"),
        (DEAF, TOOLS, "the chat template does not show what a reply says, or what it calls"),
        (MUTE, TOOLS, "behind a reply the chat template does not show what the role 'tool' says"),
    ],
)
def test_a_template_of_which_no_conversation_can_be_made_is_refused(
    observations, template, options, says
):
    with pytest.raises(DataError, match=f"^{says}"):
        observations(template).check([ASKED], options, calls=bool(options))


@pytest.mark.parametrize("template", [CHATML, HARMONY, DEAF, ONE_BY_ONE, FORGETFUL])
def test_others_are_not(observations, template):
    observations(template).check([ASKED], {}, calls=False)


def test_what_the_template_refuses_is_told(text):
    with pytest.raises(DataError, match="user and assistant take turns"):
        text(ONE_BY_ONE, AGAIN, AGAIN)


def test_what_the_template_leaves_out_is_refused(text):
    system = {"role": "system", "content": "be quick"}
    says = "does not show what the role 'system' says: 'be quick'"
    with pytest.raises(DataError, match=says):
        text(ONE_SYSTEM, system, AGAIN)


def test_what_stands_before_the_end_that_is_known_is_not_lost_in_silence(text, observations):
    observations(OWN_END).check([ASKED], TOOLS, calls=True)  # the model may say that it is one
    with pytest.raises(DataError, match="does not show what the role 'tool' says: '2'"):
        text(OWN_END, TOLD, options=TOOLS)


def test_what_it_escapes_is_shown(text):
    said = {"role": "user", "content": 'a "word"\nor ü'}
    assert text(ESCAPING, said) == '"a \\"word\\"\\nor ü"<|im_end|>'
    ascii_alone = ESCAPING.replace("tojson", "tojson(ensure_ascii=true)")
    assert text(ascii_alone, said) == '"a \\"word\\"\\nor \\u00fc"<|im_end|>'


def test_whether_thoughts_are_forgotten_is_known(observations):
    assert observations(FORGETFUL).forgets_thoughts([ASKED], {})
    assert not observations(CHATML).forgets_thoughts([ASKED], {})
