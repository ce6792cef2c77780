"""What a run would do and take, told before it loads any weights."""

from collections.abc import Callable
from dataclasses import dataclass, field

import psutil

from anypo.composition.algorithm import Algorithm
from anypo.errors import told
from anypo.hooks.runtime import Runtime
from anypo.runs import notes
from anypo.runs.directory import RunDirectory
from anypo.runs.engines import check_engines
from anypo.runs.footprint import Counting, Parts
from anypo.runs.observer import Observer
from anypo.runs.options import RunConfig
from anypo.runs.rehearsal import Rollout, rehearse
from anypo.runs.run import settled
from anypo.runs.setup import Setup, set_up
from anypo.support.allocator import kept_memory
from anypo.training.distributed import Distributed


@dataclass
class Plan:
    """What a run would do, and the bytes that each of its processes would take."""

    algorithm: Algorithm
    setup: Setup
    rollout: Rollout
    runtime: Runtime
    passes: int  # through the model, for an update
    parameters: int  # of the policy
    trained: int  # of them
    always: Parts
    phases: dict[str, Parts]
    disk: Parts
    uncounted: list[str] = field(default_factory=list)  # and why

    @property
    def most(self) -> float:
        """Bytes of memory in the phase that takes most."""
        return sum(self.always.values()) + self.in_a_phase

    @property
    def in_a_phase(self) -> float:
        """Of them, those that no other phase takes."""
        return max((sum(parts.values()) for parts in self.phases.values()), default=0.0)


def plan(algorithm: Algorithm, config: RunConfig, observer: Observer) -> Plan:
    """What `train` would do; it refuses what that would refuse before it loads weights.

    Raises:
        AnypoError: The run would be refused.
    """
    algorithm, config, task = settled(algorithm, config, observer)
    runtime = Distributed(_in_one_process(config)).runtime
    check_engines(config, runtime)
    RunDirectory(config.output, algorithm.named)
    setup = set_up(algorithm, config, task, runtime, observer)
    for note in notes.before(algorithm, setup):
        observer.note(note)
    process = float(psutil.Process().memory_info().rss)
    rollout = rehearse(algorithm, setup)
    counting = Counting(algorithm, setup, runtime, rollout)
    weights = list(counting.models.policy.parameters())
    found = Plan(
        algorithm,
        setup,
        rollout,
        runtime,
        passes=len(counting.passes()),
        parameters=sum(w.numel() for w in weights),
        trained=sum(w.numel() for w in weights if w.requires_grad),
        always=counting.always(),
        phases={},
        disk=counting.disk(),
    )
    if runtime.device.type == "cpu":  # elsewhere they have a memory of their own
        found.always["libraries and data"] = process
    with kept_memory():  # as in a run
        _count(found, "sampling", counting.sampling)
        _count(found, "updating", counting.updating)
    filled = found.in_a_phase + counting.remembered
    found.always["holes that the allocator cannot fill"] = max(0, counting.reserve.most - filled)
    return found


def _count(found: Plan, phase: str, parts: Callable[[], Parts]) -> None:
    """Count a phase, if the model does what does not depend on the values of its tensors."""
    try:
        found.phases[phase] = parts()
    except (RuntimeError, NotImplementedError) as error:
        found.uncounted.append(f"{phase}, which no pass without values tells ({told(error)})")


def _in_one_process(config: RunConfig) -> RunConfig:
    """That of a run in several, as the one process sees it that plans; else the same."""
    if (config.processes or 1) == 1:
        return config
    return config.model_copy(update={"processes": None, "sharding": "none"})
