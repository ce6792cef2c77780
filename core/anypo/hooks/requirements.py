"""What the core provides only to an algorithm that needs it: the one table of it."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Requirement:
    """Something that costs, so that it is provided where a plugin reads or names it."""

    about: str  # what it is, in words
    said_by: Literal["policy", "sampler", "frozen model", "critic"] = "policy"  # its tensor
    tensor: str = ""  # of the batch, [N, T]; reading it requires this. Log-probs: `…_logprobs`


REQUIREMENTS = {
    "old_logprobs": Requirement("log-probs of the policy that sampled", tensor="old_logprobs"),
    "reference": Requirement("a frozen reference model", "frozen model", "ref_logprobs"),
    "teacher": Requirement(
        "a teacher, which may read a prompt of its own", "frozen model", "teacher_logprobs"
    ),
    "sampler_logprobs": Requirement(
        "log-probs as the sampler reports them", "sampler", "sampler_logprobs"
    ),
    "critic": Requirement("a critic", "critic", "values"),
    "old_entropy": Requirement("the entropy before the update", tensor="old_entropy"),
    "entropy": Requirement("the entropy at every token, and its gradient"),
    "scalar_head": Requirement("a score of whole completions in place of log-probs"),
}
REQUIRED_FOR = {r.tensor: name for name, r in REQUIREMENTS.items() if r.tensor}
LOGPROBS = tuple(tensor for tensor in REQUIRED_FOR if tensor.endswith("_logprobs"))
