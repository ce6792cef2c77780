"""Run an algorithm: check everything that can be checked, load, train, write it down."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

from anypo.composition.algorithm import Algorithm
from anypo.composition.compose import compose, suited_to
from anypo.errors import ConfigError
from anypo.hooks.task import ChosenTask
from anypo.models.load import model_path, sensible_threads
from anypo.runs import notes
from anypo.runs.assembly import make_trainer
from anypo.runs.checkpoints import Checkpoints
from anypo.runs.directory import RunDirectory
from anypo.runs.engines import check_engines
from anypo.runs.memory import memory_advised
from anypo.runs.observer import Observer, ending
from anypo.runs.options import RunConfig, make_config, panels, resolve
from anypo.runs.provenance import describe
from anypo.runs.recipe import Recipe, as_written
from anypo.runs.session import Session
from anypo.runs.setup import set_up
from anypo.runs.task import choose_task
from anypo.runs.trackers import Tracked, load_trackers
from anypo.runs.unread import refuse_unread, unread
from anypo.support.allocator import kept_memory
from anypo.training.distributed import Distributed


def run(algorithm: str | Algorithm, *, observer: Observer | None = None, **options: Any) -> Path:
    """Train a model and return the run directory.

        run("grpo", steps=20)
        run(compose("grpo", clip="cispo"), model="Qwen/Qwen3-0.6B", data="train.jsonl",
            reward=["reward.py:score"])
        run("sft", model="Qwen/Qwen3-0.6B", data=[{"prompt": "2+2=", "completion": "4"}])

    Args:
        algorithm: What `compose` returned, or the name, class or instance of a plugin; names may be
            joined by `+`.
        observer: Told how the run goes.
        options: See `RunConfig`.

    Raises:
        AnypoError: With one sentence on what is wrong. What was trained by then is saved.
    """
    if not isinstance(algorithm, Algorithm):
        algorithm = compose(algorithm)
    for name in sorted(options.keys() & algorithm.knobs.keys() - RunConfig.model_fields.keys()):
        how = f"run(compose(…, knobs={{'{name}': {options[name]!r:.60}}}))"
        raise ConfigError(f"'{name}' is a knob of {algorithm.name}, not a run option: {how}")
    if not isinstance(observer, Observer | None):
        raise ConfigError(f"the observer is {observer!r:.60}, which is no anypo.Observer")
    return train(algorithm, make_config(options), observer or Observer())


def train(
    algorithm: Algorithm, config: RunConfig, observer: Observer, *, goes_on: bool = False
) -> Path:
    """Train a model by a composed algorithm; see `run`. One that `goes_on` has a directory."""
    with ExitStack() as stack:
        return _train(algorithm, config, observer, stack, goes_on=goes_on)


def _train(
    algorithm: Algorithm, config: RunConfig, observer: Observer, stack: ExitStack, *, goes_on: bool
) -> Path:
    algorithm, config, task = settled(algorithm, config, observer)
    distributed = Distributed(config)
    check_engines(config, distributed.runtime)
    world = distributed.world
    observer = observer if world.is_first else Observer()
    with world.agreed():
        observer = Tracked(observer, load_trackers(config.track if world.is_first else []))
    made = RunDirectory(config.output, algorithm.named, world, goes_on=goes_on)
    directory = stack.enter_context(made)
    checkpoints = Checkpoints(directory, config, observer.note)
    checkpoint = checkpoints.newest() if goes_on else None
    setup = set_up(algorithm, config, task, distributed.runtime, observer, world)
    for note in notes.before(algorithm, setup):
        observer.note(note)
    recipe, lock = _recipe(algorithm, setup.config), describe(algorithm, setup.config)
    with memory_advised(config):
        trainer = make_trainer(algorithm, setup, distributed)
    with sensible_threads(trainer.learner.model), kept_memory():
        if goes_on:
            directory.describe(recipe, lock)
            checkpoints.load(checkpoint, trainer)
        else:
            directory.begin(recipe, lock)
        with ending(observer):
            with world.agreed():
                observer.began(directory.path, recipe.flat(), trainer.done)
            Session(trainer, setup, directory, checkpoints, observer).run()
    return directory.path


def settled(
    algorithm: Algorithm, config: RunConfig, observer: Observer
) -> tuple[Algorithm, RunConfig, ChosenTask | None]:
    """An algorithm and its options, with the defaults that suit the task, and the task.

    Raises:
        AnypoError: The model or task is not there, or an option means nothing.
    """
    named = {**({"model": config.model} if config.model else {}), **config.others}
    paths = {role: model_path(name, observer.note) for role, name in named.items()}
    config = config.model_copy(update=paths)
    task = choose_task(config)
    if task and task.owns_model:
        algorithm = suited_to(task, algorithm)
    refuse_unread(config, algorithm)
    config = resolve(config, algorithm, task)
    if config.critic_model is not None:
        judge = model_path(config.critic_model, observer.note)
        config = config.model_copy(update={"critic_model": judge})
    return algorithm, config, task


def _recipe(algorithm: Algorithm, config: RunConfig) -> Recipe:
    """What repeats the run: all that something read."""
    knobs = {
        knob.name: as_written(knob.name, knob.value)
        for knob in algorithm.knobs.values()
        if knob.name in algorithm.active_knobs and knob.value is not None
    }
    hooks = {layer.stage: layer.name for layer in algorithm.layers if layer.stage is not None}
    ignored = {*unread(config, algorithm), "output", "data_epochs"}  # steps says it
    if not config.precompute_reference:  # written down, it would bar a variation without one
        ignored.add("precompute_reference")
    held = config.model_dump(exclude=ignored, exclude_none=True)
    options = {name: as_written(name, value) for name, value in held.items()}
    ordered = [name for names in panels(type(config)).values() for name in names if name in options]
    return Recipe(algorithm.named, {name: options[name] for name in ordered}, knobs, hooks)
