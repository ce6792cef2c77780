"""What reading a data set costs, and what docs/data.md shows of it.

    python benchmarks/data.py                 # 300 MB of JSONL: ten minutes on one core
    python benchmarks/data.py --megabytes 20

Each run imitates one step of a data set of prompts and completions, in a process of its own whose
cache is empty at first: few rows, which says what all else takes, then many rows, and those again.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from figures import Row, keep
from speed.apart import machine
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

WORDS = 5000  # different ones
LENGTHS = {"prompt": 60, "completion": 90}  # words
SOURCE = 4000  # letters of a column that nobody reads
FEW = 0.1  # megabytes
WATCH = "import resource as r, runpy, sys; sys.argv[0] = 'anypo'\n" + (
    "try: runpy.run_module('anypo_cli', run_name='__main__')\n"
    "finally: print(r.getrusage(r.RUSAGE_SELF).ru_maxrss)"
)


def make_rows(file: Path, megabytes: float) -> int:
    """Write rows of made-up words until the file is that large; how many they are."""
    draw = random.Random(0)
    letters = "aeioubcdfghklmnprst"
    words = ["".join(draw.choices(letters, k=draw.randint(2, 9))) for _ in range(WORDS)]
    text, number = " ".join(draw.choices(words, k=50_000)), 0
    with file.open("w", encoding="utf-8") as lines:
        while lines.tell() < megabytes * 1e6:
            row = {name: " ".join(draw.choices(words, k=k)) for name, k in LENGTHS.items()}
            start = draw.randrange(len(text) - SOURCE)
            row["source"] = text[start : start + SOURCE]
            lines.write(json.dumps(row) + "\n")
            number += 1
    return number


def make_model(folder: Path, rows: Path) -> None:
    """A small model with a tokenizer that was trained on the rows."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=4000, special_tokens=["<|end|>"], show_progress=False)
    texts = (json.loads(line)["completion"] for line in rows.open(encoding="utf-8"))
    bpe.train_from_iterator(texts, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe, eos_token="<|end|>", pad_token="<|end|>"
    )
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2}
    config = Qwen2Config(vocab_size=len(tokenizer), **shape, **heads, eos_token_id=0)
    Qwen2ForCausalLM(config).save_pretrained(folder)


def run(data: Path, folder: Path) -> tuple[float, float]:
    """Seconds of a run of one step, and the MiB that it took at most."""
    given = {"model": folder / "model", "data": data, "steps": 1, "output": folder / "run"}
    words = [word for name, value in given.items() for word in (f"--{name}", str(value))]
    more = ["--max-prompt-length", "1000", "--max-completion-length", "1000"]
    command = [sys.executable, "-c", WATCH, "run", "sft", *words, *more]
    caches = {name: str(folder / name) for name in ("XDG_CACHE_HOME", "HF_DATASETS_CACHE")}
    start = time.monotonic()
    done = subprocess.run(
        command, env={**os.environ, **caches}, cwd=Path(__file__).parent, text=True,
        stdout=subprocess.PIPE, check=True,
    )  # fmt: skip
    seconds = time.monotonic() - start
    subprocess.run(["rm", "-r", str(folder / "run")], check=True)
    return seconds, int(done.stdout.splitlines()[-1]) / 1024


def main() -> None:
    """Print the figures, and keep them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--megabytes", type=float, default=300)
    parser.add_argument("--dry", action="store_true", help="keep no figures")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        folder, many, few = Path(home), Path(home, "many.jsonl"), Path(home, "few.jsonl")
        number, small = make_rows(many, options.megabytes), make_rows(few, FEW)
        make_model(folder / "model", few)
        cases = (("few rows", few, small), ("many rows", many, number), ("again", many, number))
        for name, data, rows in cases:
            seconds, peak = run(data, folder)
            row: Row = {"run": name, "MB": round(data.stat().st_size / 1e6, 1), "rows": rows}
            row |= {"seconds": round(seconds, 1), "peak, MiB": round(peak)}
            row |= {"machine": machine(), "date": time.strftime("%Y-%m-%d")}
            print(row, flush=True)
            if not options.dry:
                keep("data", row, "run")


if __name__ == "__main__":
    main()
