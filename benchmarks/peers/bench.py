"""Where cases are run."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from peers import ours, theirs
from peers.case import Case, Differences, compare
from peers.models import make_model


class Bench:
    """A folder with the models that cases need, each made once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.model = cache(self._model)
        ours.install_plugins(folder / "site")

    def measure(self, case: Case) -> Differences:
        """Train both, and compare."""
        model = self.model(case.model, case.template, case.family == "reward")
        folder = self._new("case")
        return compare(ours.train(case, model, folder), theirs.train(case, model, folder))

    def _model(self, kind: str, template: str, scores: bool) -> str:
        return make_model(self._new("model"), kind, template=template, scores=scores)

    def _new(self, name: str) -> Path:
        folder = self.folder / f"{name}-{len(list(self.folder.iterdir()))}"
        folder.mkdir()
        return folder
