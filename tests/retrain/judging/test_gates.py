import json
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from retrain.deciding.block_bootstrap import Interval
from retrain.errors import BadSetting
from retrain.forms.load_proof import LoadProof
from retrain.judging.gate_limits import Gate, GateLimits
from retrain.judging.gates import (
    MIB,
    Comparison,
    Evidence,
    Shipped,
    judge,
    judge_shipped,
)
from retrain.judging.provenance import AnchorMatch
from retrain.scores import Scores, score

NAMES = (
    *("train_accuracy", "test_accuracy", "all_classes", "overfit", "beats_prior", "direction"),
    *(
        "calibrated",
        "earns",
        "beats_champion",
        "parity",
        "same_bars",
        "refit_agrees",
        "loads",
        "budget",
    ),
)


SETTINGS: dict[str, Any] = {
    "prior": np.array([0.15, 0.7, 0.15]),
    "up": 0.4,
    "down": 0.4,
    "horizon_bars": 6,
}


def made(seed: int = 0, n: int = 4_000) -> Scores:
    """Score a model that knows something, on made-up rows."""
    return score(*rows(seed, n), **SETTINGS)


def rows(seed: int, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    p = rng.dirichlet((0.6, 2.8, 0.6), n)
    labels = (rng.random(n)[:, None] > p.cumsum(axis=1)).sum(axis=1).astype(np.int8)
    return labels, p, (labels - 1) * 0.01 + rng.normal(0, 0.01, n)


GOOD = Evidence(
    train=made(0),
    test=made(1),
    label_faults=0,
    leaked_rows=0,
    parity=0.0,
    champion=Comparison(rows=500, difference=-0.01, interval=Interval(-0.03, 0.01)),
)
OWN = LoadProof(error="", difference=0.0, rows=32, predict_ms=5.0, library="1.4.2")
PORTABLE = LoadProof(error="", difference=1e-15, rows=10_032, predict_ms=0.02, library="1.32.0")
SHIPPED = Shipped(
    joblib=OWN,
    onnx=PORTABLE,
    size_bytes=2 * MIB,
    share_shift=0.01,
    lean_correlation=0.8,
)


def both(evidence: Evidence = GOOD, shipped: Shipped = SHIPPED) -> tuple[Gate, ...]:
    limits = GateLimits()
    return (*judge(evidence, limits), *judge_shipped(shipped, limits))


def refused(gates: tuple[Gate, ...]) -> list[str]:
    return [gate.name for gate in gates if not gate.passed]


def test_a_good_model_passes_every_gate_and_each_says_why_it_exists() -> None:
    gates = both()
    assert tuple(gate.name for gate in gates) == NAMES
    assert refused(gates) == []
    assert all(gate.why and gate.verdict for gate in gates)
    json.dumps([gate.as_dict() for gate in gates], allow_nan=False)


def rescored(change: Callable[..., tuple[np.ndarray, np.ndarray, np.ndarray]]) -> Scores:
    return score(*change(*rows(1, 4_000)), **SETTINGS)


def test_constant_predictions_are_refused() -> None:
    test = rescored(lambda y, p, r: (y, np.tile(p.mean(axis=0), (len(y), 1)), r))
    assert refused(both(replace(GOOD, test=test))) == ["all_classes", "beats_prior"]


def test_a_model_of_noise_is_refused() -> None:
    shuffle = np.random.default_rng(0).permutation(4_000)
    test = rescored(lambda y, p, r: (y, p[shuffle], r))
    assert "beats_prior" in refused(both(replace(GOOD, test=test)))


def test_an_uncalibrated_model_is_refused() -> None:
    test = rescored(lambda y, p, r: (y, p**3 / (p**3).sum(axis=1, keepdims=True), r))
    assert "calibrated" in refused(both(replace(GOOD, test=test)))


def test_probabilities_that_a_calmer_market_put_wrong_come_with_what_to_set() -> None:
    wrong = replace(GOOD.test, calibration=(0.05, 0.1, 0.05))
    calmer = replace(wrong, class_shares=(0.2, 0.6, 0.2), mean_probabilities=(0.25, 0.5, 0.25))
    learnt = replace(GOOD.train, class_shares=(0.3, 0.4, 0.3))
    found = {gate.name: gate for gate in both(replace(GOOD, train=learnt, test=calmer))}
    said = found["calibrated"].verdict
    assert "NEUTRAL was expected on 50.0% of the bars and happened on 60.0%" in said
    assert "calmer than learnt: NEUTRAL were 40% in training and 60% when judged" in said
    assert 'threshold = "vol:0.8"' in said
    same = replace(wrong, class_shares=learnt.class_shares)
    found = {gate.name: gate for gate in both(replace(GOOD, train=learnt, test=same))}
    assert found["calibrated"].verdict.endswith("not sure enough of single bars")


def test_swapped_up_and_down_are_refused_by_direction() -> None:
    test = rescored(lambda y, p, r: (2 - y, p[:, ::-1], r))
    assert refused(both(replace(GOOD, test=test))) == ["direction"]


def test_permuted_classes_are_refused() -> None:
    test = rescored(lambda y, p, r: (y, p[:, [2, 1, 0]], r))
    assert "direction" in refused(both(replace(GOOD, test=test)))


def test_a_limit_of_accuracy_that_the_labels_are_not_made_for_says_what_to_set() -> None:
    wild = replace(accurate(GOOD.test, 0.5), class_shares=(0.31, 0.38, 0.31))
    _, gate, *_ = judge(replace(GOOD, test=wild), GateLimits())
    assert "38% are" in gate.verdict
    assert "a slot without a threshold in the configuration gets one that fits" in gate.verdict
    calm = judge(replace(GOOD, test=accurate(GOOD.test, 0.5)), GateLimits())[1]
    assert "without a threshold" not in calm.verdict


def accurate(scores: Scores, accuracy: float) -> Scores:
    return replace(scores, argmax=replace(scores.argmax, accuracy=accuracy))


def test_a_model_that_knows_much_is_not_inaccurate_for_giving_few_signals() -> None:
    rare = replace(GOOD.test.decisions, accuracy=0.3, shares=(0.05, 0.9, 0.05))
    gates = both(replace(GOOD, test=replace(GOOD.test, decisions=rare)))
    assert refused(gates) == []
    (said,) = (gate.verdict for gate in gates if gate.name == "test_accuracy")
    assert f"{GOOD.test.argmax.accuracy:.3f} of the most probable class is above 0.55" in said
    assert "of the decisions 10.0% are signals" in said


def test_decisions_without_a_signal_have_no_win_rate_to_tell() -> None:
    silent = replace(GOOD.test.decisions, shares=(0.0, 1.0, 0.0), win_rate=math.nan)
    gates = both(replace(GOOD, test=replace(GOOD.test, decisions=silent)))
    assert refused(gates) == ["all_classes"]
    assert "of the decisions none is a signal" in gates[1].verdict


@pytest.mark.parametrize(
    ("evidence", "by"),
    [
        (replace(GOOD, train=accurate(GOOD.train, 0.59)), ["train_accuracy"]),
        (replace(GOOD, test=accurate(GOOD.test, 0.55)), ["test_accuracy", "overfit"]),
        (replace(GOOD, train=accurate(GOOD.train, 0.95)), ["overfit"]),
        (replace(GOOD, train=replace(GOOD.train, log_loss=0.1)), ["overfit"]),
        (replace(GOOD, leaked_rows=1), ["overfit"]),
        (replace(GOOD, label_faults=1), ["direction"]),
        (replace(GOOD, parity=2e-9), ["parity"]),
        (replace(GOOD, provenance=AnchorMatch(64, 33, "x")), ["same_bars"]),
        (replace(GOOD, provenance=AnchorMatch(64, 32, "x")), []),
        (replace(GOOD, provenance=AnchorMatch(0, 0)), []),
        (replace(GOOD, parity=math.nan), ["parity"]),
    ],
)
def test_each_fault_is_refused_by_its_own_gate(evidence: Evidence, by: list[str]) -> None:
    assert refused(both(evidence)) == by


@pytest.mark.parametrize(
    ("shipped", "by"),
    [
        (replace(SHIPPED, joblib=LoadProof(error="ValueError: X has 17 features")), "loads"),
        (replace(SHIPPED, joblib=replace(OWN, difference=1e-3)), "loads"),
        (replace(SHIPPED, joblib=replace(OWN, difference=math.nan)), "loads"),
        (replace(SHIPPED, onnx=LoadProof(error="it cannot be made (no onnx)")), "loads"),
        (replace(SHIPPED, onnx=replace(PORTABLE, difference=1.1e-6)), "loads"),
        (replace(SHIPPED, onnx=replace(PORTABLE, difference=math.nan)), "loads"),
        (replace(SHIPPED, onnx=replace(PORTABLE, predict_ms=1.1)), "budget"),
        (replace(SHIPPED, size_bytes=65 * MIB), "budget"),
        (replace(SHIPPED, share_shift=0.06), "refit_agrees"),
        (replace(SHIPPED, lean_correlation=-0.1), "refit_agrees"),
        (replace(SHIPPED, lean_correlation=math.nan), "refit_agrees"),
    ],
)
def test_each_fault_of_the_file_is_refused_by_its_own_gate(shipped: Shipped, by: str) -> None:
    assert refused(both(shipped=shipped)) == [by]


@pytest.mark.parametrize(
    ("difference", "interval", "passed"),
    [
        (-0.02, (-0.04, -0.01), True),  # surely better
        (0.004, (-0.01, 0.02), True),  # no telling, and not by much
        (0.004, (0.001, 0.008), False),  # a little worse, but surely
        (0.03, (-0.02, 0.08), False),  # no telling, but much worse at the best estimate
    ],
)
def test_a_challenger_must_not_be_worse_surely_nor_by_much(
    difference: float, interval: tuple[float, float], *, passed: bool
) -> None:
    champion = Comparison(rows=500, difference=difference, interval=Interval(*interval))
    assert (refused(both(replace(GOOD, champion=champion))) == []) is passed


def test_without_enough_rows_the_champion_is_left_to_probation() -> None:
    champion = Comparison(skipped="only 3 bars: probation decides")
    gates = {gate.name: gate for gate in both(replace(GOOD, champion=champion))}
    gate = gates["beats_champion"]
    assert (gate.passed, gate.value, gate.verdict) == (True, None, champion.skipped)


def test_a_version_that_was_not_refitted_has_no_such_gate() -> None:
    gates = both(shipped=replace(SHIPPED, share_shift=None, lean_correlation=None))
    assert "refit_agrees" not in [gate.name for gate in gates]


def test_a_limit_can_be_set_by_name() -> None:
    limits = GateLimits.from_mapping({"test_accuracy": 0.99})
    assert refused(judge(GOOD, limits)) == ["test_accuracy"]


@pytest.mark.parametrize("values", [{"tset_accuracy": 0.5}, {"overfit": "0.1"}, {"overfit": True}])
def test_an_unknown_gate_or_a_limit_that_is_no_number_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(BadSetting, match="gates"):
        GateLimits.from_mapping(values)


def test_a_skill_that_the_test_block_shows_and_the_training_block_does_not_is_noise() -> None:
    assert not refused(both(replace(GOOD, learnt=Interval(0.02, 0.05))))
    noise = both(replace(GOOD, learnt=Interval(-0.004, 0.001)))
    assert refused(noise) == ["beats_prior"]
    (gate,) = (one for one in noise if one.name == "beats_prior")
    assert (
        "above 0; out of fold on the training block, -0.0040 to 0.0010, it is not" in gate.verdict
    )
