from anypo.errors import one_line


def test_what_is_told_becomes_one_line():
    assert one_line(ValueError("a\n  b\tc")) == "a b c"


def test_what_is_told_at_length_is_cut():
    assert one_line("long " * 100) == ("long " * 100)[:300]
