import copy
import json

import pytest
import torch
from safetensors import SafetensorError

import anypo.training.frozen
from anypo import Prompt, collate, compose, run
from anypo.errors import ConfigError, SaveError, TrainingError
from anypo.hooks.batch import Completion
from anypo.models.adapters import add_lora
from anypo.models.forward import TokenScorer
from anypo.models.options import AdapterOptions
from anypo.runs.options import RunConfig
from anypo.training.distributed import Distributed
from anypo.training.frozen import ensure_precomputed
from anypo.training.learner import Learner

ADAPTERS = AdapterOptions(lora_rank=4, lora_alpha=8)
PROMPTS = [
    Prompt([5, 6], "a", {}, {"chosen": Completion([7, 8, 9]), "rejected": Completion([7])}),
    Prompt([5], "b", {}, {"chosen": Completion([6, 7, 8, 9]), "rejected": Completion([9, 9])}),
]


@pytest.fixture(autouse=True)
def _private_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def make_learner(model):
    """A learner of DPO; each time of the same weights."""

    def make_learner(**options):
        config = RunConfig(precompute_reference=True, device="cpu", **options)
        return Learner(compose("dpo"), copy.deepcopy(model), config, Distributed(config), 64)

    return make_learner


def files(tmp_path):
    return sorted((tmp_path / "cache" / "anypo").glob("*"))


def rows(*columns):
    return collate([prompt.sample(column, 0) for prompt in PROMPTS for column in columns])


def test_known_rows_have_the_log_probs_of_the_policy_as_it_was(make_learner, monkeypatch):
    monkeypatch.setattr(
        anypo.training.frozen, "ROWS", 3
    )  # a part that is not full, and one that is
    learner = make_learner()
    known = ensure_precomputed(learner, PROMPTS)
    batch = rows("rejected", "chosen")
    expected = learner.logprobs(batch)
    assert expected[batch.mask].abs().min() > 0
    torch.testing.assert_close(known(batch), expected, rtol=1e-5, atol=1e-6)
    with torch.no_grad():
        next(learner.model.parameters()).add_(0.5)
    torch.testing.assert_close(known(batch), expected, rtol=1e-5, atol=1e-6)
    assert "reference" not in learner.compared.models


def test_new_adapters_change_no_log_probs_so_they_share_the_file(make_learner, tmp_path):
    for adapted in (False, True):
        learner = make_learner()
        if adapted:
            add_lora(learner.model, "base", ADAPTERS)
        ensure_precomputed(learner, PROMPTS)
    assert len(files(tmp_path)) == 1


def test_a_row_is_told_from_one_whose_prompt_ends_elsewhere(make_learner):
    same_tokens = [
        Prompt([5, 6], "a", {}, {"chosen": Completion([7, 8])}),
        Prompt([5], "b", {}, {"chosen": Completion([6, 7, 8])}),
    ]
    learner = make_learner()
    batch = collate([prompt.sample("chosen", 0) for prompt in same_tokens])
    expected = learner.logprobs(batch)
    torch.testing.assert_close(ensure_precomputed(learner, same_tokens)(batch), expected)


def test_rows_that_differ_in_their_masks_alone_have_what_each_of_them_shows(make_learner):
    tokens = [7, 8, 9]
    prompts = [
        Prompt([5], "a", {}, {"chosen": Completion(tokens, mask)})
        for mask in (None, [False, True, True])
    ]
    learner = make_learner()
    batch = collate([prompt.sample("chosen", 0) for prompt in prompts])
    known = ensure_precomputed(learner, prompts)
    shown = batch.replace(ref_logprobs=known(batch)).ref_logprobs
    torch.testing.assert_close(shown, learner.logprobs(batch), rtol=1e-5, atol=1e-6)


def test_what_has_been_computed_is_not_computed_again(make_learner, monkeypatch, tmp_path):
    first = ensure_precomputed(make_learner(), PROMPTS)(rows("chosen"))
    monkeypatch.setattr(Learner, "logprobs", lambda *_: pytest.fail("computed again"))
    assert torch.equal(ensure_precomputed(make_learner(), PROMPTS)(rows("chosen")), first)
    assert len(files(tmp_path)) == 1


@pytest.mark.parametrize("change", ["weights", "temperature", "tokens"])
def test_what_would_come_out_otherwise_is_computed(change, make_learner, tmp_path):
    ensure_precomputed(make_learner(), PROMPTS)
    learner = make_learner(**({"temperature": 0.5} if change == "temperature" else {}))
    if change == "weights":
        with torch.no_grad():
            next(learner.model.parameters()).flatten()[0] += 0.5
    ensure_precomputed(learner, PROMPTS[:1] if change == "tokens" else PROMPTS)
    assert len(files(tmp_path)) == 2


FULL = "No space left on device"


@pytest.mark.parametrize(
    "error", [OSError(28, FULL), SafetensorError(f"I/O error: {FULL} (os error 28)")]
)
def test_a_computation_that_breaks_off_leaves_nothing(make_learner, monkeypatch, tmp_path, error):
    def full(*_):
        raise error

    monkeypatch.setattr(anypo.training.frozen, "save_file", full)
    with pytest.raises(SaveError, match=rf"'.*/reference-.*' cannot be written: .*{FULL}"):
        ensure_precomputed(make_learner(), PROMPTS)
    assert not files(tmp_path)


@pytest.mark.parametrize("content", [b"", b"xx"])
def test_a_damaged_file_is_made_anew(content, make_learner, tmp_path):
    first = ensure_precomputed(make_learner(), PROMPTS)(rows("chosen"))
    (file,) = files(tmp_path)
    file.write_bytes(content)
    assert torch.equal(ensure_precomputed(make_learner(), PROMPTS)(rows("chosen")), first)
    assert file.stat().st_size > 10


def test_rows_of_a_pair_need_not_share_a_forward_pass(make_learner, monkeypatch):
    shapes = []
    plain = TokenScorer.forward

    def seen(scorer, batch, *line, **options):
        shapes.append(len(batch))
        return plain(scorer, batch, *line, **options)

    monkeypatch.setattr(TokenScorer, "forward", seen)
    ensure_precomputed(make_learner(token_budget=5), PROMPTS)
    assert shapes == [1, 1, 1, 1]


def test_a_row_that_is_not_of_the_data_is_an_error(make_learner):
    known = ensure_precomputed(make_learner(), PROMPTS[:1])
    with pytest.raises(TrainingError, match="leave precompute_reference out"):
        known(rows("chosen"))


def test_a_run_is_the_same_with_a_precomputed_reference(quick_cache, tmp_path):
    options = {"steps": 2, "prompts_per_step": 4, "max_completion_length": 8}
    metrics = []
    for name, precomputes in (("with", True), ("without", False)):
        output = str(tmp_path / name)
        folder = run("dpo", output=output, precompute_reference=precomputes, **options)
        last = json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])
        metrics.append({k: last[k] for k in ("loss", "rewards/margins", "eval/loss")})
    assert metrics[0] == pytest.approx(metrics[1], rel=1e-5)


@pytest.mark.parametrize(
    ("name", "options", "complaint"),
    [
        ("kto", {}, "kto makes new rows in every step"),
        ("online_dpo", {}, "online_dpo makes new rows in every step"),
        ("dpo", {"ref_sync_every": 2}, "ref_sync_every moves the reference"),
        ("sft", {}, "sft has no reference model"),
    ],
)
def test_where_there_is_nothing_fixed_to_compute_it_is_refused(name, options, complaint):
    with pytest.raises(ConfigError, match=complaint):
        run(name, precompute_reference=True, **options)
