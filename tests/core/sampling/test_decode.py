from dataclasses import replace

import pytest
import torch

from anypo.hooks.sampler import SamplingRequest
from anypo.sampling import decode as module
from anypo.sampling.continuation import Continuation
from anypo.sampling.decode import decode

PROMPTS = [[50, 51, 52, 53], [60], [70, 71]]
ENDS = tuple(range(0, 260, 9))  # a completion has about nine tokens
REQUEST = SamplingRequest(
    n=6, end_tokens=ENDS, max_completion_length=24, temperature=0.8, top_k=200, top_p=0.95
)


def completed(model, request=REQUEST, seed=0):
    torch.manual_seed(seed)
    return decode(Continuation(model, PROMPTS), request)


def up_to_the_end(drawn, request=REQUEST):
    rows = zip(drawn.ids.tolist(), drawn.logprobs.tolist(), strict=True)
    cut = [(ids, logprobs, request.ending(ids)) for ids, logprobs in rows]
    return [(ids[:end], pytest.approx(logprobs[:end], abs=1e-4)) for ids, logprobs, end in cut]


@torch.no_grad()
def reference(model, request):
    """The same by the definition: a row at a time, without cache, over sorted probabilities."""
    torch.manual_seed(0)
    rows = [list(prompt) for prompt in PROMPTS for _ in range(request.n)]
    starts, logprobs = [len(row) for row in rows], [[] for _ in rows]
    for _ in range(request.max_completion_length):
        numbers = torch.rand(len(rows)).tolist()
        for row, number, said in zip(rows, numbers, logprobs, strict=True):
            logits = model(input_ids=torch.tensor([row])).logits[0, -1].double()
            probabilities = (logits / request.temperature).softmax(-1)
            likeliest = probabilities.sort(descending=True)
            kept = likeliest.indices[: request.top_k]
            share = probabilities[kept] / probabilities[kept].sum()
            kept = kept[: int((share.cumsum(-1) < request.top_p).sum()) + 1].sort().values
            left = probabilities[kept] / probabilities[kept].sum()
            place = min(int((left.cumsum(-1) <= number).sum()), len(kept) - 1)
            row.append(int(kept[place]))
            said.append(float(left[place].log()))
    completions = [row[start:] for row, start in zip(rows, starts, strict=True)]
    ends = [request.ending(ids) for ids in completions]
    return [(c[:end], said[:end]) for c, said, end in zip(completions, logprobs, ends, strict=True)]


def test_it_draws_what_the_definition_says(model):
    request = replace(REQUEST, n=2, max_completion_length=9)
    assert up_to_the_end(completed(model, request), request) == reference(model, request)


def test_rows_that_leave_change_nothing_of_the_others(model, monkeypatch):
    sizes, logits = [], Continuation.logits

    def counted(texts):
        found = logits(texts)
        sizes.append(len(found))
        return found

    monkeypatch.setattr(Continuation, "logits", counted)
    leaving = up_to_the_end(completed(model))
    assert sizes[:2] == [len(PROMPTS), len(leaving)]
    assert sizes[-1] < len(leaving) / 2
    sizes.clear()
    monkeypatch.setattr(module, "LEAVING", 2.0)  # never
    assert [ids for ids, _ in up_to_the_end(completed(model))] == [ids for ids, _ in leaving]
    assert sizes[1:] == [len(leaving)] * (REQUEST.max_completion_length - 1)


def test_it_is_over_when_all_have_ended(model, monkeypatch):
    steps, logits = [], Continuation.logits
    monkeypatch.setattr(Continuation, "logits", lambda t: steps.append(1) or logits(t))
    completed(model, replace(REQUEST, end_tokens=tuple(range(263)), max_completion_length=200))
    assert len(steps) == module.LOOK_EVERY


def test_the_seed_decides_every_bit(model):
    first, again, other = (completed(model, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first.ids, again.ids)
    assert torch.equal(first.logprobs, again.logprobs)
    assert not torch.equal(first.ids, other.ids)


def test_rows_leave_at_a_text_too(model):
    request = replace(REQUEST, end_tokens=(), stop=("1",), decode=lambda ids: f"{ids}")
    drawn = completed(model, request)
    ends = [request.ending(ids) for ids in drawn.ids.tolist()]
    assert None not in ends
    assert (drawn.ids[:, max(ends) + module.LOOK_EVERY :] == 0).all()


def test_one_token_is_one_step(model):
    request = replace(REQUEST, max_completion_length=1)
    assert completed(model, request).ids.shape == (len(PROMPTS) * request.n, 1)
