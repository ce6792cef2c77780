"""The game Mastermind as an environment, and credit that fades over turns as a modifier.

`python -m anypo_mastermind 500 > rows.jsonl` writes rows to play.
"""

import json
import random
import sys
from collections import Counter

import anypo.functional as F
from anypo import Environment, Plugin, Turn, hookimpl
from pydantic import Field


class Mastermind(Environment):
    """Has a hidden code to break: says how many letters of a guess are right.

    Rows have the columns `code`, a text, and `letters`, those that it is made of.
    """

    def reset(self, row):
        """Say what a code looks like."""
        self.code, self.letters, self.best = row["code"], row["letters"], 0.0
        return f" It has {len(self.code)} of the letters {self.letters}."

    def step(self, message):
        """Judge a guess; it is worth the share of places in which it is better than all before."""
        guess = message["content"].strip()
        if len(guess) != len(self.code) or not set(guess) <= set(self.letters):
            return Turn(f"Guess {len(self.code)} of the letters {self.letters}.")
        right = sum(a == b for a, b in zip(guess, self.code, strict=True))
        misplaced = (Counter(guess) & Counter(self.code)).total() - right
        before, self.best = self.best, max(self.best, right / len(self.code))
        done = guess == self.code
        return Turn(f"{right} right, {misplaced} misplaced.", self.best - before, done)


class TurnDiscount(Plugin):
    """The last turn of a conversation is credited in full, and each one before it with less."""

    turn_discount: float = Field(
        0.9, gt=0, le=1, description="What is left of the credit from a turn to the one before."
    )

    @hookimpl(wrapper=True)
    def advantage(self, batch):
        """A_t turn_discount^(turns after that of t); [N, T]."""
        advantages, others = F.split_advantages((yield), batch.mask)
        later = turns_after(batch.mask).to(advantages.dtype)
        return {**others, "advantages": advantages * self.turn_discount**later}


def turns_after(mask):
    """For every token, the turns of the policy that follow its own; a turn is unbroken; [N, T]."""
    begins = mask.clone()
    begins[:, 1:] &= ~mask[:, :-1]
    turn = begins.cumsum(-1)
    return turn[:, -1:] - turn


def rows(count, letters="abcd", length=3, seed=0):
    """Codes drawn at random, as rows of a data set."""
    draw = random.Random(seed)
    prompt = [{"role": "user", "content": "Break the code."}]
    for _ in range(count):
        code = "".join(draw.choices(letters, k=length))
        yield {"prompt": prompt, "code": code, "letters": letters}


if __name__ == "__main__":
    for row in rows(int(sys.argv[1])):
        print(json.dumps(row))
