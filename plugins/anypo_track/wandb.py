"""`--track wandb:PROJECT`."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from anypo import ConfigError
from anypo_track.files import known_as, remember
from anypo_track.tracker import Row, Tracker

OFFLINE = ("offline", "dryrun", "disabled")


class WandB(Tracker):
    """Weights & Biases; WANDB_MODE=offline keeps it on this machine."""

    _library: ClassVar = "wandb"

    def __init__(self, project: str) -> None:
        super().__init__(project)
        import wandb

        is_online = wandb.setup().settings.mode not in OFFLINE
        if is_online and not wandb.login(prompt=False, verify=False):
            raise ConfigError(
                "--track wandb needs a login: `wandb login`, or WANDB_MODE=offline to keep it here"
            )

    def open(self, directory: Path, config: Mapping[str, Any], done: int) -> int:
        """See `Tracker`."""
        import wandb

        identity = known_as(directory, self._library) or uuid.uuid4().hex[:16]
        self.run = wandb.init(
            project=self.project,
            name=directory.name,
            id=identity,
            dir=directory,
            config=dict(config),
            resume="allow",
            settings=wandb.Settings(console="off"),  # what is printed was not asked for
        )
        remember(directory, self._library, identity)
        return int(self.run.step) - 1

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """See `Tracker`."""
        self.run.log(dict(metrics), step=step)

    def log_completions(self, step: int, rows: Sequence[Row]) -> None:
        """See `Tracker`."""
        import wandb

        columns = list(dict.fromkeys(name for row in rows for name in row))
        table = wandb.Table(columns, [[row.get(name) for name in columns] for row in rows])
        self.run.log({"completions": table}, step=step)

    def close(self, error: BaseException | None) -> None:
        """See `Tracker`."""
        self.run.finish(exit_code=0 if error is None else 1)
