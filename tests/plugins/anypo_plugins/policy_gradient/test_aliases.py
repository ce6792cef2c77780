"""Aliases of policy gradients: stacks and knobs that others have named."""

import pytest

from anypo import compose


@pytest.mark.parametrize("case", ["intellect2", "intellect2 builtin"])
def test_intellect2_bounds_the_ratio_of_bad_completions(reproduces_paper, case):
    knobs = {"dual_clip": 1.25, "kl_coef": 0.0}
    reproduces_paper(compose("intellect2", knobs=knobs), case)


def test_deepseek_r1_is_grpo_that_hardly_clips(random_batch, loss_and_gradient):
    named = compose("deepseek_r1")
    meant = compose("grpo", knobs={"kl_coef": 0.001, "clip_low": 10, "clip_high": 10})
    logprobs, batch = random_batch(scale=2.5)  # ratios beyond 1.2, and below 11
    (one, same), (two, other) = (
        loss_and_gradient(algorithm, logprobs, algorithm.prepare(batch))
        for algorithm in (named, meant)
    )
    assert one.total == two.total
    assert same.equal(other)
    assert one.metrics["clip/fraction"][0] == 0
