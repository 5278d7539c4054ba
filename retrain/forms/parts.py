"""A fitted stack as plain arrays, and its probabilities computed with numpy alone.

scikit-learn can only load what the same version of it saved. These arrays have no version. The
portable form is made of them, and a retrain computes the live model's probabilities with them,
whatever scikit-learn either was made with.

A tree here asks about raw features. A model of the stack sees the number of a quantile bin, and
"bin 3 or less" is the same as "below the lower edge of bin 4". So the bins need no step of their
own, and every comparison is one of two doubles.
"""

import io
import zipfile
from dataclasses import dataclass, fields
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from retrain.errors import ArtifactError

Ints = NDArray[np.int32]
Floats = NDArray[np.float64]

_CLASSES: Final = 3
_CHUNK: Final = 1000
"""Rows at a time: each is at one node of every tree."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """A fitted stack.

    Nodes of all trees lie in one array; a leaf leads to itself.

    Attributes:
        feature: Column that a node looks at, (n_nodes,).
        threshold: A row goes left if its value is below this, (n_nodes,).
        left: Next node, (n_nodes,).
        right: Next node, (n_nodes,).
        value: What a leaf adds to the three sums of its base model, (n_nodes, 3).
        root: First node of each tree, (n_trees,).
        model: Base model of each tree, in ascending order, (n_trees,).
        start: The sums before the first tree, (n_models, 3).
        softmax: 1 where the sums are log odds, 0 where they are probabilities, (n_models,).
        clip: Least and largest probability that the meta model sees, (2,).
        weights: Of each calibrated regression on the log odds, (n_fits, 3 * n_models, 3).
        bias: Of each calibrated regression, (n_fits, 3).
    """

    feature: Ints
    threshold: Floats
    left: Ints
    right: Ints
    value: Floats
    root: Ints
    model: Ints
    start: Floats
    softmax: Ints
    clip: Floats
    weights: Floats
    bias: Floats

    def predict(self, rows: Floats) -> Floats:
        """Return the probabilities of DOWN, NEUTRAL, UP, shape (n, 3), for raw rows (n, 17)."""
        chunks = [rows[at : at + _CHUNK] for at in range(0, len(rows), _CHUNK)]
        if not chunks:
            return np.empty((0, _CLASSES))
        return np.concatenate([self._meta(self._bases(chunk)) for chunk in chunks])

    def dumped(self) -> bytes:
        """Return the arrays as a compressed npz file; equal arrays give equal bytes."""
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **{one.name: getattr(self, one.name) for one in fields(self)})
        return buffer.getvalue()

    def _bases(self, rows: Floats) -> Floats:
        """Return what the base models say, shape (n, 3 * n_models)."""
        children = np.stack([self.right, self.left], axis=1).ravel()
        values, first = rows.ravel(), np.arange(len(rows))[:, None] * rows.shape[1]
        at = np.broadcast_to(self.root, (len(rows), len(self.root)))
        for _ in range(self._depth()):
            below = values.take(first + self.feature.take(at)) < self.threshold.take(at)
            at = children.take(2 * at + below)
        sums = np.broadcast_to(self.start, (len(rows), *self.start.shape)).copy()
        for model in range(len(self.start)):
            sums[:, model] += self.value[at[:, self.model == model]].sum(axis=1)
        odds = np.exp(sums - sums.max(axis=2, keepdims=True))
        given = np.where(self.softmax[:, None], odds / odds.sum(axis=2, keepdims=True), sums)
        return np.asarray(given).reshape(len(rows), -1)

    def _depth(self) -> int:
        """Return how many steps it takes from a root to the farthest leaf."""
        at, steps = self.root, 0
        while len(at := at[self.left[at] != at]):
            at, steps = np.unique([self.left[at], self.right[at]]), steps + 1
        return steps

    def _meta(self, given: Floats) -> Floats:
        """Return the calibrated probabilities, shape (n, 3)."""
        seen = given.clip(*self.clip)
        odds = np.log(seen / (1 - seen))
        one_by_one = 1 / (1 + np.exp(-(odds @ self.weights + self.bias[:, None])))
        shares: Floats = one_by_one / one_by_one.sum(axis=2, keepdims=True)
        return np.asarray(shares.mean(axis=0))


def loaded(content: bytes) -> Parts:
    """Return what `Parts.dumped` made.

    Raises:
        ArtifactError: If these are other bytes.
    """
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            read: dict[str, Any] = {one.name: arrays[one.name] for one in fields(Parts)}
    except (KeyError, OSError, EOFError, ValueError, zipfile.BadZipFile) as e:
        raise ArtifactError(f"its parts cannot be read ({e}); restore the file") from e
    return Parts(**read)
