"""The benchmarks of speed measure what they say."""

import json
import os
from dataclasses import replace
from itertools import count
from pathlib import Path

import against_trl
import figures
import on_gpu
import pages
import pytest
import scaling
import tables
import torch
from speed import hook_calls, ours, products
from speed.apart import apart
from speed.laps import WARM, Laps, together
from speed.making import make, make_prompts
from speed.shapes import GPU_SHAPES, MODELS, SHAPES, Shape
from torch.utils.flop_counter import FlopCounterMode
from transformers import Qwen2Config, Qwen2ForCausalLM

TINY = Shape(
    "addition", 4, 6, prompts=2, group=2, steps=4, learning_rate=1e-3, reward="peers.rewards:right"
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for module, name in ((figures, "FOLDER"), (tables, "FIGURES")):
        monkeypatch.setattr(module, name, tmp_path)
    return tmp_path


@pytest.fixture
def made(quick_cache, tmp_path):
    return make(TINY, tmp_path)


def laps_of(*seconds, tokens=10, memory=1.0):
    """A run whose steps that count take so long."""
    ends = [0.0] * WARM
    for each in seconds:
        ends.append(ends[-1] + each)
    phases = [{"seconds/rollout": 0.25, "seconds/update": 0.5}] * len(ends)
    return Laps(ends, [tokens] * len(ends), phases, memory)


def test_the_first_steps_do_not_count():
    laps = laps_of(2.0, 4.0, 2.5)
    assert laps.seconds == [2.0, 4.0, 2.5]
    both = together([laps, laps_of(8.0, memory=3.0)])
    assert both == {"tokens/s": 3.1, "s/step": 3.25, "GiB": 3, "rollout": 0.25, "update": 0.5}


@pytest.mark.parametrize("name", ["grpo", "ppo"])
def test_every_step_of_ours_is_timed_and_its_tokens_counted(made, name):
    laps = ours.train(TINY, made, 1, name, {})
    assert len(laps.ends) == len(laps.tokens) == TINY.steps
    assert len(laps.seconds) == TINY.steps - WARM
    assert all(TINY.rows <= tokens <= TINY.rows * TINY.tokens for tokens in laps.tokens)
    assert laps.memory > 0
    assert not [name for step in laps.metrics for name in step if "kl" in name or "eval" in name]


@pytest.mark.trl
@pytest.mark.filterwarnings("default")
def test_theirs_is_timed_and_counted_alike(made):
    pytest.importorskip("trl")
    from speed import theirs

    for setting in against_trl.SETTINGS.values():
        laps = theirs.train(TINY, made, 1, setting)
        assert len(laps.ends) == len(laps.tokens) == TINY.steps
        assert all(TINY.rows <= tokens <= TINY.rows * TINY.tokens for tokens in laps.tokens)


def test_the_fastest_setting_of_theirs_counts(folder):
    race = against_trl.Race("mid", SHAPES["mid"], "transformers", ["plain", "two parts"], 2, 1)
    anypo = [laps_of(1.0, 1.0), laps_of(1.0)]
    laps = {"anypo": anypo, "plain": [laps_of(4.0)], "two parts": [laps_of(2.0, memory=2.0)]}
    row = race.row(laps)
    assert (row["ratio"], row["best"], row["anypo"]["update"]) == (2.0, "two parts", 0.5)
    assert against_trl.told(row).startswith("mid, transformers: 2.0 times TRL; 10.0 against 5.0")
    figures.keep("against_trl", row, "machine", "shape", "sampler")
    assert "| 2.00 | 10.0, 5.0 | 1.0, 2.0 | 1.0, 2.0 | 0.25, 0.5 |" in tables.against_trl()


def test_without_theirs_it_says_so_in_one_line(monkeypatch):
    monkeypatch.setattr("sys.argv", ["against_trl.py"])
    monkeypatch.setattr(against_trl, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match=r"^nothing to compare with: .*pip install"):
        against_trl.main()


@pytest.mark.parametrize(("script", "what"), [(against_trl, "shape"), (scaling, "part")])
def test_what_is_not_known_is_refused(script, what, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["script", "midd"])
    with pytest.raises(SystemExit):
        script.main()
    assert f"there is no {what} 'midd'" in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_nothing_is_run():
    with pytest.raises(SystemExit, match="there is no GPU"):
        on_gpu.main()


def test_what_a_command_says_is_kept(folder):
    for what, code in (("good", "print(1)"), ("bad", "raise SystemExit('no')")):
        figures.keep("on_gpu", on_gpu.outcome(what, ["-c", code]), "machine", "what")
    bad, good = json.loads((folder / "on_gpu.json").read_text())
    assert (good["result"], good["says"]) == ("passed", ["1"])
    assert (bad["result"], bad["says"]) == ("failed", ["no"])
    assert "| good | passed |" in tables.on_gpu()


def test_prompts_have_as_many_tokens_as_they_should(tmp_path, tokenizer):
    make_prompts(tmp_path / "prompts", 220)
    rows = [json.loads(line) for line in (tmp_path / "prompts").read_text().splitlines()]
    assert {len(tokenizer(row["prompt"])["input_ids"]) for row in rows} == {220}
    assert len({row["prompt"] for row in rows}) == len(rows)


def test_every_shape_has_a_model():
    assert {shape.model for shape in (SHAPES | GPU_SHAPES).values()} <= {*MODELS, "addition"}


CONFIG = {
    "vocab_size": 300,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}


def test_useful_products_are_those_of_a_forward_and_a_backward_pass():
    prompt, completion = 5, 7
    length = prompt + completion
    shape = Shape("mid", prompt, completion, prompts=1, group=1)
    model = Qwen2ForCausalLM(Qwen2Config(**CONFIG, attn_implementation="eager"))
    with FlopCounterMode(display=False) as counter:
        model(torch.arange(length)[None], logits_to_keep=completion)
    counted = dict(counter.get_flop_counts()["Global"])
    unseen = length * length - length * (length + 1) / 2  # pairs that a mask hides
    masked = CONFIG["num_hidden_layers"] * 4 * CONFIG["hidden_size"] * unseen
    forward = sum(counted.values()) - masked
    assert products.useful(CONFIG, shape, completion) == pytest.approx(3 * forward)


def test_a_prompt_is_useful_once_for_its_group():
    alone = Shape("mid", 100, 10, prompts=1, group=1)
    group = replace(alone, group=8)
    none = replace(group, prompt_tokens=0)
    one, eight, bare = (
        products.useful(CONFIG, shape, shape.rows * 10) for shape in (alone, group, none)
    )
    assert bare < eight < 8 * one / 2


def test_the_share_of_an_update_is_that_of_what_the_machine_multiplies(monkeypatch):
    for name in ("SIDE", "SIDE_ON_GPU"):
        monkeypatch.setattr(products, name, 64)
    monkeypatch.setattr(products.time, "perf_counter", count().__next__)  # a second for a product
    monkeypatch.setattr(products.ours, "train", lambda *_: laps_of(1.0, tokens=2048))
    mid = SHAPES["mid"]
    reached = products.useful(MODELS["mid"], mid, 2048) / 0.5
    found = products.share(mid, None, 1)
    assert found["useful GFLOP/s"] == pytest.approx(reached / 1e9, abs=0.1)
    assert found["share"] == pytest.approx(reached / (2 * 64**3), rel=1e-6)


def test_a_model_of_a_shape_has_its_sizes(tmp_path, monkeypatch):
    monkeypatch.setitem(MODELS, "tiny", CONFIG)
    made = make(replace(TINY, model="tiny", vocabulary=500), tmp_path)
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert {name: config[name] for name in CONFIG} == {**CONFIG, "vocab_size": 500}
    assert made.parameters > 500 * CONFIG["hidden_size"]
    assert Path(made.data).exists()


def test_calls_of_hooks_are_counted(made, monkeypatch):
    for name in ("CALLS", "TRIES"):
        monkeypatch.setattr(hook_calls, name, 2)
    found = hook_calls.share(TINY, made, 1)
    stages = {"rollout", "advantage", "weight", "ratio", "clip", "regularizer", "metrics"}
    assert len(stages) <= found["calls of a step"] < 2 * len(stages)
    assert found["a call, µs"] > 0


def test_the_table_of_a_part_has_its_rows_alone(folder):
    assert "Not run yet." in tables.scaling("group", "size") + tables.on_gpu()
    for part, at in (("group", 16), ("group", 2), ("tokens", 4)):
        row = {"part": part, "at": at, "s/step": at / 2, "machine": "CPU"}
        figures.keep("scaling", row, "part", "machine", "at")
    head, _, *rows = tables.scaling("group", "size").strip().splitlines()
    assert head == "| size | s/step | machine |"
    assert rows == ["| 2 | 1.0 | CPU |", "| 16 | 8.0 | CPU |"]


def test_what_is_off_a_line_is_told():
    assert scaling.from_a_line([1, 2, 4, 8], [3, 5, 9, 17]) == pytest.approx([0, 0, 0, 0])
    assert max(scaling.from_a_line([1, 2, 4, 8], [1, 4, 16, 64])) > 0.3


def test_the_shapes_of_a_part_differ_in_one_thing(monkeypatch):
    asked = []
    monkeypatch.setattr(scaling, "step", lambda shape, *_: asked.append(shape) or {"update": 1.0})
    for part, field in (("tokens", "prompts"), ("group", "group"), ("vocabulary", "vocabulary")):
        asked.clear()
        assert len(list(scaling.PARTS[part](1))) == len({getattr(s, field) for s in asked})
        assert len({replace(shape, **{field: 1}) for shape in asked}) == 1


def test_a_process_of_its_own_is_another():
    assert apart("os:getpid") != os.getpid()


def test_grpo_stands_beside_ppo_with_as_many_completions(monkeypatch):
    costs = {"ppo": {"s/step": 4.0, "GiB": 2.0}, "grpo": {"s/step": 3.0, "GiB": 1.5}}
    asked = {}

    def step(shape, threads, name="grpo"):
        asked[name] = shape
        return costs[name]

    monkeypatch.setattr(scaling, "step", step)
    grpo = next(row for row in scaling.critic(1) if row["at"] == "grpo")
    assert (grpo["s/step, % of PPO's"], grpo["GiB, % of PPO's"]) == (75, 75)
    assert asked["ppo"].rows == asked["grpo"].rows
    assert asked["ppo"].group == 1


def test_the_pages_run_scripts_that_are_there():
    assert not [s for (s, *_), _ in pages.RUNS if not (pages.ROOT / "benchmarks" / s).exists()]
