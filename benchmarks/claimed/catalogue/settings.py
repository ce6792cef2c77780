"""Runs that several claims compare with; each is run once for all of them."""

from __future__ import annotations

from typing import Any

from claimed.training import stage, trains

SHORT: dict[str, Any] = {"steps": 60, "eval_every": 10}
RIGHT = "right answers"  # held out, as a share
FREE = {"kl_coef": 0.0}  # no KL penalty

GRPO = trains(stage("grpo", **SHORT))
