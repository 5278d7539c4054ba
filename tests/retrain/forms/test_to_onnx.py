from dataclasses import replace

import numpy as np
import onnxruntime

from retrain.forms.parts import Parts
from retrain.forms.proof_rows import proof_rows
from retrain.forms.to_onnx import build
from tests.retrain.planted import rows


def answers(parts: Parts, x: np.ndarray) -> np.ndarray:
    content = build(parts, "20250101_000000_abc", "abc").SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["probabilities"], {"features": x})[0])


def test_the_file_says_what_the_parts_say_on_random_tied_and_extreme_rows(parts: Parts) -> None:
    x = np.vstack([rows(1_000, seed=4)[0], proof_rows(parts, rows(500)[0])])
    given = answers(parts, x)
    assert given.dtype == np.float64
    assert np.abs(given - parts.predict(x)).max() < 1e-12


def test_one_row_and_many_give_the_same(parts: Parts) -> None:
    x, _ = rows(40, seed=5)
    one_by_one = np.vstack([answers(parts, x[i : i + 1]) for i in range(3)])
    assert np.abs(answers(parts, x)[:3] - one_by_one).max() < 1e-14  # but for the order of sums


def test_a_tree_that_is_one_leaf_counts_too(parts: Parts) -> None:
    root = parts.root[-1]
    lone = replace(
        parts,
        left=np.where(np.arange(len(parts.left)) == root, root, parts.left),
        right=np.where(np.arange(len(parts.left)) == root, root, parts.right),
        value=np.where((np.arange(len(parts.left)) == root)[:, None], 0.3, parts.value),
    )
    x, _ = rows(50, seed=6)
    assert not np.allclose(lone.predict(x), parts.predict(x))
    assert np.abs(answers(lone, x) - lone.predict(x)).max() < 1e-12


def test_the_same_parts_give_the_same_bytes_with_their_names_inside(parts: Parts) -> None:
    one, two = (build(parts, "20250101_000000_abc", "abc") for _ in range(2))
    assert one.SerializeToString(deterministic=True) == two.SerializeToString(deterministic=True)
    facts = {fact.key: fact.value for fact in one.metadata_props}
    assert facts == {
        "model_id": "20250101_000000_abc",
        "schema_hash": "abc",
        "class_order": "0,1,2",
    }
