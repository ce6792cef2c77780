import io
import sys

import pytest

from anypo.models.load import load_tokenizer
from anypo_cli.app import main


@pytest.fixture
def typed(monkeypatch, capsys):
    def typed(text, *arguments):
        monkeypatch.setattr(sys, "stdin", io.StringIO(text))
        status = main(["chat", *arguments, "--max-length", "4", "--temperature", "0"])
        return status, capsys.readouterr()

    return typed


@pytest.fixture
def base_dir(model_dir, tmp_path):
    """A model whose tokenizer has no chat template."""
    from anypo.models.load import load_model

    load_model(model_dir).save_pretrained(tmp_path)
    tokenizer = load_tokenizer(model_dir)
    tokenizer.chat_template = None
    tokenizer.save_pretrained(tmp_path)
    return str(tmp_path)


def test_every_line_of_a_pipe_is_answered_in_one_conversation(typed, model_dir, monkeypatch):
    asked = []

    def answer(self, prompt, request):
        asked.append(prompt)
        yield from ("fi", "ne")

    monkeypatch.setattr("anypo.sampling.stream.Speaker.answer", answer)
    status, said = typed("hello\n\nhow are you\n", model_dir, "--system", "Be brief.")
    assert (status, said.out) == (0, "fine\nfine\n")
    assert [m["content"] for m in asked[1]] == ["Be brief.", "hello", "fine", "how are you"]


def test_a_model_really_answers(typed, model_dir):
    assert typed("1+1\n", model_dir)[0] == 0


def test_without_a_template_a_text_is_continued(typed, base_dir, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "anypo.sampling.stream.Speaker.answer", lambda _, text, __: asked.append(text) or iter("x")
    )
    assert typed("once\nupon\n", base_dir)[1].out == "x\nx\n"
    assert asked == ["once", "upon"]
    assert "nothing would read --system" in typed("", base_dir, "--system", "Hm.")[1].err


def test_two_models_answer_side_by_side(typed, model_dir, base_dir, monkeypatch):
    monkeypatch.setattr(
        "anypo.sampling.stream.Speaker.answer",
        lambda self, *_: iter(["chat"] if self.converses else ["ba", "se"]),
    )
    out = typed("hello\n", model_dir, "--compare", base_dir)[1].out
    assert out.index("chat") < out.index("base")


def test_an_interrupt_ends_the_answer_alone(typed, model_dir, monkeypatch):
    def answer(self, prompt, request):
        yield "some"
        if len(prompt) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr("anypo.sampling.stream.Speaker.answer", answer)
    status, said = typed("one\ntwo\n", model_dir)
    assert (status, said.out.split()) == (0, ["some", "some"])


def test_what_cannot_talk_is_one_line(typed, model_dir, tmp_path):
    status, said = typed("", str(tmp_path / "no where"))
    assert (status, said.err.count("\n")) == (1, 1)
    assert "there is no directory" in said.err
