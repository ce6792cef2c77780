"""Say which rows of a data set cannot be used, and why."""

from collections.abc import Mapping, Sequence

SHOWN = 5  # reasons, and numbers of rows for each


def told(name: str, bad: Mapping[int, str], total: int) -> str:
    """One line on the bad rows of a data set.

    Args:
        name: Of the data set.
        bad: The reason by the number of the row; at least one.
        total: How many rows the data set has.
    """
    if len(bad) == 1:
        ((number, reason),) = bad.items()
        return f"row {number} of '{name}': {reason}"
    rows: dict[str, list[int]] = {}
    for number, reason in bad.items():
        rows.setdefault(reason, []).append(number)
    reasons = [f"{_listed(numbers)}: {reason}" for reason, numbers in rows.items()]
    if len(reasons) > SHOWN:
        reasons[SHOWN:] = [f"and {len(reasons) - SHOWN} further reasons"]
    return f"{len(bad)} of {total} rows of '{name}' cannot be used: {'; '.join(reasons)}"


def _listed(numbers: Sequence[int]) -> str:
    shown = ", ".join(map(str, numbers[:SHOWN]))
    more = f" and {len(numbers) - SHOWN} more" if len(numbers) > SHOWN else ""
    return f"row{'s' if len(numbers) > 1 else ''} {shown}{more}"
