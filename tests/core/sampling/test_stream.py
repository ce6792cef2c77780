import pytest
import torch

from anypo import Prompt, Runtime, SamplingRequest
from anypo.sampling.generate import TransformersEngine
from anypo.sampling.stream import Speaker

GREEDY = SamplingRequest(top_k=1, max_completion_length=12)


@pytest.fixture
def speaker(model, tokenizer):
    return Speaker(model, tokenizer, Runtime())


def test_pieces_add_up_to_what_the_sampler_completes(speaker, model, tokenizer):
    ids = speaker.tokens.prompt("once")
    request = SamplingRequest(
        [Prompt(ids, "once")], end_tokens=speaker.ends, top_k=1, max_completion_length=12
    )
    (sample,) = TransformersEngine(model, Runtime()).sample(request)
    expected = tokenizer.decode(sample.completion_ids, skip_special_tokens=True)
    pieces = list(speaker.answer("once", GREEDY))
    assert len(pieces) > 1
    assert "".join(pieces) == expected


def test_it_ends_where_the_model_ends(speaker, tokenizer, monkeypatch):
    tokens = iter([*tokenizer("yes", add_special_tokens=False).input_ids, speaker.ends[0], 1])
    monkeypatch.setattr(
        "anypo.sampling.stream.draw", lambda *_: (torch.tensor([next(tokens)]), None)
    )
    assert "".join(speaker.answer("?", GREEDY)) == "yes"


def test_a_character_of_several_tokens_comes_whole(speaker, tokenizer, monkeypatch):
    tokens = iter([*tokenizer("é", add_special_tokens=False).input_ids, speaker.ends[0]])
    monkeypatch.setattr(
        "anypo.sampling.stream.draw", lambda *_: (torch.tensor([next(tokens)]), None)
    )
    assert list(speaker.answer("?", GREEDY)) == ["é"]
