import pytest
import torch
from transformers import AutoModelForSequenceClassification

from anypo.hooks.batch import Sample, collate
from anypo.models.forward import check_head, score_tokens
from anypo.models.load import load_model
from anypo.models.scalar_head import text_scores

ROWS = [[5, 6, 7], [8], [9, 10, 11, 12, 13]]


@pytest.mark.parametrize("filler", [0, 7, 256])
def test_scores_are_those_of_every_row_alone_whatever_the_padding(scorer_dir, filler):
    model = AutoModelForSequenceClassification.from_pretrained(scorer_dir).eval()
    padded = torch.tensor([row + [filler] * (6 - len(row)) for row in ROWS])
    with torch.no_grad():
        scores = text_scores(model, padded, torch.tensor([len(row) for row in ROWS]))
        alone = [model(torch.tensor([row])).logits.item() for row in ROWS]
    assert scores.tolist() == pytest.approx(alone, abs=1e-5)
    assert len({round(score, 3) for score in alone}) == 3


def test_a_score_stands_at_the_last_unmasked_token(scorer_dir):
    model = load_model(scorer_dir, scalar_head=True)
    samples = [
        Sample([5, 6], [7, 8, 9], 0, mask=[True, True, False]),
        Sample([5], [], 0),
        Sample([5], [7], 0),
    ]
    batch = collate(samples)
    with torch.no_grad():
        scores = score_tokens(model, batch, temperature=1.0)
        expected = text_scores(model, batch.input_ids, batch.sequence_lengths)
    assert scores.logprobs[0].tolist() == [0, pytest.approx(expected[0].item()), 0]
    assert scores.logprobs[1].tolist() == [0, 0, 0]
    assert scores.logprobs[2].tolist() == [pytest.approx(expected[2].item()), 0, 0]
    assert scores.entropy is scores.values is None


def test_gradient_reaches_the_body_through_a_score(scorer_dir):
    model = load_model(scorer_dir, scalar_head=True)
    text_scores(model, torch.tensor(ROWS[:1]), torch.tensor([3])).sum().backward()
    assert model.get_input_embeddings().weight.grad.abs().sum() > 0


def test_a_model_that_scores_texts_has_no_logits_to_check(scorer_dir):
    check_head(load_model(scorer_dir, scalar_head=True))
