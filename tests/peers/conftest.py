"""Where cases are run."""

import gc

import pytest


@pytest.fixture(scope="session")
def bench(tmp_path_factory):
    """Trains with both libraries; see `peers.bench`."""
    pytest.importorskip("trl")
    from peers.bench import Bench
    from peers.cases import CASES

    bench = Bench(tmp_path_factory.mktemp("bench"))
    bench.measure(CASES[0])  # which imports most of what TRL needs
    gc.freeze()  # TRL collects garbage after every training, and need not look through all that
    return bench
