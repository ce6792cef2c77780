"""The claims of our sources as experiments; `benchmarks/claims.py` is the command."""
