"""Models: loaded, run, given heads and adapters, and their weights handed on."""
