import pytest

from anypo.runs.before_after import held_out_of


def row(step, group, reward, *, phase="eval", name="eval", completion="hm"):
    return {
        "step": step,
        "phase": phase,
        "set": name,
        "group": group,
        "prompt": f"{group}?",
        "completion": completion,
        "tokens": 2,
        "truncated": False,
        "reward": reward,
        "scores": {"exact": reward},
    }


def test_each_prompt_has_its_completions_before_and_after():
    rows = [row(0, 0, 0.0), row(0, 1, 1.0), row(5, 0, 0.5, completion="middle")]
    rows += [row(9, 1, 1.0), row(9, 0, 1.0, completion="yes"), row(9, 2, 1.0)]
    rows += [row(11, 0, 0.0, phase="train")]
    first, second = held_out_of(rows).changes(3)
    assert (first.prompt, first.before["completion"], first.after["completion"]) == (
        "0?",
        "hm",
        "yes",
    )
    assert second.prompt == "1?"


def test_the_error_is_that_of_prompts_not_of_completions():
    rows = [row(0, 0, 0.0), row(0, 1, 0.0)]
    rows += [row(9, 0, r) for r in (0.0, 1.0)] + [row(9, 1, r) for r in (1.0, 1.0)]
    rows += [row(9, 0, 1.0, name="hard")]
    assert held_out_of(rows).errors() == {"eval": pytest.approx(0.25)}


@pytest.mark.parametrize("rows", [[], [row(0, 0, 1.0)], [row(1, 0, 1.0, phase="train")]])
def test_without_two_evaluations_there_is_nothing_to_tell(rows):
    assert not held_out_of(rows).changes(3)
    assert not held_out_of(rows).errors()
