"""Turn the parts of a model into an ONNX file; run under an interpreter that has `onnx`.

    python -m retrain.forms.to_onnx PARTS MODEL MODEL_ID SCHEMA_HASH

The training interpreter is the bot's, which may have neither onnx nor a scikit-learn that a
converter knows. So the nodes are built here from plain arrays, all in doubles, and a process of
the daemon's own interpreter runs this.
"""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from retrain.forms.parts import Parts, loaded

INPUT: Final = "features"
OUTPUT: Final = "probabilities"
FEATURES: Final = 17
CLASSES: Final = 3
_OPSETS: Final = {"": 17, "ai.onnx.ml": 5}
_IR: Final = 9
"""Understood by onnxruntime 1.20 and newer."""
_BELOW: Final = 1
"""Mode of a node of a TreeEnsemble: true if the value is less than the split."""
_SUM: Final = 1


def build(parts: Parts, model_id: str, schema_hash: str) -> onnx.ModelProto:
    """Return the model, with the input `features` (N, 17) and the output `probabilities` (N, 3).

    Args:
        parts: The fitted stack.
        model_id: Name of the version, kept in the file.
        schema_hash: Name of the features, kept in the file.
    """
    models = len(parts.start)
    constants = {
        "start": _start(parts).ravel(),
        "by_model": np.array([-1, models, CLASSES]),
        "by_row": np.array([-1, models * CLASSES]),
        "is_odds": parts.softmax.astype(bool)[:, None],
        "least": parts.clip[0],
        "most": parts.clip[1],
        "one": np.float64(1),
        "weights": parts.weights,
        "bias": parts.bias[:, None],
        "last": np.array([2]),
        "first": np.array([0]),
        "fits": np.float64(len(parts.weights)),
    }
    graph = helper.make_graph(
        [_trees(parts), *_steps()],
        "stack",
        [helper.make_tensor_value_info(INPUT, TensorProto.DOUBLE, ["N", FEATURES])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.DOUBLE, ["N", CLASSES])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid(name, at) for name, at in _OPSETS.items()]
    model = helper.make_model(
        graph, opset_imports=opsets, ir_version=_IR, producer_name="hyperdrift"
    )
    facts = {"model_id": model_id, "schema_hash": schema_hash, "class_order": "0,1,2"}
    helper.set_model_props(model, facts)
    onnx.checker.check_model(model)
    return model


def _steps() -> Iterator[Any]:
    """Yield the nodes behind the trees, as `Parts.predict` computes."""
    for operator, inputs, output in (
        ("Add", "sums start", "sums_from_start"),
        ("Reshape", "sums_from_start by_model", "by_base"),
    ):
        yield _node(operator, inputs, output)
    yield _node("Softmax", "by_base", "soft", axis=2)
    for operator, inputs, output in (
        ("Where", "is_odds soft by_base", "of_bases"),
        ("Reshape", "of_bases by_row", "given"),
        ("Clip", "given least most", "seen"),
        ("Sub", "one seen", "rest"),
        ("Div", "seen rest", "ratio"),
        ("Log", "ratio", "odds"),
        ("MatMul", "odds weights", "weighted"),  # (N, 12) x (fits, 12, 3)
        ("Add", "weighted bias", "logits"),
        ("Sigmoid", "logits", "one_by_one"),
        ("ReduceSum", "one_by_one last", "together"),
        ("Div", "one_by_one together", "calibrated"),
    ):
        yield _node(operator, inputs, output)
    yield _node("ReduceSum", "calibrated first", "added", keepdims=0)
    yield _node("Div", "added fits", OUTPUT)


def _node(operator: str, inputs: str, output: str, **attributes: Any) -> Any:
    return helper.make_node(operator, inputs.split(), [output], **attributes)


def _trees(parts: Parts) -> Any:
    """Return the one node that holds every tree; it gives the sums, shape (N, 3 * n_models).

    A leaf of ONNX adds to one sum only, so a tree that votes for three classes becomes three.
    """
    nodes, leaves = 0, 0
    found: dict[str, list[NDArray[Any]]] = {}
    for c in range(CLASSES):
        one = _of_class(parts, c)
        one["roots"] += nodes
        for side in ("true", "false"):
            one[side] += np.where(one[f"{side}_leaf"], leaves, nodes)
        nodes, leaves = nodes + len(one["feature"]), leaves + len(one["target"])
        for name, values in one.items():
            found.setdefault(name, []).append(values)
    every = {name: np.concatenate(values) for name, values in found.items()}
    modes = np.full(nodes, _BELOW, dtype=np.uint8)
    return helper.make_node(
        "TreeEnsemble",
        [INPUT],
        ["sums"],
        domain="ai.onnx.ml",
        n_targets=CLASSES * len(parts.start),
        aggregate_function=_SUM,
        tree_roots=every["roots"].tolist(),
        nodes_featureids=every["feature"].tolist(),
        nodes_splits=numpy_helper.from_array(every["split"]),
        nodes_modes=numpy_helper.from_array(modes),
        nodes_truenodeids=every["true"].tolist(),
        nodes_trueleafs=every["true_leaf"].tolist(),
        nodes_falsenodeids=every["false"].tolist(),
        nodes_falseleafs=every["false_leaf"].tolist(),
        leaf_targetids=every["target"].tolist(),
        leaf_weights=numpy_helper.from_array(every["weight"]),
    )


def _of_class(parts: Parts, c: int) -> dict[str, NDArray[Any]]:
    """Return the nodes and leaves of the trees that vote for class `c`, numbered from 0."""
    inner = _inner(parts)
    votes = np.logical_or.reduceat(parts.value[:, c] != 0, parts.root) & inner[parts.root]
    tree = np.repeat(np.arange(len(parts.root)), np.diff(parts.root, append=len(inner)))
    node, leaf = votes[tree] & inner, votes[tree] & ~inner
    number = np.where(inner, np.cumsum(node), np.cumsum(leaf)) - 1
    left, right = parts.left[node], parts.right[node]
    return {
        "roots": number[parts.root[votes]],
        "feature": parts.feature[node],
        "split": parts.threshold[node],
        "true": number[left],
        "true_leaf": (~inner[left]).astype(int),
        "false": number[right],
        "false_leaf": (~inner[right]).astype(int),
        "target": CLASSES * parts.model[tree[leaf]] + c,
        "weight": parts.value[leaf, c],
    }


def _inner(parts: Parts) -> NDArray[np.bool_]:
    """Return which nodes ask; a leaf leads to itself."""
    return np.asarray(parts.left != np.arange(len(parts.left)))


def _start(parts: Parts) -> NDArray[np.float64]:
    """Return the sums before the first tree that asks; a tree that is one leaf is in them."""
    start = parts.start.copy()
    lone = ~_inner(parts)[parts.root]
    np.add.at(start, parts.model[lone], parts.value[parts.root[lone]])
    return start


def main(arguments: Sequence[str]) -> int:
    """Write the ONNX file of a parts file."""
    source, target, model_id, schema_hash = arguments
    parts = loaded(Path(source).read_bytes())
    content = build(parts, model_id, schema_hash).SerializeToString(deterministic=True)
    Path(target).write_bytes(content)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
