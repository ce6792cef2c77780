import pytest

from anypo.errors import ConfigError
from anypo.support.functions import load_function


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


def test_a_file_can_import_what_lies_beside_it(tmp_path):
    (tmp_path / "beside.py").write_text("VALUE = 7\n")
    (tmp_path / "mine.py").write_text("import beside\ndef f():\n    return beside.VALUE\n")
    assert load_function(f"{tmp_path / 'mine.py'}:f")() == 7


def test_a_module_of_the_working_directory_can_be_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "module_of_mine.py").write_text("def f():\n    return 8\n")
    assert load_function("module_of_mine:f")() == 8


def test_a_file_that_exits_is_one_sentence(tmp_path):
    (tmp_path / "mine.py").write_text("raise SystemExit('bye')\n")
    with pytest.raises(ConfigError, match="SystemExit: bye"):
        load_function(f"{tmp_path / 'mine.py'}:f")
