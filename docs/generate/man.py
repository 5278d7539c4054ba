"""The man page and the completions of shells, from the commands themselves.

`python -m docs.generate.man FOLDER` writes them where a Debian package has them: `FOLDER` is its
root.
"""

import gzip
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import typer
from typer._completion_shared import get_completion_script

from daemon.cli.main import COMPLETE, app
from docs.generate.commands import argument, described_option, leaves

NAME: Final = "hyperdrift"
COMPLETIONS: Final = {
    "bash": "usr/share/bash-completion/completions/hyperdrift",
    "zsh": "usr/share/zsh/vendor-completions/_hyperdrift",
    "fish": "usr/share/fish/vendor_completions.d/hyperdrift.fish",
}
MAN: Final = "usr/share/man/man1/hyperdrift.1.gz"

_FILES: Final = (
    ("/etc/hyperdrift/hyperdrift.toml", "The configuration; hyperdrift.toml here goes before it."),
    ("/var/lib/hyperdrift", "The store, the models and the keys of the service."),
    ("~/.local/share/hyperdrift", "The same of a daemon without a configuration file."),
    ("/usr/share/hyperdrift", "What a bot installs, alert rules and boards."),
)  # fmt: skip
_EXITS: Final = (
    ("0", "Done."),
    ("1", "Something unexpected."),
    ("2", "The command line or the configuration is wrong; one line says what to write."),
    ("3", "The gates refused a model, or the daemon declined."),
    ("4", "The venue or the broker cannot be reached."),
    ("130", "Interrupted."),
)
_ENVIRONMENT: Final = (
    ("HYPERDRIFT_<SECTION>__<KEY>", "Overrides a key: HYPERDRIFT_MQTT__BROKER."),
    ("NO_COLOR", "No colours on a terminal."),
    ("TMPDIR", "Where temporary files go."),
)  # fmt: skip


def page(version: str) -> str:
    """Return the man page as roff.

    Args:
        version: The version of hyperdrift.
    """
    root: Any = typer.main.get_command(app)
    parts = [
        f'.TH HYPERDRIFT 1 "" "hyperdrift {_text(version)}" "User Commands"',
        f".SH NAME\nhyperdrift \\- {_text(_lower(root.help))}",
        ".SH SYNOPSIS\n.B hyperdrift\n.I COMMAND\n[\\fIOPTIONS\\fR]",
        ".SH COMMANDS",
        *(_command(name, each) for name, each in leaves(NAME, root)),
        *(f".SH {title}\n{_terms(terms)}" for title, terms in (
            ("FILES", _FILES), ("EXIT STATUS", _EXITS), ("ENVIRONMENT", _ENVIRONMENT))),
        ".SH SEE ALSO\n.BR systemctl (1),\n.BR mosquitto_sub (1)",
    ]  # fmt: skip
    return "\n".join(parts) + "\n"


def completion(shell: str) -> str:
    """Return the script that completes commands in a shell: bash, zsh or fish."""
    return get_completion_script(prog_name=NAME, complete_var=COMPLETE, shell=shell) + "\n"


def _command(name: str, command: Any) -> str:
    words = [argument(each) for each in command.params if each.param_type_name == "argument"]
    text = " ".join(inspect.cleandoc(command.help).split())
    lines = [f".SS {_text(' '.join([name, *words]))}", _text(text)]
    return "\n".join([*lines, *_options(command)])


def _options(command: Any) -> Iterator[str]:
    for each in command.params:
        names, default, what = described_option(each)
        told = what if default in {"", "off"} else f"{what} [{default}]"
        yield f".TP\n.B {_text(names)}\n{_text(told)}"


def _terms(terms: tuple[tuple[str, str], ...]) -> str:
    return "\n".join(f".TP\n.B {_text(name)}\n{_text(what)}" for name, what in terms)


def _lower(text: str) -> str:
    text = text.rstrip(".")
    return text[0].lower() + text[1:]


def _text(text: str) -> str:
    """Return text with what roff obeys made harmless."""
    plain = text.replace("`", "").replace("\\", "\\e").replace("-", "\\-").replace("\n", " ")
    return plain if plain[:1] not in {".", "'"} else "\\&" + plain


def write(root: Path, version: str) -> None:
    """Write the man page and the completions below the root of a package.

    Args:
        root: The folder.
        version: The version of hyperdrift.
    """
    found = {root / path: completion(shell).encode() for shell, path in COMPLETIONS.items()}
    found[root / MAN] = gzip.compress(page(version).encode(), mtime=0)
    for path, body in found.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)


if __name__ == "__main__":
    write(Path(sys.argv[1]), sys.argv[2])
