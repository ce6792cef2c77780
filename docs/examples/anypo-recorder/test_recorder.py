import json

import pytest
from anypo import Prompt, Sample, SamplingRequest
from anypo.testing import check_sampler

from anypo_recorder import Recorder, Recording


@pytest.fixture
def file(tmp_path):
    return tmp_path / "completions.jsonl"


def test_it_keeps_the_rules_of_samplers(file):
    check_sampler(Recorder(file=str(file))).raise_if_failed()
    assert len(file.read_text().splitlines()) > 8000


class Scripted:
    """An engine that says what it was told to say."""

    def sample(self, request):
        return [
            Sample(p.ids, [7, 8], i, logprobs=[-1.0, -2.0]) for i, p in enumerate(request.prompts)
        ]

    def sync(self, model):
        pass


def test_a_line_has_the_tokens_their_log_probs_and_the_age_of_the_weights(file):
    engine = Recording(Scripted(), file)
    request = SamplingRequest([Prompt([1], ""), Prompt([2, 3], "")], temperature=0.5)
    samples = engine.sample(request)
    engine.sync(None)
    assert engine.sample(request) == samples
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line["updates"] for line in lines] == [0, 0, 1, 1]
    assert lines[1] == {
        "updates": 0,
        "temperature": 0.5,
        "prompt": [2, 3],
        "completion": [7, 8],
        "logprobs": [-1.0, -2.0],
    }
