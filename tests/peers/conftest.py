"""Where cases are run."""

import pytest


@pytest.fixture(scope="session")
def bench(tmp_path_factory):
    """Trains with both libraries; see `peers.bench`."""
    pytest.importorskip("trl")
    from peers.bench import Bench

    return Bench(tmp_path_factory.mktemp("bench"))
