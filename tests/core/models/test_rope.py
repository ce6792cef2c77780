import pytest
import torch
from tiny_models import ORIGINAL, VARIANTS, tiny_config, tiny_model
from transformers import AutoModelForSequenceClassification

from anypo import Sample, collate, score_tokens
from anypo.models.forward import text_scores
from anypo.models.load import frozen_copy
from anypo.models.rope import rotate_as_at

SHORT = Sample([65, 66, 67], [68, 69], group=0)
LONG = Sample(list(range(ORIGINAL)), list(range(20)), group=1)


def logprobs(model, samples):
    with torch.no_grad():
        return score_tokens(model, collate(samples), temperature=1.0).logprobs[0, :2]


@pytest.fixture(params=[kind for kind in VARIANTS if "dynamic" in kind or "longrope" in kind])
def stretching(request, tokenizer):
    """A model that rotates otherwise once a text is longer than those of pretraining."""
    return tiny_model(tiny_config(request.param, tokenizer))


@pytest.fixture
def stretching_scorer(tokenizer):
    config = tiny_config("phi3 with longrope", tokenizer)
    config.num_labels, config.pad_token_id = 1, tokenizer.pad_token_id
    torch.manual_seed(0)
    return AutoModelForSequenceClassification.from_config(config).eval()


def test_what_is_said_of_a_text_depends_on_no_other(stretching):
    assert not torch.allclose(logprobs(stretching, [SHORT]), logprobs(stretching, [SHORT, LONG]))
    rotate_as_at(stretching, 2 * ORIGINAL)
    for model in (stretching, frozen_copy(stretching)):
        alone, together = logprobs(model, [SHORT]), logprobs(model, [SHORT, LONG])
        torch.testing.assert_close(alone, together, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", ["deepseek_v2", "llama4_text"])
def test_complex_rotations_are_made_the_same_too(kind, tokenizer):
    config = tiny_config(kind, tokenizer)
    config.rope_parameters = {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}
    model = tiny_model(config)
    rotate_as_at(model, 2 * ORIGINAL)
    alone, together = logprobs(model, [SHORT]), logprobs(model, [SHORT, LONG])
    torch.testing.assert_close(alone, together, rtol=0, atol=1e-5)


def test_a_score_depends_on_no_other_text(stretching_scorer):
    ids = torch.arange(2 * ORIGINAL).remainder(200).expand(2, -1)
    lengths = torch.tensor([5, 2 * ORIGINAL])
    with torch.no_grad():
        together = text_scores(stretching_scorer, ids, lengths)
        alone = stretching_scorer(input_ids=ids[:1, :5]).logits.squeeze(-1)
    torch.testing.assert_close(together[:1], alone, rtol=0, atol=1e-6)


def test_where_no_text_is_long_nothing_changes(stretching):
    before = logprobs(stretching, [SHORT])
    rotate_as_at(stretching, ORIGINAL)
    assert torch.equal(logprobs(stretching, [SHORT]), before)


def test_positions_that_never_stretch_are_left_alone(model):
    rotate_as_at(model, 10**6)
    assert not [m for m in model.modules() if m._forward_pre_hooks or m._forward_hooks]
