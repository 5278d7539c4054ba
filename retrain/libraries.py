"""Check that an interpreter has what training needs, new enough, before it is needed."""

import sys
from importlib.metadata import version
from importlib.util import find_spec
from typing import Final

OLDEST_PYTHON: Final = (3, 10)
OLDEST_SKLEARN: Final = (1, 4)
"""1.3 does not hand the weights of rows on through a pipeline."""


NEEDED: Final = {
    "joblib": "joblib",
    "numpy": "numpy",
    "pandas": "pandas",
    "scipy": "scipy",
    "sklearn": "scikit-learn",
    "threadpoolctl": "threadpoolctl",
}
"""What training imports, and the names to install it by."""


def unusable() -> str:
    """Return why this interpreter cannot train and what to do, "" if it can."""
    python = sys.version_info[:2]
    lacking = [name for module, name in NEEDED.items() if find_spec(module) is None]
    if lacking and python >= OLDEST_PYTHON:
        remedy = "install them there, or point retrain.python at an interpreter that has them"
        return f"{sys.executable} has no {', '.join(lacking)}; {remedy}"
    return too_old(python, "0.0" if lacking else version("scikit-learn"))


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
