from dataclasses import replace

import pytest
import torch

from anypo.errors import SaveError
from anypo.hooks import remembered
from anypo.hooks.batch import Prompt, Sample, collate
from anypo.hooks.remembered import packed, unpacked
from anypo.support.here import Here

SAMPLE = Sample([1], [2, 3], 0, reward=0.5, logprobs=[-1.0, -2.0])
KEEPABLE = {
    "numbers": {"one": 1, 2: 2.5, "none": None, "yes": True, "many": 2**70},
    "texts": ("a", ["ä", b"b"]),
    "sets": {1, 2},
    "tensor": torch.arange(3.0),
    "prompt": Prompt([1], "a", {"answer": "b"}),
    "samples": [SAMPLE, SAMPLE],
}


def test_what_can_be_kept_is_read_back_as_it_was():
    read = unpacked(packed(KEEPABLE))
    assert torch.equal(read.pop("tensor"), KEEPABLE["tensor"])
    assert read == {key: value for key, value in KEEPABLE.items() if key != "tensor"}
    assert read["samples"][0] is read["samples"][1]
    batch = unpacked(packed({"batch": collate([SAMPLE])}))["batch"]
    assert torch.equal(batch.sampler_logprobs, torch.tensor([[-1.0, -2.0]]))


def test_of_a_conversation_that_is_kept_it_is_known_who_held_it():
    data = packed({"samples": [replace(SAMPLE, environment=Here(3, object()))]})
    (sample,) = unpacked(data)["samples"]
    assert (sample.environment.rank, sample.environment.thing) == (3, None)


class Own:
    """Of a plugin."""


@pytest.mark.parametrize(
    "value", [lambda: 1, Own(), open, iter([])], ids=lambda value: type(value).__name__
)
def test_what_could_not_be_read_again_is_refused_by_its_key(value):
    kind = type(value).__name__
    with pytest.raises(
        SaveError, match=rf"keeps a {kind} in state\['b'\].*: numbers, texts, lists"
    ):
        packed({"a": 1, "b": value})


def test_no_code_of_a_file_is_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "evil"), "w"))

    with pytest.raises(Exception, match="Unsupported global"):
        unpacked(remembered._pickled({"a": Evil()}))
    assert not (tmp_path / "evil").exists()
