"""Knobs that change from the first step to the last."""

import copy

import pytest

from anypo import compose
from anypo.composition.schedules import Schedule, read_schedule
from anypo.errors import KnobError


def schedule(text):
    return read_schedule(text, float)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("linear(0.1, 0.0)", [0.1, 0.075, 0.05, 0.0]),
        ("linear( 1,3 )", [1.0, 1.5, 2.0, 3.0]),
        ("cosine(1, 0)", [1.0, 0.853553, 0.5, 0.0]),
    ],
)
def test_a_value_goes_from_one_end_to_the_other(text, values):
    found = [schedule(text).at(share) for share in (0.0, 0.25, 0.5, 1.0)]
    assert found == pytest.approx(values, abs=1e-6)


@pytest.mark.parametrize("text", ["0.1", "linear(1)", "linear(1, 2, 3)", "step(1, 2)", "linear", 5])
def test_what_is_no_schedule_is_none(text):
    assert schedule(text) is None


def test_it_is_written_as_it_is_read_and_copied():
    found = schedule("cosine(1,0.5)")
    assert (found, schedule(found)) == ("cosine(1.0, 0.5)", found)
    assert copy.deepcopy(found).at(1.0) == 0.5


def test_an_algorithm_has_the_values_of_its_share_of_the_way():
    algorithm = compose("grpo", knobs={"kl_coef": "linear(0.1,0)", "group_size": "linear(8, 4)"})
    assert algorithm.scheduled == {"kl_coef": 0.1, "group_size": 8}
    later = algorithm.at(0.5)
    assert later.scheduled == {"kl_coef": 0.05, "group_size": 6}
    assert later.at(1.0).scheduled == {"kl_coef": 0.0, "group_size": 4}
    (grpo,) = later.manager.get_plugins()
    assert (grpo.kl_coef, grpo.group_size) == (0.05, 6)
    assert isinstance(later.knobs["kl_coef"].value, Schedule)


def test_what_any_part_of_the_way_needs_is_required():
    for way in ("linear(0, 0.1)", "linear(0.1, 0)"):
        assert "reference" in compose("grpo", knobs={"kl_coef": way}).requires
    assert "reference" not in compose("grpo", knobs={"kl_coef": "linear(0, 0)"}).requires
    assert compose("grpo", knobs={"kl_coef": 0.0}).findings.only_advantages_count
    algorithm = compose("grpo", knobs={"kl_coef": "linear(0, 0.1)"})
    assert not algorithm.findings.only_advantages_count


def test_what_any_part_of_the_way_reads_is_read():
    for way in ("linear(1, 0)", "linear(0, 1)"):
        inputs = compose("gkd", knobs={"on_policy": way}).inputs
        assert (inputs.sampler, inputs.completions, inputs.fixed) == (True, {"completion"}, False)


def test_without_one_nothing_is_made_anew():
    algorithm = compose("grpo")
    assert algorithm.at(0.5) is algorithm


@pytest.mark.parametrize(
    ("knobs", "said"),
    [
        ({"kl_coef": "linear(0.1, -1)"}, "kl_coef = '-1' is refused: .* greater than or equal to"),
        ({"clip_low": "cosine(0, 1)"}, "clip_low = '0' is refused: .* greater than 0"),
        ({"kl_coef": "linaer(0.1, 1)"}, "kl_coef = 'linaer.*' is refused: .* valid number"),
        ({"kl_estimator": "linear(1, 2)"}, "kl_estimator = .* is refused: .* 'k1'"),
        ({"group_size": "linear(2.5, 4)"}, "group_size = '2.5' is refused: .* valid integer"),
    ],
)
def test_an_end_that_the_knob_refuses_is_refused(knobs, said):
    with pytest.raises(KnobError, match=said):
        compose("grpo", knobs=knobs)
