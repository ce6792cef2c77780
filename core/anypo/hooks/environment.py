"""What an environment is: who answers the policy in a conversation of several turns."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from inspect import getmembers, isfunction
from typing import Any, ClassVar

from anypo.errors import ConfigError, PluginError, nearest
from anypo.hooks import registry
from anypo.support.functions import load_function

Message = dict[str, Any]  # {"role": …, "content": …}
Said = str | Sequence[Message]  # a text is a message of the user


@dataclass(frozen=True)
class Turn:
    """What comes back to a reply of the policy."""

    observation: Said = ""  # put behind the reply, for the policy to go on from
    reward: float = 0.0  # of the reply, beside those of reward functions
    done: bool = False  # whether the conversation ends with the reply


class Environment:
    """Base of all environments: one is made for every sample, and answers the policy.

    `reset`, `step` and tools may be `async def`: those of all conversations are awaited together.

    Attributes:
        task: What is trained on where neither a task, nor a model and data, are named.
    """

    task: ClassVar[str] = ""

    @property
    def tools(self) -> Sequence[Callable[..., Any]]:
        """Functions that the policy may call, such as methods of this; the same for every row.

        Types and docstring of each become the schema that the chat template is given, so the
        docstring needs a section `Args` with a line on every argument. What one returns is told as
        a message of the role `tool`, and so is what it raises; a `Turn` may reward and end, too.
        """
        return ()

    def reset(self, row: Mapping[str, Any]) -> Said | Awaitable[Said | None] | None:
        """Begin. What is returned is put behind the prompt, before the first reply.

        A text goes on with what the user says last there, since many chat templates have no two
        messages of the user in a row.

        Args:
            row: Of the data set: the `prompt`, a list of messages, and the other columns.
        """

    def step(self, message: Message) -> Turn | Awaitable[Turn]:
        """Answer a reply that calls no tool; the calls of others are answered by the tools."""
        return Turn(done=True)


@dataclass(frozen=True)
class ChosenEnvironment:
    """The environment of a run, and what the user calls it.

    Args:
        name: By the user.
        make: Makes one for a sample.
        is_of_trl: Whether it is a class for TRL's `environment_factory`, and no `Environment`.
    """

    name: str
    make: Callable[[], Any]
    is_of_trl: bool = False

    def __str__(self) -> str:
        return f"environment '{self.name}'"

    @property
    def task(self) -> str:
        """What it is for; nothing if it does not say."""
        return "" if self.is_of_trl else str(getattr(self.make, "task", ""))


def load_environment(spec: str) -> ChosenEnvironment:
    """The environment that `NAME`, `DISTRIBUTION:NAME`, `file.py:Class` or `module:Class` names.

    A class with `reset` and further public methods, but without `step`, is one of TRL's.

    Raises:
        PluginError: There is none, or it does not load, or is no environment.
        ConfigError: The file or module cannot be imported, or has no such class.
    """
    if ":" not in spec or registry.knows(spec, "environment"):
        if not registry.knows(spec, "environment"):
            known = [entry.name for entry in registry.entries("environment")]
            raise PluginError(
                f"there is no environment '{spec}'{nearest(spec, known)}; name your own as "
                "file.py:Class or package.module:Class"
            )
        entry = registry.find(spec, "environment")
        name, kind, who = entry.name, entry.load(), str(entry)
    else:
        name, who = spec.rpartition(":")[2], f"environment '{spec}'"
        try:
            kind = load_function(spec)
        except ConfigError as error:
            raise ConfigError(f"environment {error}") from error
    if isinstance(kind, type) and issubclass(kind, Environment):
        return ChosenEnvironment(name, kind)
    public = methods(kind) if isinstance(kind, type) else []
    if "reset" not in public:
        raise PluginError(f"{who} is no anypo.Environment, but {kind!r:.60}")
    if "step" in public or public == ["reset"]:
        which = "has `step`, too" if "step" in public else "has no other public method"
        raise PluginError(
            f"{who} is no anypo.Environment, and none for TRL's environment_factory either, as it "
            f"{which}: derive it from anypo.Environment"
        )
    return ChosenEnvironment(name, kind, is_of_trl=True)


def methods(kind: type) -> list[str]:
    """The names of the public functions of a class, in alphabetical order."""
    return [name for name, _ in getmembers(kind, isfunction) if not name.startswith("_")]
