"""The page of the gates: name, default limit, what passes, why it exists."""

from dataclasses import fields
from typing import Final

from docs.generate.markdown import code, table, value
from docs.generate.source import field_texts
from retrain.deciding.block_bootstrap import Interval
from retrain.deciding.earning import SignalEarning
from retrain.forms.load_proof import LoadProof
from retrain.judging.gate_limits import Gate, GateLimits
from retrain.judging.gates import (
    Comparison,
    Evidence,
    Shipped,
    judge,
    judge_shipped,
)
from retrain.scores import Decided, Scores

_HEAD: Final = """# Gates

A candidate goes live only if it passes every gate. The limits stand in `[gates]` and reload while
the daemon runs ([configuration](configuration.md)). Defined in `retrain/judging/gates.py`.

The first gates judge the twin on rows that it has not seen. The last three judge what ships: the
refit, and the file that it is saved in. The verdicts travel with the model as its certificate.
[Planted faults](../measurements/planted-faults.md) shows which mistake each gate refused.

"""


def page() -> str:
    """Return the page."""
    texts = field_texts(GateLimits)
    limits = [field.name for field in fields(GateLimits)]
    rows = []
    for gate in _gates():
        keys = [key for key in limits if key in {gate.name, f"{gate.name}_mib", f"{gate.name}_ms"}]
        defaults = ", ".join(f"`{key} = {value(getattr(GateLimits(), key))}`" for key in keys)
        rows.append((code(gate.name), defaults, " ".join(texts[key] for key in keys), gate.why))
    return _HEAD + table(("gate", "limit", "what passes", "why it exists"), rows)


def _gates() -> tuple[Gate, ...]:
    """Return every gate, judged on made-up evidence: its name and reason are what counts."""
    none, third = Interval(0, 0), (1 / 3, 1 / 3, 1 / 3)
    decided = Decided(0, 0, 0, third, 0, 0, 0, 0, (), third, SignalEarning(0, 0))
    scores = Scores(
        rows=0,
        log_loss=1,
        skill=0,
        skill_interval=none,
        brier=0,
        ece=third,
        calibration=third,
        ic=0,
        ic_interval=none,
        class_shares=third,
        mean_probabilities=third,
        decisions=decided,
        argmax=decided,
    )
    evidence = Evidence(
        train=scores, test=scores, label_faults=0, leaked_rows=0, parity=0, champion=Comparison()
    )
    loaded = LoadProof(error="", difference=0, predict_ms=0)
    shipped = Shipped(
        joblib=loaded,
        onnx=loaded,
        size_bytes=0,
        share_shift=0,
        lean_correlation=1,
    )
    limits = GateLimits()
    return (*judge(evidence, limits), *judge_shipped(shipped, limits))
