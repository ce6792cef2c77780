import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification

from anypo.data.formats import Rows
from anypo.data.prompts import read_prompts
from anypo.data.tally import Limits, Tally
from anypo.data.tokens import Tokens
from anypo.errors import DataError, ModelError, RewardError
from anypo.hooks.batch import Prompt, Sample, collate
from anypo.hooks.rollout import Inputs
from anypo.hooks.runtime import Runtime
from anypo.models.forward import score_tokens
from anypo.models.load import load_model
from anypo.rewards.load import load_reward
from anypo.rewards.model import ScoreOfModel
from anypo.rewards.scorer import Rewards

COMPLETION = Inputs(completions=frozenset({"completion"}))
PROMPT = Inputs()
CHAT = [{"role": "user", "content": "1+1"}]
NEWLINES = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
NO_END = NEWLINES.replace("<|end|>", "")


def prompts_of(rows, tokens, inputs=PROMPT):
    """Rows as prompts."""
    read = read_prompts(Rows("mine", rows), tokens, inputs, Limits(100, 100), Tally())
    return [prompt for _, prompt in read]


def reply(text):
    return [{"role": "assistant", "content": text}]


@pytest.fixture
def judge(scorer_dir):
    """The reward of that model."""
    return ScoreOfModel(scorer_dir, Runtime())


@pytest.fixture
def trained_scores(scorer_dir, judge):
    """What training makes of the same texts."""

    def trained_scores(*pairs):
        rows = [{"prompt": prompt, "completion": completion} for prompt, completion in pairs]
        tokenizer = judge.tokens.tokenizer
        prompts = prompts_of(rows, Tokens(tokenizer, scored=True), COMPLETION)
        batch = collate([prompt.sample("completion", i) for i, prompt in enumerate(prompts)])
        model = load_model(scorer_dir, scalar_head=True)
        with torch.no_grad():
            return score_tokens(model, batch, temperature=0.5).logprobs.sum(-1).tolist()

    return trained_scores


# -- scores of texts -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pairs",
    [
        [("1+1=", "2"), ("2+2=", "four"), ("a", "b c d")],
        [(CHAT, reply("2")), (CHAT, reply("I do not know"))],
    ],
    ids=["texts", "conversations"],
)
def test_a_text_gets_the_score_that_it_has_in_training(judge, trained_scores, pairs):
    scores = judge(*zip(*pairs, strict=True))
    assert scores == pytest.approx(trained_scores(*pairs), abs=1e-5)
    assert len({round(score, 3) for score in scores}) == len(pairs)


@pytest.mark.parametrize("template", [NEWLINES, NEWLINES + "{{ eos_token }}", NO_END])
def test_a_conversation_is_scored_as_in_training_and_by_everybody(judge, trained_scores, template):
    tokenizer = judge.tokens.tokenizer
    plain = judge([CHAT], [reply("2")])
    tokenizer.chat_template = template
    scores = judge([CHAT], [reply("2")])
    assert scores == pytest.approx(trained_scores((CHAT, reply("2"))), abs=1e-5)
    assert scores != pytest.approx(plain, abs=1e-5)
    ids = tokenizer.apply_chat_template([*CHAT, *reply("2")], return_tensors="pt")["input_ids"]
    with torch.no_grad():
        expected = judge.model(ids).logits[0].tolist()
    assert scores == pytest.approx(expected, abs=1e-5)


def test_a_conversation_is_scored_with_the_tools_of_its_row(judge):
    judge.tokens.tokenizer.chat_template = "{{ tools | length if tools else 0 }}{{ mood }}" + NO_END
    pair = [CHAT] * 3, [reply("2")] * 3
    tools = [None, [{"type": "function"}], '[{"type": "function"}]']
    none, one, same = judge(*pair, tools=tools, answer=["2"] * 3)
    assert one == pytest.approx(same, abs=1e-5) != pytest.approx(none, abs=1e-5)
    moods = [{"mood": "calm"}, {"mood": "wild"}, None]
    assert len(set(judge(*pair, chat_template_kwargs=moods))) == 3


def test_a_reply_that_the_prompt_begins_is_scored_as_one(judge):
    begun = [*CHAT, *reply("it is ")]
    assert judge([begun], [reply("2")]) == judge([CHAT], [reply("it is 2")])


@pytest.mark.parametrize("empty", ["", " \n"])
def test_an_empty_completion_is_scored_by_its_end(judge, empty):
    ids = [*judge.tokens.prompt("1+1=" + empty), judge.tokens.end]
    with torch.no_grad():
        expected = judge.model(torch.tensor([ids])).logits.item()
    assert judge(["1+1="], [empty]) == pytest.approx([expected], abs=1e-5)
    assert len(judge([CHAT], [reply(empty)])) == 1


def test_many_texts_are_scored_like_few(judge, scorer_dir):
    prompts, completions = ["p"] * 5, ["a", "bc", "def", "g" * 30, "h"]
    whole = judge(prompts, completions)
    parts = ScoreOfModel(scorer_dir, Runtime(token_budget=12))
    assert parts(prompts, completions) == pytest.approx(whole, abs=1e-5)


def test_a_text_that_the_model_cannot_attend_to_is_refused(judge):
    judge.limit = 8
    judge(["1+1="], ["abc"])
    with pytest.raises(ModelError, match=r"judge' attends to 8 tokens, but is to score .* of 9"):
        judge(["a", "1+1="], ["b", "abcd"])


def test_rows_that_the_model_cannot_score_are_refused_before_weights_are_loaded(
    scorer_dir, tokenizer, monkeypatch
):
    monkeypatch.setattr("anypo.rewards.model.load_model", lambda *_, **__: pytest.fail("loaded"))
    reward = load_reward(scorer_dir)
    reward.function.tokens.tokenizer.chat_template = (
        "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    ) + NEWLINES
    reward.function.limit = 20
    system = [{"role": "system", "content": "Add."}, *CHAT]
    rows = [{"prompt": prompt} for prompt in (CHAT, system, "1+1=", "1" * 30)]
    rewards = Rewards([reward], tokenizer, timeout=30)
    refused = {}
    for number, prompt in enumerate(prompts_of(rows, Tokens(tokenizer)), 1):
        try:
            rewards.check(prompt)
        except DataError as error:
            refused[number] = str(error)
    cannot = "reward 'judge' cannot score it: "
    assert refused.keys() == {2, 4}
    assert refused[2] == f"{cannot}it does not fit the chat template: no system"
    assert refused[4].startswith(f"{cannot}'{scorer_dir}' attends to 20 tokens, but is to score")


# -- as a reward ---------------------------------------------------------------------------------


def test_a_directory_is_a_reward_by_its_name_and_a_weight_may_follow(scorer_dir):
    reward = load_reward(scorer_dir)
    assert (reward.name, reward.weight) == ("judge", 1.0)
    weighted = load_reward(f"{scorer_dir}=0.5")
    assert (weighted.name, weighted.weight) == ("judge", 0.5)
    assert weighted.source == scorer_dir


def test_the_directory_of_a_run_is_a_reward_by_its_own_name(scorer_dir, tmp_path):
    run = tmp_path / "my_run"
    run.mkdir()
    (run / "config.toml").write_text("")
    (run / "model").symlink_to(scorer_dir, target_is_directory=True)
    reward = load_reward(str(run))
    assert reward.name == "my_run"
    pair = (["1+1="], ["2"])
    assert reward.function(*pair) == load_reward(scorer_dir).function(*pair)


def test_it_scores_samples_by_their_text(scorer_dir, tokenizer, judge):
    rows = [{"prompt": CHAT, "answer": "2"}, {"prompt": "1+1=", "answer": "2"}]
    prompts = prompts_of(rows, Tokens(tokenizer))
    ids = tokenizer("2<|end|>")["input_ids"]
    samples = [Sample(prompt.ids, ids, group) for group, prompt in enumerate(prompts)]
    scored = Rewards([load_reward(f"{scorer_dir}=2")], tokenizer, timeout=30)(prompts, samples)
    expected = judge([CHAT], [reply("2")]) + judge(["1+1="], ["2"])
    assert [s.scores["judge"] for s in scored] == pytest.approx(expected)
    assert [s.reward for s in scored] == pytest.approx([2 * score for score in expected])


def test_a_language_model_is_no_reward(model_dir):
    with pytest.raises(RewardError, match="is a model that does not score texts") as refusal:
        load_reward(model_dir)
    assert "\n" not in str(refusal.value)


def test_a_classifier_with_several_labels_is_no_reward(scorer_dir, tmp_path):
    several = AutoModelForSequenceClassification.from_pretrained(
        scorer_dir, num_labels=3, ignore_mismatched_sizes=True
    )
    several.save_pretrained(tmp_path)
    with pytest.raises(RewardError, match="no sequence classifier with one label"):
        load_reward(str(tmp_path))


@pytest.mark.parametrize("name", ["someone/nothing", "someone/nothing=0.5"])
def test_a_hub_name_that_cannot_be_reached_is_one_sentence(name):
    with pytest.raises(ModelError, match="'someone/nothing' does not load") as refusal:
        load_reward(name)
    assert "\n" not in str(refusal.value)


def test_a_directory_that_is_not_there_is_not_looked_for_elsewhere(tmp_path):
    with pytest.raises(RewardError, match=r"there is no model directory '.*/nosuch'"):
        load_reward(str(tmp_path / "nosuch"))


def test_no_weights_are_loaded_before_the_first_text(scorer_dir, monkeypatch):
    monkeypatch.setattr("anypo.rewards.model.load_model", lambda *_, **__: pytest.fail("loaded"))
    load_reward(scorer_dir)


# -- broken models -------------------------------------------------------------------------------


def test_a_model_of_which_weights_are_missing_is_refused_before_it_scores(scorer_dir, tmp_path):
    folder = shutil.copytree(scorer_dir, tmp_path / "judge")
    weights = load_file(folder / "model.safetensors")
    weights.pop("score.weight")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    reward = load_reward(str(folder), Runtime())
    with pytest.raises(ModelError, match=r"its files lack 'score\.weight'"):
        Rewards([reward], None, timeout=0).prepare()


def test_tokens_that_the_model_does_not_have_are_refused(judge):
    judge.config.vocab_size = 100
    with pytest.raises(DataError, match=r"makes token 257, but the model has 100 tokens"):
        judge.check(Prompt([1], "1+1="))
