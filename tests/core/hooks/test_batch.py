import copy
import pickle
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from anypo.errors import AnypoError
from anypo.hooks.batch import (
    Batch,
    Completion,
    MissingTensorError,
    Prompt,
    Sample,
    collate,
    step_columns,
)

MASK = torch.tensor([[True, True, False], [True, False, False]])


def make_batch(**changes):
    fields = {
        "mask": MASK,
        "max_completion_length": 7,
        "scores": {"exact": torch.tensor([1.0, 0.0])},
        "score_weights": {"exact": 0.5},
        "weights": {"policy": torch.full((2, 3), 0.5)},
        "group": torch.tensor([3, 4]),
        "logits": torch.ones(2, 5),
        "values": torch.full((2, 3), 2.0),
    }
    return Batch(**{**fields, **changes})


def make_sample(completion, prompt=(1, 2), **fields):
    return Sample(list(prompt), list(completion), **{"group": 0, "reward": 0.0, **fields})


def equal(left, right):
    return torch.equal(left, right) and left.dtype == right.dtype


def same(left, right):
    """Whether two batches hold the same."""
    groups = [({"mask": b.mask}, b.tensors, b.scores, b.weights) for b in (left, right)]
    settings = [(b.max_completion_length, b.score_weights) for b in (left, right)]
    return settings[0] == settings[1] and all(
        x.keys() == y.keys() and all(equal(x[name], y[name]) for name in x)
        for x, y in zip(*groups, strict=True)
    )


@pytest.mark.parametrize("filler", [5.0, float("nan"), float("inf")])
def test_padding_of_a_floating_tensor_per_token_is_exact_zero(filler):
    values = torch.where(MASK, 2.0, filler)
    assert make_batch(values=values).values.tolist() == [[2, 2, 0], [2, 0, 0]]


def test_padding_of_loss_weights_is_exact_zero():
    assert make_batch().weights["policy"].tolist() == [[0.5, 0.5, 0], [0.5, 0, 0]]


def test_no_gradient_comes_from_padding():
    values = torch.ones(2, 3, requires_grad=True)
    (make_batch(values=values).values * torch.inf).nan_to_num(0.0, 1.0).sum().backward()
    assert values.grad[~MASK].tolist() == [0, 0, 0]


def test_tensors_of_other_shapes_or_integers_keep_every_element():
    batch = make_batch(tokens=torch.full((2, 3), 9))
    assert batch.logits.tolist() == [[1] * 5] * 2
    assert batch.tokens.tolist() == [[9] * 3] * 2


def test_the_mask_becomes_boolean():
    assert equal(make_batch(mask=MASK.long()).mask, MASK)


def test_a_tensor_is_an_attribute_and_an_item():
    batch = make_batch()
    assert batch.group is batch["group"]
    assert "group" in batch
    assert "rewards" not in batch
    assert sorted(batch) == ["group", "logits", "values"]
    assert len(batch) == 2


def test_lengths_count_the_tokens_of_the_mask():
    assert make_batch().lengths.tolist() == [2, 1]


def test_the_longest_completion_is_the_default_limit():
    assert Batch(mask=MASK).max_completion_length == 3


@pytest.mark.parametrize("read", [lambda b: b.rewards, lambda b: b["rewards"]])
def test_an_unknown_tensor_is_an_error_that_names_what_there_is(read):
    with pytest.raises(MissingTensorError, match="no 'rewards', only group, logits, values"):
        read(make_batch())


def test_hasattr_of_an_unknown_tensor_is_false():
    assert hasattr(make_batch(), "group")
    assert not hasattr(make_batch(), "rewards")


@pytest.mark.parametrize(
    "clone", [copy.copy, copy.deepcopy, lambda batch: pickle.loads(pickle.dumps(batch))]
)
def test_copies_hold_the_same(clone):
    assert same(clone(make_batch()), make_batch())


def test_a_deep_copy_shares_no_memory():
    batch = make_batch()
    copy.deepcopy(batch).values.zero_()
    assert same(batch, make_batch())


@pytest.mark.parametrize(
    "fields",
    [
        {"values": torch.ones(3, 3)},
        {"group": torch.tensor([1])},
        {"weights": {"values": torch.ones(3, 3)}},
        {"scores": {"values": torch.ones(3)}},
    ],
)
def test_a_tensor_with_other_rows_than_the_mask_is_refused(fields):
    with pytest.raises(AnypoError, match=r"has \d rows, the mask has 2"):
        make_batch(**fields)


def test_replace_with_nothing_is_the_same_batch():
    assert same(make_batch().replace(), make_batch())


def test_replace_changes_what_is_named_and_nothing_else():
    batch = make_batch()
    group, rewards = torch.tensor([7, 7]), torch.tensor([1.0, 2.0])
    assert same(
        batch.replace(group=group, rewards=rewards), make_batch(group=group, rewards=rewards)
    )
    assert same(batch, make_batch())


@pytest.mark.parametrize("name", ["scores", "score_weights", "weights"])
def test_replace_takes_scores_and_weights(name):
    batch = make_batch()
    assert same(batch.replace(**{name: {}}), make_batch(**{name: {}}))
    assert same(batch, make_batch())


def test_replace_with_a_new_mask_hides_what_it_hides():
    assert make_batch().replace(mask=MASK & False).values.tolist() == [[0] * 3] * 2


def test_replace_refuses_other_rows():
    with pytest.raises(AnypoError, match="'rewards' has 3 rows"):
        make_batch().replace(rewards=torch.ones(3))


def test_new_scores_leave_the_old_batch_alone():
    scores = {"exact": torch.tensor([1.0, 0.0])}
    batch = make_batch(scores=scores)
    batch.replace().scores["other"] = torch.zeros(2)
    scores["other"] = torch.zeros(2)
    assert same(batch, make_batch())


@given(st.lists(st.integers(0, 1), max_size=4))
def test_rows_takes_every_tensor_alike(index):
    batch = make_batch()
    index = torch.tensor(index, dtype=torch.long)
    expected = make_batch(
        mask=MASK[index],
        scores={name: x[index] for name, x in batch.scores.items()},
        weights={name: x[index] for name, x in batch.weights.items()},
        **{name: batch[name][index] for name in batch},
    )
    assert same(batch.rows(index), expected)
    assert same(batch, make_batch())


def test_to_moves_everything_and_keeps_the_original():
    batch = make_batch()
    moved = batch.to(torch.device("meta"))
    tensors = [
        moved.mask,
        *(x for d in (moved.tensors, moved.scores, moved.weights) for x in d.values()),
    ]
    assert {x.device.type for x in tensors} == {"meta"}
    assert moved.tensors.keys() == batch.tensors.keys()
    assert moved.max_completion_length == 7
    assert same(batch, make_batch())
    assert same(batch.to(torch.device("cpu")), batch)


def test_collate_pads_prompt_and_completion_as_one_row():
    batch = collate([make_sample([5, 6, 7]), make_sample([8], prompt=(1, 2, 3, 4))])
    assert batch.input_ids.tolist() == [[1, 2, 5, 6, 7], [1, 2, 3, 4, 8]]
    assert batch.prompt_lengths.tolist() == [2, 4]
    assert batch.sequence_lengths.tolist() == [5, 5]
    assert batch.mask.tolist() == [[True] * 3, [True, False, False]]


def test_collate_pads_on_the_right():
    batch = collate([make_sample([5]), make_sample([8, 9])])
    assert batch.input_ids.tolist() == [[1, 2, 5, 0], [1, 2, 8, 9]]


def test_collate_keeps_groups_rewards_and_truncation_in_order():
    batch = collate(
        [make_sample([5], group=2, reward=1), make_sample([6], group=0, reward=0.5, truncated=True)]
    )
    assert batch.group.tolist() == [2, 0]
    assert equal(batch.rewards, torch.tensor([1.0, 0.5]))
    assert equal(batch.truncated, torch.tensor([False, True]))


def test_collate_takes_an_empty_completion():
    batch = collate([make_sample([]), make_sample([5, 6])])
    assert batch.mask.tolist() == [[False, False], [True, True]]
    assert batch.lengths.tolist() == [0, 2]
    assert batch.sequence_lengths.tolist() == [2, 4]


def test_collate_of_empty_completions_only_is_one_column_wide():
    batch = collate([make_sample([]), make_sample([])])
    assert batch.mask.tolist() == [[False], [False]]
    assert batch.input_ids.tolist() == [[1, 2], [1, 2]]


def test_collate_hides_tokens_that_the_policy_did_not_write():
    batch = collate(
        [
            make_sample([5, 6, 7], mask=[True, False, True], logprobs=[-1.0, -2.0, -3.0]),
            make_sample([8], logprobs=[-4.0]),
        ]
    )
    assert batch.mask.tolist() == [[True, False, True], [True, False, False]]
    assert batch.lengths.tolist() == [2, 1]
    assert batch.sampler_logprobs.tolist() == [[-1, 0, -3], [-4, 0, 0]]


def test_collate_takes_sampler_logprobs_only_if_every_sample_has_them():
    batch = collate([make_sample([5], logprobs=[-1.0]), make_sample([6])])
    assert "sampler_logprobs" not in batch


def test_collate_makes_a_column_of_numbers_one_per_row():
    batch = collate(
        [make_sample([5, 6], columns={"sign": 1}), make_sample([7], columns={"sign": -1})]
    )
    assert equal(batch.sign, torch.tensor([1, -1]))


def test_collate_pads_a_column_of_numbers_per_token():
    batch = collate(
        [
            make_sample([5, 6], columns={"step": [0.5, 1.5]}),
            make_sample([7], columns={"step": [2.5]}),
            make_sample([], columns={"step": []}),
        ]
    )
    assert batch.step.tolist() == [[0.5, 1.5], [2.5, 0], [0, 0]]


def test_collate_refuses_a_column_that_only_some_samples_have():
    samples = [make_sample([1], columns={"label": 1.0}), make_sample([1])]
    with pytest.raises(AnypoError, match="only some samples of the rollout have a column 'label'"):
        collate(samples)


def test_collate_keeps_raw_scores_by_name_even_where_they_do_not_apply():
    nan = float("nan")
    batch = collate([make_sample([5], scores={"a": 1}), make_sample([6], scores={"a": nan})])
    assert torch.equal(batch.scores["a"].isnan(), torch.tensor([False, True]))
    assert batch.scores["a"][0] == 1.0


def test_a_score_counts_once_in_the_reward_unless_said_otherwise():
    scores = {"a": torch.zeros(2), "b": torch.zeros(2)}
    assert Batch(mask=MASK, scores=scores).score_weights == {"a": 1.0, "b": 1.0}
    scored = make_sample([5], scores={"a": 1.0}, score_weights={"a": 0.5})
    assert collate([scored]).score_weights == {"a": 0.5}


def test_rewards_of_steps_stand_where_the_steps_end():
    assert step_columns(4, [(1, 0.5), (3, -1)]) == {
        "step_rewards": [0, 0.5, 0, -1],
        "step_ends": [0, 1, 0, 1],
    }
    assert step_columns(0, []) == {"step_rewards": [], "step_ends": []}


def test_collate_is_told_the_length_limit():
    assert collate([make_sample([5])], max_completion_length=9).max_completion_length == 9


def test_collate_refuses_an_unscored_sample():
    with pytest.raises(AnypoError, match="without a reward; call the scorer"):
        collate([make_sample([5]), make_sample([6], reward=None)])


def test_collate_of_samples_without_any_reward_has_no_rewards():
    batch = collate([make_sample([5], reward=None), make_sample([6, 7], reward=None)])
    assert "rewards" not in batch
    assert batch.lengths.tolist() == [1, 2]
    with pytest.raises(MissingTensorError, match="holds no 'rewards'"):
        _ = batch.rewards


def test_a_completion_of_a_row_is_a_sample_that_nobody_scored():
    held = {"chosen": Completion([5, 6], [True, False], truncated=True), "rejected": Completion([])}
    prompt = Prompt([1, 2], "text", {"label": True}, held)
    assert prompt.sample("chosen", 3, preference=1.0) == Sample(
        [1, 2], [5, 6], 3, mask=[True, False], truncated=True, columns={"preference": 1.0}
    )
    assert prompt.sample("rejected", 0) == Sample([1, 2], [], 0)


def test_a_row_has_no_sample_of_a_completion_that_it_lacks():
    with pytest.raises(KeyError, match="chosen"):
        Prompt([1], "text", {"chosen": "a"}).sample("chosen", 0)


def test_samples_of_a_data_set_make_a_batch_with_their_columns():
    prompt = Prompt([1], "", {}, {"chosen": Completion([5]), "rejected": Completion([6, 7])})
    batch = collate([prompt.sample(name, 0, sign=n) for n, name in enumerate(prompt.completions)])
    assert batch.input_ids.tolist() == [[1, 5, 0], [1, 6, 7]]
    assert batch.sign.tolist() == [0, 1]


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(0, 5)), min_size=1, max_size=5))
def test_every_sample_can_be_read_back_from_the_collated_batch(sizes):
    samples = [
        make_sample(range(10, 10 + n), prompt=range(1, 1 + p), group=i, reward=i)
        for i, (p, n) in enumerate(sizes)
    ]
    batch = collate(samples)
    for sample, ids, start, end in zip(
        samples, batch.input_ids, batch.prompt_lengths, batch.sequence_lengths, strict=True
    ):
        assert ids[:start].tolist() == sample.prompt_ids
        assert ids[start:end].tolist() == sample.completion_ids
        assert not ids[end:].any()


def test_collating_leaves_the_samples_alone():
    sample = make_sample([5], logprobs=[-1.0], mask=[True], columns={"step": [1.0]})
    before = copy.deepcopy(sample)
    collate([sample, replace(sample, completion_ids=[5, 6, 7])])
    assert sample == before
