"""What a sampler is: a plugin that starts an engine, which is asked for completions."""

import re
from abc import abstractmethod
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Protocol, runtime_checkable

from torch import nn

from anypo.errors import PluginError, SamplerError
from anypo.hooks import registry
from anypo.hooks.batch import Prompt, Sample
from anypo.hooks.runtime import Runtime
from anypo.support.options import Options

ALWAYS = ("prompts", "n", "end_tokens", "max_completion_length", "decode", "memory")  # by all


@dataclass
class Memory:
    """Where an engine may keep what it has read, for requests that go on from completions.

    Whoever asks makes one, and drops it before the weights change.
    """

    held: dict[tuple[int, ...], Any] = field(default_factory=dict)  # by tokens that were read
    is_over: bool = False  # whether nobody goes on from what is drawn next


@dataclass(frozen=True)
class SamplingRequest:
    """Completions to be drawn."""

    prompts: Sequence[Prompt] = ()
    n: int = 1  # completions of each
    end_tokens: tuple[int, ...] = ()  # ids that end a completion, and belong to it
    max_completion_length: int = 256  # tokens; what reaches it without an end is truncated
    temperature: float = 1.0  # divides the logits
    top_p: float = 1.0  # only the likeliest tokens of this share of the probability; 1: all
    top_k: int = 0  # only so many of the likeliest tokens; 0: all
    stop: tuple[str, ...] = ()  # texts that end a completion, and belong to it
    decode: Callable[[list[int]], str] | None = None  # text of tokens, to find `stop` in
    memory: Memory | None = None  # for an engine that would otherwise read prompts again

    def ending(self, ids: list[int]) -> int | None:
        """How many tokens a completion has up to its end, that included; None: it has none.

        It ends with its first end token, or the first one by which its text holds one of `stop`.
        """
        end = next((i for i, token in enumerate(ids, 1) if token in self.end_tokens), None)
        if self.stop and self._stops(ids[:end]):
            return bisect_left(range(len(ids)), True, key=lambda n: self._stops(ids[:n]))
        return end

    def _stops(self, ids: list[int]) -> bool:
        assert self.decode is not None, "where there is stop, there is decode"
        text = self.decode(ids)
        return any(stop in text for stop in self.stop)

    def sample(self, group: int, ids: list[int], logprobs: list[float]) -> Sample:
        """A completion of the prompt at position `group`, up to its end.

        Args:
            group: Position in `prompts`.
            ids: As long as drawn; what follows the end is left out.
            logprobs: Of each of them.
        """
        end = self.ending(ids)
        prompt = self.prompts[group].ids
        return Sample(prompt, ids[:end], group, logprobs=logprobs[:end], truncated=end is None)

    def refuse_all_but(self, *understood: str) -> None:
        """Refuse parameters that a sampler would not heed.

        Args:
            understood: Names of those that it heeds, beside `ALWAYS`.

        Raises:
            SamplerError: Another one has not its default.
        """
        for each in fields(self):
            value, heeded = getattr(self, each.name), each.name in (*ALWAYS, *understood)
            if not heeded and value != each.default:
                raise SamplerError(f"the sampler cannot sample with {each.name} = {value!r}")


@runtime_checkable
class Engine(Protocol):
    """What a sampler starts: it draws completions from the weights that it was given last."""

    def sample(self, request: SamplingRequest) -> list[Sample]:
        """`n` completions of every prompt, prompt by prompt; `group` is the prompt's position.

        `logprobs` are those of the distribution really drawn from.
        """

    def sync(self, model: Any) -> None:
        """Use the current weights of `model`, a model of transformers, from now on."""

    def close(self) -> None:
        """Release what it holds."""


class SamplerPlugin(Options):
    """Base of all samplers: a frozen pydantic model, whose fields are its options.

    The entry point's name goes before them: `memory` of a sampler `vllm` is the run option
    `vllm_memory`.

    Attributes:
        draws: Whether it completes any prompt, with the log-probs of what it draws. Then a few of
            them are compared with the trainer's before the first step. One that replays does not.
    """

    draws: ClassVar[bool] = False

    @property
    def outside(self) -> bool:
        """Whether it samples outside of the process that asks, so that one asks for all."""
        return False

    def unread(self) -> dict[str, str]:
        """The fields that mean nothing beside the others, and why: `so and so is set, but …`."""
        return {}

    def check(self, request: SamplingRequest, runtime: Runtime) -> None:
        """Refuse what cannot work, before anything is loaded; the request is without prompts yet.

        Raises:
            AnypoError: A package is missing, or it cannot sample so or there.
        """

    @abstractmethod
    def start(self, model: nn.Module, runtime: Runtime, max_length: int) -> Engine:
        """An engine with the weights of `model`.

        Args:
            model: A model of transformers, the policy.
            runtime: Where the trainer runs it, and in what precision.
            max_length: Tokens of the longest prompt and completion.

        Raises:
            SamplerError: It cannot be started or reached, or does not fit the policy.
        """


def load_sampler(name: str) -> tuple[registry.Entry, type[SamplerPlugin]]:
    """The sampler of a name, or of `DISTRIBUTION:NAME`.

    Raises:
        PluginError: There is none, or it does not load, or cannot be used as one.
    """
    entry = registry.find(name, "sampler")
    plugin = entry.load()
    if not (isinstance(plugin, type) and issubclass(plugin, SamplerPlugin)):
        raise PluginError(f"{entry} is no anypo.SamplerPlugin, but {plugin!r:.60}")
    if plugin.__abstractmethods__:
        raise PluginError(f"{entry} lacks '{min(plugin.__abstractmethods__)}'")
    if not re.fullmatch("[a-z][a-z0-9_]*", entry.option_prefix):
        raise PluginError(f"{entry} is called so that its options can have no names")
    if aliased := [name for name, field in plugin.model_fields.items() if field.alias]:
        raise PluginError(f"{entry} has an alias for its field '{aliased[0]}': leave it out")
    return entry, plugin
