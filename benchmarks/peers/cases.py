"""Every comparison: what both libraries are given, and why they differ where they do."""

from peers.architectures import ARCHITECTURES
from peers.offline import OFFLINE
from peers.on_policy import ON_POLICY

CASES = [*OFFLINE, *ON_POLICY, *ARCHITECTURES]
