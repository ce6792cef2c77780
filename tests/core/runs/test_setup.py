import copy
import json
import math
import shutil

import pytest

from anypo import compose
from anypo.errors import AnypoError, ConfigError, DataError, ModelError
from anypo.hooks.runtime import Runtime
from anypo.runs.observer import Observer
from anypo.runs.options import make_config
from anypo.runs.setup import set_up

PAIR = {"prompt": "1+1=", "chosen": "2", "rejected": "3"}
LABELLED = {"prompt": "1+1=", "completion": "2", "label": True}
OTHER = {**LABELLED, "prompt": "2="}
ANSWERED = {"prompt": "1+1=", "answer": "2"}


class Notes(Observer):
    """Remembers what was said."""

    def __init__(self):
        self.notes = []

    def note(self, text):
        """See `Observer`."""
        self.notes.append(text)


@pytest.fixture
def notes():
    return Notes()


@pytest.fixture
def write(tmp_path):
    """Write rows to a file and return its path."""

    def write(*rows, name="train"):
        path = tmp_path / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return str(path)

    return write


@pytest.fixture
def gathered(model_dir, notes, write):
    """The materials of a run of an algorithm on some rows."""

    def gathered(name, *rows, held_out=None, **options):
        usual = {"model": model_dir, "data": write(*rows), "max_completion_length": 256}
        options = {**usual, **options}
        if held_out is not None:
            options["eval_data"] = write(*held_out, name="held_out")
        algorithm = compose(name)
        return set_up(algorithm, make_config(options), None, Runtime(), notes)

    return gathered


def test_rows_of_the_algorithms_own_format_are_read(gathered, notes):
    found = gathered("dpo", PAIR, {**PAIR, "prompt": "2="})
    assert [prompt.content for prompt in found.prompts] == ["1+1=", "2="]
    assert found.prompts[0].completions.keys() == {"chosen", "rejected"}
    assert (found.held_out, found.held_out_rows, notes.notes) == ({}, {}, [])


TAKING = (
    "{{ messages[-1].content }}{% if add_generation_prompt and thinks is false %}()\n{% endif %}"
)


@pytest.fixture
def taking(model_dir, tokenizer, tmp_path):
    """The directory of a model whose chat template takes a value."""
    shutil.copytree(model_dir, tmp_path / "taking")
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.chat_template = TAKING
    tokenizer.save_pretrained(tmp_path / "taking")
    return str(tmp_path / "taking")


def test_values_of_the_chat_template_reach_all_prompts(gathered, taking, tokenizer):
    asked = {"prompt": [{"role": "user", "content": "1"}], "answer": "2"}
    options = {"held_out": [asked], "reward": ["exact"], "model": taking}
    found = gathered("grpo", asked, **options, chat_template_kwargs={"thinks": False})
    read = [tokenizer.decode(prompt.ids) for prompt in (*found.prompts, *found.held_out[""])]
    assert read == ["1()\n", "1()\n"]


def test_values_of_a_chat_template_that_renders_nothing_are_refused(gathered, taking):
    with pytest.raises(ConfigError, match="is set, but every prompt is a text"):
        gathered("sft", LABELLED, model=taking, chat_template_kwargs={"thinks": False})


# -- held-out rows -------------------------------------------------------------------------------


def test_what_is_cut_from_held_out_rows_is_told_of_too(gathered, notes):
    gathered("sft", LABELLED, held_out=[{**LABELLED, "completion": "two"}], max_completion_length=2)
    (note,) = notes.notes
    assert "1 completions of" in note
    assert "held_out.jsonl" in note


def test_held_out_rows_with_completions_have_a_loss(gathered):
    found = gathered("dpo", PAIR, held_out=[{**PAIR, "prompt": "2="}])
    assert [prompt.content for prompt in found.held_out_rows[""]] == ["2="]
    assert found.held_out_rows[""][0].completions.keys() == {"chosen", "rejected"}
    assert found.held_out == {}


def test_held_out_rows_with_completions_and_a_reward_are_completed_too(gathered):
    found = gathered("dpo", PAIR, held_out=[{**PAIR, "answer": "2"}], reward=["exact"])
    assert len(found.held_out_rows[""]) == len(found.held_out[""]) == 1
    assert found.held_out[""][0].completions == {}


def test_held_out_rows_without_completions_are_completed_if_there_is_a_reward(gathered):
    found = gathered("dpo", PAIR, held_out=[ANSWERED], reward=["exact"])
    assert [prompt.content for prompt in found.held_out[""]] == ["1+1="]
    assert found.held_out_rows == {}


def test_held_out_rows_without_completions_or_a_reward_are_refused(gathered):
    with pytest.raises(DataError, match=r"'.*held_out\.jsonl' cannot be evaluated on: it lacks"):
        gathered("dpo", PAIR, held_out=[ANSWERED])


def test_held_out_rows_of_an_algorithm_that_samples_are_prompts(gathered):
    found = gathered("grpo", ANSWERED, held_out=[PAIR], reward=["length"])
    assert len(found.held_out[""]) == 1
    assert found.held_out_rows == {}


def test_held_out_rows_without_a_prompt_cannot_be_completed(gathered):
    with pytest.raises(DataError, match=r"'.*held_out\.jsonl' has no column 'prompt', only text"):
        gathered("grpo", ANSWERED, held_out=[{"text": "a"}], reward=["length"])


def test_several_held_out_sets_are_told_apart_by_their_names(gathered, write):
    sets = [f"easy={write(ANSWERED, name='easy')}", f"hard={write(ANSWERED, ANSWERED, name='b')}"]
    found = gathered("grpo", ANSWERED, eval_data=sets, reward=["exact"])
    assert {name: len(prompts) for name, prompts in found.held_out.items()} == {
        "easy": 1,
        "hard": 2,
    }


def test_what_a_held_out_set_can_tell_is_looked_at_set_by_set(gathered, write):
    sets = [f"pairs={write(PAIR, name='a')}", f"prompts={write(ANSWERED, name='b')}"]
    with pytest.raises(DataError, match=r"'.*b\.jsonl' cannot be evaluated on: it lacks"):
        gathered("dpo", PAIR, eval_data=sets)


@pytest.mark.parametrize(
    ("sets", "why"),
    [
        (["a=x.jsonl", "a=y.jsonl"], "'a' cannot be the name"),
        (["x.jsonl", "y.jsonl"], "each needs a name: NAME=x.jsonl"),
        (["a=x.jsonl", "dir/y=z.jsonl"], "each needs a name: NAME=dir/y=z.jsonl"),
        (["score=x.jsonl"], "'score' cannot be the name"),
        (["ema=x.jsonl"], "'ema' cannot be the name"),
    ],
)
def test_held_out_sets_that_cannot_be_told_apart_are_refused(sets, why):
    with pytest.raises(ConfigError, match=why):
        make_config({"eval_data": sets})


CHAT = [{"role": "user", "content": "1+1"}, {"role": "assistant", "content": "2"}]


def test_held_out_conversations_are_completed_from_before_their_first_reply(gathered, notes):
    row = {"messages": CHAT, "answer": "2"}
    found = gathered("sft", row, held_out=[row], reward=["exact"])
    assert found.held_out[""][0].content == CHAT[:1]
    assert found.held_out[""][0].columns["answer"] == "2"
    assert found.held_out[""][0].completions == {}
    assert len(found.held_out_rows[""]) == 1
    assert notes.notes == []


def test_held_out_conversations_are_completed_whoever_is_trained(gathered):
    row = {"messages": CHAT, "answer": "2"}
    assert len(gathered("grpo", ANSWERED, held_out=[row], reward=["exact"]).held_out[""]) == 1


def test_a_prompt_beside_messages_is_the_one_to_complete(gathered):
    row = {"prompt": "1+1=", "messages": CHAT, "answer": "2"}
    found = gathered("grpo", ANSWERED, held_out=[row], reward=["exact"])
    assert found.held_out[""][0].content == "1+1="


def test_held_out_texts_have_a_loss_but_no_reward(gathered, notes):
    found = gathered("sft", {"text": "1+1=2"}, held_out=[{"text": "1+2=3"}], reward=["length"])
    assert found.held_out == {}
    assert len(found.held_out_rows[""]) == 1
    (note,) = notes.notes
    assert "held_out.jsonl' has no column 'prompt', only text: its loss is measured, but no" in note


def test_held_out_texts_are_refused_where_they_have_no_loss_either(gathered):
    with pytest.raises(DataError, match="has no column 'prompt', only text"):
        gathered("dpo", PAIR, held_out=[{"text": "1+2=3"}], reward=["length"])


def test_held_out_rows_are_checked_for_the_columns_that_the_reward_needs(gathered):
    with pytest.raises(DataError, match=r"row 1 of .*: reward 'exact' needs a column 'answer'"):
        gathered("dpo", PAIR, held_out=[PAIR], reward=["exact"])


def test_what_only_rows_to_learn_from_lack_is_not_demanded_of_them(gathered):
    assert gathered("sft", LABELLED, held_out=[ANSWERED], reward=["exact"]).prompts


# -- several data sets ---------------------------------------------------------------------------


@pytest.fixture
def mixed(gathered, write):
    """The materials of a run of an algorithm on two data sets, of which one may have a share."""

    def mixed(name, one, other, *shares, **options):
        files = [write(*rows, name=part) for rows, part in ((one, "one"), (other, "other"))]
        ends = [f"={share}" for share in shares] or ["", ""]
        data = [file + end for file, end in zip(files, ends, strict=True)]
        return gathered(name, data=data, **options)

    return mixed


def test_several_data_sets_are_learnt_from_as_if_they_were_one(mixed):
    found = mixed("sft", [LABELLED] * 2, [OTHER], prompts_per_step=1)
    assert [prompt.content for prompt in found.prompts] == ["1+1=", "1+1=", "2="]
    assert (found.shares, found.config.steps) == (None, 3)


def test_each_may_have_its_share(mixed):
    found = mixed("sft", [LABELLED] * 2, [OTHER], 3, 1, prompts_per_step=1)
    assert (found.shares, [len(prompts) for prompts in found.sets]) == ([0.75, 0.25], [2, 1])
    assert (len(found.prompts), found.config.steps) == (3, 3)


def test_each_may_have_a_format_of_its_own(mixed):
    pair = {"chosen": "1+1=2", "rejected": "1+1=3"}
    found = mixed("dpo", [PAIR], [pair])
    assert [prompt.content for prompt in found.prompts] == ["1+1=", "1+1="]
    with pytest.raises(DataError, match=r"^data set '.*other\.jsonl' has no column 'chosen'"):
        mixed("dpo", [PAIR], [LABELLED])


def test_a_rollout_sees_all_of_them(mixed):
    assert mixed("kto", [LABELLED], [OTHER])
    with pytest.raises(AnypoError, match="need at least 2 different prompts"):
        mixed("kto", [LABELLED], [LABELLED])


def test_a_reward_is_given_none_for_columns_that_only_others_have(mixed, tmp_path):
    (tmp_path / "mine.py").write_text(
        "def score(completions, hint, answer=None):\n    return [1.0] * len(completions)\n"
    )
    hinted = [{**ANSWERED, "hint": "?"}], [{"prompt": "2=", "hint": None}]
    found = mixed("grpo", *hinted, reward=[f"{tmp_path}/mine.py:score"])
    assert [prompt.columns for prompt in found.prompts] == [
        {"answer": "2", "hint": "?"},
        {"hint": None},
    ]
    with pytest.raises(DataError, match=r"row 1 of '.*other\.jsonl': reward 'exact' needs a col"):
        mixed("grpo", *hinted, reward=["exact"])


# -- bad rows ------------------------------------------------------------------------------------

EMPTY = {**LABELLED, "completion": ""}


def test_bad_rows_are_skipped_where_that_is_asked_for(gathered, notes):
    found = gathered(
        "sft", EMPTY, LABELLED, held_out=[LABELLED, EMPTY], bad_rows="skip", prompts_per_step=1
    )
    assert (len(found.prompts), len(found.held_out_rows[""]), found.config.steps) == (1, 1, 1)
    assert [note.partition(" of ")[0] for note in notes.notes] == ["row 1", "row 2"]
    assert all(note.endswith("'completion' is empty; left out") for note in notes.notes)


def test_bad_rows_are_an_error_if_nothing_is_said(gathered):
    with pytest.raises(DataError, match=r"^row 1 of .*'completion' is empty; --bad-rows skip leav"):
        gathered("sft", EMPTY, LABELLED)


def test_rows_that_no_reward_scores_are_bad(gathered):
    rows = [ANSWERED, {"prompt": "2="}, {**ANSWERED, "answer": None}]
    with pytest.raises(DataError, match=r"^2 of 3 rows .*: row 2: reward 'exact' needs .*; row 3"):
        gathered("grpo", *rows, reward=["exact"])
    assert len(gathered("grpo", *rows, reward=["exact"], bad_rows="skip").prompts) == 1


# -- what plugins refuse -------------------------------------------------------------------------


def test_rows_that_a_plugin_can_do_nothing_with_are_refused_before_the_weights_load(gathered):
    assert gathered("kto", LABELLED, OTHER, held_out=[OTHER, LABELLED])
    with pytest.raises(AnypoError, match="need at least 2 different prompts"):
        gathered("kto", LABELLED, LABELLED)
    with pytest.raises(AnypoError, match="need at least 2 different prompts"):
        gathered("kto", LABELLED, OTHER, held_out=[LABELLED])


# -- rewards and steps ---------------------------------------------------------------------------


def test_data_to_sample_from_need_a_reward(gathered):
    with pytest.raises(ConfigError, match="data are given but no reward"):
        gathered("grpo", ANSWERED)


def test_data_to_imitate_need_no_reward(gathered):
    assert gathered("sft", LABELLED).scorer.rewards == []


@pytest.mark.parametrize(
    ("rows", "epochs", "prompts_per_step"), [(5, 1, 2), (4, 1, 2), (5, 3, 2), (1, 1, 16), (3, 7, 5)]
)
def test_without_steps_the_data_are_passed_as_often_as_said(
    gathered, rows, epochs, prompts_per_step
):
    options = {"prompts_per_step": prompts_per_step, "data_epochs": epochs}
    found = gathered("sft", *[LABELLED] * rows, **options)
    assert found.config.steps == math.ceil(epochs * rows / prompts_per_step)


def test_rows_that_are_left_out_are_not_passed(gathered):
    same = {**PAIR, "rejected": "2"}
    assert gathered("dpo", PAIR, PAIR, same, prompts_per_step=1).config.steps == 2


def test_a_pair_that_becomes_two_rows_counts_as_two(gathered):
    assert gathered("kto", PAIR, {**PAIR, "prompt": "2="}, prompts_per_step=2).config.steps == 2


def test_steps_that_are_given_stay(gathered):
    assert gathered("sft", LABELLED, steps=7).config.steps == 7


def test_the_context_limits_prompts_and_completions(gathered):
    long = {**LABELLED, "prompt": "p" * 12}
    options = {"max_completion_length": 500}
    assert gathered("sft", long, **options).prompts
    with pytest.raises(DataError, match=r"no row of .* prompts of 1 have more than 12 tokens, th"):
        gathered("sft", {**long, "prompt": "p" * 13}, **options)
    with pytest.raises(ConfigError, match=r"is 512, but the model attends to 512 tokens.*: lower"):
        gathered("sft", LABELLED, max_completion_length=512)


# -- the model and its tokenizer -----------------------------------------------------------------


@pytest.fixture
def knowing(model_dir, tmp_path):
    """The directory of a model, without its weights, that knows so many tokens."""

    def knowing(size):
        folder = shutil.copytree(model_dir, tmp_path / f"knows-{size}")
        (folder / "model.safetensors").unlink()
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | {"vocab_size": size}))
        return str(folder)

    return knowing


@pytest.mark.filterwarnings("ignore:Model config")
def test_tokens_that_the_model_does_not_have_are_found_before_its_weights_load(gathered, knowing):
    assert gathered("sft", LABELLED, model=knowing(258)).prompts  # as many as occur
    words = r"^the tokenizer of '.*' makes token 257, but the model has 200 tokens: the two do not"
    with pytest.raises(ModelError, match=words):
        gathered("sft", LABELLED, model=knowing(200))
    with pytest.raises(ModelError, match="makes token 261, but the model has 260"):
        gathered("sft", {**LABELLED, "completion": "<answer>"}, model=knowing(260))


@pytest.fixture
def copied(model_dir, tmp_path):
    """A copy of the model, in which a file of JSON is changed."""

    def copied(name, change):
        shutil.copytree(model_dir, tmp_path / "copy")
        file = tmp_path / "copy" / name
        content = json.loads(file.read_text())
        change(content)
        file.write_text(json.dumps(content))
        return str(tmp_path / "copy")

    return copied


def test_a_reference_that_attends_to_less_is_refused(gathered, copied):
    short = copied("config.json", lambda config: config.update(max_position_embeddings=40))
    said = "reference '.*copy' attends to 40 tokens, but a prompt and its completion may have 54"
    options = {"reward": ["exact"], "max_completion_length": 50}
    with pytest.raises(ConfigError, match=said):
        gathered("grpo", ANSWERED, reference=short, **options)


def test_a_teacher_that_reads_other_tokens_is_refused(gathered, copied):
    def rename(content):
        vocabulary = content["model"]["vocab"]
        vocabulary["nobody"] = vocabulary.pop(next(k for k, v in vocabulary.items() if v == 97))

    other = copied("tokenizer.json", rename)
    with pytest.raises(ConfigError, match="has another tokenizer than the policy: the policy's"):
        gathered("opd", ANSWERED, teacher=other)


def test_there_is_one_average(gathered):
    with pytest.raises(ConfigError, match="ema and bema are both set"):
        gathered("grpo", ANSWERED, ema=0.9, bema=1)


def test_a_teacher_is_asked_for(gathered):
    with pytest.raises(ConfigError, match="opd needs a teacher: name a model with teacher"):
        gathered("opd", ANSWERED)
