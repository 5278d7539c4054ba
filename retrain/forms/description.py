"""Describe a fitted stack as plain arrays: the one module that reads inside scikit-learn's models.

What it reads has had the same names and meanings from scikit-learn 1.4 on. The self-tests
compare the result with the model itself, so a change there refuses the candidate.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from retrain.forms.parts import Floats, Parts
from retrain.stacking.meta import CLASSES
from retrain.stacking.stack import BASE_NAMES, Stack

_LEAF: Final = -1


@dataclass(frozen=True, slots=True)
class _Tree:
    """One tree over bins: a row goes left if its bin is at most `limit`; a leaf has left -1."""

    feature: NDArray[Any]
    limit: Floats
    left: NDArray[Any]
    right: NDArray[Any]
    value: Floats


def described(stack: Stack) -> Parts | None:
    """Return the arrays of a fitted stack, None if it is built in another way than is known."""
    try:
        return describe(stack)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        return None  # the gate `loads` refuses a model without a portable form


def describe(stack: Stack) -> Parts:
    """Return the arrays of a fitted stack, which give the same probabilities."""
    inner = [np.asarray(edges)[1:-1] for edges in stack.bases.binner.bin_edges_]
    by_name = dict(zip(BASE_NAMES, stack.bases.models, strict=True))
    bins = [len(edges) + 1 for edges in inner]
    trees = [list(_trees(name, one, bins)) for name, one in by_name.items()]
    sizes = np.array([len(tree.left) for model in trees for tree in model])
    root = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    every = [tree for model in trees for tree in model]
    leaf = np.concatenate([tree.left == _LEAF for tree in every])
    itself, offset = np.arange(len(leaf)), np.repeat(root, sizes)
    left, right = (
        np.where(leaf, itself, offset + np.concatenate([getattr(tree, side) for tree in every]))
        for side in ("left", "right")
    )
    feature = np.where(leaf, 0, np.concatenate([tree.feature for tree in every]))
    limit = np.where(leaf, 0, np.concatenate([tree.limit for tree in every]))
    clip, weights, bias = _meta(stack.meta)
    return Parts(
        feature=feature.astype(np.int32),
        threshold=_edges(inner, feature, limit),
        left=left.astype(np.int32),
        right=right.astype(np.int32),
        value=np.where(leaf[:, None], np.vstack([tree.value for tree in every]), 0.0),
        root=root.astype(np.int32),
        model=np.repeat(np.arange(len(trees)), [len(m) for m in trees]).astype(np.int32),
        start=np.array([_start(one, trees[i]) for i, one in enumerate(by_name.values())]),
        softmax=np.array([_boosts(name) for name in by_name], dtype=np.int32),
        clip=clip,
        weights=weights,
        bias=bias,
    )


def _boosts(name: str) -> bool:
    """Whether a base model sums log odds; a forest sums probabilities."""
    return name in {"gb", "hgb"}


def _trees(name: str, model: Any, bins: list[int]) -> Iterator[_Tree]:
    match name:
        case "gb":
            yield from _linear(model.init_, bins)
            for three in model.estimators_:
                for c, one in enumerate(three):
                    summand = model.learning_rate * one.tree_.value[:, 0, 0]
                    yield _grown(one.tree_, _of_class(c, summand))
        case "hgb":
            for three in model._predictors:  # noqa: SLF001 -- no public name has the trees
                for c, one in enumerate(three):
                    yield _boosted(one.nodes, c)
        case _:
            for one in model.estimators_:
                votes = one.tree_.value[:, 0, :]
                share = votes / votes.sum(axis=1, keepdims=True) / len(model.estimators_)
                yield _grown(one.tree_, share)


def _linear(regression: Any, bins: list[int]) -> Iterator[_Tree]:
    """Yield a tree for each column of a regression, with a leaf for each bin: they sum to it."""
    columns, linear = (step for _, step in regression.steps)
    slopes = columns.kw_args["b"] @ linear.coef_.T
    for column in np.flatnonzero(slopes.any(axis=1)):
        yield _of_bins(int(column), np.outer(np.arange(bins[column]), slopes[column]))


def _of_bins(column: int, value: Floats) -> _Tree:
    """Return the balanced tree whose leaves are the bins of a column, values of shape (n, 3)."""
    first, last = [0], [len(value) - 1]
    left, right, limit = list[int](), list[int](), list[float]()
    for at, (low, high) in enumerate(zip(first, last, strict=False)):  # it grows meanwhile
        inner, middle = low < high, (low + high) // 2
        left.append(len(first) if inner else _LEAF)
        right.append(len(first) + 1 if inner else at)
        limit.append(middle)
        if inner:
            first += [low, middle + 1]
            last += [middle, high]
    leaf = np.array(left) == _LEAF
    return _Tree(
        feature=np.full(len(left), column),
        limit=np.array(limit, dtype=np.float64),
        left=np.array(left),
        right=np.array(right),
        value=np.where(leaf[:, None], value[first], 0.0),
    )


def _grown(tree: Any, value: Floats) -> _Tree:
    return _Tree(tree.feature, tree.threshold, tree.children_left, tree.children_right, value)


def _boosted(nodes: Any, c: int) -> _Tree:
    left = np.where(nodes["is_leaf"], _LEAF, nodes["left"].astype(np.int64))
    limit, right = nodes["num_threshold"], nodes["right"].astype(np.int64)
    return _Tree(nodes["feature_idx"], limit, left, right, _of_class(c, nodes["value"]))


def _of_class(c: int, summand: NDArray[Any]) -> Floats:
    value = np.zeros((len(summand), CLASSES))
    value[:, c] = summand
    return value


def _edges(inner: list[Floats], feature: NDArray[Any], limit: Floats) -> Floats:
    """Return the lower edge of the first bin above each limit, infinite if there is none."""
    most = max(len(edges) for edges in inner)
    table = np.full((len(inner), most + 2), np.inf)
    table[:, 0] = -np.inf
    for column, edges in enumerate(inner):
        table[column, 1 : len(edges) + 1] = edges
    at = np.clip(np.floor(limit), -1, most).astype(np.int64) + 1
    return np.asarray(table[feature, at])


def _start(model: Any, trees: list[_Tree]) -> Floats:
    """Return the sums of a base model before its first tree: log odds of the class shares."""
    if not hasattr(model, "learning_rate"):
        return np.zeros(CLASSES)
    # Bin 0 of every feature lies left of every split.
    first = np.zeros((1, model.n_features_in_))
    return np.asarray(model.decision_function(first)[0] - sum(_leftmost(tree) for tree in trees))


def _leftmost(tree: _Tree) -> Floats:
    at = 0
    while tree.left[at] != _LEAF:
        at = tree.left[at] if tree.limit[at] >= 0 else tree.right[at]
    return np.asarray(tree.value[at])


def _meta(meta: Any) -> tuple[Floats, Floats, Floats]:
    """Return the clip, and weights and bias of each calibrated regression on the log odds."""
    floor, _, pool, calibrated = (step for _, step in meta.steps)
    weights, bias = [], []
    for one in calibrated.calibrated_classifiers_:
        regressions = one.estimator.estimators_
        slope = np.array([-sigmoid.a_ for sigmoid in one.calibrators])
        shift = np.array([-sigmoid.b_ for sigmoid in one.calibrators])
        of_class = np.vstack([regression.coef_[0] for regression in regressions]).T
        intercept = np.array([regression.intercept_[0] for regression in regressions])
        weights.append(pool.kw_args["b"] @ of_class * slope)
        bias.append(intercept * slope + shift)
    clip = np.array([floor.kw_args["a_min"], floor.kw_args["a_max"]])
    return clip, np.array(weights), np.array(bias)
