"""The page of the command line: every command with its options, as typer has them."""

import inspect
from typing import Any, Final

import typer

from daemon.cli.main import app
from docs.generate.markdown import code, table

_HEAD: Final = """# Commands

`hyperdrift COMMAND --help` says the same. Reports go to stdout, log lines to stderr.
A command that is interrupted ends with 130. The other exit codes stand in
[errors and exit codes](errors.md); a command that has one of its own says so.
"""


def page() -> str:
    """Return the page."""
    root: Any = typer.main.get_command(app)
    return _HEAD + "".join(_described(name, each) for name, each in leaves("hyperdrift", root))


def leaves(name: str, command: Any) -> list[tuple[str, Any]]:
    """Return every command below one, with its whole name."""
    inner = getattr(command, "commands", None)
    if inner is None:
        return [(name, command)]
    return [leaf for word, each in inner.items() for leaf in leaves(f"{name} {word}", each)]


def _described(name: str, command: Any) -> str:
    words = [argument(each) for each in command.params if each.param_type_name == "argument"]
    rows = [_row(each) for each in command.params]
    text = f"\n## {name}\n\n    {' '.join([name, *words, '[OPTIONS]'])}\n\n"
    text += inspect.cleandoc(command.help) + "\n\n"
    return text + table(("option", "default", "what"), rows)


def argument(of: Any) -> str:
    """Return how a usage line writes an argument."""
    word = of.name.upper() + ("..." if of.nargs < 0 else "")
    return word if of.required else f"[{word}]"


def _row(of: Any) -> tuple[str, str, str]:
    names, default, what = described_option(of)
    is_value = default not in {"", "needed", "on", "off"}
    return ", ".join(map(code, names.split(", "))), code(default) if is_value else default, what


def described_option(of: Any) -> tuple[str, str, str]:
    """Return the names of an option or an argument, its default and what it is.

    Raises:
        LookupError: If it has no help.
    """
    flag = getattr(of, "is_flag", False)
    names = [*of.opts, *of.secondary_opts]
    if of.param_type_name == "argument":
        names = [argument(of)]
    elif not flag:
        names = [f"{names[0]} {_kind(of)}"]
    default = "needed" if of.required else "" if of.default is None else str(of.default)
    if flag:
        default = "on" if of.default else "off"
    if not of.help:
        raise LookupError(f"option {names[0]} has no help: write one")
    return ", ".join(names), default, of.help


def _kind(of: Any) -> str:
    """Return what an option takes, in a word."""
    name = str(of.type_descriptor.annotation)
    kinds = {"Path": "FILE", "float": "NUMBER", "int": "INTEGER"}
    return next((word for kind, word in kinds.items() if kind in name), "TEXT")
