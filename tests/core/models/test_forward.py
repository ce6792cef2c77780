import pytest
import torch
from tiny_models import tiny_config, tiny_model
from transformers import AutoModelForSequenceClassification

from anypo.errors import ModelError
from anypo.hooks.batch import Sample, collate
from anypo.models import head
from anypo.models.checks import check_head
from anypo.models.forward import score_tokens, text_scores
from anypo.models.load import load_model
from anypo.models.logits import Making, decoder_of

ROWS = [[5, 6, 7], [8], [9, 10, 11, 12, 13]]


def made_batch(lengths=((3, 4), (1, 2), (5, 0), (2, 6))):
    random = torch.Generator().manual_seed(1)

    def ids(n):
        return torch.randint(0, 256, (n,), generator=random).tolist()

    samples = [Sample(ids(p), ids(c), group=0, reward=0.0) for p, c in lengths]
    return collate(samples)


def in_chunks(monkeypatch, width):
    """Chunks of so many columns, which are computed again in the backward pass."""
    for name, number in {"CHUNK": 1, "NARROWEST": width, "KEPT": 0}.items():
        monkeypatch.setattr(head, name, number)


def plain_logprobs(model, batch, row, temperature):
    """One row at a time, with all logits: what the chunked way must equal."""
    ids = batch.input_ids[row, : batch.sequence_lengths[row]]
    start = batch.prompt_lengths[row]
    distribution = (model(ids[None]).logits[0] / temperature).log_softmax(-1)
    chosen = distribution[start - 1 : -1].gather(-1, ids[start:, None]).squeeze(-1)
    entropy = -(distribution.exp() * distribution).sum(-1)[start - 1 : -1]
    return chosen, entropy


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("width", [1, 5, 10_000])
def test_scores_equal_those_of_the_plain_forward(model, monkeypatch, temperature, width):
    in_chunks(monkeypatch, width)
    batch = made_batch()
    logprobs, entropy, values, *_ = score_tokens(model, batch, temperature=temperature)
    assert values is None
    for row, length in enumerate(batch.lengths.tolist()):
        expected = plain_logprobs(model, batch, row, temperature)
        torch.testing.assert_close(logprobs[row, :length], expected[0], rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(entropy[row, :length], expected[1], rtol=1e-5, atol=1e-5)
    assert (logprobs[~batch.mask] == 0).all()


def gradients(model, batch, weights):
    model.zero_grad()
    for rows, part in weights:
        scores = score_tokens(model, batch.rows(rows), temperature=1.0, with_entropy_gradient=True)
        ((scores.logprobs + 0.1 * scores.entropy) * part).sum().backward()
    return torch.cat([p.grad.flatten() for p in model.parameters()])


def test_chunks_and_micro_batches_change_no_gradient(model, monkeypatch):
    batch = made_batch()
    weights = torch.rand(batch.mask.shape, generator=torch.Generator().manual_seed(2))
    everything = torch.arange(len(batch))
    whole = gradients(model, batch, [(everything, weights)])
    in_chunks(monkeypatch, 7)
    rows = [torch.tensor([3, 1]), torch.tensor([2]), torch.tensor([0])]
    parts = gradients(model, batch, [(part, weights[part]) for part in rows])
    torch.testing.assert_close(parts, whole, rtol=1e-4, atol=1e-5)


def test_the_golden_log_probs_and_entropies(golden, fixtures):
    logits = torch.tensor(fixtures["LG"]["logits"][0], dtype=torch.float64)
    tokens = torch.tensor(fixtures["LG"]["tokens"][0])

    for name in ("logprob.temperature_1.0", "logprob.temperature_0.7"):
        case = golden(name)
        config, expected = case["config"], case["expected"]
        leaf = logits.clone().requires_grad_()
        making = Making(temperature=config["temperature"])
        weight = torch.eye(leaf.shape[-1], dtype=leaf.dtype)
        logprobs, entropy = head.Head.apply(leaf, weight, None, tokens, making, True)
        bonus = -config["entropy_coef"] * entropy.mean()
        bonus.backward()
        for actual, key in [(logprobs, "logp"), (entropy, "entropy")]:
            wanted = torch.tensor(expected[key][0], dtype=torch.float64)
            torch.testing.assert_close(actual.detach(), wanted, rtol=1e-5, atol=1e-5)
        wanted = torch.tensor(expected["grad_logits_of_entropy_bonus"][0], dtype=torch.float64)
        torch.testing.assert_close(leaf.grad, wanted, rtol=1e-5, atol=1e-7)
        assert bonus.item() == pytest.approx(expected["entropy_bonus_loss"], rel=1e-5)


def test_entropy_carries_gradient_only_on_demand(model):
    batch = made_batch()
    assert not score_tokens(model, batch, temperature=1.0).entropy.requires_grad
    scores = score_tokens(model, batch, temperature=1.0, with_entropy_gradient=True)
    assert scores.entropy.requires_grad


@pytest.mark.parametrize("kind", ["gemma2", "granite", "hyperclovax", "cohere", "minicpm3"])
def test_logits_are_capped_and_scaled_as_the_model_does(kind, tokenizer):
    changed = {"final_logit_softcapping": 3.0, "logits_scaling": 2.0, "logit_scale": 0.3}
    config = tiny_config(kind, tokenizer)
    for name in changed.keys() & vars(config).keys():
        setattr(config, name, changed[name])
    model, batch = tiny_model(config), made_batch()
    check_head(model)
    logprobs, entropy, *_ = score_tokens(model, batch, temperature=0.7)
    for row, length in enumerate(batch.lengths.tolist()):
        expected = plain_logprobs(model, batch, row, 0.7)
        torch.testing.assert_close(logprobs[row, :length], expected[0], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(entropy[row, :length], expected[1], rtol=1e-4, atol=1e-5)


def test_a_model_whose_logits_are_made_of_more_than_the_decoders_states_is_refused(model):
    check_head(model)
    plain = model.forward

    def changed(**inputs):
        outputs = plain(**inputs)
        outputs.logits += torch.arange(outputs.logits.shape[1]).view(1, -1, 1) ** 2
        return outputs

    model.forward = changed
    with pytest.raises(ModelError, match="makes its logits not only of what its decoder says"):
        check_head(model)


@pytest.mark.parametrize("kind", ["llama4_text", "modernbert-decoder", "whisper"])
def test_the_decoder_is_found_whatever_it_is_called(kind, tokenizer):
    check_head(tiny_model(tiny_config(kind, tokenizer)))


def test_a_body_that_is_no_model_of_transformers_is_found(model, monkeypatch):
    monkeypatch.setattr(model, "get_decoder", lambda: model)
    monkeypatch.setattr(model, "children", lambda: iter([model.lm_head]))
    assert decoder_of(model) is model.model


def test_broken_weights_are_called_so(model):
    model.lm_head.weight.data[7] = torch.nan
    with pytest.raises(ModelError, match="gives NaN as logits: its weights are broken"):
        check_head(model)


def test_a_model_that_sees_later_tokens_is_refused(tokenizer):
    with pytest.raises(ModelError, match="BertLMHeadModel is not causal"):
        check_head(tiny_model(tiny_config("bert", tokenizer)))


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
