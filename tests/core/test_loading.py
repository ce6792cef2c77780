import pytest

from anypo.errors import ConfigError
from anypo.loading import load_function


def test_a_function_of_a_file_and_of_a_module(tmp_path):
    (tmp_path / "mine.py").write_text("def double(x):\n    return 2 * x\n")
    assert load_function(f"{tmp_path / 'mine.py'}:double")(3) == 6
    assert load_function("math:sqrt")(9) == 3


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ("double", "write file.py:function"),
        ("nowhere.py:f", "no file 'nowhere.py'"),
        ("no_such_package:f", "No module named"),
        ("math:no_such", "defines no function 'no_such'"),
        ("math:pi", "defines no function 'pi'"),
    ],
)
def test_what_cannot_be_loaded_is_one_sentence(spec, reason):
    with pytest.raises(ConfigError, match=reason):
        load_function(spec)


def test_a_file_named_like_a_library_does_not_hide_it(tmp_path):
    (tmp_path / "json.py").write_text("def f():\n    import json\n\n    return json.dumps\n")
    assert load_function(f"{tmp_path / 'json.py'}:f")()({}) == "{}"
