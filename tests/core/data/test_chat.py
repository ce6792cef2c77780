import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anypo.data.tokens import Tokens
from anypo.errors import DataError
from anypo_tasks.addition.model import build_tokenizer

TOKENIZER = build_tokenizer()
USER = {"role": "user", "content": "1+1"}
THANKS = {"role": "user", "content": "sure?"}
REPLY = "{{ message['content'] }}<|end|>\n"
TURNS = "{% for message in messages %}<|{{ message['role'] }}|>"
OPENS = "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
NEWLINES = TURNS + REPLY + OPENS
NO_END = TURNS + "{{ message['content'] }}\n" + OPENS
# As Qwen3's does, it shows thoughts only after the last question, and empty ones if there are none.
FORGETS_THOUGHTS = (
    "{% set seen = namespace(question=0) %}"
    "{% for message in messages if message.role == 'user' %}{% set seen.question = message %}"
    "{% endfor %}{% set seen.last = messages.index(seen.question) %}"
    "{% for message in messages %}<|{{ message.role }}|>"
    "{% if message.role != 'assistant' %}{{ message.content }}\n"
    "{% elif loop.index0 < seen.last %}{{ message.content.split('</think>')[-1] }}<|end|>\n"
    "{% elif '</think>' in message.content %}{{ message.content }}<|end|>\n"
    "{% else %}<think></think>{{ message.content }}<|end|>\n{% endif %}" + OPENS
)
# As DeepSeek-R1's and QwQ's do, it opens a thought that it does not show once the reply is there.
OPENS_THOUGHT = (
    TURNS + "{{ message.content.split('</think>')[-1] }}"
    "{% if message.role == 'assistant' %}<|end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|><think>\n{% endif %}"
)
# As Mistral's does, it puts the system's message into the last question.
MOVES_SYSTEM = (
    "{% for message in messages if message.role != 'system' %}<|{{ message.role }}|>"
    "{% if message.role == 'user' and (loop.last or loop.revindex == 2 "
    "and messages[-1].role == 'assistant') %}{{ messages[0].content }} {% endif %}"
    "{{ message.content }}{% if message.role == 'assistant' %}<|end|>{% endif %}" + OPENS
)
AMNESIAC = "{{ messages[-1].content }}{% if add_generation_prompt %}<|assistant|>{% endif %}"
TOOLED = "{{ tools | length if tools else 0 }}{{ mood }}" + NEWLINES


def with_template(template):
    tokenizer = copy.deepcopy(TOKENIZER)
    tokenizer.chat_template = template
    return tokenizer


def reply(text):
    return {"role": "assistant", "content": text}


def shown(template, prompt, *, options=None, **contents):
    """The prompt as text, of every completion its text and what of it is learnt, and the rest."""
    tokenizer = with_template(template)
    example = Tokens(tokenizer).example(prompt, contents, options or {})
    texts = {}
    for column, held in example.completions.items():
        mask = held.mask or [True] * len(held.ids)
        learnt = [token for token, own in zip(held.ids, mask, strict=True) if own]
        texts[column] = (tokenizer.decode(held.ids), tokenizer.decode(learnt))
    return tokenizer.decode(example.prompt), texts, example.unlearnt


# -- templates that render earlier replies otherwise ---------------------------------------------


def test_a_template_that_forgets_thoughts_shows_those_of_a_single_reply():
    prompt, texts, unlearnt = shown(FORGETS_THOUGHTS, [USER], y=[reply("<think>a</think>2")])
    assert prompt == "<|user|>1+1\n<|assistant|>"
    assert texts == {"y": ("<think>a</think>2<|end|>",) * 2}
    assert unlearnt == 0


def test_of_replies_whose_thoughts_are_forgotten_only_the_last_is_learnt():
    replies = [reply("<think>a</think>2"), THANKS, reply("<think>b</think>yes")]
    prompt, texts, unlearnt = shown(FORGETS_THOUGHTS, [USER], y=replies)
    assert prompt == "<|user|>1+1\n<|assistant|>"
    whole, learnt = texts["y"]
    assert whole == "2<|end|>\n<|user|>sure?\n<|assistant|><think>b</think>yes<|end|>"
    assert learnt == "<think>b</think>yes<|end|>"
    assert unlearnt == 1


def test_a_prompt_may_hold_replies_whose_thoughts_are_forgotten():
    prompt, texts, unlearnt = shown(
        FORGETS_THOUGHTS, [USER, reply("<think>a</think>2"), THANKS], y=[reply("yes")]
    )
    assert prompt == "<|user|>1+1\n<|assistant|>2<|end|>\n<|user|>sure?\n<|assistant|>"
    assert texts["y"][1] == "<think></think>yes<|end|>"
    assert unlearnt == 0


def test_a_prompt_that_the_whole_conversation_shows_otherwise_is_what_they_share():
    system = {"role": "system", "content": "Add."}
    prompt, texts, unlearnt = shown(
        MOVES_SYSTEM, [system, USER], y=[reply("2"), THANKS, reply("yes")]
    )
    assert prompt == "<|user|>"
    whole, learnt = texts["y"]
    assert whole == "1+1<|assistant|>2<|end|><|user|>Add. sure?<|assistant|>yes<|end|>"
    assert learnt == "yes<|end|>"
    assert unlearnt == 1


def test_what_a_pair_is_asked_is_not_learnt_even_where_its_sides_show_it_differently():
    system = {"role": "system", "content": "Add."}
    replies = {"long": [reply("2"), THANKS, reply("yes")], "short": [reply("3")]}
    prompt, texts, _ = shown(MOVES_SYSTEM, [system, USER], **replies)
    assert prompt == "<|user|>"
    assert texts["long"][1] == "yes<|end|>"
    assert texts["short"] == ("Add. 1+1<|assistant|>3<|end|>", "3<|end|>")


def test_a_template_of_which_no_reply_can_be_told_is_refused():
    with pytest.raises(DataError, match="'y' does not continue the prompt: the chat template"):
        shown(AMNESIAC, [USER], y=[reply("2")])


# -- templates that open a reply otherwise -------------------------------------------------------


def test_the_prompt_of_completions_without_the_opened_thought_ends_before_it():
    prompt, texts, unlearnt = shown(OPENS_THOUGHT, [USER], y=[reply("2")])
    assert prompt == "<|user|>1+1<|assistant|>"
    assert texts == {"y": ("2<|end|>",) * 2}
    assert unlearnt == 0


def test_thoughts_that_the_template_strips_from_every_reply_are_learnt_all_the_same():
    prompt, texts, _ = shown(OPENS_THOUGHT, [USER], y=[reply("<think>\na\n</think>2")])
    assert prompt == "<|user|>1+1<|assistant|><think>\n"
    assert texts == {"y": ("a\n</think>2<|end|>",) * 2}


def test_an_earlier_reply_is_not_learnt_without_the_thoughts_that_it_began_with():
    replies = [reply("<think>\na</think>2"), THANKS, reply("<think>\nb</think>yes")]
    _, texts, unlearnt = shown(OPENS_THOUGHT, [USER], y=replies)
    assert texts["y"] == (
        "2<|end|><|user|>sure?<|assistant|><think>\nb</think>yes<|end|>",
        "b</think>yes<|end|>",
    )
    assert unlearnt == 1


def test_both_completions_of_a_pair_follow_the_same_prompt():
    prompt, texts, _ = shown(OPENS_THOUGHT, [USER], good=[reply("2")], bad=[reply("3")])
    assert prompt == "<|user|>1+1<|assistant|>"
    assert texts == {"good": ("2<|end|>",) * 2, "bad": ("3<|end|>",) * 2}


def test_what_the_opening_says_is_not_learnt_where_only_one_side_of_a_pair_says_it():
    prompt, texts, _ = shown(OPENS_THOUGHT, [USER], good=[reply("<think>\n2")], bad=[reply("3")])
    assert prompt == "<|user|>1+1<|assistant|>"
    assert texts == {"good": ("<think>\n2<|end|>", "2<|end|>"), "bad": ("3<|end|>",) * 2}


def test_whoever_samples_gets_the_opened_thought():
    tokenizer = with_template(OPENS_THOUGHT)
    assert tokenizer.decode(Tokens(tokenizer).prompt([USER])) == "<|user|>1+1<|assistant|><think>\n"


def test_all_replies_without_the_opened_thought_are_learnt():
    _, texts, unlearnt = shown(OPENS_THOUGHT, [USER], y=[reply("2"), THANKS, reply("yes")])
    whole, learnt = texts["y"]
    assert whole == "2<|end|><|user|>sure?<|assistant|>yes<|end|>"
    assert learnt == "2<|end|>yes<|end|>"
    assert unlearnt == 0


# -- the end of a reply --------------------------------------------------------------------------


@pytest.mark.parametrize("content", ["a<|end|>b", "<|user|>b"])
@pytest.mark.parametrize(("template", "end"), [(NO_END, "\n<|end|>"), (NEWLINES, "<|end|>")])
def test_a_reply_is_not_cut_at_a_special_token_that_it_speaks_of(template, end, content):
    _, texts, _ = shown(template, [USER], y=[reply(content)])
    assert texts["y"] == (content + end,) * 2


def test_the_end_is_found_even_where_the_template_demands_more_of_a_conversation():
    strict = (
        "{% if messages[0].role != 'system' %}{{ raise_exception('no') }}{% endif %}" + NEWLINES
    )
    system = {"role": "system", "content": ""}
    _, texts, _ = shown(strict, [system, USER], y=[reply("2")])
    assert texts["y"] == ("2<|end|>",) * 2


# -- messages and further arguments --------------------------------------------------------------


def test_a_reply_that_calls_a_tool_needs_no_content():
    call = {"role": "assistant", "content": None, "tool_calls": [{"name": "add"}]}
    template = TURNS + "{{ message.tool_calls or '' }}{{ message.content or '' }}<|end|>" + OPENS
    _, texts, _ = shown(template, [USER], y=[call])
    assert texts["y"] == ("[{'name': 'add'}]<|end|>",) * 2


def test_the_chat_template_gets_what_it_is_given_beside_the_messages():
    options = {"tools": [{"type": "function"}], "mood": "calm"}
    prompt, texts, _ = shown(TOOLED, [USER], options=options, y=[reply("2")])
    assert prompt == "1calm<|user|>1+1<|end|>\n<|assistant|>"
    assert texts["y"][0] == "2<|end|>"


def test_a_conversation_begins_with_something_to_reply_to():
    with pytest.raises(DataError, match="'prompt' is empty: a conversation needs a message before"):
        shown(NEWLINES, [], y=[reply("2")])


# -- tokenizers ----------------------------------------------------------------------------------


class Slow:
    """The built-in tokenizer, without the places of its tokens."""

    is_fast = False

    def __init__(self, template):
        self.fast = with_template(template)

    def __getattr__(self, name):
        return getattr(self.fast, name)

    def __call__(self, text, **options):
        assert "return_offsets_mapping" not in options
        return self.fast(text, **options)


@given(
    st.sampled_from([NEWLINES, NO_END, FORGETS_THOUGHTS, OPENS_THOUGHT]),
    st.lists(st.text(min_size=1, max_size=5).filter(str.strip), min_size=1, max_size=3),
)
def test_a_tokenizer_that_cannot_tell_where_tokens_end_finds_the_same(template, texts):
    replies = [message for text in texts for message in (reply(text), THANKS)]
    fast, slow = (Tokens(make(template)) for make in (with_template, Slow))
    contents = {"y": replies}
    assert slow.example([USER], contents, {}) == fast.example([USER], contents, {})
