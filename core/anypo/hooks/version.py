"""The version of all that a plugin may rely on; docs/compatibility.md says what it promises."""

from typing import Any

HOOK_API_VERSION = "1.0"  # major.minor; tests/core/frozen_api.json holds what belongs to it
ASSUMED = "1.0"  # what a plugin that does not say is written for


def mismatch(written_for: Any) -> str:
    """Why a plugin written for that version of the hook API cannot run; nothing if it can."""
    try:
        major, minor = map(int, written_for.split("."))
    except (AttributeError, ValueError):
        return f"says hook_api = {written_for!r}, which is no version such as '{HOOK_API_VERSION}'"
    own = tuple(map(int, HOOK_API_VERSION.split(".")))
    if (major,) == own[:1] and (major, minor) <= own:
        return ""
    if (major, minor) < own:
        return (
            f"is of an older anypo: it is written for hook API {written_for}, this anypo has "
            f"{HOOK_API_VERSION}, where what it relies on may be gone; install a newer version of "
            "the plugin or an older anypo"
        )
    return (
        f"needs a newer anypo: it is written for hook API {written_for}, this anypo has "
        f"{HOOK_API_VERSION}; upgrade anypo or install an older version of the plugin"
    )
