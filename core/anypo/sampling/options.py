"""Options about sampling; a sampler has further ones of its own."""

from pydantic import Field

from anypo.support.options import Options


class SamplingOptions(Options, panel="Data and sampling"):
    """Who samples, and from which distribution."""

    sampler: str = Field("transformers", description="What samples completions; see anypo list.")
    temperature: float = Field(1.0, gt=0, description="Of sampling and of every log-prob.")
