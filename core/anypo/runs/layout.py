"""What the files of a run directory are called; see `anypo.runs.directory` for what they are."""

CONFIG, LOCK = "config.toml", "plugins.lock.json"
METRICS, SAMPLES = "metrics.jsonl", "samples.jsonl"
MODEL, CHECKPOINTS = "model", "checkpoints"
AVERAGED = "model-ema"  # also in a checkpoint
HOLD = ".in-use"  # locked as long as a process runs it
