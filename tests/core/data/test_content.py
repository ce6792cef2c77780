import pytest

from anypo.data.content import as_texts
from anypo.errors import DataError


def message(content):
    return {"role": "user", "content": content, "name": "me"}


def part(text):
    return {"type": "text", "text": text}


def test_parts_of_text_are_one_text():
    assert as_texts([message([part("1+"), part("1")])]) == [message("1+1")]
    assert as_texts([message([part("1") | {"image_url": None}])]) == [message("1")]
    assert as_texts([message([])]) == [message("")]
    assert as_texts([message(part("1+1"))]) == [message("1+1")]


@pytest.mark.parametrize(
    "content", ["a", "", None, 3, [message("a"), "b", {}, message(None), message(3)], []]
)
def test_what_holds_no_parts_stays_as_it_is(content):
    assert as_texts(content) == content


@pytest.mark.parametrize("content", [{"degrees": 20}, [{"degrees": 20}], "20"])
def test_what_a_tool_says_is_the_chat_templates_to_render(content):
    said = {"role": "tool", "content": content}
    assert as_texts([said]) == [said]


def test_the_given_messages_are_left_alone():
    given = [message([part("a")])]
    as_texts(given)
    assert given == [message([part("a")])]


@pytest.mark.parametrize(
    "odd",
    [
        {"type": "image", "url": "a.png"},
        {"type": "image"},
        {"type": "text"},
        {"type": "text", "text": 3},
        "a",
    ],
)
def test_parts_that_are_no_texts_are_refused(odd):
    with pytest.raises(DataError, match=r"^a message holds .*, and no part but texts can be read$"):
        as_texts([message([part("a"), odd])])


def test_an_object_that_is_no_text_is_refused():
    with pytest.raises(DataError, match=r"^a message holds .*, and no part but texts can be read$"):
        as_texts([message({"degrees": 20})])


@pytest.mark.parametrize("content", ["a\ud83d", [message("a\ud83d")], [message([part("a\ud83d")])]])
def test_half_a_character_is_refused(content):
    with pytest.raises(DataError, match=r"^after 'a\\ud83d' half a character is missing$"):
        as_texts(content)


@pytest.mark.parametrize("text", ['[{"role": "user", "content": "1"}]', "\n[ {'content': '1'}]"])
def test_messages_that_are_written_as_a_text_are_no_text(text):
    with pytest.raises(DataError, match="is a text that holds messages: give the list of them"):
        as_texts(text)
    assert as_texts(f"Read {text}") == f"Read {text}"
