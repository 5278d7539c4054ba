"""The page of errors: every class, its exit code, whether to try again."""

import importlib
import pkgutil
from collections.abc import Iterator
from typing import Any, Final

import daemon
import hyperdrift
from docs.generate.markdown import code, table
from docs.generate.source import path_of, summary
from hyperdrift.errors import HyperdriftError
from monitor.errors import MonitorError
from retrain.errors import RetrainError

_HEAD: Final = """# Errors and exit codes

A mistake of a person ends a command with one sentence on stderr that says what to do, and an exit
code; there is no traceback.

| code | means |
| --- | --- |
| 0 | done |
| 1 | a fault that none of the others describes |
| 2 | usage or configuration: the sentence says which key, what is wrong, what to write |
| 3 | refused: by a gate, by a check of a version, or by the running daemon |
| 4 | venue or broker does not answer |
| 130 | interrupted |

A *transient* error may be gone in a minute; each other one needs a person.
"""


def page() -> str:
    """Return the page."""
    for package in (daemon, hyperdrift):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    return "\n".join(
        [
            _HEAD,
            _section("Daemon and bot", HyperdriftError, codes=True),
            _section("Retrain", RetrainError, codes=False),
            _section("Monitor", MonitorError, codes=False),
        ]
    )


def _section(title: str, root: Any, *, codes: bool) -> str:
    rows = []
    for kind in _tree(root):
        exit_code = (str(kind.exit_code),) if codes else ()
        transient = "yes" if kind.transient else ""
        under = kind.__bases__[0].__name__ if kind is not root else ""
        rows.append(
            (
                *(code(kind.__name__), code(under), *exit_code, transient),
                *(summary(kind), code(path_of(kind))),
            )
        )
    exit_code = ("exit",) if codes else ()
    head = ("class", "is a", *exit_code, "transient", "what happened", "defined in")
    text = f"## {title}\n\n"
    if not codes:
        text += "The daemon turns these into a line, an event or one of the errors above.\n\n"
    return text + table(head, rows)


def _tree(root: Any) -> Iterator[Any]:
    yield root
    for kind in sorted(root.__subclasses__(), key=lambda kind: str(kind.__name__)):
        if kind.__module__.split(".")[0] in {"daemon", "hyperdrift", "retrain", "monitor"}:
            yield from _tree(kind)
