"""A sampler of a third party."""

import pytest

ECHO = """
from anypo import SamplerPlugin
from pydantic import Field


class Echo(SamplerPlugin):
    \"\"\"It says the same again.\"\"\"

    volume: float = Field(1.0, gt=0, description="How loud.")
    mode: str = Field("hall", description="Where.")

    def unread(self):
        return {} if self.volume > 1 else {"mode": "echo_volume is low, so nothing would read it"}

    def start(self, model, runtime, max_length):
        raise NotImplementedError
"""


@pytest.fixture
def echo(install):
    """A sampler of a third party, with options."""
    others = {"anypo.samplers": {"echo": "echo_module:Echo"}}
    install("anypo-echo", {}, {"echo_module.py": ECHO}, others=others)
