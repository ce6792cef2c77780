"""Values that a run writes into a chat template."""

import pytest

from anypo import ConfigError
from anypo.data.prompts import template_options
from anypo.data.template_defaults import set_defaults
from anypo.data.tokens import Tokens
from anypo_tasks.addition.model import build_tokenizer

ASKED = [{"role": "user", "content": "?"}]
TEMPLATE = """\
{%- if not date is defined %}{% set date = "today" %}{% endif %}
{%- macro closing() %}{{ eos_token if closes | default(true) else "" }}{% endmacro %}
{%- for message in messages %}{{ message.role[0] }}:{{ message.content }}
{%- if message.role == "assistant" %}{% generation %}{{ closing() }}{% endgeneration %}{% endif %}
{%- endfor %}
{%- if add_generation_prompt %}a:{% if thinks is defined and thinks is false %}({{ date }})
{%- endif %}{% endif %}"""


@pytest.fixture
def chatting():
    """A tokenizer with a template of its own."""
    tokenizer = build_tokenizer()
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def opened(tokenizer, **row):
    options = template_options({"prompt": ASKED, **row})
    return tokenizer.decode(Tokens(tokenizer).prompt(ASKED, options=options))


def test_they_reach_prompts_and_completions(chatting):
    assert opened(chatting) == "u:?a:"
    set_defaults(chatting, {"thinks": False, "date": "1 May", "closes": False})
    assert opened(chatting) == "u:?a:(1 May)"
    reply = [{"role": "assistant", "content": "b"}]
    example = Tokens(chatting).example(ASKED, {"completion": reply}, {})
    assert chatting.decode(example.prompt) == "u:?a:"
    assert example.completions["completion"].ids[:-1] == chatting("b")["input_ids"]


def test_what_a_row_says_itself_counts(chatting):
    set_defaults(chatting, {"thinks": False, "date": "1 May"})
    assert opened(chatting, chat_template_kwargs={"thinks": True}) == "u:?a:"
    assert opened(chatting, chat_template_kwargs={"date": "Monday"}) == "u:?a:(Monday)"


def test_they_are_saved_with_the_tokenizer_and_can_be_set_anew(chatting, tmp_path):
    set_defaults(chatting, {"thinks": False})
    chatting.save_pretrained(tmp_path)
    loaded = type(chatting).from_pretrained(tmp_path)
    assert opened(loaded) == "u:?a:(today)"
    set_defaults(loaded, {"thinks": True})
    assert opened(loaded) == "u:?a:"


@pytest.mark.parametrize(
    "value", [True, 3, -2.5, 'so "it" {% is %} \\n\n\u00e9', ["a", {"b": [False]}]]
)
def test_every_value_is_rendered_as_it_is(chatting, value):
    chatting.chat_template = "{{ messages[0].role }}{{ value | tojson }}"
    plain = chatting.apply_chat_template(ASKED, tokenize=False, value=value)
    set_defaults(chatting, {"value": value})
    assert chatting.apply_chat_template(ASKED, tokenize=False) == plain


def test_what_is_rendered_before_them_stays(chatting):
    chatting.chat_template = "\n  {{ value }}"
    plain = chatting.apply_chat_template(ASKED, tokenize=False, value=1)
    set_defaults(chatting, {"value": 1})
    assert chatting.apply_chat_template(ASKED, tokenize=False) == plain


def test_each_of_several_templates_has_them(chatting):
    chatting.chat_template = {"default": TEMPLATE, "tool_use": "with tools"}
    set_defaults(chatting, {"thinks": False})
    assert opened(chatting) == "u:?a:(today)"


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("thinking", "did you mean 'thinks'?"),
        ("message", "there is closes, date, thinks"),
        ("messages", "there is closes, date, thinks"),
        ("eos_token", "there is closes, date, thinks"),
    ],
)
def test_what_the_template_does_not_take_is_refused(chatting, name, advice):
    with pytest.raises(ConfigError) as error:
        set_defaults(chatting, {"thinks": False, name: 1})
    assert str(error.value) == (
        f"chat_template_kwargs has '{name}', but the chat template takes no such value; {advice}"
    )
    assert chatting.chat_template == TEMPLATE


@pytest.mark.parametrize(
    ("template", "said"),
    [
        (None, "is set, but the tokenizer has no chat template"),
        ("{{ messages }}", "takes no such value; it takes none at all"),
        ("{% if %}", "the chat template of the model is broken"),
    ],
)
def test_a_template_that_can_take_nothing_is_refused(chatting, template, said):
    chatting.chat_template = template
    with pytest.raises(ConfigError, match=said):
        set_defaults(chatting, {"thinks": False})


def test_what_no_template_can_hold_is_refused(chatting):
    with pytest.raises(ConfigError, match="holds inf, which is no JSON"):
        set_defaults(chatting, {"thinks": float("inf")})
