"""The oldest interpreter and scikit-learn that can train: asked before anything needs them."""

from typing import Final

OLDEST_PYTHON: Final = (3, 11)
OLDEST_SKLEARN: Final = (1, 7)
"""1.6 cannot cut quantile bins as 1.9 does, so it would train another model of the same bars."""


def too_old(python: tuple[int, ...], sklearn: str) -> str:
    """Say what is too old, and what to do; nothing if all is well.

    Args:
        python: Version of the interpreter, major and minor first.
        sklearn: Version of scikit-learn, as it says it.
    """
    found = tuple(int(part) for part in sklearn.split(".")[:2])
    remedy = "install it there, or point retrain.python at an interpreter that has it"
    if tuple(python[:2]) < OLDEST_PYTHON:
        return f"Python {_dotted(python[:2])} cannot train, {_dotted(OLDEST_PYTHON)} can; {remedy}"
    if found < OLDEST_SKLEARN:
        return f"scikit-learn {sklearn} cannot train, {_dotted(OLDEST_SKLEARN)} can; {remedy}"
    return ""


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
