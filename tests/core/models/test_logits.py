import pytest
import torch
from tiny_models import tiny_config, tiny_model

from anypo.models.logits import Making, making_of

HIDDEN_FROM = {  # what is changed in a configuration, and what is seen of it
    "gemma2": ({"final_logit_softcapping": 3.0}, Making(cap=3.0)),
    "granite": ({"logits_scaling": 2.0}, Making(scale=0.5)),
    "hyperclovax": ({"logits_scaling": 2.0}, Making(scale=2.0)),
    "cohere": ({"logit_scale": 0.3}, Making(scale=0.3)),
    "qwen2": ({}, Making()),
    "gptj": ({}, Making()),  # with a bias
}


@pytest.mark.parametrize("kind", HIDDEN_FROM)
def test_scale_and_cap_are_seen_from_outside(kind, tokenizer):
    changes, expected = HIDDEN_FROM[kind]
    config = tiny_config(kind, tokenizer)
    for name, value in changes.items():
        setattr(config, name, value)
    making = making_of(tiny_model(config), 0.7)
    assert making.scale == pytest.approx(expected.scale, rel=1e-6)
    assert making.cap == expected.cap
    assert making.temperature == 0.7


def test_a_scale_of_one_is_exactly_one(model):
    assert making_of(model, 1.0) == Making()


def test_what_does_more_than_scale_and_cap_is_not_taken_for_it(model):
    class Odd(type(model)):
        def forward(self, **inputs):
            outputs = super().forward(**inputs)
            outputs.logits = outputs.logits + outputs.logits.sin()
            return outputs

    model.__class__ = Odd
    assert making_of(model, 1.0) is None


@pytest.mark.parametrize("making", [Making(0.5, None, 2.0), Making(0.5, 4.0, 2.0)])
def test_the_slope_is_the_derivative(making):
    products, step = torch.linspace(-20, 20, 41, dtype=torch.float64), 1e-5
    beside = [making.logits(products + shift) for shift in (-step, step)]
    slope = torch.as_tensor(making.slope(making.logits(products)), dtype=torch.float64)
    torch.testing.assert_close(slope.expand(41), (beside[1] - beside[0]) / (2 * step))
