"""Call the hooks of a stack, stage by stage. Nobody else touches pluggy."""

import inspect
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import pluggy
from torch import Tensor

from anypo.composition.blame import code_of, culprit
from anypo.composition.stack import Layer
from anypo.errors import PluginError, nearest, told
from anypo.hooks.batch import MissingTensorError
from anypo.hooks.plugin import hooks_of
from anypo.hooks.specs import HOOKS, MERGED, Hooks
from anypo.support.foreign import foreign, place
from anypo.support.functions import OF_USER


class Manager(pluggy.PluginManager):
    """Looks for hooks among the names of stages alone: a plugin has a hundred other attributes."""

    def parse_hookimpl_opts(self, plugin: object, name: str) -> pluggy.HookimplOpts | None:
        """What the mark of a hook says; None of what is none, see `check_hooks`."""
        return super().parse_hookimpl_opts(plugin, name) if name in HOOKS else None


class Calls:
    """The hooks of a stack, and who answers them.

    Args:
        name: Of the algorithm.
        layers: The stack, bottom first.
        plugins: What to register, one per layer.
        left_out: The labels of plugins that are not asked, by stage.
    """

    def __init__(
        self,
        name: str,
        layers: Sequence[Layer],
        plugins: Sequence[object],
        left_out: Mapping[str, Collection[str]],
    ) -> None:
        self.name = name
        self.layers = {layer.label: layer for layer in layers}
        self.manager = Manager("anypo")
        self.manager.add_hookspecs(Hooks)
        for layer, plugin in zip(layers, plugins, strict=True):
            try:
                self.manager.register(plugin, name=layer.label)
            except (pluggy.PluginValidationError, ValueError) as error:
                why = _misfit(plugin) or error
                raise PluginError(f"plugin {layer.title} does not fit: {why}") from error
        self._callers = {stage: self._caller(stage, left_out.get(stage, ())) for stage in HOOKS}

    def __call__(self, stage: str, **arguments: Any) -> Any:
        """The answer to a stage: of a merged one a list, topmost plugin first.

        Raises:
            PluginError: A hook fails, or returns None.
        """
        with foreign(partial(self._failure, stage)):
            answer = self._callers[stage](**arguments)
        if answer is None:
            why = f"{self.blame(stage)} returned None"
            raise PluginError(f"{self.name} has no answer to the stage '{stage}': {why}")
        return answer

    def named(self, stage: str, main: str, **arguments: Any) -> dict[str, Any]:
        """The answer to a stage, by name: what is no dict is called `main`."""
        answer = self(stage, **arguments)
        named = dict(answer) if isinstance(answer, dict) else {main: answer}
        if main not in named:
            raise PluginError(f"{self.blame(stage)} returned a dict without '{main}'")
        return named

    def merged(self, stage: str, **arguments: Any) -> dict[str, Any]:
        """What all plugins answer, by name: the topmost one wins."""
        merged: dict[str, Any] = {}
        for answer in reversed(self(stage, **arguments)):
            if not isinstance(answer, dict):
                raise PluginError(f"{self.blame(stage)} returned {answer!r:.60}, no dict")
            merged |= answer
        return merged

    def one_by_one(self, stage: str, **arguments: Any) -> dict[str, Any]:
        """What every plugin says to a stage when it is asked alone, by label, topmost first."""
        with foreign(partial(self._failure, stage)):
            return {
                impl.plugin_name: impl.function(*(arguments[name] for name in impl.argnames))
                for impl in self.asked(stage)
                if not impl.wrapper
            }

    def checked(
        self, stage: str, named: Mapping[str, Any], *shapes: tuple[int, ...]
    ) -> dict[str, Tensor]:
        """What a stage answered, by name, all of it tensors of one of the shapes."""
        for name, x in named.items():
            if not (isinstance(x, Tensor) and tuple(x.shape) in shapes):
                is_tensor = isinstance(x, Tensor)
                came = f"a tensor of shape {list(x.shape)}" if is_tensor else repr(x)[:60]
                expected = " or ".join(str(list(shape)) for shape in shapes)
                raise PluginError(
                    f"{self.blame(stage)}: {name} is {came}, expected shape {expected}"
                )
        return dict(named)

    @contextmanager
    def leaving_out(self, stage: str, labels: Collection[str]) -> Iterator[None]:
        """Inside the block, do not ask these plugins."""
        before = self._callers[stage]
        self._callers[stage] = self._caller(stage, labels)
        try:
            yield
        finally:
            self._callers[stage] = before

    def answers(self, stage: str) -> list[pluggy.HookImpl]:
        """The hook implementations of a stage, in the order in which they are called."""
        return list(reversed(getattr(self.manager.hook, stage).get_hookimpls()))

    def asked(self, stage: str) -> list[pluggy.HookImpl]:
        """Those of them that are asked: of a stage with one answer, wrappers and what they wrap."""
        return list(reversed(self._callers[stage].get_hookimpls()))

    def blame(self, stage: str, *labels: str) -> str:
        """Who answers a stage, for an error message: the wrappers, then whom they wrap.

        With labels only those of them that are meant.
        """
        meant = [impl.plugin_name for impl in self.asked(stage)]
        names = [self.layers[label].title for label in meant if not labels or label in labels]
        return f"'{stage}' of plugin {(' or ' if stage in MERGED else ' around ').join(names)}"

    def _caller(self, stage: str, left_out: Collection[str]) -> pluggy.HookCaller:
        """Calls a stage; of a stage with one answer only the topmost plugin is asked.

        pluggy would ask the next one if the answer is None, so that a forgotten `return` would
        quietly run what `explain` says is replaced.
        """
        out = [self.manager.get_plugin(label) for label in left_out]
        if stage not in MERGED:
            out += [impl.plugin for impl in self.answers(stage) if not impl.wrapper][1:]
        return self.manager.subset_hook_caller(stage, out)

    def _failure(self, stage: str, error: BaseException) -> PluginError:
        """What to raise when a hook raised an error: which hook, whose it is, and where."""
        what = str(error) if isinstance(error, MissingTensorError) else told(error)
        impl = culprit(self.answers(stage), error)
        if impl is None:
            return PluginError(f"{self.blame(stage)} failed: {what}")
        layer = self.layers[impl.plugin_name]
        # One that was given from Python is of no distribution, and the traceback shows the line.
        is_found = layer.owner or layer.module.startswith(OF_USER)
        where = place(error, impl.function.__module__, code_of(impl)) if is_found else ""
        return PluginError(f"'{stage}' of plugin {layer.title} failed: {what}{where}")


def _misfit(plugin: object) -> str:
    """What pluggy refuses of a plugin's hooks, and what there is; nothing if it is something else.

    pluggy itself does not say what there is.
    """
    for stage, options in hooks_of(plugin).items():
        hook = getattr(plugin, stage)
        given = inspect.signature(getattr(Hooks, stage)).parameters.keys() - {"self"}
        for name in inspect.signature(hook).parameters.keys() - given:
            return f"'{stage}' is given no '{name}'{nearest(name, given)}"
        if options["wrapper"] and not inspect.isgeneratorfunction(hook):
            return f"'{stage}' is a wrapper without `yield`, which gives the answer below it"
    return ""
