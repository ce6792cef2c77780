"""A class for TRL's `environment_factory`: the same replies in, the same conversations out."""

import pytest


@pytest.mark.trl
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(
    ("template", "parses"), [("qwen2_5", False), ("qwen3", False), ("qwen3", True)]
)
def test_tokens_masks_and_rewards_are_the_same(template, parses, bench, tmp_path):
    from peers import talks

    model = talks.make_model(tmp_path / "model", template, parses=parses)
    found = talks.ours(model, tmp_path)
    assert found == talks.theirs(model, tmp_path)
    assert {sum(told.mask) < len(told.mask) for told in found} == {False, True}
