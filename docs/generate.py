"""What the documentation takes from the code: cog blocks of the pages call these functions.

cog -I docs -r README.md docs/*.md          # write it into the pages again
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
import tomllib
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import typer

from anypo import Algorithm, compose
from anypo.errors import PluginError
from anypo.hooks import registry
from anypo.hooks.batch import Batch, Prompt, Sample
from anypo.hooks.requirements import REQUIRED_FOR, REQUIREMENTS
from anypo.hooks.specs import HOOKS, MERGED, Hooks
from anypo.runs.options import config_class, panels
from anypo.runs.recipe import Recipe
from anypo_cli.app import app
from anypo_cli.commands import command_of
from anypo_cli.creating import package_files
from anypo_cli.late import Late
from anypo_cli.options import COMMAND_OPTIONS, build_command

ROOT = Path(__file__).parents[1]
ARGUMENTS = {  # of the hooks, in words
    "prompts": "rows of the data set, see [Prompt](#prompt)",
    "sampler": "`sampler.sample(prompts, n)` draws `n` completions of each; "
    "`sampler.max_completion_length` is their limit in tokens",
    "scorer": "`scorer(prompts, samples)` returns the samples with `reward` and `scores`",
    "data": "all prompts of the data set, of which `prompts` are some",
    "state": "what plugins remember from step to step; saved with every checkpoint. Sentences in "
    'the list `state["notes"]` are told to the user, each once; `state["step"]`, from 1, of '
    '`state["steps"]` is where the run is; `state["dropped"]` is for `rollout`; '
    '`state["reference_moved"]`, if it moves, the last step after which the reference did',
    "batch": "see [Batch](#batch)",
    "log_ratio": "what `ratio` returned",
    "advantages": "what `advantage` returned, one per token, or per row where the ratio is",
    "logprobs": "of the sampled tokens under the policy; gradient flows through them",
    "values": "the critic's estimates, where one is required; gradient flows through them",
    "entropy": "of the policy at every token, where it is required; gradient flows through it",
    "token_statistics": "what `distribution` returned, by name; gradient flows through it",
    "log_distribution": "of the policy, over all tokens that may come next; gradient may flow",
    "teacher_log_distribution": "the same of the teacher; to name it requires one",
}
NOW = {  # as `weight` is given them
    "logprobs": "of the sampled tokens under the policy as it is now, without gradient",
    "entropy": "of the policy as it is now at every token, without gradient",
}
WHO = {
    "regularizer": "All plugins are asked. Of two penalties with one name, that of the plugin "
    "higher up counts. May be left out.",
    "distribution": "All plugins are asked. Of two numbers with one name, those of the plugin "
    "higher up count. May be left out.",
    "metrics": "All plugins are asked. Of two metrics with one name, that of the plugin higher up "
    "counts, and None deletes. May be left out.",
    "requires": "All plugins are asked, and all that they name is provided. May be left out.",
}
TOPMOST = "The topmost plugin that has it answers, inside the wrappers of all plugins."


def file(path: str, start: str = "", language: str = "python") -> str:
    """A file as a code block, from the line that begins with `start`."""
    text = (ROOT / path).read_text(encoding="utf-8")
    text = text[text.index(f"\n{start}") + 1 :] if start else text
    return f"\n```{language}\n{text.rstrip()}\n```\n\n"


def built_in() -> list[str]:
    """The names of all algorithms that come with anypo."""
    return [entry.name for entry in registry.entries() if entry.distribution == "anypo"]


@cache
def whole(name: str) -> Algorithm:
    """The algorithm of a name, on top of grpo if it is a modifier."""
    try:
        return compose(name)
    except PluginError:  # it is none by itself
        return compose("grpo", name)


def workflow() -> str:
    """What `anypo new my-algo` writes for GitHub."""
    return f"\n```yaml\n{package_files('my-algo')['.github/workflows/check.yml']}```\n\n"


def gallery() -> str:
    """The packages of the examples: what they bring, and what they say of themselves."""
    rows = []
    for path in sorted((ROOT / "docs/examples").glob("*/pyproject.toml")):
        project = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
        points = project["entry-points"]
        kinds = registry.KINDS.items()
        plugins = [f"{kind} `{name}`" for kind, group in kinds for name in points.get(group, ())]
        link = f"[`{project['name']}`](examples/{path.parent.name})"
        rows.append((link, ", ".join(plugins), project["description"]))
    return table(("package", "plugins", "what it is"), rows)


def hooks() -> str:
    """Every hook: its signature, its question, who answers, and what it is given."""
    return "\n" + "".join(map(_hook, HOOKS))


def requirements() -> str:
    """What `requires` may name."""
    rows = [(f"`{name}`", required.about) for name, required in REQUIREMENTS.items()]
    return table(("name", "what it is"), rows)


def fields(owner: type[Batch | Prompt | Sample]) -> str:
    """The attributes of a class: their types, and the comments at their lines."""
    lines = inspect.getsource(owner).splitlines()
    rows = []
    for node in _parsed(owner).body:
        if isinstance(node, ast.AnnAssign):
            name = ast.unparse(node.target)
            comment = _comment(lines[node.lineno - 1 : node.end_lineno])
            if name in REQUIRED_FOR:
                comment += f"; reading it requires `{REQUIRED_FOR[name]}`"
            rows.append((f"`{name}`", _shapes(node.annotation), comment))
    return table(("name", "type", "what it is"), rows)


def commands() -> str:
    """Every command with its arguments and options."""
    group: Any = typer.main.get_command(app)
    known = [command for name, command in group.commands.items() if name != "run"]
    own = [command.whole() if isinstance(command, Late) else command for command in known]
    brought = [command_of(entry.name) for entry in registry.entries("command")]
    return "\n" + "".join(map(_command, [*own, *brought]))


def run_options(sampler: str = "transformers") -> str:
    """The options of `anypo run` that every algorithm has, block by block.

    Args:
        sampler: Only the options of this one, if it has any of its own.
    """
    config = config_class(sampler)
    command = build_command(Recipe("grpo", {"sampler": sampler}))
    options = {option.name: option for option in command.params}
    annotations = {name: field.annotation for name, field in config.model_fields.items()}
    annotations |= {name: kind for name, (kind, _, _) in COMMAND_OPTIONS.items()}
    blocks = panels(config)
    blocks["Run"] = [*COMMAND_OPTIONS, *blocks["Run"]]
    own = f"Sampler {sampler}"
    chosen = {own: blocks[own]} if own in blocks else blocks
    return "".join(
        f"\n**{panel}**\n"
        + table(
            ("option", "default", "what it is"),
            [_option(options[name], annotations[name]) for name in names],
        )
        for panel, names in chosen.items()
    )


def environment() -> str:
    """What the command line says below the list of its commands."""
    return f"\n```\n{textwrap.fill(str(app.info.epilog), 100)}\n```\n\n"


def _hook(name: str) -> str:
    function = getattr(Hooks, name)
    node = _parsed(function)
    arguments = [argument for argument in node.args.args if argument.arg != "self"]
    words = ARGUMENTS | (NOW if name == "weight" else {})
    rows = [(f"`{a.arg}`", _shapes(a.annotation), words[a.arg]) for a in arguments]
    rows.append(("returns", _shapes(node.returns), ""))
    signature = ", ".join(argument.arg for argument in arguments)
    who = WHO[name] if name in MERGED else TOPMOST
    arguments_told = table(("argument", "type", "what it is"), rows)
    return f"### `{name}({signature})`\n\n{inspect.getdoc(function)}\n\n{who}\n{arguments_told}"


def _parsed(item: Any) -> Any:
    """The syntax tree of a class or function."""
    return ast.parse(textwrap.dedent(inspect.getsource(item))).body[0]


def _shapes(annotation: ast.expr) -> str:
    """A type as it is written, but tensors as their shapes."""
    text = re.sub(r"Float\[Tensor, ' ?([^']+)'\]", r"[\1]", ast.unparse(annotation))
    text = re.sub(r"(Bool|Int)\[Tensor, ' ?([^']+)'\]", lambda m: f"[{m[2]}] {m[1].lower()}", text)
    text = re.sub(r"\[([A-Za-z]) ([A-Z1])\]", r"[\1, \2]", text)
    return f"`{text.replace(' | ', ' or ')}`"


def _comment(lines: Iterable[str]) -> str:
    return " ".join(line.partition("  # ")[2] for line in lines if "  # " in line)


def _command(command: Any) -> str:
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option" and p.name != "help"]
    usage = " ".join(["anypo", command.name, *(p.metavar for p in arguments)])
    rows = [(f"`{p.metavar}`", _help(p)) for p in arguments if _help(p)]
    rows += [
        (_flag(p, p.metavar or _type(p.type_descriptor.annotation)), _help(p)) for p in options
    ]
    head = f"### `{usage}`\n\n{inspect.cleandoc(command.help)}\n"
    return head + (table(("", ""), rows) if rows else "\n")


def _flag(option: Any, value: str) -> str:
    flags = "/".join([*option.opts, *option.secondary_opts])
    return f"`{flags}`" if option.is_flag else f"`{flags} {value}`"


def _option(option: Any, annotation: Any) -> tuple[str, str, str]:
    text, _, default = _help(option).partition(" [default: ")
    return _flag(option, _value(annotation)), default.removesuffix("]"), text


def _value(annotation: Any) -> str:
    """What a run option takes: one of some words, or its type."""
    if get_origin(annotation) is Literal:
        return "|".join(get_args(annotation))
    return _type(annotation)


def _type(annotation: Any) -> str:
    kinds = {int: "INT", float: "FLOAT"}
    return next((kinds[x] for x in (annotation, *get_args(annotation)) if x in kinds), "TEXT")


def _help(parameter: Any) -> str:
    return (parameter.help or "").replace("\\[", "[")


def table(head: Sequence[str], rows: Iterable[Iterable[object]]) -> str:
    """A table in Markdown."""
    lines = [f"| {' | '.join(map(_cell, row))} |\n" for row in (head, *rows)]
    lines.insert(1, "|---" * len(head) + "|\n")
    return "\n" + "".join(lines) + "\n"


def _cell(content: object) -> str:
    return str(content).replace("|", "\\|")
