"""`--track trackio:PROJECT`."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from anypo_track.files import known_as, remember
from anypo_track.tracker import Row, Tracker


class Trackio(Tracker):
    """A database on this machine, which `trackio show` shows."""

    _library: ClassVar = "trackio"

    def open(self, directory: Path, config: Mapping[str, Any], done: int) -> int:
        """See `Tracker`."""
        import trackio
        from trackio.sqlite_storage import SQLiteStorage

        name = known_as(directory, self._library)
        if is_new := name is None:
            name = f"{directory.name}-{uuid.uuid4().hex[:8]}"  # it finds runs by their names
        self.run = trackio.init(
            self.project,
            name,
            config=dict(config),
            resume="never" if is_new else "allow",
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
        )
        remember(directory, self._library, name)
        last = SQLiteStorage.get_max_step_for_run(self.project, name, self.run.id)
        return -1 if last is None else last

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """See `Tracker`."""
        self.run.log(dict(metrics), step=step)

    def log_completions(self, step: int, rows: Sequence[Row]) -> None:
        """See `Tracker`."""
        import trackio

        self.run.log({"completions": trackio.Table(data=list(rows))}, step=step)

    def close(self, error: BaseException | None) -> None:
        """See `Tracker`."""
        import trackio

        trackio.finish()
