import json

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


@pytest.fixture
def written(tmp_path):
    def written(*rows):
        (tmp_path / "samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return held_out_of(tmp_path)

    return written


def test_each_prompt_has_its_completions_before_and_after(written):
    rows = [row(0, 0, 0.0), row(0, 1, 1.0), row(5, 0, 0.5, completion="middle")]
    rows += [row(9, 1, 1.0), row(9, 0, 1.0, completion="yes"), row(9, 2, 1.0)]
    rows += [row(11, 0, 0.0, phase="train")]
    first, second = written(*rows).changes(3)
    assert (first.prompt, first.before["completion"], first.after["completion"]) == (
        "0?",
        "hm",
        "yes",
    )
    assert second.prompt == "1?"


def test_the_error_is_that_of_prompts_not_of_completions(written):
    rows = [row(0, 0, 0.0), row(0, 1, 0.0)]
    rows += [row(9, 0, r) for r in (0.0, 1.0)] + [row(9, 1, r) for r in (1.0, 1.0)]
    rows += [row(9, 0, 1.0, name="hard")]
    assert written(*rows).errors() == {"eval": pytest.approx(0.25)}


@pytest.mark.parametrize("rows", [[], [row(0, 0, 1.0)], [{"step": 1, "prompt": "?"}]])
def test_without_two_evaluations_there_is_nothing_to_tell(written, rows):
    assert not written(*rows).changes(3)
    assert not written(*rows).errors()


def test_a_run_without_samples_has_none(tmp_path):
    assert not held_out_of(tmp_path).changes(3)
