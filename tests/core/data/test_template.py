"""What is learnt of conversations, by chat templates in the shapes that models come with."""

import copy

import pytest
from tokenizers import AddedToken

from anypo.data.tokens import Tokens
from anypo.errors import DataError
from anypo_tasks.addition.model import build_tokenizer

ROLE = "{% for m in messages %}<|im_start|>{{ m.role }}\n"
CHATML = (
    ROLE + "{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# It shows thoughts after the last question only, and empty ones where there are none.
THINKING = (
    "{% set ns = namespace(last=0) %}{% for m in messages %}{% if m.role == 'user' %}"
    "{% set ns.last = loop.index0 %}{% endif %}{% endfor %}"
    + ROLE
    + "{% if m.role != 'assistant' %}"
    "{{ m.content }}{% else %}{% set said = m.content.split('</think>')[-1].lstrip() %}"
    "{% set thought = m.content.split('</think>')[0].split('<think>')[-1] %}"
    "{% if loop.index0 > ns.last %}<think>\n{{ thought.strip() if said != m.content }}\n</think>"
    "\n\n{% endif %}{{ said }}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LLAMA = (
    "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n"
    "{{ m.content | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
# The end of the text stands at the very end of the conversation only.
PHI = (
    "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}<|eot_id|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% else %}{{ eos_token }}{% endif %}"
)
# Another token ends the last reply, and its thoughts stand in a message of their own.
HARMONY = (
    "{% for m in messages %}{% if m.role == 'assistant' %}"
    "{% if loop.last and m.thinking %}<|start|>assistant<|channel|>analysis<|message|>"
    "{{ m.thinking }}<|eot_id|>{% endif %}"
    "<|start|>assistant<|channel|>final<|message|>{{ m.content }}"
    "{{ '<|return|>' if loop.last and not add_generation_prompt else '<|eot_id|>' }}{% else %}"
    "<|start|>{{ m.role }}<|message|>{{ m.content }}<|eot_id|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant{% endif %}"
)
R1 = (
    "{{ bos_token }}{% for m in messages %}<|{{ m.role }}|>{{ m.content.split('</think>')[-1] }}"
    "{% if m.role == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|><think>\n{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'system' %}"
    "{{ raise_exception('no system') }}{% endif %}<|start|>"
    "{{ 'model' if m.role == 'assistant' else 'user' }}\n{{ m.content | trim }}<|eot_id|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|start|>model\n{% endif %}"
)
MISTRAL = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]"
    "{% else %} {{ m.content }} {{ eos_token }}{% endif %}{% endfor %}"
)
# A first token closes what is said, and a second one the turn.
TWICE = (
    "{% if messages[0].role != 'system' %}{{ raise_exception('no system') }}{% endif %}"
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|eot_id|><|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
BARE = (
    "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)
MARKS = ["im_start", "im_end", "start_header_id", "end_header_id", "start", "channel", "message"]
SYSTEM = {"role": "system", "content": "Add."}
ASKED, AGAIN = ({"role": "user", "content": text} for text in ("1+1", "sure?"))


def said(text, **more):
    return {"role": "assistant", "content": text, **more}


@pytest.fixture(scope="module")
def whole():
    """A tokenizer with the marks of all these templates. Some swallow the newline after them."""
    tokenizer = build_tokenizer()
    marks = [f"<|{mark}|>" for mark in (*MARKS, "return", "begin")]
    tokens = [AddedToken(mark, special=True, normalized=False) for mark in marks]
    swallowing = AddedToken("<|eot_id|>", special=True, normalized=False, rstrip=True)
    tokenizer.add_tokens([*tokens, swallowing])
    tokenizer.bos_token = "<|begin|>"
    return tokenizer


@pytest.fixture
def with_template(whole):
    """The tokenizer with a chat template."""

    def with_template(template):
        tokenizer = copy.deepcopy(whole)
        tokenizer.chat_template = template
        return tokenizer

    return with_template


@pytest.fixture
def learnt(with_template):
    """The prompt, the parts that are learnt of what follows it, and the example."""

    def learnt(template, prompt, *replies):
        tokenizer = with_template(template)
        example = Tokens(tokenizer).example(prompt, {"y": list(replies)}, {})
        held = example.completions["y"]
        mask = held.mask or [True] * len(held.ids)
        parts, before = [], False
        for token, own in zip(held.ids, mask, strict=True):
            parts += [[]] if own and not before else []
            parts[-1:] = [[*parts[-1], token]] if own else parts[-1:]
            before = own
        return tokenizer.decode(example.prompt), [tokenizer.decode(p) for p in parts], example

    return learnt


# -- every reply, until the token that ends it ---------------------------------------------------


@pytest.mark.parametrize(
    ("template", "first", "second"),
    [
        (CHATML, "2<|im_end|>", "yes<|im_end|>"),
        (LLAMA, "2<|eot_id|>", "yes<|eot_id|>"),
        (PHI, "2<|eot_id|>", "yes<|eot_id|>"),
        (HARMONY, "<|channel|>final<|message|>2", "<|channel|>final<|message|>yes<|return|>"),
        (R1, "2<|end|>", "yes<|end|>"),
        (GEMMA, "2<|eot_id|>", "yes<|eot_id|>"),
        (MISTRAL, " 2 <|end|>", " yes <|end|>"),
        (BARE, "2\n", "yes\n<|end|>"),
    ],
    ids=["chatml", "llama", "phi", "harmony", "r1", "gemma", "mistral", "bare"],
)
def test_every_reply_is_learnt_until_the_token_that_ends_it(learnt, template, first, second):
    _, parts, example = learnt(template, [ASKED], said("2"), AGAIN, said("yes"))
    assert parts == [first, second]
    assert (example.unlearnt, example.dropped) == (0, False)


def test_of_two_tokens_that_close_a_reply_both_are_learnt(learnt):
    _, parts, _ = learnt(TWICE, [SYSTEM, ASKED], said("2"), AGAIN, said("yes"))
    assert parts == ["2<|eot_id|><|im_end|>", "yes<|eot_id|><|im_end|>"]


def test_a_reply_that_later_messages_change_is_not_learnt_but_others_are(learnt):
    replies = said("2", thinking="easy"), AGAIN, said("yes"), AGAIN, said("well")
    _, parts, example = learnt(HARMONY, [ASKED], *replies)
    final = "<|channel|>final<|message|>"
    assert parts == [f"{final}yes", f"{final}well<|return|>"]
    assert (example.unlearnt, example.dropped) == (1, False)


def test_thoughts_that_stand_in_a_message_of_their_own_are_learnt_with_the_last_reply(learnt):
    _, parts, example = learnt(HARMONY, [ASKED], said("2", thinking="easy"))
    thought = "<|channel|>analysis<|message|>easy<|eot_id|><|start|>assistant"
    assert parts == [f"{thought}<|channel|>final<|message|>2<|return|>"]
    assert not example.dropped


@pytest.mark.parametrize("thought", ["<think>easy</think>", ""])
def test_thoughts_are_learnt_as_the_template_writes_them(learnt, thought):
    replies = said(f"{thought}2"), AGAIN, said(f"{thought}yes")
    _, parts, example = learnt(THINKING, [ASKED], *replies)
    assert parts == [f"<think>\n{'easy' if thought else ''}\n</think>\n\nyes<|im_end|>"]
    assert (example.unlearnt, example.dropped) == (1, False)


@pytest.mark.parametrize("end", ["<|im_end|>", "<|eot_id|>\n"])
def test_a_call_of_a_tool_is_learnt_until_the_token_that_ends_it(learnt, end):
    template = (
        "{% for m in messages %}<|{{ m.role }}|>{{ m.content or '' }}"
        f"{{% if m.tool_calls %}}{{{{ m.tool_calls[0].function.name }}}}{end}"
        "{% elif m.role == 'assistant' %}<|im_end|>\n{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>{% endif %}"
    )
    call = {"role": "assistant", "tool_calls": [{"function": {"name": "add", "arguments": {}}}]}
    result = {"role": "tool", "content": "2"}
    _, parts, example = learnt(template, [ASKED], call, result, said("2"))
    assert parts == [f"add{end.strip()}", "2<|im_end|>"]
    assert not example.dropped


# -- what a template does not show ---------------------------------------------------------------


def test_thoughts_that_a_template_strips_from_every_reply_are_learnt(learnt):
    prompt, parts, example = learnt(R1, [ASKED], said("<think>\neasy\n</think>\n2"))
    assert prompt == "<|begin|><|user|>1+1<|assistant|><think>\n"
    assert parts == ["easy\n</think>\n2<|end|>"]
    assert not example.dropped


@pytest.mark.parametrize(
    "more",
    [
        {"reasoning_content": "easy"},
        {"thinking": "easy"},
        {"tool_calls": [{"function": {"name": "add"}}]},
        {"tool_calls": [{"name": "add"}]},
        {"tool_calls": [{"function": "add"}]},
        {"tool_calls": ["add"]},
    ],
)
def test_thoughts_and_calls_that_are_not_shown_are_noticed(learnt, more):
    assert learnt(CHATML, [ASKED], said("2", **more))[2].dropped
    mentioned = {"role": "user", "content": "is it easy to add?"}
    for other in ([mentioned], [ASKED, said("easy add"), AGAIN]):
        assert learnt(CHATML, other, said("2", **more))[2].dropped
    assert learnt(CHATML, [ASKED], said("2", **more), mentioned, said("3"))[2].dropped
    assert not learnt(CHATML, [ASKED], said("easy add", **more))[2].dropped


@pytest.mark.parametrize("calls", [3, {"name": "add"}, [3], [{"function": {}}]])
def test_calls_that_are_none_are_no_traceback(learnt, calls):
    assert not learnt(CHATML, [ASKED], said("2", tool_calls=calls))[2].dropped


@pytest.mark.parametrize("replies", [[], [said("2"), AGAIN]])
@pytest.mark.parametrize(
    "more", [{"tool_calls": [{"function": {"name": "add"}}]}, {"reasoning_content": "easy"}]
)
def test_a_reply_of_which_nothing_is_shown_is_refused(learnt, replies, more):
    with pytest.raises(DataError, match="'y' holds a reply of which the chat template shows noth"):
        learnt(CHATML, [ASKED], *replies, said("", **more))


def test_a_template_that_shows_nothing_of_texts_is_refused(learnt):
    parts_only = ROLE + (
        "{{ ':' if m.content[0].type == 'image' }}{% for part in m.content %}{{ part.text }}"
        "{% endfor %}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    with pytest.raises(DataError, match="'y' holds a reply of which the chat template shows noth"):
        learnt(parts_only, [ASKED], said("2"))


def test_a_call_that_is_not_shown_to_a_model_that_scores_is_noticed(with_template):
    tokens = Tokens(with_template(CHATML), scored=True)
    asked = {"role": "user", "content": "add"}
    call = said("2", tool_calls=[{"function": {"name": "add"}}])
    assert tokens.example([asked], {"y": [call]}, {}).dropped
    assert not tokens.example([asked], {"y": [said("2"), asked, said("add")]}, {}).dropped


@pytest.mark.parametrize("template", [R1, R1.replace(".split('</think>')[-1]", ""), THINKING])
@pytest.mark.parametrize("opened", ["", "<think>\n"])
def test_a_thought_that_the_prompt_opens_may_lack_its_beginning(learnt, template, opened):
    opens = template.replace("assistant\n{% endif %}", "assistant\n<think>\n{% endif %}")
    prompt, parts, example = learnt(opens, [ASKED], said(f"{opened}easy\n</think>\n\n2"))
    assert prompt.endswith("<think>\n")
    assert parts[0].startswith("easy\n</think>\n\n2<|")
    assert not example.dropped


# -- prompts that end with the assistant ---------------------------------------------------------


@pytest.mark.parametrize("template", [CHATML, LLAMA, PHI, HARMONY, R1, GEMMA, MISTRAL, BARE])
def test_a_prompt_that_ends_within_a_reply_is_continued(learnt, with_template, template):
    begun = [ASKED, said("it is")]
    tokenizer = with_template(template)
    prompt = Tokens(tokenizer).prompt(begun)
    assert tokenizer.decode(prompt).endswith("it is")
    _, (part,), example = learnt(template, begun, said(" 2"))
    assert example.prompt == prompt
    assert part.startswith(" 2")
    _, (whole,), _ = learnt(template, [ASKED], said("it is 2"))
    assert whole.endswith("it is" + part)


def test_a_prompt_that_ends_with_a_call_of_a_tool_is_replied_to(with_template):
    tokenizer = with_template(CHATML)
    call = said("", tool_calls=[{"function": {"name": "add"}}])
    asked = tokenizer.decode(Tokens(tokenizer).prompt([ASKED, call]))
    assert asked.endswith("<|im_end|>\n<|im_start|>assistant\n")


def test_a_begun_reply_that_the_template_does_not_show_is_refused_in_one_line(with_template):
    begun = [ASKED, said("<think>a</think>it is")]
    with pytest.raises(DataError, match="the final message does not appear in the") as refusal:
        Tokens(with_template(R1)).prompt(begun)
    assert "\n" not in str(refusal.value)


def test_what_continues_a_text_is_a_text(learnt):
    with pytest.raises(DataError, match=r"'y' is .* does not continue the text that the prompt"):
        learnt(CHATML, [ASKED, said("it is")], said([{"type": "text", "text": " 2"}]))


# -- the token that ends a reply -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("template", "end"),
    [
        (CHATML, "<|im_end|>"),
        (PHI, "<|eot_id|>"),
        (HARMONY, "<|return|>"),
        (TWICE, "<|im_end|>"),
        (MISTRAL, "<|end|>"),
    ],
    ids=["chatml", "phi", "harmony", "twice", "mistral"],
)
def test_the_token_that_ends_a_reply_ends_completions(with_template, template, end):
    tokenizer = with_template(template)
    assert set(Tokens(tokenizer).ends) == set(tokenizer.convert_tokens_to_ids(["<|end|>", end]))


@pytest.mark.parametrize("template", [None, BARE])
def test_where_nothing_ends_a_reply_the_end_of_a_text_does(with_template, template):
    tokenizer = with_template(template)
    assert set(Tokens(tokenizer).ends) == {tokenizer.eos_token_id}


def test_the_space_that_the_token_before_a_reply_swallows_is_no_part_of_it(learnt):
    template = (
        "{% for m in messages %}{% if m.role == 'user' %}{{ m.content }}<|eot_id|>"
        "{% else %} {{ m.content }}{{ eos_token }}{% endif %}{% endfor %}"
    )
    _, parts, _ = learnt(template, [ASKED], said("2"), AGAIN, said("yes"))
    assert parts == ["2<|end|>", "yes<|end|>"]


@pytest.mark.parametrize(
    ("replies", "complaint"),
    [
        ([ASKED, said("2")], "'good' does not continue the prompt: it begins with no reply"),
        ([AGAIN], "'good' holds no message of the assistant"),
    ],
)
def test_what_a_model_scores_continues_its_prompt(with_template, replies, complaint):
    tokens = Tokens(with_template(CHATML), scored=True)
    with pytest.raises(DataError, match=complaint):
        tokens.example([ASKED], {"good": replies, "bad": [ASKED, said("3")]}, {})


def test_what_a_model_scores_is_what_the_template_renders(with_template):
    for template in (CHATML, PHI, HARMONY, R1, BARE):
        tokenizer = with_template(template)
        contents = {"good": [said("<think>\na</think>2")], "bad": [said("3")]}
        example = Tokens(tokenizer, scored=True).example([ASKED], contents, {})
        for column, replies in contents.items():
            rendered = tokenizer.apply_chat_template([ASKED, *replies], return_dict=False)
            held = example.completions[column]
            assert example.prompt + held.ids == rendered
            assert held.mask is None


def test_a_template_that_does_not_end_is_given_up(monkeypatch):
    monkeypatch.setattr("anypo.data.template.RENDERING", 0.2)
    tokenizer = build_tokenizer()
    tokenizer.chat_template = (
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
    )
    with pytest.raises(DataError, match=r"^the chat template takes longer than 0\.2 s$"):
        Tokens(tokenizer).prompt([{"role": "user", "content": "?"}])
