"""What the policy calls, as it writes it."""

import pytest

from anypo.data.calls import Call, Replies
from anypo_tasks.addition.model import build_tokenizer

TOOLS = [{"type": "function", "function": {"name": "add", "parameters": {}}}]


@pytest.fixture
def tokenizer():
    return build_tokenizer(tags=("<tool_call>", "</tool_call>"))


@pytest.fixture
def read(tokenizer):
    """The reply of a text."""

    def read(text, tools=TOOLS, before=""):
        ids = tokenizer(text)["input_ids"]
        return Replies(tokenizer, tools).read(ids, tokenizer(before)["input_ids"])

    return read


def test_without_tools_a_reply_is_its_text(read):
    text = '<tool_call>{"name": "add", "arguments": {}}</tool_call>'
    reply = read(f"{text}<|end|>", tools=[])
    assert (reply.message, reply.calls) == ({"role": "assistant", "content": text}, [])


def test_calls_are_read_and_no_part_of_the_text(read):
    one = '<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>'
    other = '<tool_call>{"name": "add", "arguments": "{\\"a\\": 2}"}</tool_call>'
    reply = read(f"so: {one}{other}<|end|>")
    ids = ["000000000", "000000001"]
    assert reply.calls == [Call("add", {"a": a}, name) for a, name in zip((1, 2), ids, strict=True)]
    assert reply.message == {
        "role": "assistant",
        "content": "so: ",
        "tool_calls": [
            {"type": "function", "id": name, "function": {"name": "add", "arguments": {"a": a}}}
            for a, name in zip((1, 2), ids, strict=True)
        ],
    }


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("{", ""),
        ("[1]", ""),
        ('{"arguments": {}}', ""),
        ('{"name": "add", "arguments": [1]}', "add"),
        ('{"name": "add", "arguments": "{"}', "add"),
        ("[" * 100_000, ""),
        ('{"name": "add", "arguments": {"a": ' + "1" * 5000 + "}}", ""),
    ],
)
def test_a_call_that_makes_no_sense_says_so(read, text, name):
    (call,) = read(f"<tool_call>{text}</tool_call><|end|>").calls
    assert call.name == name
    assert call.flaw.startswith('a call is a JSON object {"name": …, "arguments": {…}}')


def test_half_a_character_is_no_part_of_a_call(read):
    (call,) = read(
        r'<tool_call>{"name": "\ud83d", "arguments": {"a": ["\ud83d"]}}</tool_call>'
    ).calls
    assert (call.name, call.arguments) == ("?", {"a": ["?"]})


def test_ids_that_the_policy_writes_are_none_of_the_template(read):
    (call,) = read('<tool_call>{"name": "add", "id": {}}</tool_call>', before="1+1").calls
    assert call.id == "000000003"


def test_one_that_is_not_closed_is_none(read):
    reply = read('<tool_call>{"name": "add"}<|end|>')
    assert reply.calls == []
    assert reply.message["content"] == '<tool_call>{"name": "add"}'


@pytest.fixture
def parsing(tokenizer, monkeypatch):
    """Has the tokenizer parse replies itself, and remembers what it is asked."""
    asked = []

    def parsing(answer):
        def parse(ids, *, prefix, tools):
            asked.append((ids, prefix, tools))
            if isinstance(answer, Exception):
                raise answer
            return answer

        monkeypatch.setattr(tokenizer, "response_template", {}, raising=False)
        monkeypatch.setattr(tokenizer, "parse_response", parse, raising=False)
        return asked

    return parsing


def test_the_parsing_of_the_tokenizer_counts_where_it_has_one(parsing, read, tokenizer):
    function = {"name": "add", "arguments": {"a": 1}}
    asked = parsing({"thinking": "so", "tool_calls": [{"type": "function", "function": function}]})
    reply = read("whatever", before="1+1")
    assert reply.calls == [Call("add", {"a": 1}, "000000003")]
    assert reply.message["thinking"] == "so"
    assert (reply.message["role"], reply.message["content"]) == ("assistant", "")
    assert asked == [(tokenizer("whatever")["input_ids"], tokenizer("1+1")["input_ids"], TOOLS)]


def test_what_it_cannot_parse_is_told(parsing, read):
    parsing(ValueError("no JSON"))
    reply = read("what<|end|>")
    assert reply.message == {"role": "assistant", "content": "what"}
    assert reply.calls == [Call(flaw="no JSON", id="000000000")]
