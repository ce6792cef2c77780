"""The metrics that a run shows as it goes, and what they are called there."""

from __future__ import annotations

from collections.abc import Collection, Mapping

SHOWN = {  # metric: its short name and format
    "reward/mean": ("reward", ".3f"),
    "reward/std": ("std", ".3f"),
    "groups/flat": ("flat groups", ".0%"),
    "loss": ("loss", ".3f"),
    "rewards/accuracies": ("accuracy", ".3f"),
    "eval/score": ("eval", ".3f"),
    "eval/rewards/accuracies": ("eval accuracy", ".3f"),
    "kl/ref": ("kl", ".4f"),
    "clip/fraction": ("clip", ".3f"),
    "entropy": ("entropy", ".3f"),
    "grad_norm": ("gradient", ".2g"),
    "learning_rate": ("rate", ".2g"),
    "length/mean": ("length", ".1f"),
    "length/truncated": ("truncated", ".0%"),
    "tokens_per_second": ("tokens/s", ".0f"),
}


def label(metric: str) -> str:
    """What a metric is called; the score of a held-out set, by the set."""
    return SHOWN[metric][0] if metric in SHOWN else metric.removesuffix("/score").replace("/", " ")


def described(metrics: Mapping[str, float], leaving_out: Collection[str] = ()) -> str:
    """Those of some metrics that are shown, in one line."""
    sets = [name for name in metrics if name.startswith("eval/") and name.endswith("/score")]
    shown = SHOWN | {name: (label(name), SHOWN["eval/score"][1]) for name in sets}
    names = [name for name in shown if name in metrics and name not in leaving_out]
    return "  ".join(f"{shown[name][0]} {metrics[name]:{shown[name][1]}}" for name in names)


def headlines(metrics: Collection[str]) -> list[str]:
    """The evaluations that say most: scores, else how often pairs are ranked right, else a loss."""
    scores = [name for name in metrics if name.startswith("eval/") and "score" in name.split("/")]
    others = [name for name in metrics if name in ("eval/rewards/accuracies", "eval/loss")]
    return scores or sorted(others, reverse=True)[:1]


def set_of(metric: str) -> str:
    """The held-out set whose score a metric is; of its parts, none."""
    first, *name, last = metric.split("/")
    return "/".join(name) or first if last == "score" else ""
