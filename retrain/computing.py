"""Run a bot's feature class in a process of its own, so that its faults harm no other.

    python -m retrain.computing PACKAGE.MODULE:CLASS PATH

Reads JSON lines: `{"begin": true, "inputs": [[...8], ...]}` starts a new instance and feeds
it; without `begin` the same instance goes on. Answers each with `{"rows": [[...17], ...]}`,
or with `{"error": "..."}` and ends. The first line of its output is `{"schema_hash": "..."}`.
"""

import importlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from retrain.computers import Instance, schema_hash
from retrain.errors import ComputerFailed

Make = Callable[[list[str]], Any]


def load(name: str, path: str) -> tuple[Make, bytes]:
    """Import a bot's class.

    Args:
        name: `package.module:Class`.
        path: Folder that the package lies in; empty if it is installed.

    Returns:
        The class, and the source of every module that it imported from its folder.

    Raises:
        ComputerFailed: If there is no such class or its module cannot be imported.
    """
    module_name, _, class_name = name.partition(":")
    if path and path not in sys.path:
        sys.path.insert(0, path)
    try:
        module = importlib.import_module(module_name)
        make: Make = getattr(module, class_name)
        if path:  # a file beside it must not take the place of what a library imports later
            sys.path.remove(path)
            sys.path.append(path)
    except (Exception, SystemExit) as e:  # foreign code: it may raise anything
        reason = f"cannot be imported ({type(e).__name__}: {e}); see features.path"
        raise ComputerFailed(name, reason) from e
    return make, _source(Path(path) if path else _folder(module))


def main(name: str, path: str) -> int:
    """Serve one class until stdin ends; return the exit code."""
    # Output of the bot's code must not mix with our lines.
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as out:
        os.dup2(2, 1)
        try:
            make, source = load(name, path)
            _tell(out, schema_hash=schema_hash(name, source))
            _serve(name, make, out)
        except ComputerFailed as e:
            _tell(out, error=str(e))
            return 2
    return 0


def _serve(name: str, make: Make, out: TextIO) -> None:
    instance = Instance(name, make)
    for line in sys.stdin:
        asked = json.loads(line)
        if asked.get("begin"):
            instance = Instance(name, make)
        rows = np.asarray(asked["inputs"], dtype=np.float64)
        _tell(out, rows=[instance.feed(row) for row in rows])


def _tell(out: TextIO, **values: Any) -> None:
    out.write(json.dumps(values) + "\n")
    out.flush()


def _folder(module: Any) -> Path:
    """Return the folder of the outermost package that a module belongs to."""
    depth: int = module.__name__.count(".")
    return Path(module.__file__).parents[depth]


def _source(folder: Path) -> bytes:
    """Return the source of all modules that were imported from a folder, in order of name."""
    found = {}
    for module_name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file and Path(file).is_relative_to(folder) and "site-packages" not in file:
            found[module_name] = Path(file).read_bytes()
    return b"\0".join(name.encode() + b"\0" + found[name] for name in sorted(found))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
