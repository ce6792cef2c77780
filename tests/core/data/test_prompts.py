import copy
import json
import math
from types import SimpleNamespace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from anypo.data.formats import Row
from anypo.data.found import PromptSet, accept, usable
from anypo.data.prompts import read_prompts
from anypo.data.tally import Limits, Tally
from anypo.data.tokens import Tokens
from anypo.errors import DataError
from anypo.hooks.rollout import Inputs
from anypo_tasks.addition.model import build_tokenizer

CHAT = [{"role": "user", "content": "1+1"}]
TOKENIZER = build_tokenizer()
LABELLED = Inputs(completions=frozenset({"completion"}))
LONG = Limits(1000, 1000)
PAIRS = Inputs(completions=frozenset({"chosen", "rejected"}))
NEWLINES = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
NO_END = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}\n"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
UNPROMPTED = NO_END.partition("{% if add_generation_prompt")[0]
FORGETFUL = (
    "{% for message in messages %}<|{{ message['role'] }}|>"
    "{{ message['content'] if loop.last or message['role'] == 'user' else '...' }}"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def said(*turns):
    """Messages of the user and the assistant in turn, the last of them the assistant's."""
    roles = ["assistant", "user"]
    return [
        {"role": roles[(len(turns) - 1 - i) % 2], "content": text} for i, text in enumerate(turns)
    ]


def found_in(
    rows, tokenizer, inputs=LABELLED, limits=LONG, *, scored=False, check=accept, skip_bad=False
):
    """The prompts of rows that can be used, and what else is known of the rows."""
    tally, tokens = Tally(), Tokens(tokenizer, scored=scored)
    pairs = list(read_prompts(rows, tokens, inputs, limits, tally))
    found = PromptSet("mine", [prompt for _, prompt in pairs], [n for n, _ in pairs], tally)
    prompts = usable(found, limits, check, skip_bad=skip_bad)
    return SimpleNamespace(prompts=list(prompts), **vars(tally))


@pytest.fixture
def read(tokenizer):
    """Read rows."""

    def read(
        *rows, inputs=LABELLED, longest_prompt=100, longest=100, tokenizer=tokenizer, **options
    ):
        rows = [row if isinstance(row, Row) else Row(i, row) for i, row in enumerate(rows, 1)]
        limits = Limits(longest_prompt, longest, options.pop("long_prompts", "error"))
        return found_in(rows, tokenizer, inputs, limits, **options)

    return read


@pytest.fixture
def beginning():
    """A tokenizer that puts a token before every text."""
    tokenizer = build_tokenizer()
    begin = [("<|user|>", tokenizer.convert_tokens_to_ids("<|user|>"))]
    before = processors.TemplateProcessing(single="<|user|> $A", special_tokens=begin)
    tokenizer.backend_tokenizer.post_processor = before
    return tokenizer


@pytest.fixture
def prompts_of(read):
    """The prompts of the given rows, of which nothing else is read."""

    def prompts_of(*rows, max_prompt_length=100, **options):
        return read(*rows, inputs=Inputs(), longest_prompt=max_prompt_length, **options).prompts

    return prompts_of


@pytest.fixture
def completed(read):
    """The completion that a row holds."""

    def completed(prompt, completion, **options):
        found = read({"prompt": prompt, "completion": completion}, **options)
        return found.prompts[0].completions["completion"]

    return completed


@pytest.fixture
def templated(tokenizer):
    """The tokenizer with another chat template."""

    def templated(template):
        other = copy.deepcopy(tokenizer)
        other.chat_template = template
        return other

    return templated


# -- prompts -------------------------------------------------------------------------------------


def test_a_text_is_tokenised_as_it_is(prompts_of, tokenizer):
    prompts = prompts_of({"prompt": "1+1"}, {"prompt": "<|user|>ü"})
    assert [p.ids for p in prompts] == [tokenizer(p.content)["input_ids"] for p in prompts]
    assert tokenizer.decode(prompts[1].ids) == "<|user|>ü"


def test_a_conversation_goes_through_the_chat_template(prompts_of, tokenizer):
    (prompt,) = prompts_of({"prompt": CHAT})
    assert tokenizer.decode(prompt.ids) == "<|user|>1+1<|assistant|>"
    assert prompt.content == CHAT


def test_a_prompt_keeps_the_other_columns_of_its_row(prompts_of):
    first, second = prompts_of({"prompt": "a", "answer": 1, "tags": ["x"]}, {"prompt": "b"})
    assert first.columns == {"answer": 1, "tags": ["x"]}
    assert second.columns == {}


def test_a_missing_prompt_column_names_those_there_are(prompts_of):
    with pytest.raises(DataError, match="there is no 'prompt', only question, answer"):
        prompts_of({"question": "1+1", "answer": "2"})


@pytest.mark.parametrize("content", [3, None, "", [], {"role": "user", "content": "a"}, True])
def test_a_prompt_of_another_type_names_its_row(prompts_of, content):
    with pytest.raises(DataError, match=r"row 2 of 'mine': 'prompt' is .*, not a text or a list"):
        prompts_of({"prompt": "a"}, {"prompt": content})


def test_a_row_without_prompt_is_named(prompts_of):
    with pytest.raises(DataError, match=r"row 2 of 'mine': there is no 'prompt', only answer"):
        prompts_of({"prompt": "a"}, {"answer": "b"})


@pytest.mark.parametrize(
    "message",
    [
        "hello",
        {"role": "user"},
        {"role": "user", "content": None},
        {"role": ["user"], "content": "a"},
        {"content": "a"},
        None,
    ],
)
def test_what_is_no_message_names_its_row(prompts_of, message):
    with pytest.raises(DataError, match=r"row 2 of 'mine': a message needs a role and content"):
        prompts_of({"prompt": CHAT}, {"prompt": [*CHAT, message]})


def test_half_a_character_that_a_template_renders_names_its_row(prompts_of):
    broken = {"role": "user\ud83d", "content": "a"}
    with pytest.raises(DataError, match=r"row 2 of 'mine': after '.*' half a character is missing"):
        prompts_of({"prompt": CHAT}, {"prompt": [broken]})


def test_a_conversation_for_a_tokenizer_without_chat_template_names_its_row(prompts_of, templated):
    plain = templated(None)
    assert len(prompts_of({"prompt": "a"}, tokenizer=plain)) == 1
    with pytest.raises(
        DataError, match=r"row 2 of 'mine': it is a conversation, but .* no chat template"
    ):
        prompts_of({"prompt": "a"}, {"prompt": CHAT}, tokenizer=plain)


def test_a_conversation_that_the_chat_template_refuses_names_its_row(prompts_of, templated):
    strict = templated("{{ raise_exception('no system role') }}")
    with pytest.raises(DataError, match=r"row 1 of 'mine'.*no system role"):
        prompts_of({"prompt": CHAT}, tokenizer=strict)


def test_a_prompt_that_is_too_long_names_its_row_and_both_lengths(prompts_of):
    assert len(prompts_of({"prompt": "a" * 12}, max_prompt_length=12)) == 1
    with pytest.raises(DataError, match=r"row 2 of 'mine': the prompt has 13 tokens.*limit is 12"):
        prompts_of({"prompt": "a"}, {"prompt": "a" * 13}, max_prompt_length=12)


def test_the_marks_of_the_conversation_count_as_length(prompts_of):
    assert len(prompts_of({"prompt": CHAT}, max_prompt_length=5)) == 1
    with pytest.raises(DataError, match="has 5 tokens"):
        prompts_of({"prompt": CHAT}, max_prompt_length=4)


# -- completions ---------------------------------------------------------------------------------


def test_a_text_is_completed_by_its_tokens_and_an_end(completed, tokenizer):
    completion = completed("1+1=", "2")
    assert tokenizer.decode(completion.ids) == "2<|end|>"
    assert completion.mask is None
    assert not completion.truncated


@pytest.mark.parametrize("text", ["2<|end|>", "2"])
def test_a_text_ends_once_whether_it_says_so_or_not(completed, tokenizer, text):
    ids = completed("1+1=", text).ids
    assert ids == tokenizer("2<|end|>")["input_ids"]


def test_a_reply_is_what_the_chat_template_renders_after_the_prompt(completed, tokenizer):
    completion = completed(CHAT, said("2"))
    assert tokenizer.decode(completion.ids) == "2<|end|>"
    assert completion.mask is None


def test_what_the_chat_template_writes_after_the_end_is_left_out(completed, templated, tokenizer):
    completion = completed(CHAT, said("2"), tokenizer=templated(NEWLINES))
    assert tokenizer.decode(completion.ids) == "2<|end|>"


def test_a_reply_that_the_chat_template_does_not_end_is_ended(completed, templated, tokenizer):
    completion = completed(CHAT, said("2"), tokenizer=templated(NO_END))
    assert tokenizer.decode(completion.ids) == "2\n<|end|>"


def test_of_several_turns_the_replies_are_learnt_and_nothing_else(completed, tokenizer):
    completion = completed(CHAT, said("2", "sure?", "yes"))
    assert tokenizer.decode(completion.ids) == "2<|end|><|user|>sure?<|assistant|>yes<|end|>"
    learnt = [token for token, own in zip(completion.ids, completion.mask, strict=True) if own]
    assert tokenizer.decode(learnt) == "2<|end|>yes<|end|>"


def test_what_follows_the_last_reply_is_left_out(completed, tokenizer):
    replies = [*said("2"), {"role": "user", "content": "thanks"}]
    assert tokenizer.decode(completed(CHAT, replies).ids) == "2<|end|>"


def test_replies_that_are_not_learnt_are_counted(read, templated):
    rows = [
        {"prompt": CHAT, "completion": said(*turns)} for turns in (["2"], ["2", "sure?", "yes"])
    ]
    found = read(*rows, *rows, tokenizer=templated(FORGETFUL))
    assert found.unlearnt == 2
    assert found.prompts[1].completions["completion"].mask is not None
    assert read(*rows).unlearnt == 0


@pytest.fixture(scope="module")
def merging():
    """A tokenizer of the letters a and b, and of their sequence as one token."""
    ids = {"<end>": 0, "a": 1, "b": 2, "ab": 3}
    backend = Tokenizer(models.BPE(ids, merges=[("a", "b")]))
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<end>")


def test_a_token_that_spans_prompt_and_completion_leaves_the_prompts_tokens_alone(read, merging):
    (prompt,) = read({"prompt": "ba", "completion": "bab"}, tokenizer=merging).prompts
    assert merging("babab")["input_ids"] == [2, 3, 3]
    assert prompt.ids == [2, 1]
    assert prompt.completions["completion"].ids == [2, 3, 0]


def test_tokens_that_do_not_span_the_boundary_are_those_of_the_whole(read, merging):
    (prompt,) = read({"prompt": "ab", "completion": "ab"}, tokenizer=merging).prompts
    assert prompt.ids + prompt.completions["completion"].ids == [3, 3, 0]


TURNS = st.lists(st.text(min_size=1, max_size=8).filter(str.strip), min_size=2, max_size=6)


@given(TURNS, st.data())
def test_prompt_and_completion_together_are_the_rendered_conversation(texts, data):
    messages = said(*texts)
    replies = [i for i, message in enumerate(messages) if message["role"] == "assistant" and i]
    start = data.draw(st.sampled_from(replies))
    row = {"prompt": messages[:start], "completion": messages[start:]}
    (prompt,) = found_in([Row(1, row)], TOKENIZER).prompts
    completion = prompt.completions["completion"]
    rendered = TOKENIZER.apply_chat_template(messages, return_dict=False)
    assert prompt.ids + completion.ids == rendered
    mask = completion.mask or [True] * len(completion.ids)
    learnt = [token for token, own in zip(completion.ids, mask, strict=True) if own]
    answers = [m["content"] + "<|end|>" for m in messages[start:] if m["role"] == "assistant"]
    assert learnt == TOKENIZER("".join(answers))["input_ids"]


def trained(*, trim_offsets):
    """A tokenizer whose tokens are of several letters and may span any boundary."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.post_processor = processors.ByteLevel(trim_offsets=trim_offsets)
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<|end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(["user: assistant: \n\n 1 + 1 is what is\n\n"] * 9, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|end|>")


def by_prefixes(messages, start, tokenizer):
    """All tokens and their mask, by rendering the conversation anew after every message.

    A reply is learnt until the token that ends it, and not what follows that.
    """

    def rendered(until, reply):
        return tokenizer.apply_chat_template(
            messages[:until], add_generation_prompt=reply, return_dict=False
        )

    ids, mask = rendered(start, True), [False] * len(rendered(start, True))
    for i in range(start, len(messages)):
        is_reply = messages[i]["role"] == "assistant"
        before, after = rendered(i, is_reply), rendered(i + 1, False)
        assume(before[: len(ids)] == ids)
        assume(after[: len(before)] == before)
        ends = [k for k, token in enumerate(after) if token == tokenizer.eos_token_id]
        until = ends[-1] + 1 if is_reply else len(before)
        mask += [False] * (len(before) - len(mask)) + [is_reply] * (until - len(before))
        mask += [False] * (len(after) - until)
        ids = after
    return ids, mask


SPOKEN = (
    "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}"
    "{% if message['role'] == 'assistant' %}<|end|>{% endif %}\n\n"
    "{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"
)
WORDS = st.text("1 +isaw\nü", min_size=1, max_size=8).filter(str.strip)


@pytest.mark.parametrize("template", [SPOKEN, NEWLINES])
@pytest.mark.parametrize("trim_offsets", [False, True])
def test_replies_are_told_apart_as_by_rendering_after_every_message(template, trim_offsets):
    tokenizer = trained(trim_offsets=trim_offsets)
    tokenizer.chat_template = template

    @given(st.lists(WORDS, min_size=2, max_size=6))
    def check(texts):
        messages = said(*texts)
        start = 1 if messages[0]["role"] == "user" else 2
        ids, mask = by_prefixes(messages, start, tokenizer)
        row = {"prompt": messages[:start], "completion": messages[start:]}
        (prompt,) = found_in([Row(1, row)], tokenizer).prompts
        completion = prompt.completions["completion"]
        length = len(prompt.ids) + len(completion.ids)
        assert prompt.ids + completion.ids == ids[:length]
        own = [False] * len(prompt.ids) + (completion.mask or [True] * len(completion.ids))
        assert own == mask[:length]
        assert ids[length - 1] == tokenizer.eos_token_id

    check()


@pytest.mark.parametrize(
    ("prompt", "completion", "complaint"),
    [
        ("1+1", "", "is empty"),
        ("1+1", " \n", "is empty"),
        ("1+1", None, "is empty"),
        (CHAT, [], "is empty"),
        (CHAT, "2", "is '2', which does not follow a prompt that is a list of messages"),
        ("1+1", said("2"), "is .*, which does not follow a prompt that is a text"),
        ("1+1", 2, "is 2, which does not follow a prompt that is a text"),
        ("1+1", "<|end|>", "is empty"),
        ("1+1", " <|end|> ", "is empty"),
        (CHAT, said(""), "holds an empty reply"),
        (CHAT, said("<|end|>"), "holds an empty reply"),
        (CHAT, said(" ", "well?", "\n"), "holds an empty reply"),
        (CHAT, said("", "well?", "2"), "holds an empty reply"),
        (CHAT, said("2", "well?", "<|end|>"), "holds an empty reply"),
        (CHAT, CHAT, "holds no message of the assistant"),
        (CHAT, CHAT + said("2"), "does not continue the prompt: it begins with no reply"),
        ([], said("2"), None),
    ],
)
def test_a_completion_that_cannot_follow_its_prompt_names_row_and_column(
    read, prompt, completion, complaint
):
    rows = [{"prompt": "a", "completion": "b"}, {"prompt": prompt, "completion": completion}]
    complaint = f"'completion' {complaint}" if complaint else "'prompt' is empty: a conversation"
    with pytest.raises(DataError, match=f"^row 2 of 'mine': {complaint}"):
        read(*rows)


def test_a_reply_without_content_names_row_and_column(read):
    row = {"prompt": CHAT, "completion": [{"role": "assistant", "content": None}]}
    with pytest.raises(DataError, match="row 1 of 'mine': 'completion' a message needs a role"):
        read(row)


def test_an_empty_side_of_a_pair_is_named(read):
    row = {"prompt": "1+1", "chosen": "2", "rejected": ""}
    with pytest.raises(DataError, match="row 1 of 'mine': 'rejected' is empty"):
        read(row, inputs=PAIRS)


@pytest.mark.parametrize("missing", ["chosen", "rejected"])
def test_a_missing_side_of_a_pair_is_named(read, missing):
    whole = {"prompt": "1+1", "chosen": "2", "rejected": "3"}
    ragged = {name: value for name, value in whole.items() if name != missing}
    with pytest.raises(DataError, match=rf"row 2 of 'mine': there is no '{missing}', only prompt"):
        read(whole, ragged, inputs=PAIRS)


def test_the_completions_of_a_row_stay_columns_too(read):
    row = {"prompt": "1+1", "chosen": "2", "rejected": "3", "source": "me"}
    (prompt,) = read(row, inputs=PAIRS).prompts
    assert prompt.columns == {"chosen": "2", "rejected": "3", "source": "me"}
    assert prompt.completions.keys() == {"chosen", "rejected"}


def test_no_completion_is_read_that_is_not_asked_for(prompts_of):
    (prompt,) = prompts_of({"prompt": "1+1", "completion": None})
    assert prompt.completions == {}


# -- too long ------------------------------------------------------------------------------------

LENGTHS = [{"prompt": "p" * n, "completion": "2"} for n in (3, 9, 4, 5)]


@pytest.mark.parametrize("long_prompts", ["drop", "cut", "error"])
def test_prompts_up_to_the_limit_stay_as_they_are(read, long_prompts):
    found = read(*LENGTHS[::2], longest_prompt=4, long_prompts=long_prompts)
    assert [len(prompt.ids) for prompt in found.prompts] == [3, 4]
    assert found.too_long == {}


def test_rows_with_longer_prompts_are_left_out_and_counted(read):
    found = read(*LENGTHS, longest_prompt=4, long_prompts="drop")
    assert [prompt.content for prompt in found.prompts] == ["ppp", "pppp"]
    assert (found.too_long, found.bad, found.longest) == ({2: 9, 4: 5}, {}, 4)


def test_longer_prompts_are_cut_to_their_ends_and_counted(read, tokenizer):
    row = {"prompt": "1+2+3=", "completion": "6", "answer": "six"}
    found = read(LENGTHS[0], row, longest_prompt=4, long_prompts="cut")
    cut = found.prompts[1]
    assert tokenizer.decode(cut.ids) == "2+3="
    assert (cut.content, cut.columns["answer"]) == ("1+2+3=", "six")
    assert tokenizer.decode(cut.completions["completion"].ids) == "6<|end|>"
    assert (found.too_long, found.longest) == ({2: 6}, 4)


def test_what_the_tokenizer_puts_before_every_text_is_not_cut(read, beginning):
    found = read(LENGTHS[1], longest_prompt=4, long_prompts="cut", tokenizer=beginning)
    assert beginning.decode(found.prompts[0].ids) == "<|user|>ppp"


def test_a_row_of_which_one_half_is_too_long_is_left_out(read):
    halves = [
        Row(1, {**row, "prompt": row["prompt"] * n})
        for row, n in zip(labelled("2", "3"), (1, 9), strict=True)
    ]
    found = read(*halves, Row(2, GOOD), longest_prompt=4, long_prompts="drop")
    assert ([prompt.content for prompt in found.prompts], found.too_long) == (["1+1"], {1: 27})


def test_where_all_prompts_are_too_long_is_said_how_long_they_are(read):
    words = "the prompts of 2 have more than 4 tokens, the shortest 5: raise max_prompt_length"
    with pytest.raises(DataError, match=f"^no row of 'mine' is left: {words}"):
        read(*LENGTHS[1::2], longest_prompt=4, long_prompts="drop")


def test_a_completion_that_is_too_long_is_cut_and_counted(read, tokenizer):
    rows = [{"prompt": "p", "completion": text} for text in ("abc", "abcd", "abcdef")]
    found = read(*rows, longest=4)
    completions = [prompt.completions["completion"] for prompt in found.prompts]
    assert [tokenizer.decode(c.ids) for c in completions] == ["abc<|end|>", "abcd", "abcd"]
    assert [c.truncated for c in completions] == [False, True, True]
    assert found.cut == 2


def test_the_mask_is_cut_with_the_completion(completed, tokenizer):
    completion = completed(CHAT, said("2", "sure?", "yes"), longest=5)
    assert tokenizer.decode(completion.ids) == "2<|end|><|user|>su"
    assert completion.mask == [True, True, False, False, False]


def test_a_completion_of_which_nothing_is_left_to_learn_is_an_error(read, templated):
    row = {"prompt": CHAT, "completion": [{"role": "user", "content": "wait"}, *said("2")]}
    options = {"tokenizer": templated(UNPROMPTED)}  # <|user|>wait<|assistant|>2\n<|end|>
    assert read(row, longest=7, **options).cut == 1
    with pytest.raises(DataError, match=r"row 1 of 'mine': 'completion' has nothing to learn from"):
        read(row, longest=5, **options)


def test_a_completion_without_a_reply_is_refused(completed, templated):
    with pytest.raises(DataError, match="'completion' holds no message of the assistant"):
        completed(CHAT, CHAT, tokenizer=templated(UNPROMPTED))


# -- pairs of the same ---------------------------------------------------------------------------


def pair(chosen, rejected):
    return {"prompt": "1+1", "chosen": chosen, "rejected": rejected}


def test_pairs_of_the_same_completion_are_left_out_and_named(read):
    found = read(pair("2", "3"), pair("2", "2"), pair("4", "5"), pair("6", "6"), inputs=PAIRS)
    assert [prompt.columns["chosen"] for prompt in found.prompts] == ["2", "4"]
    assert found.identical == [2, 4]


def test_pairs_that_differ_only_after_the_cut_are_left_out_and_named_too(read):
    found = read(pair("2", "3"), pair("abcd", "abce"), pair("2", "2"), inputs=PAIRS, longest=3)
    assert found.cut_alike == [2]
    assert found.identical == [3]
    assert found.cut == 0


def labelled(good, bad):
    rest = {"prompt": "1+1"}
    return [
        {**rest, "completion": good, "label": True},
        {**rest, "completion": bad, "label": False},
    ]


def test_pairs_of_the_same_that_became_two_rows_are_left_out_and_named(read):
    pairs = labelled("2", "3"), labelled("4", "4"), labelled("abcd", "abce")
    rows = [Row(number, half) for number, halves in enumerate(pairs, 1) for half in halves]
    found = read(*rows, longest=3)
    assert [prompt.columns["completion"] for prompt in found.prompts] == ["2", "3"]
    assert (found.identical, found.cut_alike) == ([2], [3])


def test_the_number_of_a_row_is_the_one_that_it_carries(read):
    rows = [Row(number, row) for number in (3, 8) for row in labelled("2", "2")]
    found = read(*rows, Row(9, pair("2", "3") | {"completion": "2"}))
    assert (found.identical, len(found.prompts)) == ([3, 8], 1)
    with pytest.raises(DataError, match=r"^row 8 of 'mine': there is no 'completion'"):
        read(*rows[:2], Row(8, {"prompt": "a"}))


def test_rows_of_their_own_may_hold_the_same_completion(read):
    found = read(*labelled("2", "2"))
    assert len(found.prompts) == 2
    assert found.identical == []


def test_a_data_set_of_nothing_but_pairs_that_the_cut_makes_the_same_is_refused(read):
    with pytest.raises(
        DataError,
        match=r"is left: the completions of 1 differ only beyond max_completion_length \(3\)",
    ):
        read(pair("abcd", "abce"), inputs=PAIRS, longest=3)
    with pytest.raises(
        DataError,
        match=r"no row of 'mine' is left: 1 hold the same completion twice; .* of 1 differ",
    ):
        read(pair("abcd", "abce"), pair("2", "2"), inputs=PAIRS, longest=3)


def test_a_data_set_of_nothing_but_pairs_of_the_same_is_refused(read):
    with pytest.raises(
        DataError, match=r"^no row of 'mine' is left: 2 hold the same completion twice$"
    ):
        read(pair("2", "2"), pair("3", "3"), inputs=PAIRS)


def test_nothing_is_done_to_rows_that_hold_no_completions(read):
    found = read({"prompt": "a"}, {"prompt": "a"}, inputs=Inputs())
    assert (found.identical, found.cut_alike, found.too_long, found.bad) == ([], [], {}, {})
    assert (len(found.prompts), found.total) == (2, 2)


# -- bad rows ------------------------------------------------------------------------------------

GOOD = {"prompt": "1+1", "completion": "2"}
EMPTY = {"prompt": "1+1", "completion": ""}
ODD = {"prompt": 3, "completion": "2"}


def test_all_bad_rows_are_named_at_once(read):
    rows = [EMPTY, GOOD, ODD, EMPTY, Row(5, {}, flaw="it is flawed"), Row(6, GOOD)]
    with pytest.raises(DataError) as refusal:
        read(*rows)
    assert str(refusal.value) == (
        "4 of 6 rows of 'mine' cannot be used: rows 1, 4: 'completion' is empty; "
        "row 3: 'prompt' is 3, not a text or a list of messages; row 5: it is flawed; "
        "--bad-rows skip leaves such rows out"
    )


def test_bad_rows_can_be_left_out(read):
    found = read(EMPTY, GOOD, ODD, GOOD, skip_bad=True)
    assert [prompt.content for prompt in found.prompts] == ["1+1"] * 2
    assert found.bad == {
        1: "'completion' is empty",
        3: "'prompt' is 3, not a text or a list of messages",
    }


def test_a_row_of_which_half_is_bad_is_bad(read):
    halves = [Row(1, row) for row in labelled("2", "")]
    found = read(*halves, Row(2, GOOD), skip_bad=True)
    assert (len(found.prompts), found.bad) == (1, {1: "'completion' is empty"})


@pytest.mark.parametrize("skip_bad", [False, True])
def test_nothing_but_bad_rows_is_refused_without_advice(read, skip_bad):
    with pytest.raises(DataError, match=r"^2 of 2 .* rows 1, 2: 'completion' is empty$"):
        read(EMPTY, EMPTY, skip_bad=skip_bad)


def test_rows_may_be_refused_for_what_else_is_known_of_them(read):
    def check(prompt):
        if prompt.columns["level"] > 1:
            raise DataError("it is hard")

    rows = [{**GOOD, "level": level} for level in (1, 2, 3)]
    assert read(*rows, check=check, skip_bad=True).bad == {2: "it is hard", 3: "it is hard"}


def test_parts_of_text_are_learnt_as_a_text(read, tokenizer):
    parts = [{"type": "text", "text": "1+"}, {"type": "text", "text": "1"}]
    row = {
        "prompt": [{"role": "user", "content": parts}],
        "completion": [{"role": "assistant", "content": [{"type": "text", "text": "2"}]}],
    }
    (prompt,) = read(row).prompts
    assert tokenizer.decode(prompt.ids) == "<|user|>1+1<|assistant|>"
    assert tokenizer.decode(prompt.completions["completion"].ids) == "2<|end|>"
    assert prompt.content == CHAT


def test_rows_that_hold_more_than_texts_are_bad(read):
    image = {"prompt": [{"role": "user", "content": [{"type": "image"}]}], "completion": said("2")}
    broken = {"prompt": "a\ud83d", "completion": "2"}
    found = read(image, broken, GOOD, skip_bad=True)
    assert found.bad.keys() == {1, 2}


def test_a_reply_after_a_greeting_is_learnt(read, tokenizer):
    (prompt,) = read({"prompt": [*said("hi"), *CHAT], "completion": said("2")}).prompts
    assert tokenizer.decode(prompt.ids) == "<|assistant|>hi<|end|><|user|>1+1<|assistant|>"


def test_two_replies_in_a_row_are_both_learnt(completed, tokenizer):
    completion = completed(CHAT, [*said("2"), *said("or 3")])
    assert tokenizer.decode(completion.ids) == "2<|end|><|assistant|>or 3<|end|>"


# -- other columns -------------------------------------------------------------------------------


def reading(column):
    return Inputs(completions=frozenset({"completion"}), columns=frozenset({column}))


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("label", 1, True),
        ("label", 0, False),
        ("label", False, False),
        ("margin", 2, 2.0),
        ("level", "x", "x"),
    ],
)
def test_a_column_that_is_read_has_the_type_of_its_format(read, column, value, expected):
    row = {"prompt": "a", "completion": "b", column: value}
    (prompt,) = read(row, inputs=reading(column)).prompts
    assert prompt.columns[column] == expected
    assert type(prompt.columns[column]) is type(expected)


@pytest.mark.parametrize(
    ("column", "value", "kind"),
    [
        ("label", "true", "true or false, nor 1 or 0"),
        ("label", 2, "true or false, nor 1 or 0"),
        ("label", 1.0, "true or false, nor 1 or 0"),
        ("label", None, "true or false, nor 1 or 0"),
        ("label", [True], "true or false, nor 1 or 0"),
        ("margin", True, "a finite number"),
        ("margin", "1", "a finite number"),
        ("margin", None, "a finite number"),
    ],
)
def test_a_column_of_another_type_names_its_row(read, column, value, kind):
    good = {"prompt": "a", "completion": "b", column: 1 if column == "label" else 0.5}
    with pytest.raises(DataError, match=rf"^row 2 of 'mine': '{column}' is .*, not {kind}; "):
        read(good, good | {column: value}, inputs=reading(column))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_margin_that_is_not_finite_is_refused(read, value):
    row = {"prompt": "a", "completion": "b", "margin": value}
    with pytest.raises(DataError, match="'margin' is"):
        read(row, inputs=reading("margin"))


def test_a_column_that_is_not_read_may_be_anything(read):
    row = {"prompt": "a", "completion": "b", "label": "good", "margin": "large"}
    (prompt,) = read(row).prompts
    assert prompt.columns["label"] == "good"


def test_a_row_without_a_column_that_is_read_is_named(read):
    row = {"prompt": "a", "completion": "b"}
    with pytest.raises(DataError, match=r"row 1 of 'mine': there is no 'label', only prompt, com"):
        read(row, inputs=reading("label"))


# -- columns for the chat template ---------------------------------------------------------------

TOOLED = "{{ tools | length if tools else 0 }}{{ mood }}" + NEWLINES
TOOLS = [{"type": "function", "function": {"name": "add"}}]


@pytest.mark.parametrize("tools", [TOOLS, json.dumps(TOOLS)])
def test_tools_and_further_arguments_reach_the_chat_template(read, templated, tokenizer, tools):
    row = {"prompt": CHAT, "completion": said("2"), "tools": tools}
    row["chat_template_kwargs"] = {"mood": "calm"}
    for inputs in (Inputs(), LABELLED):
        (prompt,) = read(row, inputs=inputs, tokenizer=templated(TOOLED)).prompts
        assert tokenizer.decode(prompt.ids) == "1calm<|user|>1+1<|end|>\n<|assistant|>"
        assert prompt.columns["tools"] == tools


@pytest.mark.parametrize("column", ["tools", "chat_template_kwargs"])
def test_no_arguments_are_no_arguments(prompts_of, templated, tokenizer, column):
    (prompt,) = prompts_of({"prompt": CHAT, column: None}, tokenizer=templated(TOOLED))
    assert tokenizer.decode(prompt.ids).startswith("0<|user|>")


@pytest.mark.parametrize(
    ("column", "value", "complaint"),
    [
        ("tools", "add(", "'tools' is a text but not JSON"),
        ("tools", {"name": "add"}, "'tools' is .*, not a list of tools"),
        ("chat_template_kwargs", [1], r"'chat_template_kwargs' is \[1\], not an object"),
    ],
)
def test_arguments_of_another_type_name_their_row(prompts_of, column, value, complaint):
    with pytest.raises(DataError, match=f"^row 2 of 'mine': {complaint}"):
        prompts_of({"prompt": CHAT}, {"prompt": CHAT, column: value})


def test_columns_for_the_chat_template_are_like_others_to_a_text(prompts_of):
    (prompt,) = prompts_of({"prompt": "a", "tools": "hammer"})
    assert prompt.columns == {"tools": "hammer"}


def test_a_system_message_may_be_empty(prompts_of, tokenizer):
    (prompt,) = prompts_of({"prompt": [{"role": "system", "content": ""}, *CHAT]})
    assert tokenizer.decode(prompt.ids) == "<|system|><|user|>1+1<|assistant|>"


# -- empty prompts -------------------------------------------------------------------------------


def test_the_first_token_of_a_text_without_prompt_is_given_and_not_learnt(read, tokenizer):
    (prompt,) = read({"prompt": "", "completion": "abc"}).prompts
    assert tokenizer.decode(prompt.ids) == "a"
    assert tokenizer.decode(prompt.completions["completion"].ids) == "bc<|end|>"


def test_a_pair_without_prompt_begins_with_what_both_begin_with(read, tokenizer):
    (prompt,) = read({"prompt": "", "chosen": "ab", "rejected": "ac"}, inputs=PAIRS).prompts
    assert tokenizer.decode(prompt.ids) == "a"
    with pytest.raises(DataError, match="row 1 of 'mine': the prompt is empty, and the completion"):
        read({"prompt": "", "chosen": "b", "rejected": "a"}, inputs=PAIRS)


@pytest.mark.parametrize("empty", ["", []])
def test_a_prompt_to_complete_may_not_be_empty(prompts_of, empty):
    with pytest.raises(DataError, match=r"row 1 of 'mine': 'prompt' is .*, not a text or a"):
        prompts_of({"prompt": empty})


def test_a_completion_that_the_tokenizer_drops_names_its_row(read, merging):
    with pytest.raises(DataError, match="row 1 of 'mine': 'completion'"):
        read({"prompt": "a", "completion": "xyz"}, tokenizer=merging)


# -- tokenizers that put something around a text -------------------------------------------------


def surrounded(single, *, space=False):
    """A tokenizer of letters that puts special tokens around every text, and a space before it."""
    ids = {token: i for i, token in enumerate(["<s>", "</s>", "<unk>", "▁", "\n", *"ab12"])}
    merges = [("a", "b"), ("▁", "a"), ("1", "2")]
    ids |= {"".join(pair): len(ids) + i for i, pair in enumerate(merges)}
    backend = Tokenizer(models.BPE(ids, merges=merges, unk_token="<unk>"))
    backend.add_special_tokens(["<s>", "</s>"])
    if space:
        backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=False)
        backend.decoder = decoders.Metaspace(prepend_scheme="always", split=False)
    specials = [("<s>", 0), ("</s>", 1)]
    backend.post_processor = processors.TemplateProcessing(single=single, special_tokens=specials)
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>")


@pytest.mark.parametrize("single", ["$A", "<s> $A", "<s> $A </s>", "$A </s>"])
def test_no_end_that_the_tokenizer_adds_comes_before_a_completion(read, prompts_of, single):
    tokenizer = surrounded(single)
    (prompt,) = read({"prompt": "ab", "completion": "12"}, tokenizer=tokenizer).prompts
    first = ["<s>"] if "<s>" in single else []
    assert tokenizer.convert_ids_to_tokens(prompt.ids) == [*first, "ab"]
    completion = prompt.completions["completion"]
    assert tokenizer.convert_ids_to_tokens(completion.ids) == ["12", "</s>"]
    (alone,) = prompts_of({"prompt": "ab"}, tokenizer=tokenizer)
    assert alone.ids == prompt.ids


def test_a_token_that_spans_prompt_and_completion_brings_no_space_along(read):
    tokenizer = surrounded("<s> $A", space=True)
    (prompt,) = read({"prompt": "b1", "completion": "2a"}, tokenizer=tokenizer).prompts
    completion = prompt.completions["completion"]
    assert tokenizer.convert_ids_to_tokens(prompt.ids) == ["<s>", "▁", "b", "1"]
    assert tokenizer.convert_ids_to_tokens(completion.ids) == ["2", "a", "</s>"]


def test_a_token_that_spans_an_opening_and_its_reply_brings_no_space_along(read):
    tokenizer = surrounded("<s> $A", space=True)
    tokenizer.chat_template = "{% for m in messages %}{{ m.content }}1{% endfor %}"
    row = {"prompt": [{"role": "user", "content": "b"}], "completion": said("2a")}
    (prompt,) = read(row, tokenizer=tokenizer).prompts
    completion = prompt.completions["completion"]
    assert tokenizer.convert_ids_to_tokens(prompt.ids) == ["▁", "b", "1"]
    assert tokenizer.convert_ids_to_tokens(completion.ids) == ["2", "a", "1", "</s>"]
