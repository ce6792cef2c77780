"""Commands that plugins bring along."""

import os

import pytest

from anypo_cli.app import main

GROUP = "anypo.commands"
GREET = '''\
from pathlib import Path
from typing import Annotated

import typer

Path(RAN).touch()


def greet(
    name: Annotated[str, typer.Argument(help="Whom.")],
    loudly: Annotated[bool, typer.Option("--loudly", help="So that all hear it.")] = False,
) -> None:
    """Greet somebody.

    Or something.
    """
    print(name.upper() if loudly else name)
    if name == "nobody":
        raise typer.Exit(3)
'''


@pytest.fixture
def offer(install, tmp_path):
    """Install a command of a third party; gives the file that shows that it was imported."""

    def offer(name="greet", text=GREET):
        files = {"greet_module.py": text.replace("RAN", repr(str(tmp_path / "ran")))}
        install("anypo-greet", {}, files, others={GROUP: {name: "greet_module:greet"}})
        return tmp_path / "ran"

    return offer


def called(capsys, *arguments):
    """Status, output and error of a call."""
    status = main(arguments)
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_it_is_called_with_its_arguments(offer, capsys):
    offer()
    assert called(capsys, "greet", "you") == (0, "you\n", "")
    assert called(capsys, "greet", "you", "--loudly") == (0, "YOU\n", "")
    assert called(capsys, "greet", "nobody")[0] == 3


def test_it_explains_itself(offer, capsys):
    offer()
    status, output, _ = called(capsys, "greet", "--help")
    assert status == 0
    assert "anypo greet" in output
    for text in ("Greet somebody.", "Or something.", "Whom.", "--loudly"):
        assert text in output


@pytest.mark.parametrize(
    ("arguments", "says"),
    [(["greet"], "Missing argument"), (["greet", "you", "--quietly"], "No such option")],
)
def test_a_call_that_it_does_not_understand_is_one_line(offer, capsys, arguments, says):
    offer()
    status, _, error = called(capsys, *arguments)
    assert status == 2
    assert says in error
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize("arguments", [["--help"], [], ["list"], ["run", "--help"]])
def test_it_is_not_imported_until_it_is_called(offer, capsys, arguments):
    ran = offer()
    status, output, _ = called(capsys, *arguments)
    assert status == 0
    assert not ran.exists()
    if arguments in ([], ["--help"]):
        (line,) = (line for line in output.splitlines() if "greet" in line)
        assert "Greet somebody." in line
    called(capsys, "greet", "you")
    assert ran.exists()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("import absent_package\n" + GREET, "no module named 'absent_package'"),
        ("def greet(:\n", "SyntaxError"),
    ],
)
def test_a_broken_one_says_so_and_leaves_the_others_working(offer, capsys, text, says):
    offer(text=text)
    status, output, _ = called(capsys, "--help")
    assert status == 0
    assert "broken: " in output
    assert "serve" in output
    status, _, error = called(capsys, "greet", "you")
    assert status == 1
    assert error.startswith("error: command 'greet' of anypo-greet 1.0 is broken: ")
    assert len(error.splitlines()) == 1
    assert called(capsys, "explain", "sft")[0] == 0


def test_it_never_hides_one_of_anypos_own(offer, capsys):
    ran = offer(name="list")
    status, output, _ = called(capsys, "list")
    assert status == 0
    assert "grpo" in output
    assert called(capsys, "--help")[1].count("List ") == 1
    assert not ran.exists()


def test_of_two_with_one_name_the_full_one_chooses(offer, install, capsys):
    offer()
    text = GREET.replace("RAN", repr(os.devnull)).replace("print(name", "print('the other', name")
    install("anypo-hail", {}, {"hail.py": text}, others={GROUP: {"greet": "hail:greet"}})
    status, _, error = called(capsys, "greet", "you")
    assert status == 1
    assert "command 'greet' is offered by anypo-greet 1.0 and anypo-hail 1.0" in error
    assert called(capsys, "anypo-greet:greet", "you")[1] == "you\n"
    help_text = called(capsys, "--help")[1]
    assert "anypo-greet:greet" in help_text
    assert "anypo-hail:greet" in help_text


def test_a_disabled_one_is_not_called(offer, capsys, monkeypatch):
    ran = offer()
    monkeypatch.setenv("ANYPO_DISABLE_PLUGINS", "anypo-greet:*")
    status, _, error = called(capsys, "greet", "you")
    assert status == 1
    assert "command 'greet' of anypo-greet 1.0 is disabled by 'anypo-greet:*'" in error
    assert called(capsys, "--help")[0] == 0
    assert not ran.exists()
