import pytest
import torch
from tiny_models import tiny_config, tiny_model

from anypo.hooks.batch import Sample, collate
from anypo.models.critic import Critic
from anypo.models.forward import score_tokens


@pytest.fixture
def batch():
    samples = [Sample([50, 51, 52][:n], [97] * t, group=0, reward=0.0) for n, t in ((3, 4), (1, 2))]
    return collate(samples)


def values_of(model, batch, critic):
    return score_tokens(model, batch, temperature=1.0, critic=critic).values


@pytest.mark.parametrize("shares_body", [True, False])
def test_it_expects_nothing_at_first(model, batch, shares_body):
    assert (values_of(model, batch, Critic(model, shares_body=shares_body)) == 0).all()


def test_a_decoder_whose_states_are_narrower_has_one_too(tokenizer, batch):
    config = tiny_config("opt", tokenizer)
    config.hidden_size, config.word_embed_proj_dim = 32, 16
    model = tiny_model(config)
    assert (values_of(model, batch, Critic(model, shares_body=False)) == 0).all()


@pytest.mark.parametrize("shares_body", [True, False])
def test_the_value_before_a_token_reads_what_precedes_it(model, batch, shares_body):
    critic = Critic(model, shares_body=shares_body)
    torch.nn.init.ones_(critic.head.weight)
    values = values_of(model, batch, critic)
    with torch.no_grad():
        states = model.get_decoder()(input_ids=batch.input_ids[:1]).last_hidden_state
        expected = states[0, 2:6].sum(-1)
    torch.testing.assert_close(values[0].detach(), expected, rtol=1e-4, atol=1e-4)
    assert (values[~batch.mask] == 0).all()


@pytest.mark.parametrize("shares_body", [True, False])
def test_only_a_shared_body_passes_gradient_to_the_policy(model, batch, shares_body):
    critic = Critic(model, shares_body=shares_body)
    torch.nn.init.ones_(critic.head.weight)
    values_of(model, batch, critic).sum().backward()
    reached = any(parameter.grad is not None for parameter in model.parameters())
    assert reached == shares_body
