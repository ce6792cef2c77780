"""`--track tensorboard`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from anypo import ConfigError
from anypo_track.tracker import Row, Tracker


class TensorBoard(Tracker):
    """Event files in the run's directory, which `tensorboard --logdir runs` shows."""

    _library: ClassVar = "tensorboard"

    def __init__(self, project: str) -> None:
        if project:
            raise ConfigError(f"tensorboard has no projects, so leave out '{project}'")
        super().__init__(project)

    def open(self, directory: Path, config: Mapping[str, Any], done: int) -> int:
        """See `Tracker`; events of steps that are done again are hidden."""
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(
            directory / "tensorboard", purge_step=done + 1 if done else None
        )
        self.writer.add_text("config", _code(dict(config)), done)
        return -1

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """See `Tracker`."""
        for name, value in metrics.items():
            self.writer.add_scalar(name, value, step)
        self.writer.flush()

    def log_completions(self, step: int, rows: Sequence[Row]) -> None:
        """See `Tracker`; there are no tables, but texts."""
        self.writer.add_text("completions", "\n\n".join(map(_code, rows)), step)
        self.writer.flush()

    def close(self, error: BaseException | None) -> None:
        """See `Tracker`."""
        self.writer.close()


def _code(content: dict[str, Any]) -> str:
    """As indented code: TensorBoard would take a completion for markup."""
    text = "\n".join(f"{name}: {json.dumps(v, ensure_ascii=False)}" for name, v in content.items())
    return "\n".join(f"    {line}" for line in text.splitlines())
