"""`--track mlflow:EXPERIMENT`."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from anypo_track.files import known_as, remember
from anypo_track.tracker import Row, Tracker

STEP = "step"  # a metric by which a run that goes on knows what is tracked
AT_ONCE, LONGEST = 100, 6000  # parameters, and characters of one, that MLflow takes


class MLflow(Tracker):
    """MLflow, wherever MLFLOW_TRACKING_URI says; else in this folder."""

    _library: ClassVar = "mlflow"

    def open(self, directory: Path, config: Mapping[str, Any], done: int) -> int:
        """See `Tracker`."""
        from mlflow import MlflowClient

        self.client = MlflowClient()
        known = known_as(directory, self._library)
        if known is None:
            return self._create(directory, config)
        self.run = known
        self.client.update_run(known, status="RUNNING")
        return int(self.client.get_run(known).data.metrics.get(STEP, -1))

    def _create(self, directory: Path, config: Mapping[str, Any]) -> int:
        from mlflow.entities import Param

        experiment = self.client.get_experiment_by_name(self.project)
        number = (
            experiment.experiment_id if experiment else self.client.create_experiment(self.project)
        )
        self.run = self.client.create_run(number, run_name=directory.name).info.run_id
        remember(directory, self._library, self.run)
        told = [Param(name, str(value)[:LONGEST]) for name, value in config.items()]
        for start in range(0, len(told), AT_ONCE):
            self.client.log_batch(self.run, params=told[start : start + AT_ONCE])
        return -1

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """See `Tracker`."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        values = {**metrics, STEP: float(step)}
        told = [Metric(name, value, now, step) for name, value in values.items()]
        self.client.log_batch(self.run, metrics=told)

    def log_completions(self, step: int, rows: Sequence[Row]) -> None:
        """See `Tracker`; all are in one table."""
        names = list(dict.fromkeys(name for row in rows for name in row))
        columns = {name: [row.get(name) for row in rows] for name in names}
        self.client.log_table(self.run, columns, "completions.json")

    def close(self, error: BaseException | None) -> None:
        """See `Tracker`."""
        self.client.set_terminated(self.run, "FINISHED" if error is None else "FAILED")
