"""A sampler that writes down what it draws."""

import json

from anypo import Transformers
from pydantic import Field


class Recorder(Transformers):
    """Samples as `transformers` does, and writes every completion to a file."""

    file: str = Field("completions.jsonl", description="Where to, a line of JSON each.")

    def start(self, model, runtime, max_length):
        """An engine that asks the one of transformers."""
        return Recording(super().start(model, runtime, max_length), self.file)


class Recording:
    """An engine that notes the answers of another one."""

    def __init__(self, engine, file):
        self.engine, self.file, self.updates = engine, file, 0

    def sample(self, request):
        """The completions, which are in the file by then."""
        samples = self.engine.sample(request)
        with open(self.file, "a", encoding="utf-8") as file:
            for sample in samples:
                line = {"updates": self.updates, "temperature": request.temperature}
                line |= {"prompt": sample.prompt_ids, "completion": sample.completion_ids}
                file.write(json.dumps({**line, "logprobs": sample.logprobs}) + "\n")
        return samples

    def sync(self, model):
        """Use the current weights from now on."""
        self.engine.sync(model)
        self.updates += 1

    def close(self):
        """Release what the other engine holds."""
        self.engine.close()
