"""What a tried algorithm is refused for: parts that do not go together, or have no effect."""

from anypo.composition.algorithm import Algorithm
from anypo.composition.blame import code_of
from anypo.composition.stack import layer_of
from anypo.errors import KnobError, PluginError
from anypo.hooks.specs import MERGED, STAGES


def refuse_misfits(algorithm: Algorithm) -> None:
    """Refuse what would be ignored.

    Raises:
        PluginError: A plugin has no effect, or needs another kind of model than others.
        KnobError: A knob that the user set is read by no active stage.
    """
    _refuse_probabilities_of_a_scalar_head(algorithm)
    _refuse_unread_knobs(algorithm)
    _refuse_idle_plugins(algorithm)


def _refuse_probabilities_of_a_scalar_head(algorithm: Algorithm) -> None:
    needs_them = algorithm.requires - {"scalar_head"} or algorithm.inputs.sampler
    if not algorithm.generates and needs_them:
        raise PluginError(
            f"{algorithm.blame('requires')} asks for a model that scores texts, but other stages "
            f"of {algorithm.name} need one that gives tokens a probability: leave one of them out"
        )


def _refuse_unread_knobs(algorithm: Algorithm) -> None:
    for knob in algorithm.knobs.values():
        if knob.is_set and knob.name not in algorithm.active_knobs:
            raise KnobError(
                f"knob '{knob.name}' is set, but no active stage of {algorithm.name} reads it: "
                + _why_unread(algorithm, knob.name)
            )


def _refuse_idle_plugins(algorithm: Algorithm) -> None:
    """A plugin that the user named must not be replaced in all it does."""
    names = [base for layer in algorithm.layers for base in getattr(layer.source, "extends", ())]
    bases = [layer_of(base).source for base in names]
    origins = {algorithm.knobs[name].origin for name in algorithm.active_knobs}
    busy = {answer.plugin for answer in algorithm.explain().answers}
    busy |= {impl.plugin_name for stage in MERGED for impl in algorithm.answers(stage)}
    for layer in algorithm.layers:
        is_base = layer.source in bases
        is_idle = layer.name not in busy and f"default of {layer.name}" not in origins
        if layer.replaces() and is_idle and not is_base:
            raise PluginError(
                f"'{layer.name}' has no effect in {algorithm.name}: others answer all its stages; "
                "leave it out"
            )


def _why_unread(algorithm: Algorithm, name: str) -> str:
    for stage in set(STAGES) - set(MERGED):
        answers = [impl for impl in algorithm.answers(stage) if not impl.wrapper]
        for impl in answers[1:]:
            if name in code_of(impl).co_names:
                top = answers[0].plugin_name
                return f"'{stage}' is answered by '{top}' instead of '{impl.plugin_name}'"
    return "the other knobs of its stage make it irrelevant"
