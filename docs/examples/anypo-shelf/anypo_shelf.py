"""An environment in which things have to be looked up."""

from anypo import Environment, Turn


class Shelf(Environment):
    """Has shelves to look at; the answer is the shelf of the thing that a row names.

    Rows have the columns `shelves`, a list of lists of words, and `thing`.
    """

    @property
    def tools(self):
        """What the policy may call."""
        return self.look, self.answer

    def reset(self, row):
        """Say what is looked for."""
        self.shelves, self.thing, self.looks = row["shelves"], row["thing"], 0
        return f" On which of {len(self.shelves)} shelves is the {self.thing}?"

    def look(self, shelf: int):
        """Say what stands on a shelf.

        Args:
            shelf: Its number, from 0.
        """
        self.looks += 1
        return self.shelves[shelf]

    def answer(self, shelf: int):
        """Answer on which shelf the thing is; fewer looks are worth more.

        Args:
            shelf: Its number, from 0.
        """
        right = self.thing in self.shelves[shelf]
        return Turn(reward=right / (1 + 0.1 * self.looks), done=True)

    def step(self, message):
        """Ask for a call, where there is none."""
        return Turn("Call look, or answer.")
