from statistics import fmean

import pytest

from anypo import compose


def loss_by_hand(rows, new, sg):
    return -fmean(new[row.index][t] for row in rows for t in row.tokens)


@pytest.mark.parametrize(("frozen", "model"), [(True, "reference"), (False, "policy")])
def test_all_that_is_drawn_in_another_way_is_learnt_and_none_is_judged(
    rolls_out_by_hand, frozen, model
):
    def by_hand(draw):
        rows = draw(2, temperature=0.5, top_k=3, model=model)
        for row in rows:
            row.reward = None
        return rows

    knobs = {"draw_temperature": 0.5, "draw_top_k": 3, "group_size": 2, "frozen": frozen}
    algorithm = compose("ssd", knobs=knobs)
    rolls_out_by_hand(algorithm, by_hand, steps=3)
    assert algorithm.requires == {model} - {"policy"}
    assert not algorithm.inputs.scorer


@pytest.mark.parametrize("seed", range(2))
def test_agrees_with_the_equation_worked_by_hand(random_batch, agrees_by_hand, seed):
    agrees_by_hand(compose("ssd"), loss_by_hand, *random_batch(seed))
