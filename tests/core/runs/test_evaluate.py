"""A model is judged by what it says: the same that could be written down."""

import json
from statistics import fmean

import pytest

from anypo import Observer, collect, evaluate, run
from anypo.errors import ConfigError, DataError, ModelError, RewardError
from anypo.runs.estimates import best_of, over_prompts

REWARDS = """
def early(completions, **_):
    return [float(sum(ord(c) % 7 for c in text) % 2) for text in completions]


def length(completion_ids, **_):
    return [len(ids) / 2 for ids in completion_ids]


def told(completions, **_):
    return early(completions)


told.answer_of = lambda text: sum(ord(c) % 7 for c in text) % 6


def odd(completions, **_):
    return [None if index == 0 else 1.0 for index in range(len(completions))]


def broken(completions, **_):
    return early(completions)


broken.answer_of = lambda text: 1 / 0
"""


class Notes(Observer):
    """Remembers what it is told."""

    def __init__(self):
        self.notes, self.done = [], []

    def note(self, text):
        """See `Observer`."""
        self.notes.append(text)

    def completed(self, done, total):
        """See `Observer`."""
        self.done.append((done, total))


@pytest.fixture
def judged(tmp_path, model_dir):
    """Options: two data sets, and a reward of a file; gives those of another of its functions."""
    for name, prompts in {"a": ["ab", "cd", "ef"], "b": ["gh"]}.items():
        rows = [json.dumps({"prompt": prompt, "answer": "x"}) + "\n" for prompt in prompts]
        (tmp_path / f"{name}.jsonl").write_text("".join(rows))
    (tmp_path / "reward.py").write_text(REWARDS)

    def options(*rewards):
        return {
            "data": [f"many={tmp_path / 'a.jsonl'}", f"one={tmp_path / 'b.jsonl'}"],
            "reward": [f"{tmp_path / 'reward.py'}:{name}" for name in rewards],
            "max_completion_length": 6,
            "device": "cpu",
        }

    return options


def written(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_it_is_judged_by_what_it_says_set_by_set(judged, model_dir, tmp_path):
    many, one = evaluate(model_dir, samples=4, **judged("early"))
    collect(model_dir, tmp_path / "said.jsonl", samples=4, **judged("early"))
    rewards = [row["reward"] for row in written(tmp_path / "said.jsonl")]
    by_prompt = [rewards[at : at + 4] for at in range(0, 16, 4)]
    assert 0 < fmean(rewards) < 1
    assert (many.set, many.score, many.prompts, many.samples) == ("many", "score", 3, 4)
    assert many.estimates == {
        "mean@4": over_prompts([fmean(row) for row in by_prompt[:3]]),
        **{
            f"pass@{k}": over_prompts([best_of(k, row) for row in by_prompt[:3]]) for k in (1, 2, 4)
        },
    }
    assert one.estimates["mean@4"] == (fmean(by_prompt[3]), None)


def test_it_may_be_asked_the_first_prompts_alone(judged, model_dir):
    found = evaluate(model_dir, samples=2, limit=2, **judged("early"))
    assert [one.prompts for one in found] == [2, 1]


def test_the_seed_decides_what_is_said(judged, model_dir):
    first, again, other = (
        evaluate(model_dir, samples=4, seed=seed, **judged("length")) for seed in (0, 0, 1)
    )
    assert first == again != other


def test_each_of_several_rewards_judges_and_only_right_and_wrong_can_pass(judged, model_dir):
    found = evaluate(model_dir, samples=2, **judged("early", "length"))
    assert [one.score for one in found[:3]] == ["score", "score/early", "score/length"]
    kinds = [next(iter(list(one.estimates)[1:])) for one in found[:3]]
    assert kinds == ["best@1", "pass@1", "best@1"]
    whole, *parts = (one.estimates["mean@2"].value for one in found[:3])
    assert whole == pytest.approx(sum(parts))


def test_a_score_is_of_the_prompts_to_which_it_applies(judged, model_dir):
    found = evaluate(model_dir, samples=2, **judged("early", "odd"))
    assert {one.score: one.prompts for one in found if one.set == "many"} == {
        "score": 3,
        "score/early": 3,
        "score/odd": 2,  # to one completion of the first prompt it does not
    }


def test_a_majority_needs_a_reward_that_tells_answers(judged, model_dir):
    watch = Notes()
    (found, _) = evaluate(model_dir, samples=4, observer=watch, **judged("told"))
    assert 0 <= found.estimates["majority@4"].value <= 1
    assert watch.notes == []
    (found, _) = evaluate(model_dir, samples=4, observer=watch, **judged("early"))
    assert "majority@4" not in found.estimates
    (note,) = watch.notes
    assert note.startswith("no majority is told: no reward says what the answer")
    assert watch.done == [(3, 4), (4, 4)] * 2


def test_greedily_all_completions_of_a_prompt_are_the_same(judged, model_dir):
    (found, _) = evaluate(model_dir, samples=3, top_k=1, **judged("told"))
    (value,) = {estimate.value for estimate in found.estimates.values()}
    assert value in (0, 1 / 3, 2 / 3, 1)


def test_without_data_a_model_of_a_task_is_judged_on_what_the_task_holds_out(quick_cache, tmp_path):
    options = {"steps": 1, "prompts_per_step": 2, "device": "cpu", "output": str(tmp_path / "run")}
    folder = run("grpo", eval_samples=2, **options)
    (found,) = evaluate(folder, samples=2, device="cpu")
    assert (found.set, found.prompts) == ("", 40)
    assert "majority@2" in found.estimates
    lines = written(folder / "samples.jsonl")
    prompts = {json.dumps(row["prompt"]) for row in lines if row["phase"] == "eval"}
    assert len(prompts) == found.prompts


@pytest.mark.parametrize(
    ("change", "error", "why"),
    [
        ({"reward": []}, ConfigError, r"no reward is named .* \(--reward\)"),
        ({"data": []}, ConfigError, r"no data are named, and the model comes from no task"),
        ({"data": "nowhere.jsonl"}, DataError, "there is no file 'nowhere.jsonl'"),
        ({"reward": "exacd"}, RewardError, "there is no reward 'exacd'; did you mean 'exact'"),
        ({"sampels": 2}, ConfigError, "there is no option 'sampels'; did you mean 'samples'"),
        ({"samples": 0}, ConfigError, "samples = 0 is refused"),
        ({"vllm_url": "x"}, ConfigError, "vllm_url is set, but the sampler is transformers"),
        ({"max_prompt_length": 1}, DataError, "have more than 1 tokens, the shortest 2"),
    ],
)
def test_what_cannot_be_judged_is_refused(judged, model_dir, change, error, why):
    with pytest.raises(error, match=why):
        evaluate(model_dir, **{**judged("early"), **change})


def test_a_model_that_only_scores_is_refused(judged, scorer_dir):
    with pytest.raises(ModelError, match="scores texts, but one that continues them is needed"):
        evaluate(scorer_dir, **judged("early"))


def test_a_reward_that_fails_to_tell_an_answer_is_named(judged, model_dir):
    with pytest.raises(RewardError, match="answer_of of reward 'broken' raised ZeroDivisionError"):
        evaluate(model_dir, samples=2, **judged("broken"))
