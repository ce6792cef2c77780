"""What a step costs.

The models have random weights; completions are as many, and end at their limit.
"""

from __future__ import annotations

from claimed.claim import Claim, Run
from claimed.measures import at_the_end

SIZES = [[256, 4], [512, 8], [768, 12]]  # hidden size and layers: 5, 29 and 92 million parameters
PPO, GRPO = (
    Run("claimed.costs:of_sizes", {"algorithm": name, "sizes": SIZES}) for name in ("ppo", "grpo")
)
BOTH = {"grpo": GRPO, "ppo, a critic of its own": PPO}
TURNS = {f"{n} turns": Run("claimed.costs:of_turns", {"turns": n}) for n in (8, 2)}

CLAIMS = (
    Claim(
        name="critic_memory",
        source="DeepSeekMath, arXiv:2402.03300, section 4.1; 40 % as it is often cited",
        says="Without a critic, training takes 40 % less memory.",
        arms=BOTH,
        measure=at_the_end("GiB", "GiB at most, largest model"),
        expects="less",
        by=0.4,
        relative=True,
    ),
    Claim(
        name="critic_time",
        source="DeepSeekMath, arXiv:2402.03300, section 4.1; 30 % as it is often cited",
        says="Without a critic, a step takes 30 % less time.",
        arms=BOTH,
        measure=at_the_end("s/step", "seconds of a step, largest model"),
        expects="less",
        by=0.3,
        relative=True,
    ),
    Claim(
        name="turns_linear",
        source="anypo, docs/environments.md: a conversation is one sample",
        says="A token of a conversation of 8 turns takes at most a quarter longer than of 2.",
        arms=TURNS,
        measure=at_the_end("s/token", "seconds of a step for a token written"),
        expects="less",
        by=-0.25,
        relative=True,
    ),
)
