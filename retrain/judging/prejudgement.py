"""Tell which gates would refuse a candidate, before it is trained.

Where the market became calmer or wilder than the training block, accuracy and calibration fail,
whatever model is trained on it. The first base model alone shows that, in a fraction of the time
of a whole retrain: how often both agree is in docs/measurements/backtest.md. Nothing is said of
the other gates, where models differ more.
"""

from dataclasses import dataclass
from typing import Final

from retrain.dataset import Rows
from retrain.job import Job
from retrain.judging.gates import Comparison, Evidence, market_gates
from retrain.labels import shares
from retrain.scores import Scores, score
from retrain.stacking.scaling import scaled_trainer
from retrain.stacking.stack import Bases

_NO_SIGNAL: Final = 2.0


@dataclass(frozen=True, slots=True)
class Prejudgement:
    """The gates that would refuse, by name, and their verdicts in words; both empty if none."""

    refused_by: tuple[str, ...]
    text: str


def prejudge(rows: Rows, job: Job) -> Prejudgement:
    """Judge the first base model as a twin is judged: fitted on the training block alone.

    Args:
        rows: All rows.
        job: Has the recipe and the limits of the gates.

    Raises:
        TooFewBars: If the training block lacks a class.
    """
    trainer = scaled_trainer(job, rows)
    fitted = trainer.fit_first(rows.features[rows.train], rows.labels[rows.train])
    train, test = (_scores(fitted, trainer.names, rows, part) for part in (rows.train, rows.test))
    evidence = Evidence(
        train=train,
        test=test,
        label_faults=0,
        leaked_rows=0,
        parity=0.0,
        champion=Comparison(),
    )
    refused = [gate for gate in market_gates(evidence, job.limits) if not gate.passed]
    return Prejudgement(
        tuple(gate.name for gate in refused), "; ".join(gate.verdict for gate in refused)
    )


def _scores(fitted: Bases, names: tuple[str, ...], rows: Rows, part: slice) -> Scores:
    return score(
        rows.labels[part],
        fitted.probabilities(rows.features[part], names),
        rows.future_return[part],
        prior=shares(rows.labels[rows.train]),
        up=_NO_SIGNAL,
        down=_NO_SIGNAL,
        horizon_bars=rows.horizon_bars,
    )
