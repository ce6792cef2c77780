import math

import pytest
import torch

from anypo import AnypoError, Batch, compose


def test_reproduces_the_golden_loss(reproduces_paper):
    reproduces_paper(compose("a2po"), "a2po")


@pytest.mark.parametrize(("beta1", "beta2"), [(0.5, 1e-3), (2.0, 0.1)])
def test_the_gradient_is_that_of_the_regression(paper_batch, loss_and_gradient, beta1, beta2):
    logprobs, batch = paper_batch()
    algorithm = compose("a2po", knobs={"beta2": beta2})
    _, gradient = loss_and_gradient(algorithm, logprobs, algorithm.prepare(batch))
    for row, mask in enumerate(batch.mask.tolist()):
        pairs = zip(logprobs[row].tolist(), batch.ref_logprobs[row].tolist(), mask, strict=True)
        log_ratio = sum(new - ref for new, ref, kept in pairs if kept)
        missed = beta2 * log_ratio - float(batch.rewards[row] - batch.v_star[row])
        slopes = gradient[row][batch.mask[row]].tolist()
        assert slopes == pytest.approx([2 * beta2 * missed / 4] * sum(mask))


def test_v_star_is_the_soft_maximum_of_the_references_rewards(deal):
    algorithm = compose("a2po", knobs={"beta1": 0.5, "value_samples": 4})
    worth = iter([1.0, 0.0, 0.0, 1.0, 2.0])
    (sample,), drawn = deal(algorithm, ["a"], lambda *_: next(worth))
    assert drawn == [(["a"], 4, {"model": "reference"}), (["a"], 1, {})]
    expected = 0.5 * math.log((2 * math.exp(1 / 0.5) + 2) / 4)
    assert sample.columns == {"v_star": pytest.approx(expected)}
    assert sample.reward == 2.0


def test_v_star_cannot_overflow(deal):
    algorithm = compose("a2po", knobs={"beta1": 1e-3})
    (sample,), _ = deal(algorithm, ["a"], lambda *_: 1000.0)
    assert sample.columns["v_star"] == pytest.approx(1000.0)


def test_the_reference_draws_once_for_every_prompt(deal):
    algorithm, state = compose("a2po"), {}
    for contents, new in ((["a", "b", "a"], ["a", "b"]), (["b", "c"], ["c"]), (["c", "a"], [])):
        samples, drawn = deal(algorithm, contents, lambda content, _: ord(content), state)
        asked = [(new, 8, {"model": "reference"})] if new else []
        assert drawn == [*asked, (contents, 1, {})]
        expected = [float(ord(content)) for content in contents]
        assert [sample.columns["v_star"] for sample in samples] == pytest.approx(expected)


def test_a_reference_that_moved_draws_anew(deal):
    algorithm, state = compose("a2po"), {}
    for moved, worth, asks in (
        (None, 1.0, True),
        (None, 2.0, False),
        (4, 3.0, True),
        (4, 5.0, False),
    ):
        state |= {} if moved is None else {"reference_moved": moved}
        (sample,), drawn = deal(algorithm, ["a"], lambda *_, worth=worth: worth, state)
        assert len(drawn) == 1 + asks
        assert sample.columns["v_star"] == pytest.approx(1.0 if moved is None else 3.0)


def test_needs_the_reference_and_nothing_of_the_policy_that_sampled():
    assert compose("a2po").requires == {"reference"}


def test_a_completion_as_good_as_v_star_is_left_alone(loss_and_gradient):
    old = torch.tensor([[-1.0, -2.0]], dtype=torch.float64)
    value = torch.tensor([0.75], dtype=torch.float64)
    batch = Batch(
        mask=torch.ones(1, 2).bool(),
        group=torch.tensor([0]),
        rewards=value,
        v_star=value,
        ref_logprobs=old,
    )
    algorithm = compose("a2po")
    loss, gradient = loss_and_gradient(algorithm, old, algorithm.prepare(batch))
    assert loss.total.item() == 0
    assert not gradient.any()


@pytest.mark.parametrize("knobs", [{"beta1": 0}, {"beta2": 0}, {"value_samples": 0}])
def test_refuses_knobs_out_of_range(knobs):
    with pytest.raises(AnypoError, match=next(iter(knobs))):
        compose("a2po", knobs=knobs)
