import numpy as np
import pandas as pd
import pytest

from retrain import features
from retrain.errors import ArtifactError
from retrain.forms.description import describe
from retrain.forms.parts import Parts, loaded
from retrain.forms.proof_rows import PROOF_ROWS, proof_rows
from retrain.stacking.stack import Stack
from tests.retrain.planted import rows


def saved(stack: Stack, x: np.ndarray) -> np.ndarray:
    return np.asarray(stack.model.predict_proba(pd.DataFrame(x, columns=features.NAMES)))


@pytest.mark.parametrize("seed", [1, 2])
def test_the_arrays_say_what_the_model_says_on_random_rows(
    stack: Stack, parts: Parts, seed: int
) -> None:
    x, _ = rows(1_500, seed=seed)
    assert np.abs(parts.predict(x) - saved(stack, x)).max() < 1e-12


def test_they_say_the_same_on_edges_beside_them_and_far_out(stack: Stack, parts: Parts) -> None:
    x = proof_rows(parts, rows(500)[0])
    assert x.shape == (PROOF_ROWS, 17)
    assert np.isfinite(x).all()
    edges = parts.threshold[parts.left != np.arange(len(parts.left))]
    assert np.isin(x[: PROOF_ROWS // 2], edges).mean() > 0.2
    assert (np.abs(x) >= 1e300).any()
    assert (np.signbit(x) & (x == 0)).any()
    assert np.abs(parts.predict(x) - saved(stack, x)).max() < 1e-12


def test_one_ulp_across_an_edge_changes_the_answer_as_it_does_in_the_model(
    stack: Stack, parts: Parts
) -> None:
    column = 0
    asked = (parts.feature == column) & (parts.left != np.arange(len(parts.left)))
    x = np.repeat(rows(1)[0], 2 * len(edges := np.unique(parts.threshold[asked])), axis=0)
    x[0::2, column], x[1::2, column] = np.nextafter(edges, -np.inf), edges
    given = parts.predict(x)
    assert (np.abs(given[0::2] - given[1::2]).max(axis=1) > 0).mean() > 0.5
    assert np.abs(given - saved(stack, x)).max() < 1e-12


def test_equal_models_give_equal_bytes_and_the_bytes_give_the_model(
    stack: Stack, parts: Parts
) -> None:
    content = parts.dumped()
    assert describe(stack).dumped() == content
    x, _ = rows(50, seed=3)
    assert np.array_equal(loaded(content).predict(x), parts.predict(x))
    assert parts.predict(x[:0]).shape == (0, 3)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"[]"])
def test_other_bytes_are_refused_in_a_sentence(content: bytes) -> None:
    with pytest.raises(ArtifactError, match="its parts cannot be read"):
        loaded(content)
