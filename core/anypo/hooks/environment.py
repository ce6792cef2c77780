"""What an environment is: who answers the policy in a conversation of several turns."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

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
