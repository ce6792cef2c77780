import pytest

from anypo.support.sequences import shared_start


@pytest.mark.parametrize(
    ("sequences", "length"),
    [
        (["abc", "abd"], 2),
        (["abc", "abc"], 3),
        (["ab", "abc"], 2),
        (["abc", "bbc"], 0),
        (["", "a"], 0),
        ([[1, 2, 3]], 3),
        ([[1, 2, 3], [1, 2, 4], [1, 3]], 1),
        ([[{"role": "user"}, 2], [{"role": "user"}]], 1),
    ],
)
def test_what_sequences_begin_with_in_common_is_counted(sequences, length):
    assert shared_start(*sequences) == length
