"""Turn an engine into bytes and back, and say which engines such bytes fit.

The journal alone rebuilds an engine; these bytes only save the time. So whatever is odd about
them is an error here, and the caller replays the journal. They may name no class but those
of an engine, so reading them runs no code that is not the monitor's.
"""

import functools
import hashlib
import io
import pickle
import platform
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import monitor
from hyperdrift.errors import HyperdriftError
from monitor.actions import Action
from monitor.engine import Engine

_MODULES: Final = "monitor."
_OTHERS: Final = frozenset(
    {
        ("collections", "deque"),
        ("numpy", "dtype"),
        ("numpy", "ndarray"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "scalar"),
        ("numpy._core.numeric", "_frombuffer"),
        ("numpy.core.multiarray", "_reconstruct"),
        ("numpy.core.multiarray", "scalar"),
        ("numpy.core.numeric", "_frombuffer"),
        ("river.stats.mean", "Mean"),
    }
)


class StateUnreadable(HyperdriftError):
    """The bytes are not those of an engine of this version."""


class _EngineReader(pickle.Unpickler):
    """Reads the classes of an engine only."""

    def find_class(self, module: str, name: str) -> Any:
        """Return a class of the monitor, or one of the few others.

        Raises:
            UnpicklingError: If it is another one.
        """
        is_other = (module, name) in _OTHERS
        found = None
        if is_other or module.startswith(_MODULES):
            found = super().find_class(module, name)
        # A module also has what it imports, and through a name with dots all that those import.
        is_ours = isinstance(found, type) and found.__module__.startswith(_MODULES)
        if not (is_other or is_ours):
            msg = f"{module}.{name} is no part of an engine"
            raise pickle.UnpicklingError(msg)
        return found


def state_of(engine: Engine, order: Action | None = None) -> bytes:
    """Return the state of an engine and what it ordered last; takes a millisecond."""
    return pickle.dumps((engine, order), protocol=5)


def engine_of(state: bytes) -> tuple[Engine, Action | None]:
    """Return the engine and the order whose state `state_of` returned.

    Raises:
        StateUnreadable: If it is anything else.
    """
    try:
        engine, order = _EngineReader(io.BytesIO(state)).load()
    except Exception as e:  # damaged bytes may raise any error
        raise StateUnreadable(f"the state of an engine cannot be read ({e!r})") from e
    if not isinstance(engine, Engine) or not isinstance(order, Action | None):
        raise StateUnreadable("the state is of something else than an engine")
    return engine, order


def key_of(engine: Engine) -> str:
    """Return a digest of what a state must have been made with.

    That is the code, the libraries and the settings that each state depends on. Whether it can
    go on under the others, `Engine.adopt` says.
    """
    return hashlib.sha256(f"{_code()} {engine.lasting!r}".encode()).hexdigest()


@functools.cache
def _code() -> str:
    """Return a digest of the monitor's own code and the versions of what it is built on."""
    digest = hashlib.sha256()
    for path in _sources(Path(monitor.__file__).parent):
        digest.update(path.name.encode() + path.read_bytes())
    libraries = (version(name) for name in ("numpy", "river"))
    return " ".join((digest.hexdigest(), platform.python_version(), *libraries))


def _sources(folder: Path) -> Iterable[Path]:
    return sorted(folder.rglob("*.py"))
