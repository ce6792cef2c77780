"""A class for TRL's `environment_factory`, and rewards that ask it, as users of TRL write them."""

from __future__ import annotations

import asyncio
from typing import Any


class Shop:
    """Has a till, of which some keys are broken."""

    def __init__(self) -> None:
        self.sold: list[int] = []

    def reset(self, **row: Any) -> str | None:
        """Say what is in stock, if the row does."""
        self.sold = []
        stock = row["stock"]
        return f"\nIn stock: {stock}" if stock else None

    def sell(self, number: int, price: int = 1) -> int:
        """Sell something.

        Args:
            number: How many.
            price: Of one.

        Returns:
            What it costs.
        """
        if number > 5:
            raise ValueError(f"not so many: '{number}'")
        self.sold.append(number * price)
        return number * price

    def receipt(self) -> dict[str, Any]:
        """Print what was sold."""
        return {"sold": self.sold, "paid": True}

    async def ask(self, word: str) -> str:
        """Ask somebody who takes a while to answer.

        Args:
            word: What about.
        """
        await asyncio.sleep(0)
        if word == "nobody":
            raise LookupError("nobody is there")
        return f"{word}, “yes”"

    def _count(self) -> int:
        return len(self.sold)

    def get_reward(self) -> float:
        """What was taken."""
        return float(sum(self.sold))


def sales(environments: list[Shop], **_: Any) -> list[float]:
    """Asks for the environments."""
    return [float(shop._count()) for shop in environments]


def unasked(completions: list[Any], **others: Any) -> list[float]:
    """Finds them among whatever there is."""
    return [float(len(shop.sold) > 1) for shop in others["environments"]]


def messages(completions: list[Any], **_: Any) -> list[float]:
    """Does not ask for them."""
    return [float(len(completion)) for completion in completions]
