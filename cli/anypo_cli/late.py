"""Commands whose options are not known before they are called: a sampler brings some along."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from typer.core import TyperCommand


class Late(TyperCommand):
    """Stands for such a command where only its name and its help are wanted."""

    def whole(self, args: Sequence[str] = ()) -> Any:
        """The command with its options, as these arguments name them."""
        from anypo_cli.judging import judging_command  # imports torch, which takes a second

        return judging_command(str(self.name), str(self.help), args)

    def make_context(
        self, info_name: Any, args: list[str], parent: Any = None, **extra: Any
    ) -> Any:
        """That of the whole command, which is then run in place of this one."""
        return self.whole(args).make_context(info_name, args, parent, **extra)
