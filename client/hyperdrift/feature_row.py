"""Read the features of one bar from what a bot has: a list, an array, a Series, a frame, a dict.

What has names is read by name. A Series in another order than the model's would otherwise give
a wrong prediction, and nothing would show it.
"""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Final

from hyperdrift.errors import BadFeatures

Features = Any
"""Numbers, shape (17,) or (1, 17): by name where it has names, else in the model's order."""

LARGEST: Final = 1e38
"""No feature reaches this; models compute with numbers of 32 bit."""


def feature_row(features: Features, names: Sequence[str]) -> list[float]:
    """Return the features of one bar in the model's order.

    Args:
        features: Shape (17,) or (1, 17). A dict, a named tuple, a Series or a frame of pandas
            or polars is read by the names of the features, in any order and with further
            columns. Whatever has no names must be in the order of `names`.
        names: The names of the model's features, in its order.

    Returns:
        One number for each name.

    Raises:
        BadFeatures: If a feature is missing, is no number, NaN or infinite, or there are not as
            many as names.
    """
    labels, values = _columns(features)
    if labels is not None:
        values = _by_name(labels, values, names)
    elif len(values) != len(names):
        raise BadFeatures(f"there are {len(values)} features, must be {len(names)}")
    return [_number(name, value) for name, value in zip(names, values, strict=True)]


def _columns(features: Any) -> tuple[list[Any] | None, list[Any]]:
    """Return the labels, None where there are no names, and the values.

    Raises:
        BadFeatures: If it is not one row.
    """
    if type(features) is list or type(features) is tuple:
        return None, _one_row(features)
    if isinstance(features, Mapping):
        return list(features), [_only(value) for value in features.values()]
    if isinstance(features, (str, bytes)):
        raise BadFeatures("the features are a text; give numbers")
    labels = getattr(features, "columns", None)  # a frame
    if labels is None and hasattr(features, "iloc"):  # a Series; a list has a method `index`
        labels = features.index
    if labels is None:
        labels = getattr(features, "_fields", None)  # a named tuple
    try:
        values = _one_row(features.to_numpy() if hasattr(features, "to_numpy") else features)
    except TypeError:
        raise BadFeatures(f"the features are a {type(features).__name__}; give numbers") from None
    return (list(labels) if labels is not None and _named(labels) else None), values


def _named(labels: Any) -> bool:
    """Whether any label is a text: those that pandas makes itself are numbers."""
    return any(isinstance(label, str) for label in labels)


def _one_row(values: Any) -> list[Any]:
    row = list(values)
    if len(row) == 1 and _is_several(row[0]):
        return list(row[0])
    if row and _is_several(row[0]):
        raise BadFeatures(f"there are {len(row)} rows of features; give one bar's row")
    return row


def _only(value: Any) -> Any:
    """Return the value in a list of one, as a dict of columns has it."""
    return list(value)[0] if _is_several(value) and len(value) == 1 else value  # noqa: RUF015 - a Series too


def _is_several(value: Any) -> bool:
    """Whether it is a list of numbers; a tensor without dimensions is one number."""
    has_length = hasattr(value, "__len__") and not isinstance(value, (str, bytes))
    return has_length and getattr(value, "ndim", 1) != 0


def _by_name(labels: list[Any], values: list[Any], names: Sequence[str]) -> list[Any]:
    if len(values) != len(labels):
        raise BadFeatures(f"there are {len(values)} values for {len(labels)} names of features")
    found = dict(zip(labels, values, strict=True))
    if len(found) < len(labels):
        twice = next(name for at, name in enumerate(labels) if name in labels[:at])
        raise BadFeatures(f"feature {twice} is given twice")
    for name in names:
        if name not in found:
            near = get_close_matches(name, [str(label) for label in labels], 1)
            hint = f"; there is {near[0]!r}" if near else ""
            raise BadFeatures(f"feature {name} is missing{hint}")
    return [found[name] for name in names]


def _number(name: str, value: Any) -> float:
    if isinstance(value, (str, bytes)):
        raise BadFeatures(f"feature {name} is the text {value!r}; give a number")
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise BadFeatures(f"feature {name} is a {type(value).__name__}; give a number") from None
    if not abs(number) < LARGEST:  # also NaN
        remedy = "ask for a bar whose features are all known"
        raise BadFeatures(f"feature {name} is {number}: {remedy}")
    return number
