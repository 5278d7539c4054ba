"""Check that interpreter and scikit-learn are new enough to train, before they are needed."""

from typing import Final

OLDEST_PYTHON: Final = (3, 10)
OLDEST_SKLEARN: Final = (1, 4)
"""1.3 does not hand the weights of rows on through a pipeline."""


def too_old(python: tuple[int, ...], sklearn: str) -> str:
    """Return what is too old and what to do, "" if nothing is.

    Args:
        python: Version of the interpreter, major and minor first.
        sklearn: Version of scikit-learn, its `__version__`.
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
