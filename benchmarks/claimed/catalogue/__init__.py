"""All claims, by what they are about."""

from __future__ import annotations

from claimed.catalogue import clipping, costs, groups, lengths, pairs, rewards, sequences
from claimed.claim import Claim

MODULES = (costs, groups, clipping, sequences, lengths, rewards, pairs)


def about(module: object) -> str:
    """What the claims of a module are about, as its docstring begins."""
    return str(module.__doc__).partition("\n")[0].removesuffix(".")


BY_SUBJECT: dict[str, tuple[Claim, ...]] = {about(module): module.CLAIMS for module in MODULES}
CLAIMS: dict[str, Claim] = {c.name: c for claims in BY_SUBJECT.values() for c in claims}
