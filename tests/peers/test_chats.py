"""The templates that TRL ships: the same conversations in, the same tokens out."""

import pytest
import tables

TEMPLATES = tables.kept("parity")["templates"]
ASPECTS = [key for key, value in TEMPLATES[0].items() if isinstance(value, int)]

pytestmark = [pytest.mark.trl, pytest.mark.filterwarnings("default")]


@pytest.fixture(scope="module")
def chats():
    pytest.importorskip("trl")
    from peers import chats

    return chats


@pytest.mark.parametrize("aspect", ASPECTS)
@pytest.mark.parametrize("name", [row["template"] for row in TEMPLATES])
def test_only_what_is_explained_differs(name, aspect, chats):
    same = chats.tally(name)[aspect] == chats.ROWS
    assert same == ((name, aspect) not in chats.EXPLAINED)


def test_the_page_has_every_template(chats):
    assert [row["template"] for row in TEMPLATES] == chats.names()
    assert list(chats.ASPECTS) == ASPECTS
    whys = {
        (row["template"], aspect): why for row in TEMPLATES for aspect, why in row["why"].items()
    }
    assert whys == chats.EXPLAINED
