"""Options about rewards."""

from pydantic import Field

from anypo.support.options import Options


class RewardOptions(Options, panel="Rewards and evaluation"):
    """What scores completions."""

    reward: list[str] = Field(
        [],
        description="NAME, NAME:ARGUMENT, file.py:function, module:function or a model that scores "
        "texts; =WEIGHT may follow all but an ARGUMENT: NAME=WEIGHT:ARGUMENT. Repeat it to add "
        "rewards up.",
    )
    reward_timeout: float = Field(60.0, ge=0, description="Seconds per call; 0: no limit.")
