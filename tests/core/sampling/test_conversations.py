"""Conversations are the very tokens that were drawn, and what the template puts between them."""

import random
from itertools import groupby

import pytest
from accelerate import debug_launcher

from anypo import Environment, Prompt, Sample, SamplerError, SamplingRequest, Turn, score_tokens
from anypo.errors import DataError
from anypo.hooks.batch import collate
from anypo.hooks.runtime import Runtime
from anypo.sampling.generate import TransformersEngine

CONVERSATIONS = 500


PLAIN = "{% for m in messages %}{{ m.content }}<|im_end|>{% endfor %}"
CALLING = (
    "{{ tools }}{% for m in messages %}{{ m.content }}{{ m.tool_calls or '' }}<|im_end|>"
    "{% endfor %}"
)

DEMANDING = CALLING.replace(
    "{{ m.content }}",
    "{% if m.role == 'tool' and m.tool_call_id | length != 9 %}"
    "{{ raise_exception('ids have nine characters') }}{% endif %}{{ m.content }}",
)


class Drawing:
    """An engine that draws random tokens, and remembers what it was asked and what it drew."""

    def __init__(self, ends, texts=(), tokenizer=None):
        self.random, self.ends = random.Random(0), ends
        self.texts, self.tokenizer = texts, tokenizer
        self.asked, self.drawn = [], []

    def sample(self, request):
        samples = []
        for group, prompt in enumerate(request.prompts):
            for _ in range(request.n):
                ids = self.completion(request.max_completion_length)
                logprobs = [-self.random.random() - 1e-3 for _ in ids]
                samples.append(request.sample(group, ids, logprobs))
                self.asked.append(prompt.ids)
        self.drawn += samples
        return samples

    def completion(self, limit):
        if self.texts:
            text = self.random.choice(self.texts)
            ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
            return [*ids, self.random.choice(self.ends)]
        ids = [self.random.randrange(256) for _ in range(self.random.randrange(1, limit))]
        return ids if self.random.random() < 0.1 else [*ids, self.random.choice(self.ends)]

    def sync(self, model):
        pass

    def close(self):
        pass


class Chatter(Environment):
    """Says all sorts of things, for a random number of turns."""

    def reset(self, row):
        self.random = random.Random(row["number"])
        self.left = self.random.randrange(5)
        opening = [{"role": "user", "content": "listen"}]
        return self.random.choice([None, "listen", opening])

    def step(self, message):
        self.left -= 1
        texts = ("no", " sure? ", "ü\n", "<|im_end|>", [{"role": "user", "content": "a"}] * 2)
        return Turn(self.random.choice(texts), reward=self.random.random(), done=self.left < 0)


class Adder(Environment):
    """Adds, for whoever calls."""

    @property
    def tools(self):
        return (self.add,)

    def add(self, a: int, b: int):
        """Add.

        Args:
            a: One.
            b: Another.
        """
        if a == 0:
            raise ValueError("a is 0")
        return a + b


def parts(sample):
    """The spans of a completion, each with whether the policy wrote it."""
    places = enumerate(sample.mask)
    return [(wrote, [i for i, _ in span]) for wrote, span in groupby(places, lambda each: each[1])]


def check_identity(samples, engine):
    """Whatever was drawn is there, after exactly what the engine was asked, and nothing else is."""
    calls = {tuple(prompt): [] for prompt in engine.asked}
    for prompt, drawn in zip(engine.asked, engine.drawn, strict=True):
        calls[tuple(prompt)].append(drawn)
    written = 0
    for sample in samples:
        assert len(sample.mask) == len(sample.logprobs) == len(sample.completion_ids)
        spans = parts(sample)
        assert spans[0][0]
        assert spans[-1][0]
        for wrote, span in spans:
            ids = [sample.completion_ids[i] for i in span]
            logprobs = [sample.logprobs[i] for i in span]
            if not wrote:
                assert logprobs == [0.0] * len(span)
                continue
            before = tuple(sample.prompt_ids + sample.completion_ids[: span[0]])
            drawn = next(d for d in calls[before] if d.completion_ids == ids)
            assert logprobs == drawn.logprobs
            calls[before].remove(drawn)
            written += 1
    assert written == len(engine.drawn)
    assert not any(calls.values())


def test_what_is_trained_on_is_what_was_drawn(spoken, conversing, asked):
    _, tokenizer, ends = spoken
    engine = Drawing(ends)
    prompts = [asked(tokenizer, f"{i}", number=i) for i in range(CONVERSATIONS // 2)]
    samples = conversing(Chatter, engine, tokenizer, ends).sample(prompts, 2)
    assert [sample.group for sample in samples] == [i // 2 for i in range(CONVERSATIONS)]
    check_identity(samples, engine)
    assert {sample.figures["conversation/turns"] for sample in samples} == {1.0, 2.0, 3.0, 4.0}


@pytest.mark.parametrize("calls", [False, True])
def test_it_is_what_the_template_renders_of_the_whole_conversation(
    spoken, conversing, asked, calls
):
    name, tokenizer, ends = spoken
    texts = ["yes", "no, it is 3", "maybe\nnot"]
    if calls:
        texts = ['<tool_call>\n{"name": "add", "arguments": {"a": 1, "b": 2}}\n</tool_call>', "3"]

    class Talker(Adder if calls else Environment):
        def step(self, message):
            return Turn("again?", done=calls)

    engine = Drawing(ends[:1], texts, tokenizer)
    sampler = conversing(Talker, engine, tokenizer, ends, limit=200, turns=3)
    tools = {"tools": sampler.talking.environments.schemas} if calls else {}
    samples = sampler.sample([asked(tokenizer, **tools)], 20)
    check_identity(samples, engine)
    assert max(sample.figures["conversation/turns"] for sample in samples) == 3
    for sample in samples:
        messages = [{"role": "user", "content": "1+1"}, *sample.messages]
        rendered = tokenizer.apply_chat_template(messages, tokenize=False, **tools)
        text = tokenizer.decode(sample.prompt_ids + sample.completion_ids)
        opened = "<think>\n" if name == "thinking" else ""
        if name == "llama" and calls:  # which writes calls in a form of its own
            text = text.replace("<tool_call>\n", "").replace(
                "\n</tool_call><|eot_id|>", "<|eom_id|>"
            )
            text = text.replace('"arguments"', '"parameters"')
        assert text.replace(opened or "\0", "") == rendered.removesuffix("\n")


def test_the_logprobs_are_those_of_the_model_that_is_trained(model, tokenizer, conversing, asked):
    class Talker(Environment):
        def step(self, message):
            return Turn("go on")

    engine = TransformersEngine(model, Runtime())
    ends = (tokenizer.eos_token_id,)
    sampler = conversing(Talker, engine, tokenizer, ends, limit=300, turns=3)
    batch = collate(sampler.sample([asked(tokenizer, "1+1"), asked(tokenizer, "sum")], 3))
    assert batch.mask.any(-1).all()
    logprobs = score_tokens(model, batch, temperature=1.0).logprobs
    gap = (logprobs - batch.sampler_logprobs)[batch.mask].abs().max()
    assert gap < 1e-3


class Rewarding(Environment):
    """Rewards every reply by its number, and ends with the third."""

    def reset(self, row):
        self.turn = 0

    def step(self, message):
        self.turn += 1
        return Turn(f"turn {self.turn}", reward=float(self.turn), done=self.turn == 3)


def test_rewards_of_turns_stand_at_their_ends(chat, conversing, asked):
    tokenizer, ends = chat(
        "{% for m in messages %}<|im_start|>{{ m.role }}{{ m.content }}<|im_end|>{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant{% endif %}"
    )
    engine = Drawing(ends, ["ab", "abc"], tokenizer)
    (sample,) = conversing(Rewarding, engine, tokenizer, ends).sample([asked(tokenizer)], 1)
    ends_of_turns = [span[-1] for wrote, span in parts(sample) if wrote]
    assert [i for i, x in enumerate(sample.columns["step_ends"]) if x] == ends_of_turns
    assert [sample.columns["step_rewards"][i] for i in ends_of_turns] == [1.0, 2.0, 3.0]
    assert (sample.reward, sample.scores) == (6.0, {"environment": 6.0})
    assert sample.feedback == "turn 1\nturn 2\nturn 3"
    roles = [message["role"] for message in sample.messages]
    assert roles == ["assistant", "user", "assistant", "user", "assistant"]
    assert sample.length == sum(map(len, (d.completion_ids for d in engine.drawn)))
    figures = {name.removeprefix("conversation/"): x for name, x in sample.figures.items()}
    observed = len(sample.completion_ids) - sample.length
    assert figures == {
        "turns": 3,
        "calls": 0,
        "calls_failed": 0,
        "written": sample.length,
        "observed": observed,
    }


def test_all_that_go_on_are_drawn_together(chat, conversing, asked):
    class Counted(Environment):
        def reset(self, row):
            self.left = row["turns"]

        def step(self, message):
            self.left -= 1
            return Turn("on", done=not self.left)

    class Counting(Drawing):
        def sample(self, request):
            sizes.append(len(request.prompts) * request.n)
            return super().sample(request)

    sizes = []
    tokenizer, ends = chat(PLAIN)
    prompts = [asked(tokenizer, "a" * turns, turns=turns) for turns in (1, 2, 3)]
    engine = Counting(ends, ["x"], tokenizer)
    conversing(Counted, engine, tokenizer, ends, turns=9).sample(prompts, 2)
    assert sizes == [6, 4, 2]


def test_a_reply_that_is_cut_is_the_last_and_calls_nothing(chat, conversing, asked):
    class Cutting(Drawing):
        def completion(self, limit):
            text = '<tool_call>{"name": "add", "arguments": {"a": 1, "b": 1}}</tool_call>'
            return (self.tokenizer(text, add_special_tokens=False)["input_ids"] * 9)[:limit]

    class Judging(Adder):
        def step(self, message):
            return Turn("cut", reward=0.5)

    tokenizer, ends = chat(CALLING)
    engine = Cutting(ends, tokenizer=tokenizer)
    sampler = conversing(Judging, engine, tokenizer, ends, limit=90)
    tools = sampler.talking.environments.schemas
    (sample,) = sampler.sample([asked(tokenizer, tools=tools)], 1)
    assert sample.truncated
    assert sample.figures["conversation/turns"] == 1
    assert sample.figures["conversation/calls"] == 0
    assert sample.reward == 0.5


def test_a_conversation_ends_where_there_is_no_room_for_a_reply(chat, conversing, asked):
    tokenizer, ends = chat(PLAIN)

    class Talker(Environment):
        def step(self, message):
            return Turn("1234")

    engine = Drawing(ends, ["abc"], tokenizer)
    how = {"limit": 10, "turns": 9}
    (sample,) = conversing(Talker, engine, tokenizer, ends, longest=33, **how).sample(
        [asked(tokenizer)], 1
    )
    assert sample.truncated  # 4 + 5 + 4 + 5 + 4, and then 5 + 10
    assert len(sample.completion_ids) == 22
    (sample,) = conversing(Talker, engine, tokenizer, ends, longest=37, **how).sample(
        [asked(tokenizer)], 1
    )
    assert len(sample.completion_ids) == 31


def test_the_longest_that_the_policy_may_write_is_told(chat, conversing):
    tokenizer, ends = chat(PLAIN)
    how = {"limit": 10, "turns": 4}
    sampler = conversing(Environment, None, tokenizer, ends, **how)
    assert sampler.max_completion_length == 40
    assert (
        conversing(Environment, None, tokenizer, ends, longest=25, **how).max_completion_length
        == 25
    )
    assert sampler.asking(SamplingRequest(max_completion_length=5)).max_completion_length == 20


def test_a_reply_without_the_end_of_the_template_is_given_one(chat, conversing, asked):
    tokenizer, ends = chat(PLAIN)
    (end,) = ends
    engine = Drawing(ends, ["a."], tokenizer)
    a, dot, b = tokenizer("a.b")["input_ids"]
    engine.completion = lambda limit: [a, dot, b]

    class Talker(Environment):
        def step(self, message):
            return Turn("b")

    sampler = conversing(Talker, engine, tokenizer, ends, turns=2)
    stopped = SamplingRequest(
        end_tokens=ends, max_completion_length=9, stop=(".",), decode=tokenizer.decode
    )
    (sample,) = sampler.asking(stopped).sample([asked(tokenizer)], 1)
    assert sample.completion_ids == [a, dot, end, b, end, a, dot]
    assert sample.mask == [True, True, False, False, False, True, True]


@pytest.mark.parametrize(
    ("said", "prompt"),
    [
        (None, "1+1<|im_end|>"),
        (" in words", "1+1 in words<|im_end|>"),
        ([{"role": "user", "content": "in words"}], "1+1<|im_end|>in words<|im_end|>"),
    ],
)
def test_what_is_said_first_stands_behind_the_prompt(said, prompt, chat, conversing, asked):
    tokenizer, ends = chat(PLAIN)

    class Opening(Environment):
        def reset(self, row):
            assert row == {"prompt": [{"role": "user", "content": "1+1"}], "answer": "2"}
            return said

    engine = Drawing(ends, ["two"], tokenizer)
    prompts = [asked(tokenizer, answer="2")]
    (sample,) = conversing(Opening, engine, tokenizer, ends).sample(prompts, 1)
    assert tokenizer.decode(sample.prompt_ids) == prompt
    assert "".join(f"{message['content']}<|im_end|>" for message in sample.asked) == prompt
    if said:
        with pytest.raises(SamplerError, match=r"a prompt has \d+ tokens, more than 12: rai"):
            conversing(Opening, engine, tokenizer, ends, longest_prompt=12).sample(prompts, 1)


def test_an_environment_that_breaks_ends_the_run_with_its_name(chat, conversing, asked):
    tokenizer, ends = chat(PLAIN)

    class Broken(Environment):
        def step(self, message):
            raise KeyError("no such thing")

    sampler = conversing(Broken, Drawing(ends, ["two"], tokenizer), tokenizer, ends)
    with pytest.raises(SamplerError, match=r"^environment 'talker' raised KeyError: 'no such"):
        sampler.sample([asked(tokenizer)], 1)


def test_prompts_that_are_texts_are_refused(chat, talking):
    tokenizer, _ = chat(PLAIN)
    with pytest.raises(DataError, match="a prompt is a text, but environment 'talker' talks in"):
        talking(Environment, tokenizer).check([[Prompt([1], "1+1")]])


@pytest.mark.parametrize(
    ("call", "says"),
    [
        ('{"name": "add", "arguments": {"a": 1, "b": 2}}', "3"),
        ('{"name": "add", "id": 7, "arguments": {"a": 1, "b": 2}}', "3"),
        ('{"name": "\\ud83d", "arguments": {}}', "error: there is no tool '?'; there is add"),
        ('{"name": "add", "arguments": {"a": 1%s}}' % ("0" * 4300), "error: a call is a JSON"),
    ],
)
def test_whatever_is_called_the_conversation_goes_on(chat, conversing, asked, call, says):
    tokenizer, ends = chat(DEMANDING)
    engine = Drawing(ends, [f"<tool_call>{call}</tool_call>"], tokenizer)
    sampler = conversing(Adder, engine, tokenizer, ends, limit=5000, turns=2, longest=20_000)
    tools = {"tools": sampler.talking.environments.schemas}
    (sample,) = sampler.sample([asked(tokenizer, **tools)], 1)
    assert sample.messages[1]["content"].startswith(says)
    assert sample.figures["conversation/turns"] == 2


def test_calls_in_a_form_that_nobody_can_read_are_refused(spoken, talking, asked):
    name, tokenizer, _ = spoken
    talk = talking(Adder, tokenizer)
    sets = [[asked(tokenizer, tools=talk.environments.schemas)]]
    if name != "llama":
        assert talk.check(sets) is (name == "thinking")
        return
    says = "talk to this model: the tokenizer cannot parse the calls that its chat template renders"
    with pytest.raises(DataError, match=says):
        talk.check(sets)


@pytest.mark.parametrize("processes", [1, 2])
def test_every_process_holds_its_share(processes, chat, conversing, asked, tmp_path, monkeypatch):
    for libraries in ("OMP", "MKL"):  # whose threads accelerate warns of
        monkeypatch.setenv(f"{libraries}_NUM_THREADS", "1")
    tokenizer, ends = chat(PLAIN)
    prompts = [asked(tokenizer, "a" * i, number=i) for i in range(1, 7)]
    given = conversing, tokenizer, ends, prompts, tmp_path
    if processes == 1:
        hold(*given)
    else:
        debug_launcher(hold, given, num_processes=processes)
    found = [path.read_text().splitlines() for path in sorted(tmp_path.glob("*.txt"))]
    assert len(found) == processes
    assert all(lines == found[0] for lines in found)
    groups, makers, scorers = zip(*(line.split() for line in found[0]), strict=True)
    assert scorers == makers
    assert list(groups) == [str(i // 2) for i in range(12)]
    assert len(set(makers)) == processes


def hold(conversing, tokenizer, ends, prompts, folder):
    """Sample and score conversations, and write down who held and who scored each."""
    import os
    from threading import Lock

    from anypo.rewards.load import Reward
    from anypo.rewards.scorer import Rewards
    from anypo.runs.options import RunConfig
    from anypo.training.distributed import Distributed

    class Telling(Environment):
        def __init__(self):
            self.is_mine = Lock()  # which no other process can be sent

        def step(self, message):
            return Turn(reward=float(os.getpid()), done=True)

    world = Distributed(RunConfig(device="cpu")).world
    sampler = conversing(Telling, Drawing(ends, ["x"], tokenizer), tokenizer, ends, world=world)

    def scorers(environments):
        assert all(environment.is_mine for environment in environments)
        return [float(os.getpid())] * len(environments)

    score = Rewards([Reward("scorer", scorers)], tokenizer, 30.0, world, talks=True)
    samples: list[Sample] = score(prompts, sampler.sample(prompts, 2))
    scores = [sample.scores for sample in samples]
    rows = zip(samples, scores, strict=True)
    lines = [f"{s.group} {by['environment']:.0f} {by['scorer']:.0f}" for s, by in rows]
    (folder / f"{world.rank}.txt").write_text("\n".join(lines))
