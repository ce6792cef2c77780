"""What to do about a lack of memory."""

from collections.abc import Iterator
from contextlib import contextmanager

from anypo.errors import TrainingError
from anypo.models.options import MachineOptions
from anypo.runs.options import RunConfig
from anypo.support.foreign import lacks_memory


def with_advice(error: BaseException, config: MachineOptions) -> BaseException:
    """The error; in place of a lack of memory one that says what would need less of it."""
    if not lacks_memory(error):
        return error
    ways = [f"lower token_budget (it is {config.token_budget})"]
    if isinstance(config, RunConfig):
        ways += [] if config.gradient_checkpointing else ["set gradient_checkpointing"]
        ways += [] if config.lora_rank else ["set lora_rank"]
    advice = " or ".join(ways)
    return TrainingError(f"out of memory; {advice}; docs/memory.md says what else needs less")


@contextmanager
def memory_advised(config: MachineOptions) -> Iterator[None]:
    """Say what would help if the memory does not suffice for what is done in the block."""
    try:
        yield
    except RuntimeError as error:
        if lacks_memory(error):
            raise with_advice(error, config) from error
        raise
